//! The only writer of sled: moves closed windows there, and replaces a group's
//! state by a checkpoint when asked to.
//!
//! One round writes one pack of at most about 1 MiB: redo file, fsync, inserts,
//! sled's flush, fsync. Long jobs take one step a round, so that windows of other
//! groups go on. A group whose `flushing` lock is held (a checkpoint is being
//! made of it) is passed over. Windows that lead beyond what the log has fsynced
//! wait: state must never be ahead of the log.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::overlay::Pack;
use super::redo::{self, Redo};
use super::store::{Group, Shared};
use super::table::{GroupRecord, TableError};
use crate::GroupId;
use crate::checkpoint::{CheckpointError, CheckpointReader};

/// How often the flusher looks for windows that have become old.
const ROUND: Duration = Duration::from_millis(20);
/// Keys that are forgotten under one lock of the overlay.
const FORGET_STEP: usize = 256;

/// Something that takes many rounds.
pub(super) enum Job {
    /// Put the checkpoint's content beside the group's, then switch to it.
    Restore {
        group: Arc<Group>,
        reader: Box<CheckpointReader>,
        generation: u32,
        done: SyncSender<Result<(), CheckpointError>>,
    },
    /// Remove what the group has in other generations than this one.
    Erase { group: GroupId, kept: u32 },
}

pub(super) struct Flusher {
    shared: Arc<Shared>,
    redo: Redo,
    /// Which group goes first in the next round.
    turn: usize,
    /// Done one after the other: a restore may follow the erasing of its own remains.
    jobs: VecDeque<Job>,
}

impl Flusher {
    pub(super) fn new(shared: Arc<Shared>, redo: Redo) -> Self {
        Self {
            shared,
            redo,
            turn: 0,
            jobs: VecDeque::new(),
        }
    }

    /// Until the store is closed or has failed.
    pub(super) fn run(mut self) {
        while self.wait() {
            let result = self.round();
            if let Err(error) = result {
                self.shared.fail(&error.0, true);
                return;
            }
        }
    }

    /// Waits for the next round; `false` when there is none.
    fn wait(&mut self) -> bool {
        let mut demand = self.shared.demand.lock();
        self.jobs.append(&mut demand.jobs);
        let busy = demand.flush_now > 0 || !self.jobs.is_empty();
        if !busy && !demand.closed && self.shared.failure().is_none() {
            self.shared.wanted.wait_for(&mut demand, ROUND);
        }
        !demand.closed && self.shared.failure().is_none()
    }

    /// Writes packs until nothing is left to write now, with a step of a job after each.
    fn round(&mut self) -> Result<(), TableError> {
        loop {
            let wrote = self.flush_pack()?;
            self.step_job()?;
            {
                let demand = self.shared.demand.lock();
                self.shared.flushed.notify_all();
                if demand.closed || self.shared.failure().is_some() {
                    return Ok(());
                }
                if !wrote && demand.flush_now > 0 {
                    // Someone waits for the log, or for a checkpoint to end.
                    drop(demand);
                    self.check_log();
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            if !wrote {
                return Ok(());
            }
        }
    }

    /// A log that has failed never lets the windows go.
    fn check_log(&self) {
        if let Some(failure) = self.shared.log.failure() {
            self.shared.fail(&failure.to_string(), false);
        }
    }

    /// Writes one pack; whether there was anything to write.
    fn flush_pack(&mut self) -> Result<bool, TableError> {
        let groups = self.shared.all_groups();
        if groups.is_empty() {
            return Ok(false);
        }
        self.turn = (self.turn + 1) % groups.len();
        let (later, first) = groups.split_at(self.turn);
        let mut taken: Vec<(&Group, MutexGuard<'_, ()>, Pack)> = Vec::new();
        let mut bytes = 0;
        for group in first.iter().chain(later) {
            if bytes >= self.shared.config.flush_bytes_max {
                break;
            }
            let Some(guard) = group.flushing.try_lock() else {
                continue;
            };
            if let Some(pack) = self.next_pack(group, bytes) {
                bytes += pack.bytes;
                taken.push((group, guard, pack));
            }
        }
        if taken.is_empty() {
            return Ok(false);
        }
        let packs: Vec<_> = taken.iter().map(|(_, _, pack)| pack.pack.clone()).collect();
        if let Err(error) = self.redo.write(&packs) {
            // sled was not touched: nothing to rebuild.
            self.shared
                .fail(&format!("writing the redo file: {error}"), false);
            return Ok(false);
        }
        redo::insert(
            &packs,
            &self.shared.table,
            self.shared.config.flush_bytes_max,
        )?;
        self.shared
            .flushed_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
        self.shared.flushes.fetch_add(1, Ordering::Relaxed);
        for (group, guard, pack) in taken {
            self.forget(group, pack);
            drop(guard);
        }
        Ok(true)
    }

    fn next_pack(&self, group: &Group, bytes_before: usize) -> Option<Pack> {
        let config = &self.shared.config;
        let now = Instant::now();
        let at_once = self.shared.is_pressed() || self.shared.demand.lock().flush_now > 0;
        let since = if at_once {
            now
        } else {
            now.checked_sub(config.window_age)?
        };
        let durable_end = self.shared.log.durable_end(group.id);
        let bytes_max = config.flush_bytes_max.saturating_sub(bytes_before);
        group.overlay.read().oldest()?;
        group.overlay.write().rotate(config.window_bytes, since);
        group
            .overlay
            .read()
            .next_pack(group.id, durable_end, bytes_max)
    }

    /// Takes what sled has now out of the overlay, in steps, for readers wait meanwhile.
    fn forget(&self, group: &Group, pack: Pack) {
        for changes in pack.pack.changes.chunks(FORGET_STEP) {
            let keys = changes.iter().map(|(key, _)| key);
            group.overlay.write().forget(keys, pack.last_window);
        }
        let freed = group
            .overlay
            .write()
            .flushed(pack.last_window, pack.pack.record.applied);
        self.shared.give_room(freed);
    }

    /// Takes a step of the first job.
    fn step_job(&mut self) -> Result<(), TableError> {
        let Some(mut job) = self.jobs.pop_front() else {
            return Ok(());
        };
        if self.step(&mut job)? {
            self.jobs.push_front(job);
        }
        Ok(())
    }

    /// One step of a job; whether there are more.
    fn step(&mut self, job: &mut Job) -> Result<bool, TableError> {
        let bytes_max = self.shared.config.flush_bytes_max;
        match job {
            Job::Erase { group, kept } => {
                let finished = self.shared.table.erase_others(*group, *kept, bytes_max)?;
                self.shared.table.flush()?;
                Ok(!finished)
            }
            Job::Restore {
                group,
                reader,
                generation,
                done,
            } => {
                let (group, generation) = (group.clone(), *generation);
                match load_step(&self.shared.table, &group, reader, generation, bytes_max)? {
                    Ok(true) => Ok(true),
                    Ok(false) => {
                        let record = GroupRecord {
                            generation,
                            applied: reader.applied().clone(),
                        };
                        self.switch(&group, record)?;
                        // Whoever asked may have gone.
                        let _ = done.send(Ok(()));
                        *job = Job::Erase {
                            group: group.id,
                            kept: generation,
                        };
                        Ok(true)
                    }
                    Err(error) => {
                        let _ = done.send(Err(error));
                        *job = Job::Erase {
                            group: group.id,
                            kept: generation - 1,
                        };
                        Ok(true)
                    }
                }
            }
        }
    }

    /// Makes `record`'s generation the group's state.
    fn switch(&self, group: &Group, record: GroupRecord) -> Result<(), TableError> {
        self.shared.table.set_record(group.id, &record)?;
        self.shared.table.flush()?;
        let freed = group.overlay.write().replace(record);
        self.shared.give_room(freed);
        Ok(())
    }
}

/// Inserts the next blocks of a checkpoint, up to about `bytes_max`, and flushes.
/// `Ok(Ok(false))` at the end; the inner error is the checkpoint's own.
fn load_step(
    table: &super::table::Table,
    group: &Group,
    reader: &mut CheckpointReader,
    generation: u32,
    bytes_max: usize,
) -> Result<Result<bool, CheckpointError>, TableError> {
    let mut bytes = 0;
    let more = loop {
        match reader.next_block() {
            Err(error) => return Ok(Err(error)),
            Ok(None) => break false,
            Ok(Some(pairs)) => {
                for (key, value) in pairs {
                    bytes += key.len() + value.len();
                    table.change(group.id, generation, &key, Some(&value))?;
                }
            }
        }
        if bytes >= bytes_max {
            break true;
        }
    };
    table.flush()?;
    Ok(Ok(more))
}
