//! Applied state: an overlay in memory over sled, written behind.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::checkpoint::{CheckpointError, CheckpointInfo};
use crate::data_dir::{DataDir, DataDirError};
use crate::failure::{FailureHook, StorageFailure};
use crate::log::Log;
use crate::{GroupId, Marker};

/// How applied state is kept. Start from [`StateConfig::new`].
#[derive(Clone)]
pub struct StateConfig {
    /// Whose state it is; must be the log's.
    pub data_dir: DataDir,
    /// Bytes not yet in sled, over all groups, at which `commit` makes its
    /// caller wait. Default 512 MiB; costs that much memory when sled lags.
    pub overlay_bytes_max: usize,
    /// Bytes at which a group's window is closed. Default 256 KiB; larger ones
    /// write what changes often less often.
    pub window_bytes: usize,
    /// Age at which a group's window is closed. Default 200 ms; longer means
    /// more to replay after a crash.
    pub window_age: Duration,
    /// Bytes written to sled between two flushes. Default 1 MiB; more has been
    /// seen to corrupt sled in a power cut.
    pub flush_bytes_max: usize,
    /// sled's page cache. Default 128 MiB; memory use comes near it.
    pub sled_cache_bytes: u64,
    /// Bytes a second at which a checkpoint is written. Default 64 MiB/s;
    /// ignored when the overlay is more than half full.
    pub checkpoint_bytes_per_second: u64,
    /// Called once when the store fails for good. Default none.
    pub on_failure: Option<FailureHook>,
}

impl StateConfig {
    /// The defaults.
    pub fn new(data_dir: DataDir) -> Self {
        Self {
            data_dir,
            overlay_bytes_max: 512 << 20,
            window_bytes: 256 << 10,
            window_age: Duration::from_millis(200),
            flush_bytes_max: 1 << 20,
            sled_cache_bytes: 128 << 20,
            checkpoint_bytes_per_second: 64 << 20,
            on_failure: None,
        }
    }
}

/// What opening the state store found and did.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct OpenReport {
    /// Why sled was rebuilt, if it was.
    pub rebuilt: Option<Arc<str>>,
    /// Where the unusable sled went.
    pub moved_aside: Option<PathBuf>,
    /// The groups and up to where each has applied; the log replays from there.
    pub groups: Vec<(GroupId, Option<Marker>)>,
}

/// Why the state store did not open. Nothing was lost or removed.
#[derive(Debug, thiserror::Error)]
pub enum StateOpenError {
    /// The log was purged beyond all state that is left.
    #[error(
        "group {group} cannot be rebuilt: its log begins after entry {last_purged}, and neither {state} nor any checkpoint in {checkpoints} reaches that far ({found}). Restore the data directory from a backup, or remove it and let this node join again and catch up from its peers"
    )]
    StateLost {
        /// The group.
        group: GroupId,
        /// Up to where its log is purged.
        last_purged: u64,
        /// Where sled is.
        state: PathBuf,
        /// Where the group's checkpoints are.
        checkpoints: PathBuf,
        /// How far what was found reaches.
        found: Found,
    },
    /// The log ends before what was applied: it lost entries.
    #[error(
        "the log of group {group} in {log} ends at entry {last_index}, but entry {applied} was applied: the log has lost entries. Put the right log back or restore the data directory from a backup; `confab verify --repair` gives up what is missing"
    )]
    LogLost {
        /// The group.
        group: GroupId,
        /// Where the log is.
        log: PathBuf,
        /// Its last entry, or up to where it is purged.
        last_index: u64,
        /// The last entry that was applied.
        applied: u64,
    },
    /// The log has entries of the group, but not from where they are needed.
    #[error(
        "the log of group {group} in {log} begins at entry {first_index}, but entry {needed} is needed: entries are missing. Put the right log back or restore the data directory from a backup"
    )]
    LogGap {
        /// The group.
        group: GroupId,
        /// Where the log is.
        log: PathBuf,
        /// Its first entry.
        first_index: u64,
        /// The entry that should come next.
        needed: u64,
    },
    /// Even a fresh sled does not open.
    #[error("a new state store in {path} does not open: {message}")]
    Sled {
        /// Where sled is.
        path: PathBuf,
        /// What it said.
        message: Arc<str>,
    },
    /// A checkpoint could not be read for another reason than damage.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The manifest could not be written or does not fit.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The system refused to read or write.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// How far the state that was found reaches.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct Found {
    /// The index sled has applied.
    pub sled: Option<u64>,
    /// The index of the newest whole checkpoint.
    pub checkpoint: Option<u64>,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.sled {
            Some(index) => write!(f, "sled reaches entry {index}, ")?,
            None => write!(f, "sled has nothing, ")?,
        }
        match self.checkpoint {
            Some(index) => write!(f, "the newest whole checkpoint entry {index}"),
            None => write!(f, "there is no whole checkpoint"),
        }
    }
}

/// Why the state store did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StateError {
    /// The store is dead and the node must stop; the next start rebuilds it.
    #[error(transparent)]
    Failed(#[from] Arc<StorageFailure>),
    /// The store was shut down; the node is stopping.
    #[error("the state store is closed")]
    Closed,
}

/// How far sled lags behind, for metrics.
#[derive(Copy, Clone, Debug, Default, Eq, PartialEq)]
pub struct StateFigures {
    /// Bytes committed but not yet in sled.
    pub overlay_bytes: usize,
    /// Age of the oldest commit not yet in sled.
    pub oldest_unflushed: Option<Duration>,
    /// Bytes written to sled since the start.
    pub flushed_bytes: u64,
    /// Flushes of sled since the start.
    pub flushes: u64,
}

/// A handle on the state of all groups; cheap to clone.
#[derive(Clone)]
pub struct StateStore {}

impl StateStore {
    /// Opens the state, rebuilding sled from checkpoints when it is unusable.
    /// Blocks; a rebuild takes about as long as reading the checkpoints.
    ///
    /// # Errors
    /// See [`StateOpenError`]: the state cannot be had without losing something.
    pub fn open(config: StateConfig, log: &Log) -> Result<(Self, OpenReport), StateOpenError> {
        let _ = (config, log);
        Ok((Self {}, OpenReport::default()))
    }

    /// The state of `group`, which is recorded in the manifest when it is new:
    /// call it before the group's first log entry. Blocks briefly when it is new.
    ///
    /// # Errors
    /// When a new group could not be recorded.
    pub fn group(&self, group: GroupId) -> Result<GroupState, DataDirError> {
        let _ = group;
        Ok(GroupState {})
    }

    /// The groups of the manifest.
    pub fn groups(&self) -> Vec<GroupId> {
        Vec::new()
    }

    /// How far sled lags behind.
    pub fn figures(&self) -> StateFigures {
        StateFigures::default()
    }

    /// Writes all that is committed to sled. Blocks.
    ///
    /// # Errors
    /// When the store has failed or is closed.
    pub fn flush_all(&self) -> Result<(), StateError> {
        Ok(())
    }

    /// Flushes and closes: later commits are refused, reads go on. Blocks.
    ///
    /// # Errors
    /// When the store has failed.
    pub fn shutdown(&self) -> Result<(), StateError> {
        Ok(())
    }
}

/// One group's state; cheap to clone.
///
/// Reads see what is committed. They never see part of a transaction.
#[derive(Clone)]
pub struct GroupState {}

impl GroupState {
    /// The value of `key`. Short; may read sled's file when the page is cold.
    ///
    /// # Panics
    /// When the store has failed: wrong answers must not be given.
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        let _ = key;
        None
    }

    /// Visits keys of `from..to` in order (backwards if `reverse`) as of one
    /// moment, until `visit` breaks. Commits of this group wait meanwhile: keep
    /// it short. `visit` may read this group but not commit to it.
    ///
    /// # Panics
    /// When the store has failed.
    pub fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        let _ = (from, to, reverse, visit);
    }

    /// The last applied log id.
    pub fn applied(&self) -> Option<Marker> {
        None
    }

    /// Begins the next transaction of the group's one writer.
    ///
    /// # Panics
    /// When another transaction of the group is open.
    pub fn begin(&self) -> Transaction {
        Transaction {}
    }

    /// Makes a checkpoint of what is applied now (or a little later). Blocks as
    /// long as writing it takes; applying and reading go on. When nothing was
    /// applied since the newest one, that one is returned.
    ///
    /// # Errors
    /// See [`CheckpointError`]; the former checkpoint is untouched then.
    pub fn checkpoint(&self) -> Result<CheckpointInfo, CheckpointError> {
        Err(CheckpointError::State(StateError::Closed))
    }

    /// The newest checkpoint: the log may be purged up to it.
    pub fn newest_checkpoint(&self) -> Option<CheckpointInfo> {
        None
    }

    /// Replaces the group's state by the checkpoint in `file` (a Raft snapshot
    /// received from a peer), keeps a copy as its newest checkpoint and purges
    /// the log up to it. Atomic in a crash; readers see the old or the new
    /// state. Blocks. No transaction may be open.
    ///
    /// # Errors
    /// See [`CheckpointError`]; the state is the former one then.
    pub fn restore(&self, file: &Path) -> Result<CheckpointInfo, CheckpointError> {
        let _ = file;
        Err(CheckpointError::State(StateError::Closed))
    }
}

/// Writes to one group that become visible together, at `commit`.
/// Dropped without, it leaves no trace.
pub struct Transaction {}

impl Transaction {
    /// The value of `key`, with this transaction's own writes.
    pub fn get(&self, key: &[u8]) -> Option<Bytes> {
        let _ = key;
        None
    }

    /// As [`GroupState::scan`], with this transaction's own writes.
    pub fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        reverse: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) {
        let _ = (from, to, reverse, visit);
    }

    /// Sets `key`.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let _: (Bytes, Bytes) = (key.into(), value.into());
    }

    /// Removes `key`; no error if it is not there.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        let _: Bytes = key.into();
    }

    /// Makes the writes visible, as the effect of the log up to `applied`.
    /// Waits while the overlay is full: call it where blocking is allowed.
    ///
    /// # Errors
    /// When the store has failed or is closed; nothing is visible then.
    pub fn commit(self, applied: Marker) -> Result<(), StateError> {
        let _ = applied;
        Ok(())
    }
}
