//! Looks at a data directory without changing it.
