//! Configuration: one TOML file, environment over it, flags over both.
