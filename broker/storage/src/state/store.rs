//! The store as its handles and threads share it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use super::flusher::Job;
use super::overlay::Overlay;
use super::rebuild::leave_note;
use super::table::{GroupRecord, Table};
use super::{GroupState, StateConfig, StateError, StateFigures};
use crate::checkpoint::shelf::{KEPT, Shelf};
use crate::checkpoint::{CheckpointError, CheckpointInfo};
use crate::data_dir::DataDirError;
use crate::failure::{StorageFailure, StoragePart};
use crate::log::Log;
use crate::{DataDir, GroupId};

/// A handle on the state of all groups; cheap to clone. Closes with the last
/// one, without flushing: what is not in sled comes back from the log.
#[derive(Clone)]
pub struct StateStore {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) shared: Arc<Shared>,
    flusher: Mutex<Option<JoinHandle<()>>>,
}

/// What handles and the flusher share.
pub(super) struct Shared {
    pub(super) config: StateConfig,
    pub(super) data_dir: DataDir,
    pub(super) log: Log,
    pub(super) table: Table,
    pub(super) groups: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    /// Bytes of all overlays.
    overlay_bytes: Mutex<usize>,
    /// Overlay bytes were freed, or there will be no more.
    room: Condvar,
    pub(super) demand: Mutex<Demand>,
    /// The demand has changed: for the flusher.
    pub(super) wanted: Condvar,
    /// A flush has ended: for those who wait for one.
    pub(super) flushed: Condvar,
    failure: OnceLock<Arc<StorageFailure>>,
    pub(super) flushed_bytes: AtomicU64,
    pub(super) flushes: AtomicU64,
}

/// What the flusher is asked to do beyond its routine.
#[derive(Default)]
pub(super) struct Demand {
    /// How many wait for everything up to now to be in sled.
    pub(super) flush_now: usize,
    pub(super) jobs: VecDeque<Job>,
    pub(super) closed: bool,
}

/// One group as the store keeps it.
pub(super) struct Group {
    pub(super) id: GroupId,
    pub(super) shelf: Shelf,
    pub(super) overlay: RwLock<Overlay>,
    /// Held by the flusher while it moves the group's windows to sled, and by a
    /// checkpoint that wants sled to stand still.
    pub(super) flushing: Mutex<()>,
    /// Held while a checkpoint is made or restored.
    pub(super) checkpoints: Mutex<()>,
    /// The checkpoints that are kept, oldest first.
    pub(super) kept: RwLock<Vec<CheckpointInfo>>,
    /// Whether a transaction or a restore is going on.
    pub(super) writing: AtomicBool,
}

impl Group {
    pub(super) fn new(
        data_dir: &DataDir,
        id: GroupId,
        record: Option<GroupRecord>,
        kept: Vec<CheckpointInfo>,
    ) -> Self {
        Self {
            id,
            shelf: Shelf::of(data_dir, id),
            overlay: RwLock::new(Overlay::new(record)),
            flushing: Mutex::new(()),
            checkpoints: Mutex::new(()),
            kept: RwLock::new(kept),
            writing: AtomicBool::new(false),
        }
    }

    pub(super) fn newest_checkpoint(&self) -> Option<CheckpointInfo> {
        self.kept.read().last().cloned()
    }

    /// Takes on a durable checkpoint as the newest, and removes those that go for it.
    pub(super) fn keep(&self, newest: CheckpointInfo) -> Result<(), CheckpointError> {
        let mut kept = self.kept.write();
        kept.push(newest);
        let surplus = kept.len().saturating_sub(KEPT);
        kept.drain(..surplus);
        drop(kept);
        self.shelf.remove_old()
    }

    /// Becomes the group's one writer.
    ///
    /// # Panics
    /// When there is one: the group's owner is broken.
    pub(super) fn claim(&self) {
        let was = self.writing.swap(true, Ordering::AcqRel);
        assert!(!was, "group {} has one writer at a time", self.id);
    }

    pub(super) fn release(&self) {
        self.writing.store(false, Ordering::Release);
    }
}

impl Shared {
    pub(super) fn new(config: StateConfig, log: Log, table: Table, groups: Vec<Group>) -> Self {
        let groups = groups
            .into_iter()
            .map(|group| (group.id, Arc::new(group)))
            .collect();
        Self {
            data_dir: config.data_dir.clone(),
            config,
            log,
            table,
            groups: RwLock::new(groups),
            overlay_bytes: Mutex::new(0),
            room: Condvar::new(),
            demand: Mutex::new(Demand::default()),
            wanted: Condvar::new(),
            flushed: Condvar::new(),
            failure: OnceLock::new(),
            flushed_bytes: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
        }
    }

    /// Has the flusher remove what an interrupted restore has left in sled.
    pub(super) fn erase_remains(&self) {
        let mut demand = self.demand.lock();
        for group in self.groups.read().values() {
            demand.jobs.push_back(Job::Erase {
                group: group.id,
                kept: group.overlay.read().generation,
            });
        }
    }

    /// Whether the store still takes commits.
    pub(super) fn usable(&self) -> Result<(), StateError> {
        if let Some(failure) = self.failure.get() {
            return Err(StateError::Failed(failure.clone()));
        }
        if self.demand.lock().closed {
            return Err(StateError::Closed);
        }
        Ok(())
    }

    pub(super) fn failure(&self) -> Option<&Arc<StorageFailure>> {
        self.failure.get()
    }

    /// Marks the store as dead and says so, once. `rebuild` also leaves a note
    /// that sled must not be trusted at the next start.
    pub(super) fn fail(&self, message: &str, rebuild: bool) -> Arc<StorageFailure> {
        let mut is_first = false;
        let failure = self.failure.get_or_init(|| {
            is_first = true;
            let advice = if rebuild {
                "; the next start rebuilds it from checkpoint and log"
            } else {
                ""
            };
            Arc::new(StorageFailure::new(
                StoragePart::State,
                format_args!("{message}{advice}"),
            ))
        });
        if is_first {
            tracing::error!(%failure, "the node must stop");
            if rebuild && let Err(error) = leave_note(&self.data_dir, message) {
                tracing::error!(%error, "cannot leave a note that the state must be rebuilt");
            }
            if let Some(on_failure) = &self.config.on_failure {
                on_failure(failure);
            }
            self.wake_all();
        }
        failure.clone()
    }

    /// Wakes whoever waits, under the locks, so that nobody is just about to wait.
    fn wake_all(&self) {
        drop(self.overlay_bytes.lock());
        self.room.notify_all();
        drop(self.demand.lock());
        self.wanted.notify_all();
        self.flushed.notify_all();
    }

    /// Waits until the overlay takes more, and counts `bytes` in.
    pub(super) fn take_room(&self, bytes: usize) -> Result<(), StateError> {
        let mut used = self.overlay_bytes.lock();
        loop {
            if let Some(failure) = self.failure.get() {
                return Err(StateError::Failed(failure.clone()));
            }
            if *used < self.config.overlay_bytes_max {
                break;
            }
            self.wanted.notify_one();
            self.room.wait(&mut used);
            // Room is never given after the store was closed.
            self.usable()?;
        }
        *used += bytes;
        Ok(())
    }

    pub(super) fn give_room(&self, bytes: usize) {
        let mut used = self.overlay_bytes.lock();
        *used -= bytes;
        drop(used);
        self.room.notify_all();
    }

    pub(super) fn overlay_bytes(&self) -> usize {
        *self.overlay_bytes.lock()
    }

    /// Whether the overlay is more than half full.
    pub(super) fn is_pressed(&self) -> bool {
        self.overlay_bytes() > self.config.overlay_bytes_max / 2
    }

    /// Waits until `done`, looked at after each flush, while all is flushed at once.
    pub(super) fn flush_until(&self, mut done: impl FnMut() -> bool) -> Result<(), StateError> {
        /// A flush that ends just before one waits for it is not heard: look again.
        const PATIENCE: Duration = Duration::from_millis(5);
        self.demand.lock().flush_now += 1;
        self.wanted.notify_one();
        let result = loop {
            // Without the lock: `done` takes others.
            if done() {
                break Ok(());
            }
            if let Err(error) = self.usable() {
                break Err(error);
            }
            let mut demand = self.demand.lock();
            self.flushed.wait_for(&mut demand, PATIENCE);
        };
        self.demand.lock().flush_now -= 1;
        result
    }

    pub(super) fn all_groups(&self) -> Vec<Arc<Group>> {
        self.groups.read().values().cloned().collect()
    }
}

impl StateStore {
    pub(super) fn start(shared: Shared, redo: super::redo::Redo) -> std::io::Result<Self> {
        let shared = Arc::new(shared);
        let flusher = super::flusher::Flusher::new(shared.clone(), redo);
        let thread = std::thread::Builder::new()
            .name("state-flusher".to_owned())
            .spawn(move || flusher.run())?;
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                flusher: Mutex::new(Some(thread)),
            }),
        })
    }

    /// The state of `group`, which is recorded in the manifest when it is new:
    /// call it before the group's first log entry. Blocks briefly when it is new.
    ///
    /// # Errors
    /// When a new group could not be recorded.
    pub fn group(&self, group: GroupId) -> Result<GroupState, DataDirError> {
        let shared = &self.inner.shared;
        let known = shared.groups.read().get(&group).cloned();
        let known = match known {
            Some(known) => known,
            None => {
                shared.data_dir.add_groups([group])?;
                let mut groups = shared.groups.write();
                let new = || Arc::new(Group::new(&shared.data_dir, group, None, Vec::new()));
                groups.entry(group).or_insert_with(new).clone()
            }
        };
        Ok(GroupState::new(self.inner.clone(), known))
    }

    /// The groups of the manifest.
    pub fn groups(&self) -> Vec<GroupId> {
        self.inner.shared.groups.read().keys().copied().collect()
    }

    /// How far sled lags behind.
    pub fn figures(&self) -> StateFigures {
        let shared = &self.inner.shared;
        let now = Instant::now();
        let oldest = shared
            .all_groups()
            .iter()
            .filter_map(|group| group.overlay.read().oldest())
            .min();
        StateFigures {
            overlay_bytes: shared.overlay_bytes(),
            oldest_unflushed: oldest.map(|since| now.saturating_duration_since(since)),
            flushed_bytes: shared.flushed_bytes.load(Ordering::Relaxed),
            flushes: shared.flushes.load(Ordering::Relaxed),
        }
    }

    /// Writes all that is committed to sled. Blocks, also until the log has made
    /// durable what was committed.
    ///
    /// # Errors
    /// When the store or the log has failed, or the store is closed.
    pub fn flush_all(&self) -> Result<(), StateError> {
        let shared = &self.inner.shared;
        let targets: Vec<_> = shared
            .all_groups()
            .into_iter()
            .filter_map(|group| {
                let applied = group
                    .overlay
                    .read()
                    .applied
                    .as_ref()
                    .map(|marker| marker.index)?;
                Some((group, applied))
            })
            .collect();
        shared.flush_until(|| {
            targets.iter().all(|(group, applied)| {
                let overlay = group.overlay.read();
                overlay.flushed.as_ref().map(|marker| marker.index) >= Some(*applied)
            })
        })
    }

    /// Flushes and closes: later commits are refused, reads go on. Blocks.
    ///
    /// # Errors
    /// When the store or the log has failed.
    pub fn shutdown(&self) -> Result<(), StateError> {
        let flushed = match self.flush_all() {
            Err(StateError::Closed) => Ok(()),
            other => other,
        };
        self.inner.close();
        flushed
    }
}

impl Inner {
    fn close(&self) {
        self.shared.demand.lock().closed = true;
        self.shared.wake_all();
        let flusher = self.flusher.lock().take();
        // A hook may hold the last handle: a thread cannot wait for itself.
        let this_thread = std::thread::current().id();
        if let Some(flusher) = flusher.filter(|flusher| flusher.thread().id() != this_thread) {
            // Whatever it met, it has said.
            let _ = flusher.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}
