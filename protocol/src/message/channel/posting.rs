//! Writing messages and changing them.

use serde::Serialize;

use crate::codec::{Decode, Encode, Packed, Text};
use crate::id::{ChannelId, ClientMessageId, Emoji};
use crate::message::event::{Attachment, Mentions};
use crate::position::{Offset, Position, Sequence};

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
