//! Requests about channels and their members; below, those about their
//! messages, cursors and history.

mod cursor;
mod history;
mod posting;

use serde::Serialize;

use super::event::{ChannelRole, Member};
use crate::codec::{Decode, Encode, Packed, Text};
use crate::id::{ChannelId, ChannelKind, ClientMessageId, UserId};
use crate::position::{Epoch, Offset, Position};

pub use cursor::{
    CursorPage, CursorState, ListCursors, MarkDelivered, MarkRead, MarkUnread, MemberCursor,
};
pub use history::{
    Anchor, FollowThread, GetMessage, GetThread, History, HistoryPage, ListPins, MessageInfo, Sync,
    SyncPage, ThreadInfo,
};
pub use posting::{Changed, Delete, Edit, Pin, Post, Posted, React};

/// A channel as one user sees it in the list.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelSummary {
    /// Which.
    pub channel: ChannelId,
    /// What it is for.
    pub kind: ChannelKind,
    /// Which life of its log.
    pub epoch: Epoch,
    /// Its display name; for a direct message, the other user's.
    pub name: Text,
    /// What it is about.
    pub topic: Text,
    /// Whether a group is open only to those invited.
    pub private: bool,
    /// Since when nothing can be added.
    pub archived_at_ms: Option<u64>,
    /// When it was created.
    pub created_at_ms: u64,
    /// The user's role.
    pub role: ChannelRole,
    /// How many members it has.
    pub member_count: u32,
    /// The newest event.
    pub head: Offset,
    /// When something last stood in it; the list is sorted by this, newest first.
    pub last_activity_ms: u64,
    /// The newest live top-level message, its text cut to 200 characters.
    pub last_message: Option<MessagePreview>,
    /// How far the user is.
    pub read_state: ReadState,
}

/// Enough of a message for a list.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessagePreview {
    /// Its offset.
    pub offset: Offset,
    /// Who sent it.
    pub sender: UserId,
    /// The first 200 characters.
    pub content: Text,
    /// When, in Unix milliseconds.
    pub created_at_ms: u64,
}

/// How far a user is in a channel, or in one of its threads.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReadState {
    /// Read up to here, inclusive.
    pub read: Offset,
    /// Delivered up to here, inclusive.
    pub delivered: Offset,
    /// Live messages after `read` that others sent.
    pub unread: u32,
    /// Those of them that mention the user.
    pub mentions: u32,
}

/// Counts over all of a user's channels.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelTotals {
    /// Channels.
    pub channels: u32,
    /// Channels with something unread.
    pub unread_channels: u32,
    /// Unread messages.
    pub unread: u32,
    /// Unread mentions.
    pub mentions: u32,
}

/// Asks for a window of the channel list. Answer: [`ChannelPage`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct ListChannels {
    /// `next` of the window before; `None` for the newest.
    pub after: Option<ChannelListKey>,
    /// 1 to 200.
    pub limit: u16,
}

/// A place in the channel list.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelListKey {
    /// Activity of the last channel seen, in Unix milliseconds.
    pub last_activity_ms: u64,
    /// That channel.
    pub channel: ChannelId,
}

/// A window of the channel list, newest activity first.
#[derive(Clone, Debug, Default, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelPage {
    /// The channels.
    pub channels: Packed<ChannelSummary>,
    /// Where to go on; `None` at the end.
    pub next: Option<ChannelListKey>,
}

/// Asks for one channel. Answer: [`ChannelInfo`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct GetChannel {
    /// Which.
    pub channel: ChannelId,
}

/// One channel, in answer to whatever made, changed or asked for it.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(transparent)]
pub struct ChannelInfo {
    /// The channel as the user sees it.
    pub summary: ChannelSummary,
}

/// Opens the direct messages with a user. Answer: [`ChannelInfo`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct OpenDm {
    /// The other user.
    pub user: UserId,
}

/// Creates a group with its sender as owner. Answer: [`ChannelInfo`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct CreateGroup {
    /// Display name, 1 to 200 bytes.
    pub name: Text,
    /// What it is about, at most 1,024 bytes.
    pub topic: Text,
    /// Whether only invited users may join.
    pub private: bool,
    /// Whom to invite at once, at most 500.
    pub members: Packed<UserId>,
    /// By which a repeated request is recognised; `None` makes a group each time.
    pub client_id: Option<ClientMessageId>,
}

/// Changes a channel's properties; `None` leaves one as it is. Answer: [`ChannelInfo`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct UpdateChannel {
    /// Which.
    pub channel: ChannelId,
    /// A new name.
    pub name: Option<Text>,
    /// A new topic.
    pub topic: Option<Text>,
    /// Close or open a group.
    pub private: Option<bool>,
    /// Archive or bring back.
    pub archived: Option<bool>,
}

/// Deletes a channel: hidden at once, its messages purged. Answer: `Done`.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct DeleteChannel {
    /// Which.
    pub channel: ChannelId,
}

/// Joins an open group. Answer: [`ChannelInfo`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct JoinChannel {
    /// Which.
    pub channel: ChannelId,
}

/// Leaves a group. Answer: [`MembersUpdated`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct LeaveChannel {
    /// Which.
    pub channel: ChannelId,
}

/// Invites users to a group. Answer: [`MembersUpdated`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct AddMembers {
    /// Which.
    pub channel: ChannelId,
    /// Whom, at most 500.
    pub users: Packed<UserId>,
}

/// Takes users out of a group. Answer: [`MembersUpdated`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct RemoveMembers {
    /// Which.
    pub channel: ChannelId,
    /// Whom, at most 500.
    pub users: Packed<UserId>,
}

/// Gives a member of a group another role. Answer: [`MembersUpdated`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct SetRole {
    /// Which.
    pub channel: ChannelId,
    /// Whom.
    pub user: UserId,
    /// The new role.
    pub role: ChannelRole,
}

/// The membership change stands in the channel's log.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MembersUpdated {
    /// Where: a removed user gets nothing after this. The channel's head when
    /// nothing had to be changed.
    pub position: Position,
    /// Members after the change.
    pub member_count: u32,
}

/// Asks for members in order of their ids. Answer: [`MemberPage`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct ListMembers {
    /// Which.
    pub channel: ChannelId,
    /// The last user of the page before.
    pub after: Option<UserId>,
    /// 1 to 200.
    pub limit: u16,
}

/// Members of a channel.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberPage {
    /// The members with their names.
    pub members: Packed<MemberProfile>,
    /// Whether there are more.
    pub more: bool,
}

/// A member with a face.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberProfile {
    /// Who, with which role.
    pub member: Member,
    /// Display name.
    pub name: Text,
    /// Of the company, or a client of it.
    pub kind: super::session::UserKind,
}
