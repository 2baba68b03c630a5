//! What can go wrong with the log, by what is to be done about it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::GroupId;
use crate::data_dir::DataDirError;
use crate::failure::StorageFailure;

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
    /// An entry is larger than [`ENTRY_BYTES_MAX`](super::ENTRY_BYTES_MAX); nothing was appended.
    #[error("a log entry of {0} bytes is more than a log takes")]
    TooLarge(usize),
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
        "the log file {0} is missing or unreadable: put it back, or restore the data directory from a backup; `confab verify --repair` goes on without it and says what is lost"
    )]
    Missing(PathBuf),
    /// Entries are missing although every file is whole.
    #[error(
        "the log in {path} has lost entries {from} to {end} (exclusive) of group {group}: put the right log back, or restore the data directory from a backup; `confab verify --repair` goes on without them"
    )]
    Incomplete {
        /// The log's directory.
        path: PathBuf,
        /// The group.
        group: GroupId,
        /// The first missing entry.
        from: u64,
        /// Where the log should end, exclusive.
        end: u64,
    },
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

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
