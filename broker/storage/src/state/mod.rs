//! Applied state: an overlay in memory over sled, written behind.
//!
//! A transaction's writes go to its group's overlay (`overlay`), where reads find
//! them first. One thread, the flusher (`flusher`), the only writer of sled, moves
//! them there in packs: first to a redo file (`redo`), fsynced, then to sled
//! (`table`), flushed and fsynced. Nothing of it is needed for durability: what is
//! not in sled is applied again from the log, what sled has lost is rebuilt from a
//! checkpoint and the log (`open`).
//!
//! Order of locks, outer first: a group's `checkpoints`, its `flushing`, its
//! `overlay`. Nothing else is taken under the overlay's.

mod exporting;
mod flusher;
mod group_state;
mod merge;
pub(crate) mod open;
mod overlay;
pub(crate) mod rebuild;
pub(crate) mod redo;
mod store;
pub(crate) mod table;
mod transaction;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use self::group_state::GroupState;
pub use self::store::StateStore;
pub use self::transaction::Transaction;
use crate::checkpoint::CheckpointError;
use crate::data_dir::{DataDir, DataDirError};
use crate::failure::{FailureHook, StorageFailure};
use crate::{GroupId, Marker};

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 16 << 10;
/// The longest value, in bytes; longer ones sled would put into files of their own.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// What a scan calls with each key and value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

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
