//! One group's state as its readers and its one writer see it.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLockReadGuard;

use super::merge::{Changes, Merged, over};
use super::overlay::{Overlay, Value};
use super::store::{Group, Inner, Shared};
use super::table::TableError;
use super::{Transaction, Visit};
use crate::Marker;
use crate::checkpoint::{CheckpointError, CheckpointInfo};

/// One group's state; cheap to clone.
///
/// Reads see what is committed. They never see part of a transaction.
#[derive(Clone)]
pub struct GroupState {
    inner: Arc<Inner>,
    group: Arc<Group>,
}

impl GroupState {
    pub(super) fn new(inner: Arc<Inner>, group: Arc<Group>) -> Self {
        Self { inner, group }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    pub(super) fn group(&self) -> &Arc<Group> {
        &self.group
    }

    /// The group's id.
    pub fn id(&self) -> crate::GroupId {
        self.group.id
    }

    /// The value of `key`. Short; may read sled's file when the page is cold.
    ///
    /// # Panics
    /// When the store has failed: wrong answers must not be given.
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        let overlay = read_overlay(&self.group);
        if let Some(value) = overlay.get(key) {
            return value.clone();
        }
        let table = &self.shared().table;
        let stored = table.get(self.group.id, overlay.generation, key);
        drop(overlay);
        stored.unwrap_or_else(|error| give_up(self.shared(), &error))
    }

    /// Visits keys of `from..to` in order (backwards if `reverse`) as of one
    /// moment, until `visit` breaks. Commits of this group wait meanwhile: keep
    /// it short. `visit` may read this group but not commit to it.
    ///
    /// # Panics
    /// When the store has failed.
    pub fn scan(&self, from: &[u8], to: &[u8], reverse: bool, visit: &mut Visit<'_>) {
        self.scan_under(None, from, to, reverse, visit);
    }

    /// A scan with changes above those of the overlay.
    pub(super) fn scan_under(
        &self,
        upper: Option<Changes<'_>>,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        visit: &mut Visit<'_>,
    ) {
        if from >= to {
            return;
        }
        let overlay = read_overlay(&self.group);
        let _nested = Nested::begin();
        let changed = directed(overlay.range(from, to), reverse);
        let changed = match upper {
            Some(upper) => over(shorten(upper), changed, reverse),
            None => changed,
        };
        let stored = self
            .shared()
            .table
            .range(self.group.id, overlay.generation, from..to);
        let walked = walk(Merged::new(changed, stored, reverse), visit);
        drop(overlay);
        if let Err(error) = walked {
            give_up(self.shared(), &error);
        }
    }

    /// The last applied log id.
    pub fn applied(&self) -> Option<Marker> {
        read_overlay(&self.group).applied.clone()
    }

    /// Begins the next transaction of the group's one writer.
    ///
    /// # Panics
    /// When another transaction of the group is open.
    pub fn begin(&self) -> Transaction {
        Transaction::begin(self.clone())
    }

    /// Makes a checkpoint of what is applied now (or a little later). Blocks as
    /// long as writing it takes; applying and reading go on. When nothing was
    /// applied since the newest one, that one is returned.
    ///
    /// # Errors
    /// See [`CheckpointError`]; the former checkpoint is untouched then.
    pub fn checkpoint(&self) -> Result<CheckpointInfo, CheckpointError> {
        super::exporting::export(self.shared(), &self.group)
    }

    /// The newest checkpoint: the log must not be purged beyond it.
    pub fn newest_checkpoint(&self) -> Option<CheckpointInfo> {
        self.group.newest_checkpoint()
    }

    /// Up to where the log may be purged so that it leads on from the older of the
    /// two checkpoints too, should the newest turn out to be damaged. `None`
    /// until there are two.
    pub fn purgeable(&self) -> Option<Marker> {
        match self.group.kept.read().as_slice() {
            [older, _] => Some(older.applied.clone()),
            _ => None,
        }
    }

    /// Replaces the group's state by the checkpoint in `file` (a Raft snapshot
    /// received from a peer), keeps a copy as its newest checkpoint and purges
    /// the log up to it. Atomic in a crash; readers see the old or the new
    /// state. Blocks.
    ///
    /// # Errors
    /// See [`CheckpointError`]; the state is the former one then.
    ///
    /// # Panics
    /// When a transaction of the group is open.
    pub fn restore(&self, file: &Path) -> Result<CheckpointInfo, CheckpointError> {
        super::exporting::restore(self.shared(), &self.group, file)
    }
}

thread_local! {
    /// How many scans this thread is in.
    static SCANS: Cell<usize> = const { Cell::new(0) };
}

/// Says for its lifetime that this thread holds an overlay's lock.
struct Nested;

impl Nested {
    fn begin() -> Self {
        SCANS.set(SCANS.get() + 1);
        Self
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        SCANS.set(SCANS.get() - 1);
    }
}

/// Locks for reading. Writers go first, or many readers would keep them out;
/// but not before a read within a scan, which would wait for itself.
fn read_overlay(group: &Group) -> RwLockReadGuard<'_, Overlay> {
    if SCANS.get() > 0 {
        group.overlay.read_recursive()
    } else {
        group.overlay.read()
    }
}

/// The same for a shorter time.
#[expect(clippy::map_identity, reason = "it converts the items' lifetime")]
fn shorten<'short, 'long: 'short>(changes: Changes<'long>) -> Changes<'short> {
    Box::new(changes.map(|(key, value)| (key, value)))
}

fn walk(merged: Result<Merged<'_>, TableError>, visit: &mut Visit<'_>) -> Result<(), TableError> {
    let mut merged = merged?;
    while let Some(pair) = merged.next_pair()? {
        let (key, value) = pair.parts();
        if visit(key, value).is_break() {
            break;
        }
    }
    Ok(())
}

/// Changes in the direction of a scan.
pub(super) fn directed<'a>(
    changes: impl DoubleEndedIterator<Item = (&'a Bytes, &'a Value)> + 'a,
    reverse: bool,
) -> Changes<'a> {
    if reverse {
        Box::new(changes.rev())
    } else {
        Box::new(changes)
    }
}

/// sled cannot be read: ends the node rather than answer wrongly.
fn give_up(shared: &Shared, error: &TableError) -> ! {
    let failure = shared.fail(&format!("reading sled: {error}"), true);
    panic!("{failure}");
}
