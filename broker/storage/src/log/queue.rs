//! What waits for the writer.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::{Completion, LogEntry};
use crate::{GroupId, Marker};

/// One thing for the writer to do.
pub(super) struct Operation {
    pub(super) group: GroupId,
    pub(super) change: Change,
    pub(super) done: Option<Completion>,
}

pub(super) enum Change {
    Append(Vec<LogEntry>),
    Vote(Bytes),
    /// And where the log ends then, exclusive.
    Purge(Marker, u64),
    /// Drop the entries from this index on.
    TruncateFrom(u64),
}

impl Operation {
    /// Bytes it holds while it waits.
    pub(super) fn bytes(&self) -> usize {
        const OVERHEAD: usize = 64;
        match &self.change {
            Change::Append(entries) => entries
                .iter()
                .map(|entry| entry.bytes.len() + OVERHEAD)
                .sum(),
            Change::Vote(_) | Change::Purge(..) | Change::TruncateFrom(_) => OVERHEAD,
        }
    }
}

/// Operations in order, and the groups whose commit marker is to be written.
#[derive(Default)]
pub(super) struct Queue {
    operations: VecDeque<Operation>,
    bytes: usize,
    committed: Vec<GroupId>,
    committed_since: Option<Instant>,
    pub(super) closed: bool,
}

impl Queue {
    pub(super) fn push(&mut self, operation: Operation) {
        self.bytes += operation.bytes();
        self.operations.push_back(operation);
    }

    pub(super) fn push_committed(&mut self, group: GroupId) {
        self.committed_since.get_or_insert_with(Instant::now);
        self.committed.push(group);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn has_operations(&self) -> bool {
        !self.operations.is_empty()
    }

    /// Since when a commit marker waits.
    pub(super) fn committed_since(&self) -> Option<Instant> {
        self.committed_since
    }

    pub(super) fn take_committed(&mut self) -> Vec<GroupId> {
        self.committed_since = None;
        std::mem::take(&mut self.committed)
    }

    /// The operations for the next batch: until `bytes_max`, at least one, a
    /// truncation only by itself because it depends on what is written.
    pub(super) fn take(&mut self, bytes_max: usize) -> Vec<Operation> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.operations.front() {
            let alone = matches!(next.change, Change::TruncateFrom(_));
            let next_bytes = next.bytes();
            if !taken.is_empty() && (alone || bytes + next_bytes > bytes_max) {
                break;
            }
            bytes += next_bytes;
            taken.extend(self.operations.pop_front());
            if alone {
                break;
            }
        }
        self.bytes -= bytes;
        taken
    }

    /// Everything that waits, for it will not be done.
    pub(super) fn take_all(&mut self) -> Vec<Operation> {
        self.bytes = 0;
        self.take_committed();
        self.operations.drain(..).collect()
    }
}
