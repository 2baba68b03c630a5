//! Confab's replicated state machines: the directory and the channels' logs.
//!
//! Pure and deterministic: `apply` takes a store and a command and changes the
//! store alike on every replica. No clock, no randomness, no I/O: time and
//! random numbers are fields of commands. Rights are decided by [`rights`]
//! before a command is proposed; `apply` never fails on rights and never
//! panics on content.

pub mod channel;
pub mod directory;
pub mod rights;
pub mod store;

pub use confab_protocol as protocol;
