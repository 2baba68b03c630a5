//! Making a checkpoint of a running group, and taking one on.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::StateError;
use super::flusher::Job;
use super::store::{Group, Shared};
use crate::Marker;
use crate::checkpoint::shelf::Shelf;
use crate::checkpoint::{CheckpointError, CheckpointInfo, CheckpointReader, CheckpointWriter};
use crate::log::LogError;

/// See [`super::GroupState::checkpoint`].
///
/// The flusher passes the group over meanwhile, so sled stands still; commits
/// gather in the overlay.
pub(super) fn export(shared: &Shared, group: &Group) -> Result<CheckpointInfo, CheckpointError> {
    shared.usable()?;
    let _one_at_a_time = group.checkpoints.lock();
    let Some(target) = group
        .overlay
        .read()
        .applied
        .as_ref()
        .map(|marker| marker.index)
    else {
        return Err(CheckpointError::Empty(group.id));
    };
    let flushed_index = || {
        let overlay = group.overlay.read();
        overlay.flushed.as_ref().map(|marker| marker.index)
    };
    shared.flush_until(|| flushed_index() >= Some(target))?;
    let standing_still = group.flushing.lock();
    let (generation, applied) = {
        let overlay = group.overlay.read();
        (overlay.generation, overlay.flushed.clone())
    };
    let applied = applied.ok_or(CheckpointError::Empty(group.id))?;
    if let Some(newest) = group
        .newest_checkpoint()
        .filter(|newest| newest.applied == applied)
    {
        return Ok(newest);
    }
    let (file, temporary) = group.shelf.begin(applied.index)?;
    let index = applied.index;
    let written = write(shared, group, generation, applied, file, &temporary);
    drop(standing_still);
    let finished = written.and_then(|(file, info)| {
        let path = group.shelf.finish(&file, &temporary, index)?;
        Ok(CheckpointInfo { path, ..info })
    });
    let info = finished.inspect_err(|_| group.shelf.abandon(&temporary))?;
    group.keep(info.clone())?;
    Ok(info)
}

/// Writes all that sled holds of the group to `file`.
fn write(
    shared: &Shared,
    group: &Group,
    generation: u32,
    applied: Marker,
    file: File,
    path: &Path,
) -> Result<(File, CheckpointInfo), CheckpointError> {
    let io_error = |source| CheckpointError::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut writer = CheckpointWriter::begin(file, group.id, applied).map_err(io_error)?;
    let mut pace = Pace::new(shared.config.checkpoint_bytes_per_second);
    let mut pairs = shared.table.all(group.id, generation);
    loop {
        let next = pairs.next_pair().map_err(|error| {
            let failure = shared.fail(&format!("reading sled: {error}"), true);
            CheckpointError::State(StateError::Failed(failure))
        })?;
        let Some(pair) = next else { break };
        let written = writer.add(pair.key(), &pair.value).map_err(io_error)?;
        if written > 0 {
            pace.wait(written, || shared.is_pressed());
            shared.usable()?;
        }
    }
    writer.seal(path).map_err(io_error)
}

/// See [`super::GroupState::restore`].
///
/// In this order, for a crash may come between any two steps: the file is kept
/// as received; the log is purged up to it, from when on the received file
/// counts; it becomes the newest checkpoint; sled takes it on and switches.
pub(super) fn restore(
    shared: &Shared,
    group: &Arc<Group>,
    file: &Path,
) -> Result<CheckpointInfo, CheckpointError> {
    shared.usable()?;
    group.claim();
    let restored = restore_claimed(shared, group, file);
    group.release();
    restored
}

fn restore_claimed(
    shared: &Shared,
    group: &Arc<Group>,
    file: &Path,
) -> Result<CheckpointInfo, CheckpointError> {
    let _one_at_a_time = group.checkpoints.lock();
    let mut info = CheckpointReader::check(file)?;
    if info.group != group.id {
        return Err(CheckpointError::WrongGroup {
            path: file.to_path_buf(),
            found: info.group,
            expected: group.id,
        });
    }
    let index = info.applied.index;
    let (mut copy, temporary) = group.shelf.begin(index)?;
    let mut original = File::open(file).map_err(Shelf::io_error(file))?;
    io::copy(&mut original, &mut copy).map_err(Shelf::io_error(&temporary))?;
    group.shelf.finish_received(&copy, &temporary, index)?;
    purge_log(shared, &info)?;
    info.path = group.shelf.promote(index)?;
    let generation = group.overlay.read().generation + 1;
    let (done, restored) = mpsc::sync_channel(1);
    shared.demand.lock().jobs.push_back(Job::Restore {
        group: group.clone(),
        reader: Box::new(CheckpointReader::open(&info.path)?),
        generation,
        done,
    });
    shared.wanted.notify_one();
    match restored.recv() {
        Ok(result) => result?,
        // The flusher has ended, and the job with it.
        Err(_) => {
            shared.usable()?;
            return Err(CheckpointError::State(StateError::Closed));
        }
    }
    group.keep(info.clone())?;
    Ok(info)
}

fn purge_log(shared: &Shared, info: &CheckpointInfo) -> Result<(), CheckpointError> {
    let (done, purged) = mpsc::sync_channel(1);
    let done = Box::new(move |result: Result<(), LogError>| {
        let _ = done.send(result);
    });
    shared
        .log
        .purge_with(info.group, info.applied.clone(), Some(done));
    match purged.recv() {
        Ok(Ok(())) => Ok(()),
        Ok(Err(LogError::Failed(failure))) => Err(StateError::Failed(failure).into()),
        Ok(Err(_)) | Err(_) => Err(StateError::Closed.into()),
    }
}

/// Spreads writing over time.
struct Pace {
    bytes_per_second: u64,
    started: Instant,
    bytes: u64,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            started: Instant::now(),
            bytes: 0,
        }
    }

    /// Sleeps until `bytes` more are in order, unless there is a hurry.
    fn wait(&mut self, bytes: u64, hurry: impl Fn() -> bool) {
        const STEP: Duration = Duration::from_millis(10);
        self.bytes += bytes;
        let due = Duration::from_secs_f64(self.bytes as f64 / self.bytes_per_second as f64);
        while self.started.elapsed() < due && !hurry() {
            std::thread::sleep(STEP.min(due.saturating_sub(self.started.elapsed())));
        }
    }
}
