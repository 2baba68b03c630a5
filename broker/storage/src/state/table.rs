//! sled, as this crate uses it: one tree with prefixed keys, one writer thread,
//! errors and panics taken as "unusable".
//!
//! ```text
//! group u64 | 0 u32              -> generation u32 | index u64 | log id: what the group's keys hold
//! group u64 | generation u32 | k -> the value of k
//! node  u64 | 0 u32              -> the data directory's identity, written when the table is complete
//! ```
//! Replacing a group's state writes the new one beside the old under the next
//! generation, and then the group's record: one insert switches.
//!
//! What sled 0.34.7 needs to survive a power cut, as measured: one writer, plain
//! inserts, at most about 1 MiB between flushes, nothing written during one, and
//! an fsync of its own after each, because its `flush` does none.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::data_dir::Identity;
use crate::disk::{Disk, parent_of};
use crate::failure::panic_message;
use crate::{GroupId, Marker};

const SEGMENT_BYTES: usize = 8 << 20;
/// How long an earlier owner of the same process may take to let go of the file.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Why sled is unusable, as text: all that can be done is to say it and rebuild.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TableError(pub(crate) Arc<str>);

impl From<sled::Error> for TableError {
    fn from(error: sled::Error) -> Self {
        Self(error.to_string().into())
    }
}

impl From<io::Error> for TableError {
    fn from(error: io::Error) -> Self {
        Self(error.to_string().into())
    }
}

pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, TableError>) -> Result<T, TableError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(TableError(panic_message(&*panic).into())))
}

/// What the keys of a group hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct GroupRecord {
    /// Which keys are the group's.
    pub(crate) generation: u32,
    /// The last log id whose effects are in them.
    pub(crate) applied: Marker,
}

impl GroupRecord {
    /// The first generation; 0 marks the records themselves.
    pub(crate) const FIRST_GENERATION: u32 = 1;

    fn encode(&self) -> Vec<u8> {
        [&self.generation.to_be_bytes()[..], &self.applied.encode()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (generation, applied) = bytes.split_first_chunk::<4>()?;
        Some(Self {
            generation: u32::from_be_bytes(*generation),
            applied: Marker::decode(applied)?,
        })
    }
}

/// The open sled. Reading is for all threads, writing for one.
pub(crate) struct Table {
    db: sled::Db,
    /// sled's own file, to fsync it.
    file: File,
    path: PathBuf,
    disk: Disk,
}

const PREFIX: usize = 12;

fn key(group: GroupId, generation: u32, key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(PREFIX + key.len());
    out.extend_from_slice(&group.as_u64().to_be_bytes());
    out.extend_from_slice(&generation.to_be_bytes());
    out.extend_from_slice(key);
    out
}

/// A pair as sled gives it, without the prefix.
pub(crate) struct StoredPair {
    key: sled::IVec,
    pub(crate) value: sled::IVec,
}

impl StoredPair {
    pub(crate) fn key(&self) -> &[u8] {
        &self.key[PREFIX..]
    }
}

impl Table {
    /// Opens sled in `path`, creating it if it is not there.
    pub(crate) fn open(path: &Path, cache_bytes: u64, disk: &Disk) -> Result<Self, TableError> {
        disk.create_directory(path)?;
        let db = guarded(|| open_patiently(path, cache_bytes))?;
        let table = Self {
            db,
            file: File::open(path.join("db"))?,
            path: path.to_path_buf(),
            disk: disk.clone(),
        };
        table.sync_names()?;
        Ok(table)
    }

    /// Makes durable what sled created when it opened.
    fn sync_names(&self) -> Result<(), TableError> {
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if path.is_file() {
                self.disk.sync_file(&File::open(&path)?, &path)?;
            }
        }
        self.disk.sync_directory(&self.path)?;
        self.disk.sync_directory(&parent_of(&self.path))?;
        Ok(())
    }

    /// Writes what was inserted and makes it durable.
    pub(crate) fn flush(&self) -> Result<(), TableError> {
        guarded(|| {
            self.db.flush()?;
            self.disk.sync_file(&self.file, &self.path.join("db"))?;
            Ok(())
        })
    }

    pub(crate) fn identity(&self) -> Result<Option<Identity>, TableError> {
        let value = guarded(|| Ok(self.db.get(key(GroupId::NODE, 0, b""))?))?;
        Ok(value.and_then(|value| value.as_ref().try_into().ok()))
    }

    /// Marks the table as complete.
    pub(crate) fn set_identity(&self, identity: Identity) -> Result<(), TableError> {
        guarded(|| {
            self.db.insert(key(GroupId::NODE, 0, b""), &identity[..])?;
            Ok(())
        })
    }

    pub(crate) fn record(&self, group: GroupId) -> Result<Option<GroupRecord>, TableError> {
        let value = guarded(|| Ok(self.db.get(key(group, 0, b""))?))?;
        value
            .map(|value| {
                GroupRecord::decode(&value).ok_or_else(|| {
                    TableError(format!("the record of group {group} is broken").into())
                })
            })
            .transpose()
    }

    pub(crate) fn set_record(
        &self,
        group: GroupId,
        record: &GroupRecord,
    ) -> Result<(), TableError> {
        guarded(|| {
            self.db.insert(key(group, 0, b""), record.encode())?;
            Ok(())
        })
    }

    /// Whether it has anything of any group.
    pub(crate) fn holds_groups(&self) -> Result<bool, TableError> {
        guarded(|| match self.db.iter().next() {
            None => Ok(false),
            // The node's own keys are the last ones.
            Some(first) => Ok(!first?.0.starts_with(&GroupId::NODE.as_u64().to_be_bytes())),
        })
    }

    pub(crate) fn get(
        &self,
        group: GroupId,
        generation: u32,
        k: &[u8],
    ) -> Result<Option<Bytes>, TableError> {
        let value = guarded(|| Ok(self.db.get(key(group, generation, k))?))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// The pairs whose key is in `range`, in order.
    pub(crate) fn range(&self, group: GroupId, generation: u32, range: Range<&[u8]>) -> TableRange {
        let bounds = key(group, generation, range.start)..key(group, generation, range.end);
        TableRange {
            iter: self.db.range(bounds),
        }
    }

    /// All pairs of the group's generation.
    pub(crate) fn all(&self, group: GroupId, generation: u32) -> TableRange {
        let bounds = key(group, generation, b"")..after(group, generation);
        TableRange {
            iter: self.db.range(bounds),
        }
    }

    /// Sets or removes one key.
    pub(crate) fn change(
        &self,
        group: GroupId,
        generation: u32,
        k: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), TableError> {
        let full = key(group, generation, k);
        guarded(|| {
            match value {
                Some(value) => self.db.insert(full, value)?,
                None => self.db.remove(full)?,
            };
            Ok(())
        })
    }

    /// Removes about `bytes_max` of what the group has in other generations than
    /// `kept`; whether that was all.
    pub(crate) fn erase_others(
        &self,
        group: GroupId,
        kept: u32,
        bytes_max: usize,
    ) -> Result<bool, TableError> {
        guarded(|| {
            let first = GroupRecord::FIRST_GENERATION;
            let before = key(group, first, b"")..key(group, kept, b"");
            let behind = after(group, kept)..after(group, u32::MAX);
            let mut bytes = 0;
            for bounds in [before, behind] {
                if bounds.start >= bounds.end {
                    continue;
                }
                for pair in self.db.range(bounds) {
                    let (key, value) = pair?;
                    bytes += key.len() + value.len();
                    self.db.remove(key)?;
                    if bytes >= bytes_max {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        })
    }
}

/// Where the keys of the group's generation end, exclusive.
fn after(group: GroupId, generation: u32) -> Vec<u8> {
    match generation.checked_add(1) {
        Some(next) => key(group, next, b""),
        None => GroupId::from_u64(group.as_u64() + 1)
            .as_u64()
            .to_be_bytes()
            .to_vec(),
    }
}

fn open_patiently(path: &Path, cache_bytes: u64) -> Result<sled::Db, TableError> {
    let started = Instant::now();
    loop {
        let config = sled::Config::new()
            .path(path)
            .cache_capacity(cache_bytes)
            .segment_size(SEGMENT_BYTES)
            .flush_every_ms(None);
        match config.open() {
            Ok(db) => return Ok(db),
            // An earlier instance in this process may still be letting go.
            Err(sled::Error::Io(e))
                if e.to_string().contains("could not acquire lock")
                    && started.elapsed() < LOCK_PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(e.into()),
        }
    }
}

/// Pairs in order, from both ends.
pub(crate) struct TableRange {
    iter: sled::Iter,
}

impl TableRange {
    fn take(
        next: Option<sled::Result<(sled::IVec, sled::IVec)>>,
    ) -> Result<Option<StoredPair>, TableError> {
        Ok(next
            .transpose()?
            .map(|(key, value)| StoredPair { key, value }))
    }

    pub(crate) fn next_pair(&mut self) -> Result<Option<StoredPair>, TableError> {
        guarded(|| Self::take(self.iter.next()))
    }

    pub(crate) fn next_pair_back(&mut self) -> Result<Option<StoredPair>, TableError> {
        guarded(|| Self::take(self.iter.next_back()))
    }
}
