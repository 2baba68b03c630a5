//! What the log knows of one group in memory: its bounds, its records, and the
//! tail of its entries.
//!
//! Pure bookkeeping, changed by callers before the writer writes and by the
//! writer after; the lock around it is [`super::Shared`]'s.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;

use super::{LogEntry, LogState};
use crate::Marker;

/// One group's log as it will be once everything queued is written.
///
/// Invariant: `tail` holds the entries `next_index - tail.len() .. next_index`,
/// and all that are not yet durable.
#[derive(Debug, Default)]
pub(super) struct GroupLog {
    first_index: u64,
    /// One past the last entry; equal to `first_index` when there is none.
    next_index: u64,
    /// No entry was ever appended nor any purged: the first may be 0 or 1.
    untouched: bool,
    tail: VecDeque<LogEntry>,
    tail_bytes: usize,
    /// First index of each change that is queued and not yet durable, oldest first.
    pending: VecDeque<u64>,
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    /// Whether `committed` is newer than what was written.
    committed_is_new: bool,
    purged: Option<Marker>,
}

impl GroupLog {
    /// The log as stored.
    pub(super) fn new(stored: LogState) -> Self {
        let after_purged = stored.purged.as_ref().map(|marker| marker.index + 1);
        let first_index = stored.first_index.or(after_purged);
        let next_index = stored.last_index.map(|last| last + 1).or(first_index);
        Self {
            first_index: first_index.unwrap_or(0),
            next_index: next_index.unwrap_or(0),
            untouched: first_index.is_none(),
            vote: stored.vote,
            committed: stored.committed,
            purged: stored.purged,
            ..Self::default()
        }
    }

    pub(super) fn state(&self) -> LogState {
        let filled = self.first_index < self.next_index;
        LogState {
            first_index: filled.then_some(self.first_index),
            last_index: filled.then(|| self.next_index - 1),
            vote: self.vote.clone(),
            committed: self.committed.clone(),
            purged: self.purged.clone(),
        }
    }

    /// Takes entries into the tail.
    ///
    /// # Panics
    /// When they leave a hole: the log's owner is broken.
    pub(super) fn append(&mut self, entries: &[LogEntry]) {
        let Some(first) = entries.first().map(|entry| entry.index) else {
            return;
        };
        if self.untouched {
            assert!(first <= 1, "a log begins at 0 or 1, not at {first}");
            self.untouched = false;
            (self.first_index, self.next_index) = (first, first);
        }
        assert!(
            (self.first_index..=self.next_index).contains(&first),
            "entry {first} does not follow {}..{}",
            self.first_index,
            self.next_index
        );
        self.drop_from(first);
        for (entry, index) in entries.iter().zip(first..) {
            assert_eq!(entry.index, index, "entries must be consecutive");
            self.tail_bytes += entry.bytes.len();
            self.tail.push_back(entry.clone());
        }
        self.next_index = first + entries.len() as u64;
        self.pending.push_back(first);
    }

    /// Drops the entries after `last_kept`; returns where the log now ends, exclusive.
    pub(super) fn truncate_after(&mut self, last_kept: Option<u64>) -> u64 {
        let end = last_kept.map_or(0, |last| last + 1).max(self.first_index);
        let end = end.min(self.next_index);
        self.drop_from(end);
        self.pending.push_back(end);
        end
    }

    /// Drops the entries up to `purged`; returns where the log now ends, exclusive.
    pub(super) fn purge(&mut self, purged: Marker) -> u64 {
        let first = purged.index + 1;
        self.untouched = false;
        if self.next_index <= first {
            self.drop_tail(0);
            (self.first_index, self.next_index) = (first, first);
        } else if self.first_index < first {
            self.first_index = first;
            let keep = (self.next_index - first) as usize;
            self.drop_tail(keep);
        }
        if self
            .purged
            .as_ref()
            .is_none_or(|former| former.index <= purged.index)
        {
            self.purged = Some(purged);
        }
        self.next_index
    }

    pub(super) fn set_vote(&mut self, vote: Bytes) {
        self.vote = Some(vote);
    }

    /// Whether there was no newer one waiting already.
    pub(super) fn set_committed(&mut self, committed: Bytes) -> bool {
        self.committed = Some(committed);
        !std::mem::replace(&mut self.committed_is_new, true)
    }

    /// The commit marker to write, if it is newer than the one written.
    pub(super) fn take_committed(&mut self) -> Option<Bytes> {
        std::mem::take(&mut self.committed_is_new)
            .then(|| self.committed.clone())
            .flatten()
    }

    /// The oldest queued change is durable.
    pub(super) fn written(&mut self) {
        self.pending.pop_front();
    }

    /// One past the last durable entry.
    pub(super) fn durable_end(&self) -> u64 {
        let pending = self.pending.iter().min().copied();
        pending.unwrap_or(self.next_index).min(self.next_index)
    }

    pub(super) fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Drops the oldest durable entries of the tail until `bytes` are left.
    pub(super) fn shrink_tail(&mut self, bytes: usize) {
        let durable_end = self.durable_end();
        while self.tail_bytes > bytes {
            match self.tail.front() {
                Some(entry) if entry.index < durable_end => {
                    self.tail_bytes -= entry.bytes.len();
                    self.tail.pop_front();
                }
                _ => return,
            }
        }
    }

    /// Where `range` is to be read from.
    pub(super) fn locate(&self, range: Range<u64>) -> Located {
        if range.start < self.first_index {
            return Located::Purged {
                last_purged: self.first_index - 1,
            };
        }
        let end = range.end.min(self.next_index);
        let tail_start = self.next_index - self.tail.len() as u64;
        if range.start >= end {
            Located::Nothing
        } else if range.start < tail_start {
            Located::Disk(range.start..end.min(tail_start))
        } else {
            Located::Tail(range.start..end)
        }
    }

    /// Entries of `range`, which must be in the tail, until `bytes_max`.
    pub(super) fn read_tail(&self, range: Range<u64>, bytes_max: usize) -> Vec<LogEntry> {
        let tail_start = self.next_index - self.tail.len() as u64;
        let skip = (range.start - tail_start) as usize;
        let count = (range.end - range.start) as usize;
        let mut bytes = 0;
        let mut entries = Vec::new();
        for entry in self.tail.iter().skip(skip).take(count) {
            bytes += entry.bytes.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(entry.clone());
        }
        entries
    }

    fn drop_from(&mut self, index: u64) {
        while self.tail.back().is_some_and(|entry| entry.index >= index) {
            if let Some(entry) = self.tail.pop_back() {
                self.tail_bytes -= entry.bytes.len();
            }
        }
        self.next_index = self.next_index.min(index);
    }

    /// Keeps only the newest `keep` entries of the tail.
    fn drop_tail(&mut self, keep: usize) {
        while self.tail.len() > keep {
            if let Some(entry) = self.tail.pop_front() {
                self.tail_bytes -= entry.bytes.len();
            }
        }
    }
}

/// Where entries are.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Located {
    Purged { last_purged: u64 },
    Nothing,
    Disk(Range<u64>),
    Tail(Range<u64>),
}
