//! Requests about channels, their messages, members and cursors.

use serde::Serialize;

use super::event::{Attachment, ChannelRole, Event, Member, Mentions, Message, MessageVersion};
use crate::codec::{Decode, Encode, Packed, Text};
use crate::id::{ChannelId, ChannelKind, ClientMessageId, Emoji, UserId};
use crate::position::{Epoch, Offset, Position, Sequence};

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

/// Posts a message. Answer: [`Posted`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Post {
    /// Where. A direct-message channel is made by its first message.
    pub channel: ChannelId,
    /// The device's number for this message; a resend keeps it. 0: none.
    pub sequence: Sequence,
    /// The client's name for this message; a resend keeps it.
    pub client_message_id: Option<ClientMessageId>,
    /// Markdown, 1 to 16,384 characters; may be empty with attachments.
    pub content: Text,
    /// The thread to reply in.
    pub thread_root: Option<Offset>,
    /// At most 10.
    pub attachments: Packed<Attachment>,
    /// Whom it calls on.
    pub mentions: Mentions,
}

/// The message is durable on a quorum.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Posted {
    /// Where it stands.
    pub position: Position,
    /// When, in Unix milliseconds.
    pub created_at_ms: u64,
    /// Whether it stood there already: this was a resend.
    pub duplicate: bool,
}

/// Gives a message new content. Answer: [`Changed`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Edit {
    /// Where.
    pub channel: ChannelId,
    /// Which message.
    pub message: Offset,
    /// The new text.
    pub content: Text,
    /// Whom it calls on.
    pub mentions: Mentions,
    /// Refuse with `Conflict` unless the message has this version.
    pub if_version: Option<u32>,
}

/// Deletes a message. Answer: [`Changed`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Delete {
    /// Where.
    pub channel: ChannelId,
    /// Which message.
    pub message: Offset,
}

/// Puts an emoji on a message or takes it off. Answer: [`Changed`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct React {
    /// Where.
    pub channel: ChannelId,
    /// Which message.
    pub message: Offset,
    /// Which emoji.
    pub emoji: Emoji,
    /// On or off.
    pub on: bool,
}

/// Pins a message or takes the pin off. Answer: [`Changed`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Pin {
    /// Where.
    pub channel: ChannelId,
    /// Which message.
    pub message: Offset,
    /// On or off.
    pub on: bool,
}

/// The change stands in the log, or stood there already.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Changed {
    /// Where; the channel's head when nothing had to be changed.
    pub position: Position,
    /// The message's version now.
    pub version: u32,
}

/// Moves a cursor forward; backwards it does nothing. Answer: [`CursorState`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct MarkRead {
    /// Where.
    pub channel: ChannelId,
    /// A thread's root, for the thread's own cursor.
    pub thread: Option<Offset>,
    /// Read up to here, inclusive.
    pub offset: Offset,
}

/// Moves the delivered cursor forward. Answer: [`CursorState`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct MarkDelivered {
    /// Where.
    pub channel: ChannelId,
    /// Delivered up to here, inclusive.
    pub offset: Offset,
}

/// Makes a message, and all after it, unread again. Answer: [`CursorState`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct MarkUnread {
    /// Where.
    pub channel: ChannelId,
    /// The first that is to be unread.
    pub offset: Offset,
}

/// How far the user is now.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CursorState {
    /// Where.
    pub channel: ChannelId,
    /// The thread's root, for a thread's cursor.
    pub thread: Option<Offset>,
    /// The cursors and counts.
    pub read_state: ReadState,
}

/// Asks how far members are. Answer: [`CursorPage`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct ListCursors {
    /// Where.
    pub channel: ChannelId,
    /// The last user of the page before.
    pub after: Option<UserId>,
    /// 1 to 200.
    pub limit: u16,
}

/// How far members of a channel are, in order of their ids.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CursorPage {
    /// The cursors; members who never read are left out.
    pub cursors: Packed<MemberCursor>,
    /// Whether there are more.
    pub more: bool,
}

/// How far one member is.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberCursor {
    /// Who.
    pub user: UserId,
    /// Read up to here.
    pub read: Offset,
    /// Delivered up to here.
    pub delivered: Offset,
}

/// Asks for a page of messages. Answer: [`HistoryPage`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct History {
    /// Where.
    pub channel: ChannelId,
    /// A thread's root: its root and replies; else top-level messages only.
    pub thread: Option<Offset>,
    /// From where.
    pub anchor: Anchor,
    /// 1 to 200; 0 stands for 50.
    pub limit: u16,
}

/// Where a page of history starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Encode, Decode)]
pub enum Anchor {
    /// The newest.
    Latest,
    /// The newest before this offset.
    Before(Offset),
    /// The oldest after this offset.
    After(Offset),
    /// The oldest at or after this time, in Unix milliseconds.
    AtTime(u64),
}

/// A page of messages, oldest first.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HistoryPage {
    /// Where.
    pub channel: ChannelId,
    /// Which life of its log.
    pub epoch: Epoch,
    /// The messages.
    pub messages: Packed<Message>,
    /// `Before` this for older ones; `None` at the beginning.
    pub next_before: Option<Offset>,
    /// `After` this for newer ones; `None` at the end.
    pub next_after: Option<Offset>,
    /// The newest event of the log.
    pub head: Offset,
}

/// Asks for one message. Answer: [`MessageInfo`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct GetMessage {
    /// Where.
    pub channel: ChannelId,
    /// Which.
    pub message: Offset,
    /// Whether its earlier versions are wanted too.
    pub versions: bool,
}

/// One message.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageInfo {
    /// As it stands.
    pub message: Message,
    /// Its versions, oldest first, when asked for.
    pub versions: Packed<MessageVersion>,
}

/// Asks for pinned messages, newest pin first. Answer: [`HistoryPage`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct ListPins {
    /// Where.
    pub channel: ChannelId,
}

/// Asks for the log's events after a position. Answer: [`SyncPage`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Sync {
    /// Where.
    pub channel: ChannelId,
    /// The last event that the client has; an older epoch starts from 1.
    pub after: Position,
    /// 1 to 200; 0 stands for 200.
    pub limit: u16,
}

/// Consecutive events of a log.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncPage {
    /// Where.
    pub channel: ChannelId,
    /// Which life of the log; another than asked: forget what is older.
    pub epoch: Epoch,
    /// The events, dense from `after`.
    pub events: Packed<Event>,
    /// The newest event of the log.
    pub head: Offset,
}

/// Follows a thread or stops following it. Answer: [`ThreadInfo`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct FollowThread {
    /// Where.
    pub channel: ChannelId,
    /// The thread's root.
    pub root: Offset,
    /// On or off.
    pub on: bool,
}

/// Asks how a thread stands. Answer: [`ThreadInfo`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct GetThread {
    /// Where.
    pub channel: ChannelId,
    /// The thread's root.
    pub root: Offset,
}

/// How a thread stands for the user.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ThreadInfo {
    /// Where.
    pub channel: ChannelId,
    /// Its root.
    pub root: Offset,
    /// Live replies.
    pub reply_count: u32,
    /// The newest live reply.
    pub last_reply: Option<Offset>,
    /// Whether the user follows it.
    pub following: bool,
    /// How many users follow it.
    pub follower_count: u32,
    /// How far the user is in it.
    pub read_state: ReadState,
}
