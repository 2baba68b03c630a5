//! What stands in a channel's log, as clients see it.

use serde::Serialize;

use crate::codec::{Decode, Encode, Packed, Text};
use crate::id::{ChannelId, ClientMessageId, Emoji, UserId};
use crate::position::{Epoch, Offset};

/// A file or link that a message carries.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Attachment {
    /// File name, at most 255 bytes.
    pub name: Text,
    /// Media type such as `image/png`.
    pub media_type: Text,
    /// Size in bytes, as the sender says.
    pub bytes: u64,
    /// An `https:` URL or a blob id.
    pub url: Text,
}

/// Whom a message calls on.
#[derive(Clone, Debug, Default, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mentions {
    /// Users by id, at most 100.
    pub users: Packed<UserId>,
    /// `@channel`: every member.
    pub channel: bool,
    /// `@here`: every member who is online.
    pub here: bool,
}

/// A message as it stands now.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// The offset that posted it.
    pub offset: Offset,
    /// Who sent it.
    pub sender: UserId,
    /// Markdown text; empty once deleted.
    pub content: Text,
    /// The root when this is a reply in a thread.
    pub thread_root: Option<Offset>,
    /// Files and links, at most 10.
    pub attachments: Packed<Attachment>,
    /// Whom it calls on.
    pub mentions: Mentions,
    /// The sender's own name for it.
    pub client_message_id: Option<ClientMessageId>,
    /// When the server took it, in Unix milliseconds; display only.
    pub created_at_ms: u64,
    /// When it was last edited.
    pub edited_at_ms: Option<u64>,
    /// When it was deleted: what is left is a tombstone.
    pub deleted_at_ms: Option<u64>,
    /// 1 as posted, one more for every edit.
    pub version: u32,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Live replies, when this is a thread's root.
    pub reply_count: u32,
    /// Offset of the newest live reply.
    pub last_reply: Option<Offset>,
    /// Reactions, one item for each emoji in order of first use.
    pub reactions: Packed<Reaction>,
}

/// One emoji on a message.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reaction {
    /// The emoji.
    pub emoji: Emoji,
    /// How many users.
    pub count: u32,
    /// The first users, at most 20.
    pub users: Packed<UserId>,
}

/// One earlier content of an edited message.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageVersion {
    /// 1 is the content as it was posted.
    pub version: u32,
    /// The text of that version.
    pub content: Text,
    /// When that version was written, in Unix milliseconds.
    pub written_at_ms: u64,
}

/// Whoever acts on a channel's members.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Encode, Decode, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelRole {
    /// May read and write what is meant for guests: a client in a project.
    Guest,
    /// May read and write.
    Member,
    /// May also manage members and messages.
    Admin,
    /// May also name admins and delete the channel.
    Owner,
}

/// One member of a channel.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// With which role.
    pub role: ChannelRole,
}

/// One event of a channel's log.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Its place in the log; dense from 1.
    pub offset: Offset,
    /// When it was applied, in Unix milliseconds; never runs backwards in a channel.
    pub at_ms: u64,
    /// What happened.
    pub change: Change,
}

/// What an event says. Append-only: a variant keeps its place for ever.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Change {
    /// A message; an empty tombstone when it has been deleted since.
    MessagePosted {
        /// The message as it stands when the event is read.
        message: Message,
    },
    /// A new content for a message.
    MessageEdited {
        /// Which.
        message: Offset,
        /// Who edited it: the sender.
        by: UserId,
        /// The new text; empty when the message has been deleted since.
        content: Text,
        /// Whom the new text calls on.
        mentions: Mentions,
        /// Its version, from 2.
        version: u32,
    },
    /// A message is gone; its content is erased.
    MessageDeleted {
        /// Which.
        message: Offset,
        /// Who deleted it.
        by: UserId,
    },
    /// A user put an emoji on a message.
    ReactionAdded {
        /// Which.
        message: Offset,
        /// Who.
        by: UserId,
        /// What.
        emoji: Emoji,
    },
    /// A user took an emoji off a message.
    ReactionRemoved {
        /// Which.
        message: Offset,
        /// Who.
        by: UserId,
        /// What.
        emoji: Emoji,
    },
    /// A message was pinned.
    MessagePinned {
        /// Which.
        message: Offset,
        /// Who pinned it.
        by: UserId,
    },
    /// A message is no longer pinned.
    MessageUnpinned {
        /// Which.
        message: Offset,
        /// Who took it off.
        by: UserId,
    },
    /// Members came, went or changed their role.
    MembersChanged {
        /// Who did it; `None` for the directory (an import, a CRM hook).
        by: Option<UserId>,
        /// Who is a member now or has another role; the first 100.
        added: Packed<Member>,
        /// Who is no longer a member; the first 100.
        removed: Packed<UserId>,
        /// How many in all were added or changed.
        added_count: u32,
        /// How many in all were removed.
        removed_count: u32,
        /// Members after the change.
        member_count: u32,
        /// The directory's log index that this follows.
        directory_index: u64,
    },
    /// The channel was created, renamed, archived or otherwise changed.
    ChannelUpdated {
        /// Who did it; `None` for the directory.
        by: Option<UserId>,
        /// The channel's properties after the change.
        properties: ChannelProperties,
        /// The directory's log index that this follows.
        directory_index: u64,
    },
}

/// What a channel is called and how it is open.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelProperties {
    /// Display name; empty for a direct message.
    pub name: Text,
    /// What it is about.
    pub topic: Text,
    /// Whether only invited users may join a group.
    pub private: bool,
    /// Since when nothing can be added.
    pub archived_at_ms: Option<u64>,
}

/// An event with its channel, as pushed to sessions.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelEvent {
    /// Which channel.
    pub channel: ChannelId,
    /// Which life of its log.
    pub epoch: Epoch,
    /// What stands there.
    pub event: Event,
}
