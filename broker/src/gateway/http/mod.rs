//! HTTP: the only home of axum. For now it serves the ops port alone.

pub mod ops;
