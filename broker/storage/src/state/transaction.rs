//! A group's next step: writes that become visible together.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};

use bytes::Bytes;

use super::group_state::{GroupState, directed};
use super::overlay::{Overlay, Value};
use super::{KEY_BYTES_MAX, StateError, VALUE_BYTES_MAX, Visit};
use crate::Marker;

/// Writes to one group that become visible together, at `commit`.
/// Dropped without, it leaves no trace.
pub struct Transaction {
    state: GroupState,
    writes: BTreeMap<Bytes, Value>,
}

impl Transaction {
    pub(super) fn begin(state: GroupState) -> Self {
        state.group().claim();
        Self {
            state,
            writes: BTreeMap::new(),
        }
    }

    /// The value of `key`, with this transaction's own writes.
    ///
    /// # Panics
    /// When the store has failed.
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        match self.writes.get(key) {
            Some(value) => value.clone(),
            None => self.state.get(key),
        }
    }

    /// As [`GroupState::scan`], with this transaction's own writes.
    ///
    /// # Panics
    /// When the store has failed.
    pub fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: &mut Visit<'_>) {
        if from >= to {
            return;
        }
        let bounds = (Included(from), Excluded(to));
        let own = directed(self.writes.range::<[u8], _>(bounds), reverse);
        self.state.scan_under(Some(own), from, to, reverse, visit);
    }

    /// Sets `key`.
    ///
    /// # Panics
    /// When key or value is longer than [`KEY_BYTES_MAX`] and [`VALUE_BYTES_MAX`]:
    /// the caller's limits are lower.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        assert!(key.len() <= KEY_BYTES_MAX, "a key of {} bytes", key.len());
        assert!(
            value.len() <= VALUE_BYTES_MAX,
            "a value of {} bytes",
            value.len()
        );
        self.writes.insert(key, Some(value));
    }

    /// Removes `key`; no error if it is not there.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.writes.insert(key.into(), None);
    }

    /// Makes the writes visible, as the effect of the log up to `applied`.
    /// Waits while the overlay is full: call it where blocking is allowed.
    ///
    /// # Errors
    /// When the store has failed or is closed; nothing is visible then.
    ///
    /// # Panics
    /// When `applied` is not after what was applied before.
    pub fn commit(mut self, applied: Marker) -> Result<(), StateError> {
        let writes = std::mem::take(&mut self.writes);
        let shared = self.state.shared();
        shared.usable()?;
        let bytes = Overlay::cost(&writes);
        shared.take_room(bytes)?;
        let mut overlay = self.state.group().overlay.write();
        let before = overlay.applied.as_ref().map(|marker| marker.index);
        assert!(
            before < Some(applied.index),
            "entry {} of group {} is applied after {before:?}",
            applied.index,
            self.state.id()
        );
        overlay.commit(writes, bytes, applied);
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        self.state.group().release();
    }
}
