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

/// Rows that a page reads at once; what is committed waits for as long.
const RUN_ROWS: usize = 256;

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

    /// The first `limit` items that `item` makes of a range. A range may be all
    /// users there are, so it is read in runs: nobody who writes waits for all.
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
        let mut from = range.from.clone();
        loop {
            let (mut rows, mut last) = (0, None);
            let mut visit = |key: &[u8], value: &[u8]| {
                match item(range.last_text(key), value) {
                    Some(_) if page.items.len() == limit => {
                        page.more = true;
                        return ControlFlow::Break(());
                    }
                    Some(item) => page.items.push(item),
                    None => {}
                }
                rows += 1;
                if rows < RUN_ROWS {
                    return ControlFlow::Continue(());
                }
                last = Some(key.to_vec());
                ControlFlow::Break(())
            };
            self.store
                .scan(&from, &range.to, Direction::Forward, &mut visit);
            let Some(mut last) = last else {
                return page;
            };
            // The first key after it.
            last.push(0);
            from = last;
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::Cell;

    use bytes::Bytes;
    use confab_protocol::UserId;
    use confab_protocol::codec::encode;
    use confab_protocol::message::session::UserKind;

    use super::{DirectoryView, RUN_ROWS, keys};
    use crate::directory::record::{Source, StoredUser};
    use crate::store::{Direction, MemoryStore, Store, StoreMut, Visit};

    /// Notes how many rows one scan reads at most.
    struct Noting {
        store: MemoryStore,
        rows_max: Cell<usize>,
    }

    impl Store for Noting {
        fn get(&self, key: &[u8]) -> Option<Bytes> {
            self.store.get(key)
        }

        fn scan(&self, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
            let mut rows = 0;
            self.store.scan(from, to, direction, &mut |key, value| {
                rows += 1;
                visit(key, value)
            });
            self.rows_max.set(self.rows_max.get().max(rows));
        }
    }

    /// Whoever looks for a name among all users holds nobody up for long, finds
    /// it at the end too, and pages past every run.
    #[test]
    fn a_long_search_reads_in_runs() {
        let mut store = MemoryStore::new();
        let users = 3 * RUN_ROWS + 1;
        for number in 0..users {
            let user = StoredUser {
                name: format!("name {number}").into(),
                kind: UserKind::Internal,
                active: true,
                admin: false,
                name_source: Source::Directory,
                admin_source: Source::Directory,
                created_at_ms: 0,
            };
            let id = UserId::new(&format!("u{number:05}")).unwrap();
            store.put(&keys::user(&id), encode(&user));
        }
        let store = Noting {
            store,
            rows_max: Cell::new(0),
        };
        let view = DirectoryView::new(&store);
        let last = format!("u{:05}", users - 1);
        let found = view.users(&last, None, 10);
        assert_eq!((found.items.len(), found.more), (1, false));
        assert_eq!(view.users("U", None, users).items.len(), users);
        assert!(!view.users("", None, users).more);
        let most = view.users("", None, users - 1);
        assert_eq!((most.items.len(), most.more), (users - 1, true));
        let after = most.items.last().map(|(id, _)| id.clone());
        assert_eq!(view.users("", after.as_ref(), 5).items.len(), 1);
        assert_eq!(store.rows_max.get(), RUN_ROWS);
    }
}
