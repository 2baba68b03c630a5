//! The gateway over a real node and a real socket, as a client meets it.
#![allow(clippy::unwrap_used)]

mod bad_input;
mod bulk;
mod client;
mod endings;
mod pressure;
mod talk;
