//! What the state machines stand on: an ordered map of bytes.
//!
//! Production gives them a transaction over the node's storage, tests and
//! simulation a [`MemoryStore`]. Keys are made in `keys` only.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

/// Which way a scan walks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the smallest key up.
    Forward,
    /// From the largest key down.
    Reverse,
}

/// Called for every key and value of a scan; `Break` ends it.
pub type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>;

/// Read access to an ordered map of bytes.
pub trait Store {
    /// The value at `key`.
    fn get(&self, key: &[u8]) -> Option<Bytes>;

    /// Walks the keys from `from`, inclusive, to `to`, exclusive.
    fn scan(&self, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>);
}

/// Write access; later reads through the same store see the writes.
pub trait StoreMut: Store {
    /// Sets the value at `key`.
    fn put(&mut self, key: &[u8], value: Vec<u8>);

    /// Removes `key`; nothing happens when it is not there.
    fn delete(&mut self, key: &[u8]);
}

/// A store in memory, for tests and simulation.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MemoryStore {
    entries: BTreeMap<Vec<u8>, Bytes>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.entries.get(key).cloned()
    }

    fn scan(&self, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        if from >= to {
            return;
        }
        let mut range = self
            .entries
            .range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        loop {
            let next = match direction {
                Direction::Forward => range.next(),
                Direction::Reverse => range.next_back(),
            };
            let Some((key, value)) = next else { return };
            if visit(key, value).is_break() {
                return;
            }
        }
    }
}

impl StoreMut for MemoryStore {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.entries.insert(key.to_vec(), Bytes::from(value));
    }

    fn delete(&mut self, key: &[u8]) {
        self.entries.remove(key);
    }
}
