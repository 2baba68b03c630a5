//! A command's writes before they are certain: an overlay that can be dropped.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};

use bytes::Bytes;

use crate::store::{Direction, Store, StoreMut, Visit};

/// The writes of one command: a value, or `None` where a key was removed.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Bytes>>;

/// A store over another that keeps all writes to itself.
pub(super) struct Draft<'a, S> {
    base: &'a S,
    writes: Writes,
}

impl<'a, S: Store> Draft<'a, S> {
    pub(super) const fn new(base: &'a S) -> Self {
        Self {
            base,
            writes: BTreeMap::new(),
        }
    }

    pub(super) fn into_writes(self) -> Writes {
        self.writes
    }
}

impl<S: Store> Store for Draft<'_, S> {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        match self.writes.get(key) {
            Some(written) => written.clone(),
            None => self.base.get(key),
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        if from >= to {
            return;
        }
        let range = self
            .writes
            .range::<[u8], _>((Bound::Included(from), Bound::Excluded(to)));
        let mut written: Box<dyn Iterator<Item = (&Vec<u8>, &Option<Bytes>)>> = match direction {
            Direction::Forward => Box::new(range),
            Direction::Reverse => Box::new(range.rev()),
        };
        let mut next = written.next();
        let mut ended = false;
        self.base.scan(from, to, direction, &mut |key, value| {
            // What was written before this key comes first, and instead of it.
            while let Some((own, own_value)) = next {
                let order = match direction {
                    Direction::Forward => own.as_slice().cmp(key),
                    Direction::Reverse => key.cmp(own.as_slice()),
                };
                if order == Ordering::Greater {
                    break;
                }
                next = written.next();
                if let Some(own_value) = own_value
                    && visit(own, own_value).is_break()
                {
                    ended = true;
                    return ControlFlow::Break(());
                }
                if order == Ordering::Equal {
                    return ControlFlow::Continue(());
                }
            }
            let flow = visit(key, value);
            ended = flow.is_break();
            flow
        });
        while let (false, Some((own, own_value))) = (ended, next) {
            next = written.next();
            if let Some(own_value) = own_value {
                ended = visit(own, own_value).is_break();
            }
        }
    }
}

impl<S: Store> StoreMut for Draft<'_, S> {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.writes.insert(key.to_vec(), Some(Bytes::from(value)));
    }

    fn delete(&mut self, key: &[u8]) {
        self.writes.insert(key.to_vec(), None);
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use proptest::prelude::*;

    use super::Draft;
    use crate::store::{Direction, MemoryStore, Store, StoreMut};

    fn listed(store: &impl Store, from: u8, to: u8, direction: Direction, most: usize) -> Vec<u8> {
        let mut found = Vec::new();
        store.scan(&[from], &[to], direction, &mut |key, value| {
            found.extend_from_slice(key);
            found.extend_from_slice(value);
            if found.len() >= most * 2 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        found
    }

    proptest! {
        /// A draft over a store reads as the store with the writes done would.
        #[test]
        fn a_draft_reads_as_if_written(
            base in proptest::collection::vec((0u8..20, any::<u8>()), 0..15),
            writes in proptest::collection::vec((0u8..20, any::<Option<u8>>()), 0..15),
            from in 0u8..20, to in 0u8..21, most in 1usize..8,
        ) {
            let mut store = MemoryStore::new();
            for (key, value) in base {
                store.put(&[key], vec![value]);
            }
            let mut done = store.clone();
            let mut draft = Draft::new(&store);
            for (key, value) in writes {
                match value {
                    Some(value) => {
                        draft.put(&[key], vec![value]);
                        done.put(&[key], vec![value]);
                    }
                    None => {
                        draft.delete(&[key]);
                        done.delete(&[key]);
                    }
                }
            }
            for key in 0u8..20 {
                prop_assert_eq!(draft.get(&[key]), done.get(&[key]));
            }
            for direction in [Direction::Forward, Direction::Reverse] {
                prop_assert_eq!(
                    listed(&draft, from, to, direction, most),
                    listed(&done, from, to, direction, most)
                );
            }
        }
    }
}
