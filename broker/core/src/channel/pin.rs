//! Pins: at most [`PINS_MAX`] a channel, newest first.

use confab_protocol::message::event::Change;
use confab_protocol::position::{Epoch, Offset};

use super::command::Pin;
use super::head::Log;
use super::record::StoredChange;
use super::reply::{Refusal, Reply};
use super::{keys, message, rows};
use crate::store::{Direction, Store};

/// Most pinned messages of one channel.
pub const PINS_MAX: usize = 100;

/// The pinned messages, newest pin first.
pub(super) fn list(store: &dyn Store, epoch: Epoch) -> Vec<Offset> {
    rows::list(
        store,
        &keys::pins(epoch),
        Direction::Reverse,
        PINS_MAX,
        |_, value| rows::parse(value),
    )
}

/// Pins a message or takes the pin off.
pub(super) fn pin(log: &mut Log<'_>, pin: &Pin) -> Result<Reply, Refusal> {
    let mut placed = message::read(&*log.store, log.epoch, pin.message)?;
    placed.not_deleted()?;
    let version = placed.message.version;
    let (message, by) = (pin.message, pin.by.clone());
    match placed.message.pinned_at {
        None if pin.on => {
            log.not_archived()?;
            if list(&*log.store, log.epoch).len() >= PINS_MAX {
                return Err(Refusal::TooManyPins);
            }
            let stored = StoredChange::Pinned {
                message,
                by: by.clone(),
            };
            let pinned_at = log.append(stored, Change::MessagePinned { message, by });
            rows::write(log.store, &keys::pin(log.epoch, pinned_at), &message);
            placed.message.pinned_at = Some(pinned_at);
        }
        Some(pinned_at) if !pin.on => {
            let stored = StoredChange::Unpinned {
                message,
                by: by.clone(),
            };
            log.append(stored, Change::MessageUnpinned { message, by });
            log.store.delete(&keys::pin(log.epoch, pinned_at));
            placed.message.pinned_at = None;
        }
        _ => return Ok(log.changed(version)),
    }
    placed.write(log.store, log.epoch);
    Ok(log.changed(version))
}
