//! Sessions: what a connected user may ask, and what it is told.

pub mod outbox;
pub mod registry;
