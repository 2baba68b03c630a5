//! How far a group has applied, for all who wait for it, and why it stopped.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::StopReason;
use crate::raft_types::{LeaderId, LogId};

/// Shared by the parts of one group.
pub(crate) struct Progress {
    applied: watch::Sender<Option<LogId>>,
    stopped: watch::Sender<Option<StopReason>>,
    panicked: AtomicBool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            applied: watch::Sender::new(None),
            stopped: watch::Sender::new(None),
            panicked: AtomicBool::new(false),
        }
    }

    pub(crate) fn set_applied(&self, applied: LogId) {
        self.applied.send_replace(Some(applied));
    }

    /// The last applied index; 0 where nothing is.
    pub(crate) fn applied_index(&self) -> u64 {
        self.applied.borrow().map_or(0, |applied| applied.index)
    }

    /// Whether an entry that `leader` appended is the last one applied.
    pub(crate) fn has_applied_of(&self, leader: LeaderId) -> bool {
        self.applied
            .borrow()
            .is_some_and(|applied| applied.leader_id == leader)
    }

    /// Returns when `reached` holds for what is applied.
    pub(crate) async fn wait_applied(&self, mut reached: impl FnMut(LogId) -> bool) {
        let mut applied = self.applied.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = applied
            .wait_for(|applied| applied.is_some_and(&mut reached))
            .await;
    }

    pub(crate) fn set_panicked(&self) {
        self.panicked.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_panicked(&self) -> bool {
        self.panicked.load(Ordering::Relaxed)
    }

    pub(crate) fn set_stopped(&self, reason: StopReason) {
        self.stopped.send_replace(Some(reason));
    }

    pub(crate) fn stop_reason(&self) -> Option<StopReason> {
        *self.stopped.borrow()
    }

    /// Returns when the group has stopped.
    pub(crate) async fn wait_stopped(&self) -> StopReason {
        let mut stopped = self.stopped.subscribe();
        match stopped
            .wait_for(Option::is_some)
            .await
            .map(|reason| *reason)
        {
            Ok(Some(reason)) => reason,
            // Not reached: the sender lives in `self`, and the wait ends with a reason.
            Ok(None) | Err(_) => StopReason::Shutdown,
        }
    }
}
