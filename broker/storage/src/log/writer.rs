//! The log's one writer: takes what has gathered, writes it as one batch with
//! one fsync, and runs the completions.
//!
//! Batches are numbered, and one is durable before the next is written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::engine::{Batch, Engine, EngineError};
use super::files::EngineFiles;
use super::queue::{Change, Operation};
use super::survey::BatchStamp;
use super::{LogError, LogWrite, Shared};
use crate::GroupId;

/// What the writer thread owns.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) engine: Arc<Engine<EngineFiles>>,
    /// The number and identity of the last batch.
    pub(super) stamp: BatchStamp,
    pub(super) batch_bytes_max: usize,
    pub(super) cache_bytes_max: usize,
    pub(super) committed_delay: Duration,
    pub(super) on_write: Option<Arc<dyn Fn(LogWrite) + Send + Sync>>,
}

/// What to write next.
struct Work {
    operations: Vec<Operation>,
    committed: Vec<GroupId>,
}

impl Writer {
    /// Until the log is closed and all is written, or the first error.
    pub(super) fn run(mut self) {
        while let Some(work) = self.next_work() {
            self.shared.room.notify_all();
            let Work {
                mut operations,
                committed,
            } = work;
            match self.write(&operations, &committed) {
                Ok(()) => self.complete(operations),
                Err(error) => {
                    let failure = self.shared.fail(&error.0);
                    for operation in &mut operations {
                        if let Some(done) = operation.done.take() {
                            done(Err(LogError::Failed(failure.clone())));
                        }
                    }
                }
            }
        }
        self.shared.refuse_waiting();
    }

    /// Waits for work; `None` when there will be no more.
    fn next_work(&self) -> Option<Work> {
        let mut queue = self.shared.queue.lock();
        loop {
            if self.shared.failure().is_some() {
                return None;
            }
            let committed_due = queue
                .committed_since()
                .map(|since| since + self.committed_delay);
            let due = committed_due.is_some_and(|at| queue.closed || at <= Instant::now());
            if queue.has_operations() || due {
                return Some(Work {
                    operations: queue.take(self.batch_bytes_max),
                    committed: queue.take_committed(),
                });
            }
            if queue.closed {
                return None;
            }
            match committed_due {
                Some(at) => {
                    self.shared.work.wait_until(&mut queue, at);
                }
                None => self.shared.work.wait(&mut queue),
            }
        }
    }

    fn write(
        &mut self,
        operations: &[Operation],
        committed: &[GroupId],
    ) -> Result<(), EngineError> {
        let started = Instant::now();
        let mut batch = Batch::default();
        let mut entries_written = 0;
        let mut ends = BTreeMap::new();
        for operation in operations {
            let group = operation.group;
            match &operation.change {
                Change::Append(entries) => {
                    entries_written += entries.len();
                    batch.append(group, entries)?;
                    ends.extend(entries.last().map(|entry| (group, entry.index + 1)));
                }
                Change::Vote(vote) => batch.vote(group, vote)?,
                Change::Purge(marker, end) => {
                    batch.purge(group, marker)?;
                    ends.insert(group, *end);
                }
                Change::TruncateFrom(end) => {
                    self.engine.truncate(group, *end, &mut batch)?;
                    ends.insert(group, *end);
                }
            }
        }
        for (group, end) in ends {
            batch.end(group, end)?;
        }
        for group in committed {
            if let Some(committed) = self.shared.group(*group).write().take_committed() {
                batch.committed(*group, &committed)?;
            }
        }
        self.stamp.sequence += 1;
        batch.stamp(self.stamp)?;
        let bytes = self.engine.write(batch)?;
        if let Some(on_write) = &self.on_write {
            on_write(LogWrite {
                entries: entries_written,
                bytes,
                took: started.elapsed(),
            });
        }
        Ok(())
    }

    fn complete(&self, operations: Vec<Operation>) {
        for operation in operations {
            if matches!(
                operation.change,
                Change::Append(_) | Change::TruncateFrom(_)
            ) {
                self.shared.group(operation.group).write().written();
            }
            self.shared
                .shrink_tail(operation.group, self.cache_bytes_max);
            // Dropped before `done` runs: that may drop the last handle, or wait for memory.
            drop(operation.change);
            if let Some(done) = operation.done {
                done(Ok(()));
            }
        }
    }
}
