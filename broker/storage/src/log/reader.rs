//! Reads what is no longer in memory, on threads that serve one engine only
//! (see `engine` for why), and removes files that hold nothing needed.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::engine::{Engine, EngineError};
use super::files::EngineFiles;
use super::{LogEntry, Shared};
use crate::GroupId;

/// One read, and where its answer goes.
pub(super) struct ReadRequest {
    pub(super) group: GroupId,
    pub(super) range: Range<u64>,
    pub(super) bytes_max: usize,
    pub(super) answer: SyncSender<Result<Vec<LogEntry>, EngineError>>,
}

/// Answers until all handles on the log are gone.
pub(super) fn serve_reads(engine: &Engine<EngineFiles>, requests: &Receiver<ReadRequest>) {
    while let Ok(request) = requests.recv() {
        let ReadRequest {
            group,
            range,
            bytes_max,
            answer,
        } = request;
        // Whoever asked may have gone: nothing to do about it.
        let _ = answer.send(engine.read(group, range.start, range.end, bytes_max));
    }
}

/// Removes purged files every `interval` until `closed` is closed.
pub(super) fn clean(
    engine: &Engine<EngineFiles>,
    shared: &Arc<Shared>,
    interval: Duration,
    closed: &Receiver<()>,
) {
    while let Err(RecvTimeoutError::Timeout) = closed.recv_timeout(interval) {
        if shared.failure().is_some() {
            return;
        }
        if let Err(error) = engine.remove_purged_files() {
            shared.fail(&error.0);
            return;
        }
    }
}
