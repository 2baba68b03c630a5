//! What the integration tests share: the real broker as a process, clients of
//! it, and ways to get between them.
//!
//! - [`Broker`] starts the `confab` binary in a directory of its own, kills it,
//!   stops it and starts it again on the same ports.
//! - [`Token`] signs tokens, right and wrong ones, without the broker's code.
//! - [`Witness`] keeps all that one subscription hears, to look at or wait for.
//! - [`Wire`] speaks frames over QUIC and may break every rule.
//! - [`Path`] carries packets between a client and a broker, until it is cut.
//!
//! Every wait has an end ([`within`], [`eventually`]), so a test that fails says
//! what did not happen. What a broker wrote is shown when its test fails.
//!
//! The binary is the one that `CONFAB_BIN` names, or the one beside the tests.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc)] // a test fails by panicking

mod broker;
mod command;
mod ops;
mod path;
mod ports;
mod senders;
mod token;
mod waiting;
mod wire;
mod witness;

pub use broker::{Broker, Setup, binary};
pub use command::{Finished, Running};
pub use ops::Reply;
pub use path::Path;
pub use ports::Ports;
pub use senders::{Acknowledged, Senders, found};
pub use token::{Token, now_s};
pub use waiting::{PATIENCE, eventually, within};
pub use wire::{Manners, Said, Wire, WireDialer, hello};
pub use witness::Witness;

use confab_protocol::{ChannelId, UserId};

/// A user's id.
#[must_use]
pub fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

/// The company's channel.
#[must_use]
pub fn general() -> ChannelId {
    ChannelId::general()
}

/// A number to seed a test's randomness with: `CONFAB_SEED`, or a new one. It
/// is printed, so that a failure can be had again.
#[must_use]
pub fn seed() -> u64 {
    let given = std::env::var("CONFAB_SEED").ok();
    let seed = given.map_or_else(rand::random, |text| text.parse().unwrap());
    eprintln!("seed {seed} (CONFAB_SEED={seed} runs this again)");
    seed
}
