//! A channel's log while one command is applied to it.

use std::ops::ControlFlow;

use confab_protocol::message::event::{Change, Event};
use confab_protocol::position::{Epoch, Offset, Position};

use super::command::Command;
use super::record::{ChannelHead, StoredChange, StoredEvent};
use super::reply::{Applied, Output, Refusal, Reply};
use super::{keys, rows};
use crate::store::{Direction, Store, StoreMut};

/// A channel's head, deleted or not.
pub(super) fn read(store: &dyn Store, epoch: Epoch) -> Option<ChannelHead> {
    rows::read(store, &keys::head(epoch))
}

/// Reads what belongs to a channel's head as of the moment of the head: while
/// others post, rows that are read one after another do not fit together.
pub(super) fn with<R>(
    store: &dyn Store,
    epoch: Epoch,
    read: impl FnOnce(ChannelHead) -> R,
) -> Option<R> {
    let key = keys::head(epoch);
    let (mut read, mut result) = (Some(read), None);
    // A scan stands still, and so does what is read within.
    store.scan(
        &key,
        &keys::end_of(&key),
        Direction::Forward,
        &mut |_, value| {
            result = read.take().map(|read| read(rows::parse(value)));
            ControlFlow::Break(())
        },
    );
    result
}

/// The head of a channel that is not deleted.
pub(super) fn read_live(store: &dyn Store, epoch: Epoch) -> Result<ChannelHead, Refusal> {
    match read(store, epoch) {
        Some(head) if !head.deleted => Ok(head),
        _ => Err(Refusal::ChannelGone),
    }
}

/// The log of one channel: appends events, gathers outputs, and writes the head
/// once, at the end.
pub(super) struct Log<'a> {
    pub(super) store: &'a mut dyn StoreMut,
    pub(super) epoch: Epoch,
    pub(super) head: ChannelHead,
    /// The command's time, pushed forward so that times never run backwards.
    pub(super) at_ms: u64,
    outputs: Vec<Output>,
    head_changed: bool,
}

impl<'a> Log<'a> {
    pub(super) fn new(
        store: &'a mut dyn StoreMut,
        epoch: Epoch,
        head: ChannelHead,
        at_ms: u64,
    ) -> Self {
        Self {
            store,
            epoch,
            at_ms: at_ms.max(head.last_at_ms),
            head,
            outputs: Vec::new(),
            head_changed: false,
        }
    }

    /// Opens the log that a command is for.
    pub(super) fn open(store: &'a mut dyn StoreMut, command: &Command) -> Result<Self, Refusal> {
        let head = read_live(&*store, command.epoch)?;
        if head.channel != command.channel {
            return Err(Refusal::ChannelGone);
        }
        Ok(Self::new(store, command.epoch, head, command.at_ms))
    }

    /// The newest event's place.
    pub(super) fn position(&self) -> Position {
        Position {
            epoch: self.epoch,
            offset: self.head.head,
        }
    }

    /// Refuses what would add something to an archived channel.
    pub(super) fn not_archived(&self) -> Result<(), Refusal> {
        if self.head.archived {
            Err(Refusal::ChannelArchived)
        } else {
            Ok(())
        }
    }

    /// The head, to be changed; it is written when the log is closed.
    pub(super) fn head_mut(&mut self) -> &mut ChannelHead {
        self.head_changed = true;
        &mut self.head
    }

    /// Appends an event, in the form that is stored and as sessions see it.
    pub(super) fn append(&mut self, stored: StoredChange, wire: Change) -> Offset {
        let at_ms = self.at_ms;
        let head = self.head_mut();
        head.head = head.head.next();
        head.last_at_ms = at_ms;
        let offset = head.head;
        let event = StoredEvent {
            at_ms,
            change: stored,
        };
        rows::write(self.store, &keys::event(self.epoch, offset), &event);
        self.outputs.push(Output::Event {
            channel: self.head.channel.clone(),
            epoch: self.epoch,
            event: Event {
                offset,
                at_ms,
                change: wire,
            },
        });
        offset
    }

    /// Adds an output that is no event.
    pub(super) fn output(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// The answer to what changed a message.
    pub(super) fn changed(&self, version: u32) -> Reply {
        Reply::Changed {
            position: self.position(),
            version,
        }
    }

    /// Writes the head and hands over what came of the command.
    pub(super) fn close(self, reply: Reply) -> Applied {
        if self.head_changed {
            rows::write(self.store, &keys::head(self.epoch), &self.head);
        }
        Applied {
            reply,
            outputs: self.outputs,
        }
    }
}
