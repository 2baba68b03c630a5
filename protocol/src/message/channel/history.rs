//! Reading a channel's messages, events and threads.

use serde::Serialize;

use super::ReadState;
use crate::codec::{Decode, Encode, Packed};
use crate::id::ChannelId;
use crate::message::event::{Event, Message, MessageVersion};
use crate::position::{Epoch, Offset, Position};

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
