//! When a checkpoint is due, and making it.
//!
//! Due after so many entries, or so many bytes of log, of which there must be
//! as many as the last checkpoint has: then checkpoints never cost more than
//! the log itself. Once one is made openraft is told, and the log is purged.

use std::sync::Arc;
use std::time::Duration;

use confab_storage::{CheckpointError, CheckpointInfo, GroupState, StateError};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::GroupConfig;
use crate::group::Raft;
use crate::progress::Progress;

/// How long a disk that refused a checkpoint is left alone.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// What was applied since the last checkpoint.
pub(crate) struct CheckpointPressure {
    entries_max: u64,
    bytes_min: u64,
    since: Mutex<SinceCheckpoint>,
    due: Notify,
}

struct SinceCheckpoint {
    entries: u64,
    bytes: u64,
    checkpoint_bytes: u64,
}

impl CheckpointPressure {
    /// What replaying the log adds after the start counts like anything else.
    pub(crate) fn new(config: &GroupConfig, newest: Option<CheckpointInfo>) -> Self {
        let checkpoint_bytes = newest.map_or(0, |checkpoint| checkpoint.bytes);
        Self {
            entries_max: config.checkpoint_entries_max,
            bytes_min: config.checkpoint_bytes_min,
            since: Mutex::new(SinceCheckpoint {
                entries: 0,
                bytes: 0,
                checkpoint_bytes,
            }),
            due: Notify::new(),
        }
    }

    pub(crate) fn add(&self, entries: u64, bytes: u64) {
        let mut since = self.since.lock();
        since.entries += entries;
        since.bytes += bytes;
        let bytes_max = self.bytes_min.max(since.checkpoint_bytes);
        let due = since.entries >= self.entries_max || since.bytes >= bytes_max;
        drop(since);
        if due {
            self.due.notify_one();
        }
    }

    fn reset(&self) {
        let mut since = self.since.lock();
        (since.entries, since.bytes) = (0, 0);
    }
}

/// Makes checkpoints whenever they are due, until the group stops.
pub(crate) async fn run_checkpointer(
    pressure: Arc<CheckpointPressure>,
    state: GroupState,
    raft: Raft,
    progress: Arc<Progress>,
    entries_kept_max: u64,
) {
    loop {
        tokio::select! {
            () = pressure.due.notified() => {}
            _ = progress.wait_stopped() => return,
        }
        // Reset first: what is applied meanwhile counts towards the next one.
        pressure.reset();
        match checkpoint_now(state.clone(), &raft, entries_kept_max).await {
            Ok(checkpoint) => pressure.since.lock().checkpoint_bytes = checkpoint.bytes,
            Err(error) => {
                tracing::error!(%error, "a checkpoint could not be made; the log grows meanwhile");
                tokio::select! {
                    () = tokio::time::sleep(RETRY_AFTER) => pressure.due.notify_one(),
                    _ = progress.wait_stopped() => return,
                }
            }
        }
    }
}

/// Makes a checkpoint, tells openraft, and has the log purged.
///
/// The log is purged to the older of the two checkpoints that storage keeps,
/// so that it leads on from that one too, should the newest be damaged.
pub(crate) async fn checkpoint_now(
    state: GroupState,
    raft: &Raft,
    entries_kept_max: u64,
) -> Result<CheckpointInfo, CheckpointError> {
    let exporting = state.clone();
    let checkpoint = tokio::task::spawn_blocking(move || exporting.checkpoint())
        .await
        .unwrap_or(Err(CheckpointError::State(StateError::Closed)))?;
    // A group that has stopped needs neither.
    let _ = raft.trigger().snapshot().await;
    let kept_from = checkpoint.applied.index.checked_sub(entries_kept_max);
    if let (Some(kept_from), Some(older)) = (kept_from, state.purgeable()) {
        let _ = raft.trigger().purge_log(kept_from.min(older.index)).await;
    }
    Ok(checkpoint)
}
