//! What a conversation is made of: what stands in its log, and what we have sent
//! and does not stand there yet.

use confab_protocol::Offset;

use super::message::ShownMessage;

/// Something that stands in a conversation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Entry {
    Message(ShownMessage),
    /// Members came or went, or the channel changed.
    Notice {
        offset: Offset,
        at_ms: u64,
        text: String,
    },
}

impl Entry {
    pub(crate) const fn offset(&self) -> Offset {
        match self {
            Self::Message(message) => message.offset,
            Self::Notice { offset, .. } => *offset,
        }
    }

    pub(crate) const fn at_ms(&self) -> u64 {
        match self {
            Self::Message(message) => message.created_at_ms,
            Self::Notice { at_ms, .. } => *at_ms,
        }
    }

    pub(crate) const fn message(&self) -> Option<&ShownMessage> {
        match self {
            Self::Message(message) => Some(message),
            Self::Notice { .. } => None,
        }
    }
}

/// How a message of our own that is not in the log yet stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Sending {
    UnderWay,
    /// It stands at this offset; its event is on its way.
    Acknowledged(Offset),
    Failed(String),
}

/// A message of our own that was sent and is not in the log yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Pending {
    pub(crate) local: u64,
    pub(crate) content: String,
    pub(crate) sending: Sending,
}
