//! The log engine (raft-engine) as this crate uses it: opaque bytes in, opaque
//! bytes out, panics turned into errors.
//!
//! Files are not recycled: a gap in their numbers would then be normal, and a
//! missing file could not be told from one that was reused.
//!
//! The engine may bring back entries that were dropped: it forgets the order to
//! drop them once its file is removed, while copies of theirs may be left among
//! the rewritten ones. It never forgets a record. So each group's records say where
//! its log begins and ends, are written with every change of that, and decide.
//!
//! The engine remembers the block it read last in a thread-local that does not
//! know which engine it came from. So each engine is read only by threads that
//! serve that one engine (see `reader` and `writer`), never by callers.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use protobuf2::well_known_types::BytesValue;
use raft_engine::env::FileSystem;
use raft_engine::{Command, Config, LogBatch, MessageExt, ReadableSize, RecoveryMode};

use super::survey::{BATCH_KEY, BatchStamp};
use super::{LogEntry, LogState};
use crate::failure::panic_message;
use crate::{GroupId, Marker};

const VOTE_KEY: &[u8] = b"v";
const COMMITTED_KEY: &[u8] = b"c";
const PURGED_KEY: &[u8] = b"p";
const END_KEY: &[u8] = b"e";
const INDEX_BYTES: usize = 8;

/// What the engine said, as text: the caller can only tell the operator.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct EngineError(pub(crate) Arc<str>);

impl From<raft_engine::Error> for EngineError {
    fn from(error: raft_engine::Error) -> Self {
        Self(error.to_string().into())
    }
}

/// Runs `work` and takes a panic for an error, which is how the engine reports
/// a failed fsync and broken invariants of what it reads.
fn guarded<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(EngineError(panic_message(&*panic).into())))
}

/// How the engine finds an entry's index: it is the value's first eight bytes.
struct Indexed;

impl MessageExt for Indexed {
    type Entry = BytesValue;

    fn index(entry: &BytesValue) -> u64 {
        entry
            .value
            .first_chunk()
            .map_or(0, |index| u64::from_be_bytes(*index))
    }
}

fn wrap(entry: &LogEntry) -> BytesValue {
    let mut value = Vec::with_capacity(INDEX_BYTES + entry.bytes.len());
    value.extend_from_slice(&entry.index.to_be_bytes());
    value.extend_from_slice(&entry.bytes);
    let mut wrapped = BytesValue::new();
    wrapped.set_value(value);
    wrapped
}

fn unwrap(wrapped: BytesValue) -> LogEntry {
    let index = Indexed::index(&wrapped);
    let value = Bytes::from(wrapped.value);
    LogEntry {
        index,
        bytes: value.slice(INDEX_BYTES.min(value.len())..),
    }
}

/// What is to be written at once.
#[derive(Default)]
pub(crate) struct Batch {
    engine: LogBatch,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.engine.is_empty()
    }

    pub(crate) fn append(
        &mut self,
        group: GroupId,
        entries: &[LogEntry],
    ) -> Result<(), EngineError> {
        let wrapped: Vec<_> = entries.iter().map(wrap).collect();
        Ok(self
            .engine
            .add_entries::<Indexed>(group.as_u64(), &wrapped)?)
    }

    pub(crate) fn vote(&mut self, group: GroupId, vote: &[u8]) -> Result<(), EngineError> {
        Ok(self
            .engine
            .put(group.as_u64(), VOTE_KEY.to_vec(), vote.to_vec())?)
    }

    pub(crate) fn committed(
        &mut self,
        group: GroupId,
        committed: &[u8],
    ) -> Result<(), EngineError> {
        Ok(self
            .engine
            .put(group.as_u64(), COMMITTED_KEY.to_vec(), committed.to_vec())?)
    }

    /// Records where the group's log ends, exclusive, after this batch.
    pub(crate) fn end(&mut self, group: GroupId, end: u64) -> Result<(), EngineError> {
        let end = end.to_be_bytes().to_vec();
        Ok(self.engine.put(group.as_u64(), END_KEY.to_vec(), end)?)
    }

    pub(crate) fn purge(&mut self, group: GroupId, purged: &Marker) -> Result<(), EngineError> {
        self.drop_before(group, purged.index + 1);
        Ok(self
            .engine
            .put(group.as_u64(), PURGED_KEY.to_vec(), purged.encode())?)
    }

    /// Drops the entries before `index`.
    pub(crate) fn drop_before(&mut self, group: GroupId, index: u64) {
        self.engine
            .add_command(group.as_u64(), Command::Compact { index });
    }

    pub(crate) fn stamp(&mut self, stamp: BatchStamp) -> Result<(), EngineError> {
        Ok(self
            .engine
            .put(GroupId::NODE.as_u64(), BATCH_KEY.to_vec(), stamp.encode())?)
    }
}

/// What is stored of a group.
pub(crate) struct Loaded {
    pub(crate) state: LogState,
    /// The entries, end exclusive, that should be there and are not.
    pub(crate) missing: Option<(u64, u64)>,
}

/// An open engine over the file system `F`.
pub(crate) struct Engine<F: FileSystem> {
    /// `None` only while it is dropped, which may panic like everything else here.
    engine: Option<raft_engine::Engine<F>>,
}

impl<F: FileSystem + 'static> Engine<F> {
    pub(crate) fn open(
        log: &Path,
        files: F,
        file_bytes: u64,
        disk_bytes_target: u64,
    ) -> Result<Self, EngineError> {
        let config = Config {
            dir: log.to_string_lossy().into_owned(),
            recovery_mode: RecoveryMode::TolerateTailCorruption,
            target_file_size: ReadableSize(file_bytes),
            purge_threshold: ReadableSize(disk_bytes_target.max(file_bytes)),
            enable_log_recycle: false,
            ..Config::default()
        };
        let engine = guarded(|| {
            Ok(raft_engine::Engine::open_with_file_system(
                config,
                Arc::new(files),
            )?)
        })?;
        Ok(Self {
            engine: Some(engine),
        })
    }

    fn engine(&self) -> &raft_engine::Engine<F> {
        self.engine.as_ref().expect("taken only by drop")
    }

    /// Writes and fsyncs.
    pub(crate) fn write(&self, mut batch: Batch) -> Result<usize, EngineError> {
        guarded(|| Ok(self.engine().write(&mut batch.engine, true)?))
    }

    pub(crate) fn groups(&self) -> BTreeSet<GroupId> {
        self.engine()
            .raft_groups()
            .into_iter()
            .map(GroupId::from_u64)
            .filter(|group| *group != GroupId::NODE)
            .collect()
    }

    pub(crate) fn stamp(&self) -> Option<BatchStamp> {
        let value = self.engine().get(GroupId::NODE.as_u64(), BATCH_KEY)?;
        BatchStamp::decode(&value)
    }

    /// First and last entry that the engine has, whether or not they count.
    pub(crate) fn bounds(&self, group: GroupId) -> Option<(u64, u64)> {
        let id = group.as_u64();
        self.engine()
            .first_index(id)
            .zip(self.engine().last_index(id))
    }

    /// What the group's records and entries say together.
    pub(crate) fn load(&self, group: GroupId) -> Loaded {
        let id = group.as_u64();
        let engine = self.engine();
        let purged = engine
            .get(id, PURGED_KEY)
            .and_then(|bytes| Marker::decode(&bytes));
        let end = engine
            .get(id, END_KEY)
            .and_then(|bytes| Some(u64::from_be_bytes(bytes.try_into().ok()?)))
            .unwrap_or(0);
        let begin = purged.as_ref().map_or(0, |marker| marker.index + 1);
        let live = self.bounds(group).and_then(|(first, last)| {
            let (first, last) = (first.max(begin), (last + 1).min(end));
            (first < last).then(|| (first, last - 1))
        });
        // An empty log that was never purged ends where it began: at 0 or 1.
        let held_end = live.map_or(begin.max(1), |(_, last)| last + 1);
        Loaded {
            state: LogState {
                first_index: live.map(|(first, _)| first),
                last_index: live.map(|(_, last)| last),
                vote: engine.get(id, VOTE_KEY).map(Bytes::from),
                committed: engine.get(id, COMMITTED_KEY).map(Bytes::from),
                purged,
            },
            missing: (held_end < end).then_some((held_end, end)),
        }
    }

    /// Drops entries that the engine has beyond where the group's log ends, and
    /// those that its next one would not follow.
    pub(crate) fn drop_stale(&self, group: GroupId, batch: &mut Batch) -> Result<(), EngineError> {
        let state = self.load(group).state;
        let purged = state.purged.map(|marker| marker.index);
        let end = state.last_index.max(purged).map_or(0, |last| last + 1);
        match self.bounds(group) {
            Some((_, last)) if last + 1 < end => batch.drop_before(group, last + 1),
            _ => self.truncate(group, end, batch)?,
        }
        Ok(())
    }

    /// The engine has no truncation, but writing an entry anew drops those after
    /// it; where none is to be kept, all are purged.
    pub(crate) fn truncate(
        &self,
        group: GroupId,
        end: u64,
        batch: &mut Batch,
    ) -> Result<(), EngineError> {
        match self.bounds(group) {
            Some((first, last)) if end <= first => batch.drop_before(group, last + 1),
            Some((_, last)) if end <= last => {
                batch.append(group, &self.read(group, end - 1, end, 0)?)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads `first..end`, all of which must be there, until `bytes_max` is
    /// reached, but at least one.
    pub(crate) fn read(
        &self,
        group: GroupId,
        first: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, EngineError> {
        guarded(|| {
            let mut wrapped = Vec::new();
            self.engine().fetch_entries_to::<Indexed>(
                group.as_u64(),
                first,
                end,
                Some(bytes_max),
                &mut wrapped,
            )?;
            Ok(wrapped.into_iter().map(unwrap).collect())
        })
    }

    /// Removes files that hold nothing needed any more, once there are enough.
    pub(crate) fn remove_purged_files(&self) -> Result<(), EngineError> {
        guarded(|| {
            self.engine().purge_expired_files()?;
            Ok(())
        })
    }
}

impl<F: FileSystem> Drop for Engine<F> {
    fn drop(&mut self) {
        let engine = self.engine.take();
        // The engine fsyncs when it closes and panics when that fails.
        let closed = catch_unwind(AssertUnwindSafe(move || drop(engine)));
        if let Err(panic) = closed {
            tracing::error!(reason = panic_message(&*panic), "closing the log failed");
        }
    }
}
