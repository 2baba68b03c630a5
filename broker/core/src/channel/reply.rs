//! What comes of a command: a reply to its proposer, outputs for fan-out.

use confab_protocol::codec::{Decode, Encode};
use confab_protocol::error::{ErrorCode, WireError};
use confab_protocol::id::{ChannelId, UserId};
use confab_protocol::message::channel::{ReadState, ThreadInfo};
use confab_protocol::message::event::Event;
use confab_protocol::position::{Epoch, Offset, Position};

/// What one applied command made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// For whoever proposed the command.
    pub reply: Reply,
    /// For local fan-out, in order; empty when nothing changed.
    pub outputs: Vec<Output>,
}

impl From<Refusal> for Applied {
    fn from(refusal: Refusal) -> Self {
        Reply::Refused(refusal).into()
    }
}

impl From<Reply> for Applied {
    fn from(reply: Reply) -> Self {
        Self {
            reply,
            outputs: Vec::new(),
        }
    }
}

/// The answer to a command; it travels back through Raft as bytes. Append-only.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub enum Reply {
    /// The message stands in the log.
    Posted {
        /// Where.
        position: Position,
        /// When, in Unix milliseconds.
        created_at_ms: u64,
        /// Whether it stood there already: this was a resend.
        duplicate: bool,
    },
    /// An edit, delete, reaction or pin stands in the log, or needed no event.
    Changed {
        /// Where; the channel's head when nothing had to be changed.
        position: Position,
        /// The message's version now.
        version: u32,
    },
    /// How far the user is now, in the channel or in the thread.
    Cursor {
        /// The thread's root, for a thread's cursor.
        thread: Option<Offset>,
        /// Cursors and counts.
        read_state: ReadState,
    },
    /// How the thread stands for the user now.
    Thread(ThreadInfo),
    /// The directory's change stands in the log.
    Shown {
        /// Its last event; the head when the log had the change already.
        position: Position,
        /// Members after it.
        member_count: u32,
    },
    /// Rows of a deleted channel are gone.
    Purged {
        /// How many.
        rows: u32,
        /// Whether there are more.
        more: bool,
    },
    /// The state makes the command impossible.
    Refused(Refusal),
}

/// Why the state makes a command impossible. Append-only.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    /// The channel does not exist, is deleted, or lives on under a new epoch.
    #[error("the channel is gone; list the channels again")]
    ChannelGone,
    /// No message stands at that offset.
    #[error("there is no message at offset {message}")]
    NoSuchMessage {
        /// The offset.
        message: Offset,
    },
    /// The message was deleted.
    #[error("the message at offset {message} is deleted")]
    MessageDeleted {
        /// Which.
        message: Offset,
    },
    /// The channel is archived.
    #[error("the channel is archived: nothing can be added")]
    ChannelArchived,
    /// The message has another version than the request names.
    #[error("the message has version {version} by now; read it and edit again")]
    VersionConflict {
        /// The version it has.
        version: u32,
    },
    /// Threads have one level.
    #[error("that message is itself a reply; its thread's root is offset {root}")]
    RootIsReply {
        /// Where its thread starts.
        root: Offset,
    },
    /// The message was edited too often.
    #[error("the message was edited {} times, the most there is", super::EDITS_MAX)]
    TooManyEdits,
    /// The message has as many different emoji as it may.
    #[error(
        "the message has {} different emoji, the most there is",
        confab_protocol::limits::REACTION_EMOJI_MAX
    )]
    TooManyReactions,
    /// The channel has as many pins as it may.
    #[error(
        "the channel has {} pins, the most there is; unpin one first",
        super::PINS_MAX
    )]
    TooManyPins,
    /// The content, the attachments or the mentions are past their limit.
    #[error("the content, the attachments or the mentions are past their limit")]
    TooLarge,
    /// Only a deleted channel can be purged.
    #[error("the channel is not deleted")]
    NotDeleted,
}

impl Refusal {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::ChannelGone | Self::NoSuchMessage { .. } => ErrorCode::NotFound,
            Self::MessageDeleted { .. } => ErrorCode::MessageDeleted,
            Self::ChannelArchived => ErrorCode::ChannelArchived,
            Self::VersionConflict { .. } | Self::NotDeleted => ErrorCode::Conflict,
            Self::RootIsReply { .. } => ErrorCode::InvalidArgument,
            Self::TooManyEdits | Self::TooManyReactions | Self::TooManyPins | Self::TooLarge => {
                ErrorCode::TooLarge
            }
        }
    }
}

impl From<Refusal> for WireError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}

/// What sessions have to be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Output {
    /// An event stands in the log. Offsets of one channel's outputs are dense.
    Event {
        /// Where.
        channel: ChannelId,
        /// Which life of its log.
        epoch: Epoch,
        /// What.
        event: Event,
    },
    /// A cursor moved by command: a receipt for the members, the counts for the
    /// user's own devices. A post moves its sender's cursor to the message
    /// without this output: the event says it.
    Cursor {
        /// Where.
        channel: ChannelId,
        /// Which life of its log.
        epoch: Epoch,
        /// Whose.
        user: UserId,
        /// The thread's root, for a thread's cursor.
        thread: Option<Offset>,
        /// Cursors, and counts that only the user may see.
        read_state: ReadState,
        /// Members: receipts fan out in small channels only.
        member_count: u32,
        /// When, in Unix milliseconds.
        at_ms: u64,
    },
    /// The channel is gone: nothing of it may be shown any more.
    Gone {
        /// Which.
        channel: ChannelId,
        /// Which life of its log.
        epoch: Epoch,
    },
}
