//! The core's `Store` over this node's storage.

use bytes::Bytes;
use confab_core::store::{Direction, Store, StoreMut, Visit};
use confab_storage::{GroupState, Transaction};

/// What a group has applied, for reading.
#[derive(Clone)]
pub struct GroupView(GroupState);

impl GroupView {
    /// A view of `state`; it always shows the newest applied state.
    #[must_use]
    pub fn new(state: GroupState) -> Self {
        Self(state)
    }

    /// The log index that was applied last; 0 before the first.
    #[must_use]
    pub fn applied_index(&self) -> u64 {
        self.0.applied().map_or(0, |marker| marker.index)
    }
}

impl Store for GroupView {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        self.0
            .scan(from, to, direction == Direction::Reverse, visit);
    }
}

/// One transaction of the apply task.
pub(super) struct Writes(pub(super) Transaction);

impl Store for Writes {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        let visit: &mut confab_storage::state::Visit<'_> = visit;
        self.0
            .scan(from, to, direction == Direction::Reverse, visit);
    }
}

impl StoreMut for Writes {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.0.put(Bytes::copy_from_slice(key), value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.0.delete(Bytes::copy_from_slice(key));
    }
}
