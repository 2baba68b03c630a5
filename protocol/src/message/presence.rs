//! Presence, typing and receipts: pushed as they happen, never in a log.

use serde::Serialize;

use crate::codec::{Decode, Encode, Packed, Text};
use crate::id::{ChannelId, UserId};
use crate::position::Offset;

/// Whether a user is there. The greatest over the user's devices is shown.
#[derive(
    Clone,
    Copy,
    Debug,
    Eq,
    PartialEq,
    Ord,
    PartialOrd,
    Hash,
    Encode,
    Decode,
    Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum PresenceState {
    /// No live device.
    Offline,
    /// Connected, but idle.
    Away,
    /// Does not want to be disturbed.
    Dnd,
    /// There.
    Online,
}

/// How a user is seen.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    /// Who.
    pub user: UserId,
    /// Whether there.
    pub state: PresenceState,
    /// A text of the user's own, at most 200 bytes.
    pub status: Text,
    /// When the user was last there, in Unix milliseconds; 0 when not known.
    pub last_seen_ms: u64,
}

/// Pushed when users' presence changed; at most once a second for each.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceChanged {
    /// How they are now.
    pub users: Packed<Presence>,
}

/// Says how this device's user wants to be seen. Answer: `Done`.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct SetPresence {
    /// `Online`, `Away` or `Dnd`; `Offline` hides this device.
    pub state: PresenceState,
    /// A text of the user's own, at most 200 bytes.
    pub status: Text,
}

/// Shows that the client lives. Answer: `Done`.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Heartbeat {
    /// Whether the user did something since the last one.
    pub active: bool,
}

/// Watches users whatever channels they share; replaces the list before. Whom
/// the session's user may not see is passed over, like one who does not exist,
/// and a watch ends when what allowed it does.
/// Answer: [`PresenceChanged`] with how they are now.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct WatchPresence {
    /// Whom, at most 500.
    pub users: Packed<UserId>,
}

/// Says which channel is on the screen: its typing, receipts and presence in
/// detail come from now on. Answer: [`PresenceChanged`] with the members that
/// are not offline, when there are at most 500 members.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct OpenChannel {
    /// Which.
    pub channel: ChannelId,
}

/// Says that a channel is no longer on the screen. Answer: `Done`.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct CloseChannel {
    /// Which.
    pub channel: ChannelId,
}

/// Says that the user types, or has stopped. Has no answer; may be a datagram.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Typing {
    /// Where.
    pub channel: ChannelId,
    /// The thread's root, when in a thread.
    pub thread: Option<Offset>,
    /// Types, or has stopped.
    pub on: bool,
}

/// Pushed when a user types or stops, to sessions that have the channel open.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TypingChanged {
    /// Where.
    pub channel: ChannelId,
    /// The thread's root, when in a thread.
    pub thread: Option<Offset>,
    /// Who.
    pub user: UserId,
    /// The user's display name.
    pub name: Text,
    /// Types, or has stopped.
    pub on: bool,
}

/// Pushed when a member's cursor moved, in channels of up to 100 members.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Where.
    pub channel: ChannelId,
    /// The thread's root, for a thread's cursor.
    pub thread: Option<Offset>,
    /// Who.
    pub user: UserId,
    /// Read up to here.
    pub read: Offset,
    /// Delivered up to here.
    pub delivered: Offset,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
}
