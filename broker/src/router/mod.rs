//! From a request to a committed command, or to an answer from local state.
