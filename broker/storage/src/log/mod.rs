//! The Raft log of all groups of a node: one log engine, one writer thread,
//! one fsync for whatever the groups want to append at the same time.
//!
//! Appending is cheap and never touches the disk: entries go to a memory tail,
//! where they can be read at once, and to a queue. The writer takes what has
//! gathered, writes it as one batch, fsyncs, and runs the completions in order.
//! A batch is written only after the one before it is durable, so that a power
//! cut can tear nothing but the very last batch; damage anywhere before it is
//! then known for what it is, and refused (see `survey`).
//!
//! Any I/O error is final: pending and later work is completed with
//! [`LogError::Failed`], for nobody can say what an fsync that failed has left.

mod catalogue;
mod engine;
mod error;
mod file_format;
mod files;
mod group;
pub(crate) mod inspect;
pub(crate) mod mend;
mod open;
mod queue;
mod reader;
mod survey;
mod writer;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

pub use self::error::{LogError, LogOpenError, Lost, LostEntries};
use self::group::{GroupLog, Located};
use self::queue::{Change, Operation, Queue};
use self::reader::ReadRequest;
use crate::data_dir::DataDir;
use crate::failure::{FailureHook, StorageFailure, StoragePart};
use crate::{GroupId, Marker};

/// The most bytes one entry may have.
pub const ENTRY_BYTES_MAX: usize = 64 << 20;

/// How the log is kept. Start from [`LogConfig::new`].
#[derive(Clone)]
pub struct LogConfig {
    /// Whose log it is.
    pub data_dir: DataDir,
    /// Bytes waiting for the writer at which `append` makes its caller wait.
    /// Default 64 MiB; costs that much memory when the disk is slow.
    pub queue_bytes_max: usize,
    /// Bytes merged into one write and fsync. Default 4 MiB; larger batches
    /// raise throughput little and the latency of those who wait much.
    pub batch_bytes_max: usize,
    /// Bytes of written entries kept in memory for readers, over all groups.
    /// Default 64 MiB; what is older is read from disk.
    pub cache_bytes_max: usize,
    /// Size at which a new log file is begun. Default 64 MiB; space is given
    /// back in whole files.
    pub file_bytes: u64,
    /// Size of all log files above which purged ones are removed. Default
    /// 256 MiB; below it nothing is cleaned up.
    pub disk_bytes_target: u64,
    /// Time after which a commit index that nothing else carried to the disk is
    /// written by itself. Default 200 ms; costs one fsync.
    pub committed_delay: Duration,
    /// How often files that hold nothing needed are looked for. Default 10 s.
    pub clean_interval: Duration,
    /// Called after each write, for metrics. Default none. Must not block.
    pub on_write: Option<Arc<dyn Fn(LogWrite) + Send + Sync>>,
    /// Called once when the log fails for good. Default none.
    pub on_failure: Option<FailureHook>,
}

impl LogConfig {
    /// The defaults.
    pub fn new(data_dir: DataDir) -> Self {
        Self {
            data_dir,
            queue_bytes_max: 64 << 20,
            batch_bytes_max: 4 << 20,
            cache_bytes_max: 64 << 20,
            file_bytes: 64 << 20,
            disk_bytes_target: 256 << 20,
            committed_delay: Duration::from_millis(200),
            clean_interval: Duration::from_secs(10),
            on_write: None,
            on_failure: None,
        }
    }
}

/// One write of the log, as metrics want it.
#[derive(Copy, Clone, Debug)]
pub struct LogWrite {
    /// Log entries in it.
    pub entries: usize,
    /// Bytes written, with all that belongs to the entries.
    pub bytes: usize,
    /// Time the write and its fsync took.
    pub took: Duration,
}

/// One entry of a group's log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LogEntry {
    /// Its log index.
    pub index: u64,
    /// Its content, opaque; at most 64 MiB.
    pub bytes: Bytes,
}

/// Called on the writer thread once the work it came with is durable, or has
/// failed; must not block. Completions run in the order of submission.
pub type Completion = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// What a group's log holds, including what is queued but not yet durable.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LogState {
    /// Index of the first entry; `None` when there are none.
    pub first_index: Option<u64>,
    /// Index of the last entry; `None` when there are none.
    pub last_index: Option<u64>,
    /// The vote as last saved.
    pub vote: Option<Bytes>,
    /// The commit marker as last saved; may be older than what was committed.
    pub committed: Option<Bytes>,
    /// Up to where the log was purged, inclusive.
    pub purged: Option<Marker>,
}

/// A handle on the log; cheap to clone. The log closes with the last one, after
/// writing all that is queued.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    data_dir: DataDir,
    shared: Arc<Shared>,
    queue_bytes_max: usize,
    /// Taken when the log closes: the reader ends when it is gone.
    reads: Option<Sender<ReadRequest>>,
    /// Taken when the log closes: the cleaner ends when it is gone.
    cleaning: Option<Sender<()>>,
    threads: Vec<JoinHandle<()>>,
}

/// What handles and threads share.
struct Shared {
    groups: RwLock<BTreeMap<GroupId, Arc<RwLock<GroupLog>>>>,
    queue: Mutex<Queue>,
    /// Something was queued, or the log closes.
    work: Condvar,
    /// The writer has taken something from the queue.
    room: Condvar,
    failure: OnceLock<Arc<StorageFailure>>,
    on_failure: Option<FailureHook>,
}

impl Shared {
    fn group(&self, group: GroupId) -> Arc<RwLock<GroupLog>> {
        if let Some(found) = self.groups.read().get(&group) {
            return found.clone();
        }
        let new = || Arc::new(RwLock::new(GroupLog::new(LogState::default())));
        self.groups.write().entry(group).or_insert_with(new).clone()
    }

    /// The group, if anything was ever said of it.
    fn known(&self, group: GroupId) -> Option<Arc<RwLock<GroupLog>>> {
        self.groups.read().get(&group).cloned()
    }

    fn failure(&self) -> Option<&Arc<StorageFailure>> {
        self.failure.get()
    }

    /// Marks the log as dead and says so, once.
    fn fail(&self, message: &str) -> Arc<StorageFailure> {
        let mut is_first = false;
        let failure = self.failure.get_or_init(|| {
            is_first = true;
            Arc::new(StorageFailure::new(StoragePart::Log, message))
        });
        if is_first {
            tracing::error!(%failure, "the node must stop");
            if let Some(on_failure) = &self.on_failure {
                on_failure(failure);
            }
            // Under the lock, so that nobody is just about to wait.
            drop(self.queue.lock());
            self.work.notify_all();
            self.room.notify_all();
        }
        failure.clone()
    }

    /// Completes what waits with the failure.
    fn refuse_waiting(&self) {
        let Some(failure) = self.failure() else {
            return;
        };
        let waiting = self.queue.lock().take_all();
        self.room.notify_all();
        for done in waiting.into_iter().filter_map(|operation| operation.done) {
            done(Err(LogError::Failed(failure.clone())));
        }
    }

    /// Gives a group's share of the cache back when it has more.
    fn shrink_tail(&self, group: GroupId, cache_bytes_max: usize) {
        const SHARE_BYTES_MIN: usize = 64 << 10;
        let share = cache_bytes_max / self.groups.read().len().max(1);
        let group = self.group(group);
        if group.read().tail_bytes() > share.max(SHARE_BYTES_MIN) {
            group.write().shrink_tail(share);
        }
    }
}

impl Log {
    /// Appends entries, which must be consecutive and follow the last one or
    /// overwrite from one in the middle (whatever came after is dropped). A
    /// group's very first entry is 0 or 1.
    ///
    /// Readable at once; `done` runs after the fsync. Waits while the queue is full.
    ///
    /// # Panics
    /// When the entries leave a hole.
    pub fn append(&self, group: GroupId, entries: Vec<LogEntry>, done: Completion) {
        let too_large = entries
            .iter()
            .map(|entry| entry.bytes.len())
            .find(|bytes| *bytes > ENTRY_BYTES_MAX);
        if let Some(bytes) = too_large {
            return done(Err(LogError::TooLarge(bytes)));
        }
        self.submit(group, Some(done), |log| {
            log.append(&entries);
            Change::Append(entries)
        });
    }

    /// Saves a group's vote, in order with its appends; `done` runs after the fsync.
    pub fn save_vote(&self, group: GroupId, vote: Bytes, done: Completion) {
        self.submit(group, Some(done), |log| {
            log.set_vote(vote.clone());
            Change::Vote(vote)
        });
    }

    /// Saves a group's commit marker. Written with whatever is written next.
    pub fn save_committed(&self, group: GroupId, committed: Bytes) {
        let group_log = self.inner.shared.group(group);
        if group_log.write().set_committed(committed) {
            self.inner.shared.queue.lock().push_committed(group);
            self.inner.shared.work.notify_one();
        }
    }

    /// Drops all entries after `last_kept` (all of them for `None`).
    pub fn truncate_after(&self, group: GroupId, last_kept: Option<u64>, done: Completion) {
        self.submit(group, Some(done), |log| {
            Change::TruncateFrom(log.truncate_after(last_kept))
        });
    }

    /// Drops all entries up to `last_purged`, inclusive, which may lie beyond the
    /// last entry. Durable no later than the next thing that completes.
    pub fn purge(&self, group: GroupId, last_purged: Marker) {
        self.purge_with(group, last_purged, None);
    }

    pub(crate) fn purge_with(&self, group: GroupId, last_purged: Marker, done: Option<Completion>) {
        self.submit(group, done, |log| {
            let end = log.purge(last_purged.clone());
            Change::Purge(last_purged, end)
        });
    }

    /// Changes the group's log in memory and queues the same for the disk.
    ///
    /// Both under the group's lock: the order of changes in memory and on disk is one.
    fn submit(
        &self,
        group: GroupId,
        done: Option<Completion>,
        change: impl FnOnce(&mut GroupLog) -> Change,
    ) {
        let shared = &self.inner.shared;
        let group_log = shared.group(group);
        let mut queue = shared.queue.lock();
        while queue.bytes() > self.inner.queue_bytes_max && shared.failure().is_none() {
            shared.room.wait(&mut queue);
        }
        if let Some(failure) = shared.failure() {
            drop(queue);
            if let Some(done) = done {
                done(Err(LogError::Failed(failure.clone())));
            }
            return;
        }
        let change = change(&mut group_log.write());
        queue.push(Operation {
            group,
            change,
            done,
        });
        drop(queue);
        shared.work.notify_one();
    }

    /// Reads entries of `range` until `bytes_max` is reached: at least one when
    /// there is one, none past the last. Blocks for the disk when they are old.
    ///
    /// # Errors
    /// `Purged` when the range begins before the first entry kept.
    pub fn read(
        &self,
        group: GroupId,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, LogError> {
        let Some(group_log) = self.inner.shared.known(group) else {
            return Ok(Vec::new());
        };
        let from_disk = {
            let log = group_log.read();
            match log.locate(range.clone()) {
                Located::Purged { last_purged } => return Err(LogError::Purged { last_purged }),
                Located::Nothing => return Ok(Vec::new()),
                Located::Tail(part) => return Ok(log.read_tail(part, bytes_max)),
                Located::Disk(part) => part,
            }
        };
        match self.read_disk(group, from_disk, bytes_max) {
            Ok(entries) => Ok(entries),
            // The log may have been purged meanwhile, and its files with it.
            Err(error) => match group_log.read().locate(range) {
                Located::Purged { last_purged } => Err(LogError::Purged { last_purged }),
                _ => Err(LogError::Failed(self.inner.shared.fail(&error))),
            },
        }
    }

    fn read_disk(
        &self,
        group: GroupId,
        range: Range<u64>,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, Arc<str>> {
        let gone = || Arc::from("the thread that reads the log has ended");
        let (answer, answered) = mpsc::sync_channel(1);
        let request = ReadRequest {
            group,
            range,
            bytes_max,
            answer,
        };
        let reads = self.inner.reads.as_ref().expect("taken only by drop");
        reads.send(request).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?.map_err(|e| e.0)
    }

    /// What the group's log holds.
    ///
    /// # Errors
    /// `Failed` after a failure.
    pub fn state(&self, group: GroupId) -> Result<LogState, LogError> {
        if let Some(failure) = self.inner.shared.failure() {
            return Err(LogError::Failed(failure.clone()));
        }
        let known = self.inner.shared.known(group);
        Ok(known.map_or_else(LogState::default, |log| log.read().state()))
    }

    /// All groups that the log holds anything of.
    pub fn groups(&self) -> Vec<GroupId> {
        self.inner.shared.groups.read().keys().copied().collect()
    }

    /// One past the last entry of `group` that a power cut would leave.
    pub(crate) fn durable_end(&self, group: GroupId) -> u64 {
        let known = self.inner.shared.known(group);
        known.map_or(0, |log| log.read().durable_end())
    }

    /// Why the log is dead, if it is.
    pub(crate) fn failure(&self) -> Option<Arc<StorageFailure>> {
        self.inner.shared.failure().cloned()
    }

    /// The data directory it lies in.
    pub fn data_dir(&self) -> &DataDir {
        &self.inner.data_dir
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.queue.lock().closed = true;
        self.shared.work.notify_all();
        self.reads = None;
        self.cleaning = None;
        let this_thread = std::thread::current().id();
        for thread in self.threads.drain(..) {
            // A completion may hold the last handle: a thread cannot wait for itself.
            if thread.thread().id() != this_thread {
                let _ = thread.join();
            }
        }
    }
}
