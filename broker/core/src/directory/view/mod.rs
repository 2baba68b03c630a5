//! Everything that is asked of the directory.
//!
//! Lists come in pages; nothing here takes memory with the size of a channel
//! or of the company.

mod channels;
mod people;
mod queue;

use std::ops::ControlFlow;

use confab_protocol::codec::{Decode, decode};

use super::keys::{self, Range};
use super::record::Counters;
use crate::store::{Direction, Store};

/// One page of a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page<T> {
    /// In the list's order, no more than were asked for.
    pub items: Vec<T>,
    /// Whether the list goes on after the last item.
    pub more: bool,
}

/// Reads a directory's state, as it is after the last applied command.
#[derive(Debug)]
pub struct DirectoryView<'a, S> {
    store: &'a S,
}

impl<S> Clone for DirectoryView<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for DirectoryView<'_, S> {}

impl<'a, S: Store> DirectoryView<'a, S> {
    /// A view of what `store` holds.
    #[must_use]
    pub const fn new(store: &'a S) -> Self {
        Self { store }
    }

    /// How many shards keep the channels' logs; `None` before `Initialize`.
    #[must_use]
    pub fn shards(&self) -> Option<u16> {
        self.counters().map(|counters| counters.shards)
    }

    pub(super) fn counters(&self) -> Option<Counters> {
        self.record(&keys::counters())
    }

    pub(super) fn record<T: Decode<()>>(&self, key: &[u8]) -> Option<T> {
        self.store.get(key).map(|bytes| read(&bytes))
    }

    fn holds(&self, key: &[u8]) -> bool {
        self.store.get(key).is_some()
    }

    /// Walks a range; `visit` gets each key's last text and its value.
    pub(super) fn walk(
        &self,
        range: &Range,
        mut visit: impl FnMut(&str, &[u8]) -> ControlFlow<()>,
    ) {
        self.store.scan(
            &range.from,
            &range.to,
            Direction::Forward,
            &mut |key, value| visit(range.last_text(key), value),
        );
    }

    /// The first `limit` items that `item` makes of a range.
    fn page<T>(
        &self,
        range: &Range,
        limit: usize,
        mut item: impl FnMut(&str, &[u8]) -> Option<T>,
    ) -> Page<T> {
        let mut page = Page {
            items: Vec::new(),
            more: false,
        };
        self.walk(range, |text, value| {
            let Some(item) = item(text, value) else {
                return ControlFlow::Continue(());
            };
            if page.items.len() == limit {
                page.more = true;
                return ControlFlow::Break(());
            }
            page.items.push(item);
            ControlFlow::Continue(())
        });
        page
    }
}

/// Decodes a stored value.
pub(super) fn read<T: Decode<()>>(bytes: &[u8]) -> T {
    decode(bytes).expect("the directory reads only what it wrote")
}

/// Makes an id of a key's last text.
pub(super) fn id<T: std::str::FromStr>(text: &str) -> T {
    match text.parse() {
        Ok(id) => id,
        Err(_) => unreachable!("keys are made of valid ids"),
    }
}
