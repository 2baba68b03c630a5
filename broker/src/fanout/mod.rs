//! Fan-out: what was applied goes to the sessions that may see it.
