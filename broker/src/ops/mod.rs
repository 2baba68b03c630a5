//! What an operator sees: metrics, health, logs.
//!
//! Every service gets a [`Metrics`] and reports to it; the ones that can be not
//! ready hold a [`Component`] of [`Health`]. Both are cheap to clone. They are
//! served by `gateway::http::ops`.

mod health;
mod metrics;
mod process;
pub mod telemetry;

pub use health::{Component, Health, Readiness};
pub use metrics::{Gateway, Metrics, RaftFigures, RaftRole};
