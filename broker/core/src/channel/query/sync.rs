//! The log itself, from a position on.

use std::ops::ControlFlow;

use confab_protocol::codec::{PackedBuilder, Text};
use confab_protocol::limits::{PAGE_BYTES_SOFT_MAX, PAGE_ITEMS_MAX};
use confab_protocol::message::channel::SyncPage;
use confab_protocol::message::event::{Change, Event, Member, Mentions};
use confab_protocol::position::{Epoch, Offset, Position};

use super::page_limit;
use crate::channel::keys;
use crate::channel::message::Placed;
use crate::channel::record::{StoredChange, StoredEvent};
use crate::channel::reply::Refusal;
use crate::channel::{edit, head, message, rows};
use crate::store::{Direction, Store};

/// The events after a position, dense from there; from the first one on when
/// the position is of another epoch. Up to `limit` (0 stands for 200, which is
/// the most), stopping at the first that takes the page past its bytes.
///
/// A posted message is shown as it stands now, and an edit of a message that
/// was deleted since without its text.
///
/// # Errors
/// `ChannelGone`.
pub fn sync(
    store: &dyn Store,
    epoch: Epoch,
    after: Position,
    limit: u16,
) -> Result<SyncPage, Refusal> {
    let head = head::read_live(store, epoch)?;
    let after = if after.epoch == epoch {
        after.offset
    } else {
        Offset(0)
    };
    let limit = page_limit(limit, PAGE_ITEMS_MAX);
    let mut events = PackedBuilder::new();
    for (offset, event) in read_events(store, epoch, after, head.head, limit) {
        events.push(&to_wire(store, epoch, offset, event));
        if events.bytes_len() > PAGE_BYTES_SOFT_MAX {
            break;
        }
    }
    Ok(SyncPage {
        channel: head.channel,
        epoch,
        events: events.finish(),
        head: head.head,
    })
}

/// Reads about as many events as a page can hold. They are shown after the scan,
/// not within it: a store need not bear to be read while it is scanned.
fn read_events(
    store: &dyn Store,
    epoch: Epoch,
    after: Offset,
    head: Offset,
    limit: usize,
) -> Vec<(Offset, StoredEvent)> {
    let mut events = Vec::new();
    let mut bytes = 0;
    if after >= head {
        return events;
    }
    store.scan(
        &keys::event(epoch, after.next()),
        &keys::event(epoch, head.next()),
        Direction::Forward,
        &mut |key, value| {
            events.push((keys::event_offset(key), rows::parse(value)));
            bytes += value.len();
            if events.len() == limit || bytes > PAGE_BYTES_SOFT_MAX {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        },
    );
    events
}

fn to_wire(store: &dyn Store, epoch: Epoch, offset: Offset, event: StoredEvent) -> Event {
    let at_ms = event.at_ms;
    let change = match event.change {
        StoredChange::Posted(message) => {
            let placed = Placed {
                offset,
                created_at_ms: at_ms,
                message,
            };
            Change::MessagePosted {
                message: placed.to_wire(store, epoch),
            }
        }
        StoredChange::Edited {
            message,
            by,
            version,
        } => {
            let (content, mentions) = edited(store, epoch, message, version);
            Change::MessageEdited {
                message,
                by,
                content,
                mentions,
                version,
            }
        }
        StoredChange::Deleted { message, by } => Change::MessageDeleted { message, by },
        StoredChange::ReactionAdded { message, by, emoji } => {
            Change::ReactionAdded { message, by, emoji }
        }
        StoredChange::ReactionRemoved { message, by, emoji } => {
            Change::ReactionRemoved { message, by, emoji }
        }
        StoredChange::Pinned { message, by } => Change::MessagePinned { message, by },
        StoredChange::Unpinned { message, by } => Change::MessageUnpinned { message, by },
        StoredChange::MembersChanged {
            by,
            added,
            removed,
            added_count,
            removed_count,
            member_count,
            directory_index,
        } => Change::MembersChanged {
            by,
            added: added
                .into_iter()
                .map(|(user, role)| Member { user, role })
                .collect(),
            removed: removed.into(),
            added_count,
            removed_count,
            member_count,
            directory_index,
        },
        StoredChange::Updated {
            by,
            properties,
            directory_index,
        } => Change::ChannelUpdated {
            by,
            properties: properties.to_wire(),
            directory_index,
        },
    };
    Event {
        offset,
        at_ms,
        change,
    }
}

/// What an edit said: the content of the version that it made.
fn edited(store: &dyn Store, epoch: Epoch, offset: Offset, version: u32) -> (Text, Mentions) {
    if let Some(before) = edit::read_version(store, epoch, offset, version) {
        return (before.content, before.mentions.to_wire());
    }
    // It is the current version, or all are erased, and then the current is empty.
    match message::read(store, epoch, offset) {
        Ok(placed) => (placed.message.content, placed.message.mentions.to_wire()),
        Err(_) => (Text::default(), Mentions::default()),
    }
}
