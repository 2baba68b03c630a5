//! How far users are in a channel.

use serde::Serialize;

use super::ReadState;
use crate::codec::{Decode, Encode, Packed};
use crate::id::{ChannelId, UserId};
use crate::position::Offset;

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
