//! The rows of a channel: what stands in its log, and what hangs on it.
//!
//! Append-only like the commands: a field keeps its place for ever, and a row
//! that has to change gets a table of its own.

use confab_protocol::codec::{Decode, Encode, Text};
use confab_protocol::id::{ChannelId, ChannelKind, ClientMessageId, Emoji, UserId};
use confab_protocol::message::event::ChannelRole;
use confab_protocol::position::Offset;

use super::command::{StoredAttachment, StoredMentions};
use super::offset_set::OffsetSet;
use crate::directory::StoredProperties;

/// What changes with every event of a channel; kept small, for it is written
/// with every event.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub(super) struct ChannelHead {
    pub(super) channel: ChannelId,
    pub(super) kind: ChannelKind,
    /// The newest event.
    pub(super) head: Offset,
    /// Its time. Invariant: only grows.
    pub(super) last_at_ms: u64,
    pub(super) created_at_ms: u64,
    /// When the channel was created or last posted to.
    pub(super) last_activity_ms: u64,
    pub(super) member_count: u32,
    pub(super) archived: bool,
    pub(super) deleted: bool,
    /// Index and ordinal of the newest change of the directory that the log
    /// shows. Invariant: only grows.
    pub(super) shown: (u64, u32),
    /// The top-level messages.
    pub(super) messages: Messages,
}

/// The messages of a channel's top level, or of a thread.
///
/// Invariant: `everyone` is within `live`, `live` within `all`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Encode, Decode)]
pub(super) struct Messages {
    /// Tombstones too.
    pub(super) all: OffsetSet,
    pub(super) live: OffsetSet,
    /// Those that mention everyone.
    pub(super) everyone: OffsetSet,
}

/// A user in a channel or in a thread: how far, and what the counts leave out
/// or single out.
#[derive(Clone, Debug, Default, Eq, PartialEq, Encode, Decode)]
pub(super) struct Reader {
    pub(super) read: Offset,
    pub(super) delivered: Offset,
    /// Whether the log shows the user as a member (top level only): members of
    /// a bulk change are not all listed, but whoever acts is one.
    pub(super) member: bool,
    /// Whether the user follows the thread (threads only).
    pub(super) following: bool,
    /// Live messages that the user sent.
    pub(super) own: OffsetSet,
    /// Live messages of others that mention the user by id, but those that
    /// mention everyone.
    pub(super) mentioned: OffsetSet,
    /// Live messages that the user sent and that mention everyone.
    pub(super) own_everyone: OffsetSet,
}

/// A thread: its replies and how many follow it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Encode, Decode)]
pub(super) struct Thread {
    pub(super) follower_count: u32,
    pub(super) replies: Messages,
}

/// One event. The time comes first: a search by time reads only that.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub(super) struct StoredEvent {
    pub(super) at_ms: u64,
    pub(super) change: StoredChange,
}

/// What an event says. Append-only.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub(super) enum StoredChange {
    /// The event that posts a message *is* the message, as it stands now.
    Posted(StoredMessage),
    /// The text of a version is with the message, or in its versions.
    Edited {
        message: Offset,
        by: UserId,
        version: u32,
    },
    Deleted {
        message: Offset,
        by: UserId,
    },
    ReactionAdded {
        message: Offset,
        by: UserId,
        emoji: Emoji,
    },
    ReactionRemoved {
        message: Offset,
        by: UserId,
        emoji: Emoji,
    },
    Pinned {
        message: Offset,
        by: UserId,
    },
    Unpinned {
        message: Offset,
        by: UserId,
    },
    MembersChanged {
        by: Option<UserId>,
        added: Vec<(UserId, ChannelRole)>,
        removed: Vec<UserId>,
        added_count: u32,
        removed_count: u32,
        member_count: u32,
        directory_index: u64,
    },
    Updated {
        by: Option<UserId>,
        properties: StoredProperties,
        directory_index: u64,
    },
}

/// A message as it stands now.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub(super) struct StoredMessage {
    pub(super) sender: UserId,
    /// Empty once deleted, like `attachments` and `mentions`.
    pub(super) content: Text,
    pub(super) thread_root: Option<Offset>,
    pub(super) attachments: Vec<StoredAttachment>,
    pub(super) mentions: StoredMentions,
    pub(super) client_message_id: Option<ClientMessageId>,
    pub(super) edited_at_ms: Option<u64>,
    pub(super) deleted_at_ms: Option<u64>,
    pub(super) version: u32,
    /// The event that pinned it, while it is pinned.
    pub(super) pinned_at: Option<Offset>,
    /// Whether it has a [`Thread`].
    pub(super) threaded: bool,
    /// Whether it has [`Reactions`].
    pub(super) reacted: bool,
}

/// An earlier content of an edited message.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub(super) struct StoredVersion {
    pub(super) content: Text,
    pub(super) mentions: StoredMentions,
    pub(super) written_at_ms: u64,
}

/// By which a resend is recognised: the first answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Encode, Decode)]
pub(super) struct FirstAnswer {
    pub(super) offset: Offset,
    pub(super) created_at_ms: u64,
}

/// The reactions to a message, in order of their emoji's first use.
#[derive(Clone, Debug, Default, Eq, PartialEq, Encode, Decode)]
pub(super) struct Reactions {
    pub(super) emoji: Vec<EmojiCount>,
    /// The number of the next new emoji. Invariant: only grows.
    pub(super) next_number: u64,
    /// The place of the next reaction. Invariant: only grows.
    pub(super) next_order: u64,
}

/// One emoji on a message.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub(super) struct EmojiCount {
    pub(super) emoji: Emoji,
    /// By which its users' rows are found.
    pub(super) number: u64,
    pub(super) count: u32,
    /// The first users, at most 20.
    pub(super) first: Vec<UserId>,
}
