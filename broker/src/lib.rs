//! The Confab broker.
//!
//! `node` wires everything together; every other module is a service of its
//! own that does not reach back. See `docs/architecture.md` for the way of a
//! message around the house.

pub mod auth;
pub mod config;
pub mod fanout;
pub mod gateway;
pub mod limits;
pub mod node;
pub mod ops;
pub mod presence;
pub mod router;
pub mod session;
pub mod state;

// The command line looks at data directories and mends them.
pub use confab_storage as storage;
