//! Messages: reading and writing them, and showing them as they stand.

use confab_protocol::message::event::{Message, Reaction};
use confab_protocol::position::{Epoch, Offset};

use super::keys::Scope;
use super::record::{StoredChange, StoredEvent, StoredMessage};
use super::reply::Refusal;
use super::{keys, reaction, rows, thread};
use crate::store::{Store, StoreMut};

/// A message with its place and time.
pub(super) struct Placed {
    pub(super) offset: Offset,
    pub(super) created_at_ms: u64,
    pub(super) message: StoredMessage,
}

/// Reads a message, tombstone or not.
pub(super) fn read(store: &dyn Store, epoch: Epoch, offset: Offset) -> Result<Placed, Refusal> {
    match rows::read(store, &keys::event(epoch, offset)) {
        Some(StoredEvent {
            at_ms,
            change: StoredChange::Posted(message),
        }) => Ok(Placed {
            offset,
            created_at_ms: at_ms,
            message,
        }),
        _ => Err(Refusal::NoSuchMessage { message: offset }),
    }
}

/// Reads the message that a thread hangs on, or would.
pub(super) fn read_root(
    store: &dyn Store,
    epoch: Epoch,
    offset: Offset,
) -> Result<Placed, Refusal> {
    let placed = read(store, epoch, offset)?;
    match placed.message.thread_root {
        Some(root) => Err(Refusal::RootIsReply { root }),
        None => Ok(placed),
    }
}

impl Placed {
    /// Writes the message back.
    pub(super) fn write(self, store: &mut dyn StoreMut, epoch: Epoch) {
        let event = StoredEvent {
            at_ms: self.created_at_ms,
            change: StoredChange::Posted(self.message),
        };
        rows::write(store, &keys::event(epoch, self.offset), &event);
    }

    /// Refuses a tombstone.
    pub(super) fn not_deleted(&self) -> Result<(), Refusal> {
        match self.message.deleted_at_ms {
            Some(_) => Err(Refusal::MessageDeleted {
                message: self.offset,
            }),
            None => Ok(()),
        }
    }

    /// Where the message counts: the top level, or its thread.
    pub(super) fn scope(&self, epoch: Epoch) -> Scope {
        Scope::of(epoch, self.message.thread_root)
    }

    /// The thread that the message is in: a reply's, or its own as a root.
    pub(super) fn thread(&self) -> Option<Offset> {
        let own = self.message.threaded.then_some(self.offset);
        self.message.thread_root.or(own)
    }

    /// As clients see it now.
    pub(super) fn to_wire(&self, store: &dyn Store, epoch: Epoch) -> Message {
        let mut wire = self.plain_wire();
        if self.message.threaded {
            let thread = thread::read(store, epoch, self.offset);
            wire.reply_count = thread.reply_count();
            let scope = Scope::of(epoch, Some(self.offset));
            wire.last_reply = thread.replies.last_live(store, scope);
        }
        if self.message.reacted {
            wire.reactions = reaction::read(store, epoch, self.offset)
                .emoji
                .iter()
                .map(|entry| Reaction {
                    emoji: entry.emoji.clone(),
                    count: entry.count,
                    users: entry.first.iter().cloned().collect(),
                })
                .collect();
        }
        wire
    }

    /// As clients see it while it has no replies and no reactions.
    pub(super) fn plain_wire(&self) -> Message {
        let message = &self.message;
        Message {
            offset: self.offset,
            sender: message.sender.clone(),
            content: message.content.clone(),
            thread_root: message.thread_root,
            attachments: message
                .attachments
                .iter()
                .map(super::StoredAttachment::to_wire)
                .collect(),
            mentions: message.mentions.to_wire(),
            client_message_id: message.client_message_id.clone(),
            created_at_ms: self.created_at_ms,
            edited_at_ms: message.edited_at_ms,
            deleted_at_ms: message.deleted_at_ms,
            version: message.version,
            pinned: message.pinned_at.is_some(),
            reply_count: 0,
            last_reply: None,
            reactions: confab_protocol::codec::Packed::default(),
        }
    }
}
