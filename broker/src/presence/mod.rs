//! Presence and typing: never durable, owned by the node of the session.
//!
//! [`Presence`] is the handle that sessions use: they get a [`Device`] from it
//! and tell it what their client does. Inside are two machines without clock or
//! I/O, [`machine`] (who is there) and [`typing`] (who types); this module's
//! [`Presence::run`] drives their timers and hands what they say to outboxes.
//!
//! Who hears of whom follows from channels: sessions of users that share a
//! channel of at most 500 members, and those that watch a user explicitly. The
//! members are looked up once a channel, not once a session, and again when
//! [`Presence::channel_changed`] says so.
//!
//! Not here: rights, which the directory knows. Whoever opens a channel or types
//! was authorised before; whom somebody may watch is asked here, because it may
//! end while the watch goes on.

mod machine;
mod service;
mod typing;

use confab_protocol::{ChannelId, Text, UserId};
use confab_replication::NodeId;

pub use service::{Device, GossipHook, Presence};

/// A session, as the machines know it.
type SessionId = u64;

/// Timers and limits of presence and typing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Milliseconds without a sign of life after which a session counts as gone.
    /// Default 60,000.
    pub offline_after_ms: u64,
    /// Milliseconds without activity after which a session counts as away.
    /// Default 300,000.
    pub away_after_ms: u64,
    /// Milliseconds for which a session that ended still counts, so that a
    /// client that connects again at once does not flicker. Default 5,000.
    pub reconnect_grace_ms: u64,
    /// Milliseconds that a change is held back, so that changes travel together
    /// and what flips back is not told. Default 100.
    pub settle_ms: u64,
    /// Milliseconds between two changes of one user that are told. Default 1,000.
    pub change_interval_ms: u64,
    /// Members up to which a channel makes its users' presence and typing known
    /// to each other. Default 500; the cost of a change grows with it.
    pub channel_members_max: usize,
    /// Users that one session may watch. Default 500.
    pub watched_max: usize,
    /// Users of whom it is remembered when they were last there. Default
    /// 100,000, about 300 bytes each.
    pub remembered_max: usize,
    /// Milliseconds after which typing ends by itself. Default 3,000.
    pub typing_timeout_ms: u64,
    /// Milliseconds between two repeats of typing that are passed on. Default 2,000.
    pub typing_interval_ms: u64,
    /// Channels that one session may have open. Default 32; the one opened first
    /// is closed.
    pub open_channels_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            offline_after_ms: 60_000,
            away_after_ms: 300_000,
            reconnect_grace_ms: 5_000,
            settle_ms: 100,
            change_interval_ms: 1_000,
            channel_members_max: 500,
            watched_max: 500,
            remembered_max: 100_000,
            typing_timeout_ms: 3_000,
            typing_interval_ms: 2_000,
            open_channels_max: 32,
        }
    }
}

/// What presence asks the directory. Answers come from this node's state, at once.
pub trait Directory: Send + Sync {
    /// The channels that the user is a member of.
    fn channels_of(&self, user: &UserId) -> Vec<ChannelId>;

    /// All members of a channel, or `None` when there is no such channel or it
    /// has more than `members_max`.
    fn members(&self, channel: &ChannelId, members_max: usize) -> Option<Vec<UserId>>;

    /// Whether the user is a member.
    fn is_member(&self, channel: &ChannelId, user: &UserId) -> bool;

    /// Whether `viewer` may hear whether `user` is there.
    fn may_see(&self, viewer: &UserId, user: &UserId) -> bool;
}

/// How one node's sessions make a user look: what nodes tell each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Delta {
    /// Who.
    pub user: UserId,
    /// The greatest over the node's sessions.
    pub state: confab_protocol::message::presence::PresenceState,
    /// The text that was set on that node.
    pub status: Text,
    /// When it was set, in Unix milliseconds; the newest counts.
    pub status_set_ms: u64,
    /// When the user was last there, in Unix milliseconds.
    pub last_seen_ms: u64,
}

/// Presence as another node sees it.
#[derive(Clone, Debug)]
struct Remote {
    node: NodeId,
    delta: Delta,
}
