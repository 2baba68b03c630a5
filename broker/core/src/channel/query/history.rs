//! Pages of messages, both ways from anywhere.
//!
//! Tombstones are part of a page: content empty, `deleted_at_ms` set.

use confab_protocol::codec::{decode_prefix, encode};
use confab_protocol::limits::{PAGE_BYTES_SOFT_MAX, PAGE_ITEMS_DEFAULT};
use confab_protocol::message::channel::{Anchor, HistoryPage};
use confab_protocol::message::event::Message;
use confab_protocol::position::{Epoch, Offset};

use super::page_limit;
use crate::channel::keys::{self, Scope};
use crate::channel::record::{ChannelHead, Messages};
use crate::channel::reply::Refusal;
use crate::channel::{head, message, pin, thread};
use crate::store::Store;

/// The messages that are paged: a channel's top level, or a thread with its root.
struct Listing<'a> {
    store: &'a dyn Store,
    scope: Scope,
    messages: Messages,
}

impl Listing<'_> {
    fn below(&self, offset: Offset, limit: usize) -> Vec<Offset> {
        let mut found = self.messages.below(self.store, self.scope, offset, limit);
        // A root is older than all its replies.
        if let Some(root) = self.scope.thread()
            && root < offset
            && found.len() < limit
        {
            found.push(root);
        }
        found
    }

    fn above(&self, offset: Offset, limit: usize) -> Vec<Offset> {
        let root = self.scope.thread().filter(|root| *root > offset);
        let mut found: Vec<_> = root.into_iter().collect();
        let rest = limit.saturating_sub(found.len());
        found.extend(self.messages.above(self.store, self.scope, offset, rest));
        found
    }
}

/// A page of a channel's top level, or of a thread: its root and its replies.
/// It holds up to `limit` messages (0 stands for 50, 200 at most) and stops at
/// the first that takes it past the page's bytes.
///
/// # Errors
/// `ChannelGone`; for a thread also `NoSuchMessage`, `RootIsReply`.
pub fn history(
    store: &dyn Store,
    epoch: Epoch,
    thread: Option<Offset>,
    anchor: Anchor,
    limit: u16,
) -> Result<HistoryPage, Refusal> {
    let head = head::read_live(store, epoch)?;
    let messages = match thread {
        None => head.messages.clone(),
        Some(root) => {
            message::read_root(store, epoch, root)?;
            thread::read(store, epoch, root).replies
        }
    };
    let listing = Listing {
        store,
        scope: Scope::of(epoch, thread),
        messages,
    };
    let limit = page_limit(limit, PAGE_ITEMS_DEFAULT);
    Ok(match anchor {
        Anchor::Latest => backward(&listing, &head, Offset(u64::MAX), limit),
        Anchor::Before(offset) => backward(&listing, &head, offset, limit),
        Anchor::After(offset) => forward(&listing, &head, offset, limit),
        Anchor::AtTime(at_ms) => {
            let first = first_at(store, epoch, head.head, at_ms);
            forward(&listing, &head, Offset(first.0 - 1), limit)
        }
    })
}

fn backward(
    listing: &Listing<'_>,
    head: &ChannelHead,
    before: Offset,
    limit: usize,
) -> HistoryPage {
    let found = listing.below(before, limit);
    let mut messages = load(listing.store, listing.scope.epoch, &found);
    messages.reverse();
    page(listing, head, messages, Offset(before.0.saturating_sub(1)))
}

fn forward(listing: &Listing<'_>, head: &ChannelHead, after: Offset, limit: usize) -> HistoryPage {
    let found = listing.above(after, limit);
    let messages = load(listing.store, listing.scope.epoch, &found);
    page(listing, head, messages, after)
}

/// `seam`: where an empty page lies, after this offset.
fn page(
    listing: &Listing<'_>,
    head: &ChannelHead,
    messages: Vec<Message>,
    seam: Offset,
) -> HistoryPage {
    let first = messages.first().map_or(seam.next(), |first| first.offset);
    let last = messages.last().map_or(seam, |last| last.offset);
    let older = !listing.below(first, 1).is_empty();
    let newer = !listing.above(last, 1).is_empty();
    HistoryPage {
        channel: head.channel.clone(),
        epoch: listing.scope.epoch,
        messages: messages.into(),
        next_before: older.then_some(first),
        next_after: newer.then_some(last),
        head: head.head,
    }
}

/// Loads messages until a page is full.
fn load(store: &dyn Store, epoch: Epoch, offsets: &[Offset]) -> Vec<Message> {
    let mut bytes = 0;
    let mut messages = Vec::with_capacity(offsets.len());
    for offset in offsets {
        // The sets hold messages only.
        let Ok(placed) = message::read(store, epoch, *offset) else {
            continue;
        };
        let wire = placed.to_wire(store, epoch);
        bytes += encode(&wire).len();
        messages.push(wire);
        if bytes > PAGE_BYTES_SOFT_MAX {
            break;
        }
    }
    messages
}

/// The first event at or after a time, or where the next event will stand: a
/// binary search, for times never run backwards.
fn first_at(store: &dyn Store, epoch: Epoch, head: Offset, at_ms: u64) -> Offset {
    let (mut low, mut high) = (1, head.0 + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if event_time(store, epoch, Offset(middle)) < at_ms {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Offset(low)
}

/// Events stand at dense offsets and begin with their time; one that is not
/// there is being purged while it is asked for, and counts as the newest.
fn event_time(store: &dyn Store, epoch: Epoch, offset: Offset) -> u64 {
    let row = store.get(&keys::event(epoch, offset));
    let time = row.and_then(|bytes| decode_prefix::<u64>(&bytes).ok());
    time.map_or(u64::MAX, |(at_ms, _)| at_ms)
}

/// The pinned messages, newest pin first, as many as fit into a page.
///
/// # Errors
/// `ChannelGone`.
pub fn pins(store: &dyn Store, epoch: Epoch) -> Result<HistoryPage, Refusal> {
    let head = head::read_live(store, epoch)?;
    let pinned = pin::list(store, epoch);
    Ok(HistoryPage {
        messages: load(store, epoch, &pinned).into(),
        channel: head.channel,
        epoch,
        next_before: None,
        next_after: None,
        head: head.head,
    })
}
