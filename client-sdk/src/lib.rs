//! Confab's client: a session core without I/O, and a tokio and QUIC shell.
//!
//! A [`Client`] keeps one session with a broker open whatever the network does.
//! Messages are acknowledged when they are durable on a quorum, resent until
//! they are, and posted once; each channel's events come in one order, without
//! gap or duplicate, also after a second or a month away.
//!
//! ```no_run
//! use confab_client::{Client, ClientEvent};
//! use confab_protocol::ChannelId;
//! use futures_util::StreamExt;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let (client, mut events) = Client::builder("127.0.0.1:4433", "localhost")
//!     .ca_pem(std::fs::read("dev-ca.pem")?)
//!     .token(std::env::var("CONFAB_TOKEN")?)
//!     .connect_subscribed()
//!     .await?;
//!
//! let posted = client.channel(ChannelId::general()).send("Hello").await?;
//! println!("durable at offset {}", posted.position.offset);
//!
//! while let Some(event) = events.next().await {
//!     if let ClientEvent::Channel(event) = event {
//!         println!("{}: {:?}", event.channel, event.event.change);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! `examples/echo.rs` is a whole program.
//!
//! To go on after a restart exactly where the process was, keep a
//! [`SavedState`] (from [`Client::close`], [`Client::saved_state`] or
//! [`Builder::save_state`]) and give it to [`Builder::state`].
//!
//! # Parts
//! - [`core`]: what a client must remember and decide; pure, builds for wasm32
//!   with `--no-default-features`.
//! - With the feature `native`: QUIC, the one task that drives the core, and the
//!   API.

pub mod core;

#[cfg(feature = "native")]
mod client;
#[cfg(feature = "native")]
mod driver;
#[cfg(feature = "native")]
mod quic;

pub use crate::core::{
    ClientEvent, CloseReason, CoreConfig, DownReason, HandshakeFault, RequestError, SavedState,
    SavedStateError, SendError,
};
#[cfg(feature = "native")]
pub use client::{
    Builder, ChannelHandle, Client, ConnectError, EditMessage, HistoryStream, SendMessage, Sending,
    Subscription, TokenError, TokenFuture, TokenProvider,
};
pub use confab_protocol as protocol;
