//! What a shard's log holds: commands that were authorised before.
//!
//! Commands are encoded into Raft entries and kept until a checkpoint covers
//! them, so every type here is append-only: a variant and a field keep their
//! place for ever, and a changed body is a new variant.

use confab_protocol::codec::{Decode, Encode, Text};
use confab_protocol::id::{ChannelId, ChannelKind, ClientMessageId, DeviceId, Emoji, UserId};
use confab_protocol::message::event::{Attachment, Mentions};
use confab_protocol::position::{Epoch, Offset, Sequence};

use crate::directory::{ChannelChange, ChannelChangeKind};

/// One command for one channel.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Command {
    /// Which channel.
    pub channel: ChannelId,
    /// Which life of its log; a command for another life is refused.
    pub epoch: Epoch,
    /// The leader's clock when it proposed this, in Unix milliseconds.
    pub at_ms: u64,
    /// The directory's log index that this was authorised at; for
    /// [`Action::Show`] the index of the change itself.
    pub directory_index: u64,
    /// What to do.
    pub action: Action,
}

/// What a command does. Append-only.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub enum Action {
    /// Posts a message.
    Post(Post),
    /// Gives a message new content.
    Edit(Edit),
    /// Deletes a message.
    Delete(Delete),
    /// Puts an emoji on a message or takes it off.
    React(React),
    /// Pins a message or takes the pin off.
    Pin(Pin),
    /// Moves a cursor forward.
    MoveCursor(MoveCursor),
    /// Moves a read cursor back.
    MarkUnread(MarkUnread),
    /// Follows a thread or stops following it.
    Follow(Follow),
    /// Shows in the log what the directory changed.
    Show(Show),
    /// Removes rows of a deleted channel, at most `rows_max` of them.
    Purge {
        /// Clamped to 1 to 10,000: what one entry may cost.
        rows_max: u32,
    },
}

/// Posts a message. A resend keeps `sequence` and `client_message_id`: either
/// recognises it, and it gets the first answer, whatever else it carries.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Post {
    /// Who sends it.
    pub sender: UserId,
    /// From which device.
    pub device: DeviceId,
    /// The device's number for it; 0: none.
    pub sequence: Sequence,
    /// The sender's name for it.
    pub client_message_id: Option<ClientMessageId>,
    /// Markdown.
    pub content: Text,
    /// The thread to reply in.
    pub thread_root: Option<Offset>,
    /// At most 10.
    pub attachments: Vec<StoredAttachment>,
    /// Whom it calls on.
    pub mentions: StoredMentions,
}

/// Gives a message new content.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Edit {
    /// Who edits: the sender, as the router checked.
    pub by: UserId,
    /// Which message.
    pub message: Offset,
    /// The new text.
    pub content: Text,
    /// Whom it calls on.
    pub mentions: StoredMentions,
    /// Refuse unless the message has this version.
    pub if_version: Option<u32>,
}

/// Deletes a message.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Delete {
    /// Who deletes.
    pub by: UserId,
    /// Which message.
    pub message: Offset,
}

/// Puts an emoji on a message or takes it off.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct React {
    /// Whose reaction.
    pub by: UserId,
    /// On which message.
    pub message: Offset,
    /// Which emoji.
    pub emoji: Emoji,
    /// On or off.
    pub on: bool,
}

/// Pins a message or takes the pin off.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Pin {
    /// Who does it.
    pub by: UserId,
    /// Which message.
    pub message: Offset,
    /// On or off.
    pub on: bool,
}

/// Which of a reader's two cursors.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Encode, Decode)]
pub enum Cursor {
    /// Seen by the user; what is read is delivered too.
    Read,
    /// Arrived at a device of the user.
    Delivered,
}

/// Moves a cursor forward; backwards it does nothing, and beyond the head it
/// stops at the head.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct MoveCursor {
    /// Whose.
    pub user: UserId,
    /// A thread's root, for the cursor in the thread.
    pub thread: Option<Offset>,
    /// Which cursor.
    pub cursor: Cursor,
    /// Up to here, inclusive.
    pub offset: Offset,
}

/// Makes a message, and all after it, unread again.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct MarkUnread {
    /// Whose cursor.
    pub user: UserId,
    /// A thread's root, for the cursor in the thread.
    pub thread: Option<Offset>,
    /// The first that is to be unread.
    pub offset: Offset,
}

/// Follows a thread or stops following it.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Follow {
    /// Who.
    pub user: UserId,
    /// The thread's root.
    pub root: Offset,
    /// On or off.
    pub on: bool,
}

/// A change of the directory, without what the command says already.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Show {
    /// Which of the changes that its directory index made to this channel.
    pub ordinal: u32,
    /// What the channel is for.
    pub kind: ChannelKind,
    /// Who changed it; `None` for the directory.
    pub by: Option<UserId>,
    /// What changed.
    pub what: ChannelChangeKind,
}

impl From<ChannelChange> for Command {
    fn from(change: ChannelChange) -> Self {
        Self {
            channel: change.channel,
            epoch: change.epoch,
            at_ms: change.at_ms,
            directory_index: change.directory_index,
            action: Action::Show(Show {
                ordinal: change.ordinal,
                kind: change.kind,
                by: change.by,
                what: change.what,
            }),
        }
    }
}

/// A file or link that a message carries, as it is stored.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct StoredAttachment {
    /// File name.
    pub name: Text,
    /// Media type.
    pub media_type: Text,
    /// Size in bytes, as the sender says.
    pub bytes: u64,
    /// An `https:` URL or a blob id.
    pub url: Text,
}

/// Whom a message calls on, as it is stored.
#[derive(Clone, Debug, Default, Eq, PartialEq, Encode, Decode)]
pub struct StoredMentions {
    /// Users by id.
    pub users: Vec<UserId>,
    /// `@channel`.
    pub channel: bool,
    /// `@here`; counted like `@channel`: a log does not know who was online.
    pub here: bool,
}

impl StoredMentions {
    /// Whether every member is called on.
    #[must_use]
    pub const fn everyone(&self) -> bool {
        self.channel || self.here
    }

    /// As clients see it.
    #[must_use]
    pub fn to_wire(&self) -> Mentions {
        Mentions {
            users: self.users.iter().cloned().collect(),
            channel: self.channel,
            here: self.here,
        }
    }
}

impl From<&Mentions> for StoredMentions {
    fn from(wire: &Mentions) -> Self {
        Self {
            users: wire.users.to_vec(),
            channel: wire.channel,
            here: wire.here,
        }
    }
}

impl StoredAttachment {
    /// As clients see it.
    #[must_use]
    pub fn to_wire(&self) -> Attachment {
        Attachment {
            name: self.name.clone(),
            media_type: self.media_type.clone(),
            bytes: self.bytes,
            url: self.url.clone(),
        }
    }
}

impl From<Attachment> for StoredAttachment {
    fn from(wire: Attachment) -> Self {
        Self {
            name: wire.name,
            media_type: wire.media_type,
            bytes: wire.bytes,
            url: wire.url,
        }
    }
}
