//! Makes a damaged data directory usable again, saying what that costs.
