//! Sessions: what a connected user may ask, and what it is told.
//!
//! Every gateway drives the same code. It opens a session with
//! [`Session::open`], drives its reading half with [`Session::run`] over a
//! [`FrameSource`], and writes what gathers in its [`outbox`] until that says
//! how the session ends. A request that comes another way (a bulk stream, a
//! datagram, Socket.IO, HTTP) goes through the session's [`Requests`].
//!
//! Not here: bytes on a transport, and what a request does to state.

mod expiry;
#[cfg(test)]
pub(crate) mod fixture;
mod open;
pub mod outbox;
mod presence;
pub mod registry;
mod request;
mod run;

use std::net::IpAddr;
use std::time::Duration;

use confab_protocol::{Frame, WireError};

use crate::auth::Verifier;
use crate::fanout::Fanout;
use crate::limits::{Connections, Rate, RateLimits};
use crate::ops::{Gateway, Metrics};
use crate::presence::Presence;
use crate::router::Router;
use outbox::{OutboxConfig, OutboxMeter};
use registry::Registry;

pub use open::Opened;
pub use request::{Accepted, BulkRequest, Requests, decode_hello, refused};
pub use run::{Ended, Session};

/// Limits and timers of a session.
#[derive(Clone, Copy, Debug)]
pub struct SessionConfig {
    /// The outbox's limits.
    pub outbox: OutboxConfig,
    /// What `Welcome` says about the rate of a user's messages. Default 10 a
    /// second, 20 at once; [`RateLimits`] hold to it.
    pub messages: Rate,
    /// Posts that wait for their answers before the session reads no further.
    /// Default 1,024: about 300 KiB.
    pub posts_in_flight_max: usize,
    /// Other requests that are worked on at once. Default 16: each may hold a
    /// page of 512 KiB.
    pub requests_in_flight_max: usize,
    /// How long before its end a token's user is told. Default 30 s.
    pub token_warning: Duration,
    /// After how long without a sign of life a session ends, on a transport
    /// that does not notice by itself. Default 60 s.
    pub silence_timeout: Duration,
    /// How long requests that were taken may still be worked on when the server
    /// goes away. Default 5 s.
    pub drain_timeout: Duration,
    /// Over which time clients are spread when they are told to connect again.
    /// Default 5 s.
    pub reconnect_spread: Duration,
    /// How often a client shows that its user is there. Default 25 s.
    pub heartbeat_interval: Duration,
    /// How often typing may be repeated. Default 2 s.
    pub typing_interval: Duration,
    /// When typing ends by itself. Default 3 s.
    pub typing_timeout: Duration,
}

impl SessionConfig {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        outbox: OutboxConfig::DEFAULT,
        messages: Rate::new(10, 20),
        posts_in_flight_max: 1_024,
        requests_in_flight_max: 16,
        token_warning: Duration::from_secs(30),
        silence_timeout: Duration::from_secs(60),
        drain_timeout: Duration::from_secs(5),
        reconnect_spread: Duration::from_secs(5),
        heartbeat_interval: Duration::from_secs(25),
        typing_interval: Duration::from_secs(2),
        typing_timeout: Duration::from_secs(3),
    };
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What sessions work with; one for all gateways of a node.
pub struct Services {
    /// Limits and timers.
    pub config: SessionConfig,
    /// Judges tokens.
    pub tokens: Verifier,
    /// How fast users, connections and addresses may be.
    pub rates: RateLimits,
    /// How many connections there are, on all gateways.
    pub connections: Connections,
    /// Authorises, proposes and answers.
    pub router: Router,
    /// Delivers what was applied.
    pub fanout: Fanout,
    /// Who is there, and who types.
    pub presence: Presence,
    /// The open sessions of this node.
    pub registry: Registry,
    /// What all outboxes report to.
    pub outboxes: OutboxMeter,
    /// What is counted.
    pub metrics: Metrics,
}

/// The other side of a connection, as its gateway knows it.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// By which door it came.
    pub gateway: Gateway,
    /// Its address.
    pub address: IpAddr,
    /// Whether the transport ends the connection of a peer that is gone. If
    /// not, the session ends itself after [`SessionConfig::silence_timeout`].
    pub is_watched: bool,
}

/// Where a session's frames come from, in order.
pub trait FrameSource: Send {
    /// The next frame, or `None` when the peer is done or gone. Cancel safe.
    ///
    /// # Errors
    /// What is wrong with bytes that are no frame; the session ends with it.
    fn next_frame(&mut self) -> impl Future<Output = Result<Option<Frame>, WireError>> + Send;
}

/// The time in Unix milliseconds.
fn now_ms() -> u64 {
    let now = std::time::SystemTime::now();
    let since = now.duration_since(std::time::UNIX_EPOCH);
    // A clock before 1970 counts as 1970: every token is valid then, and the
    // node has told of its clock when it started.
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
