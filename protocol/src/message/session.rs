//! Opening, refreshing and resuming a session.

use serde::Serialize;

use super::channel::{ChannelPage, ChannelTotals};
use crate::codec::{Decode, Encode, Packed, Text};
use crate::id::{ChannelId, DeviceId, UserId};
use crate::position::{Epoch, Offset, Position};

/// The first frame of a connection.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Hello {
    /// Oldest protocol version that the client speaks.
    pub version_min: u16,
    /// Newest protocol version that the client speaks.
    pub version_max: u16,
    /// A JWT.
    pub token: Text,
    /// The device, kept by the client.
    pub device: DeviceId,
    /// Name and version of the client program, for the server's log.
    pub agent: Text,
    /// What the client has, at most 1,000 channels; the most recent first.
    pub positions: Packed<ChannelPosition>,
    /// How many channels of the list it wants at once, 1 to 100.
    pub channels_max: u16,
}

/// Up to where a client has a channel's log.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
pub struct ChannelPosition {
    /// Which channel.
    pub channel: ChannelId,
    /// The last event that it has.
    pub position: Position,
}

/// The server's answer to [`Hello`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Welcome {
    /// The protocol version of this connection.
    pub version: u16,
    /// The session, unique on its node since the node started.
    pub session: u64,
    /// Name and version of the server.
    pub server: Text,
    /// The server's clock in Unix milliseconds, for display.
    pub server_time_ms: u64,
    /// When the token expires, in Unix milliseconds.
    pub token_expires_at_ms: u64,
    /// What the server allows.
    pub limits: ServerLimits,
    /// Who the session is.
    pub user: UserProfile,
    /// The first window of the channel list.
    pub channels: ChannelPage,
    /// Counts over all channels.
    pub totals: ChannelTotals,
    /// Of the positions in `Hello`, the channels that have more or are gone.
    pub behind: Packed<ChannelHead>,
}

/// Limits and timers that a client needs to know.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerLimits {
    /// Largest frame from a client, in bytes.
    pub frame_bytes_max: u32,
    /// Largest content, in characters.
    pub content_chars_max: u32,
    /// Sustained messages a second of one user.
    pub messages_per_second: u32,
    /// Messages of one user that may come at once.
    pub messages_burst: u32,
    /// How often the client shows that its user is there, in milliseconds.
    pub heartbeat_interval_ms: u32,
    /// How often typing may be repeated, in milliseconds.
    pub typing_interval_ms: u32,
    /// When typing ends by itself, in milliseconds.
    pub typing_timeout_ms: u32,
}

/// The newest offset of a channel, or that the user has it no more.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
pub struct ChannelHead {
    /// Which channel.
    pub channel: ChannelId,
    /// The head; `None` when the user is no longer a member or it is deleted.
    pub head: Option<Position>,
}

/// Asks again what lies behind: after [`Behind`], or when in doubt. Answer: [`Resumed`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Resume {
    /// What the client has, at most 1,000 channels.
    pub positions: Packed<ChannelPosition>,
}

/// Of the positions asked, the channels that have more or are gone.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Resumed {
    /// Their heads.
    pub behind: Packed<ChannelHead>,
    /// Counts over all channels.
    pub totals: ChannelTotals,
}

/// A new token for the same user, before the old one expires. Answer: [`Refreshed`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct RefreshToken {
    /// A JWT with the same `sub`.
    pub token: Text,
}

/// The session goes on with the new token.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Refreshed {
    /// When it expires, in Unix milliseconds.
    pub token_expires_at_ms: u64,
}

/// A request that needs no more than 'done' for an answer.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Done {}

/// A user's public face.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserProfile {
    /// Who.
    pub id: UserId,
    /// Display name.
    pub name: Text,
    /// Of the company, or a client of it.
    pub kind: UserKind,
    /// Whether the user may connect.
    pub active: bool,
    /// Whether the user administers the server.
    pub admin: bool,
}

/// Whether a user is of the company.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, Hash, Encode, Decode, Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum UserKind {
    /// Of the company.
    Internal,
    /// A client: sees its projects and its direct messages.
    Client,
}

/// Pushed when the outbox overflowed: live events were left out. The client
/// asks [`Resume`] with what it has and catches up at its own pace; live events
/// go on after this frame.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Behind {
    /// How many events were left out.
    pub events_dropped: u64,
}

/// Pushed 30 s before the token expires.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct TokenExpiring {
    /// When it expires, in Unix milliseconds.
    pub token_expires_at_ms: u64,
}

/// Pushed before the server closes every connection.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct GoingAway {
    /// When to connect again, from now, in milliseconds; spread over clients.
    pub reconnect_after_ms: u32,
}

/// Pushed last before the server closes this connection for a reason of its own.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct SessionClosed {
    /// Why, and what to do.
    pub error: crate::error::WireError,
}

/// Pushed when the user got a channel: created, joined, added.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct ChannelAdded {
    /// The channel as the user sees it.
    pub summary: super::channel::ChannelSummary,
}

/// Pushed when the user lost a channel: nothing after `last_offset` comes.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelRemoved {
    /// Which.
    pub channel: ChannelId,
    /// Which life of its log.
    pub epoch: Epoch,
    /// The removal's own offset: the last that was for this user.
    pub last_offset: Offset,
}
