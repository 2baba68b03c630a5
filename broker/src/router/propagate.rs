//! Brings the directory's changes into the channels' logs.
//!
//! One task a shard, on the node that leads it: it reads the directory's queue
//! in order, appends every change to its channel's log and tells the directory
//! now and then up to where it is done. A crash repeats some changes; the shard
//! skips what it has. Whoever changed the directory waits here until the logs
//! show it: only then is a removal a fence.

use std::time::Duration;

use confab_core::channel::{Action, Command, query};
use confab_core::directory::{ChannelChange, CommandKind};
use confab_replication::{Group, ProposeError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::admission::{DirectoryAdmission, DirectoryRequest, Needs, ShardAdmission, ShardRequest};
use super::now_ms;
use crate::state::Lookup;

/// Changes that are on their way into one shard at once.
const BATCH_CHANGES: usize = 256;

/// How long the directory may not know that changes are done, in milliseconds:
/// its queue is cut once for all that happened meanwhile.
const REPORT_DELAY: Duration = Duration::from_millis(500);

/// How long to wait before trying again when the shard takes nothing.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Rows of a deleted channel that one command removes.
const PURGE_ROWS: u32 = 2_000;

/// Deleted channels whose rows are removed in one go before other work is seen to.
const PURGES_AT_ONCE: usize = 16;

/// One shard's propagator.
pub(super) struct Propagator {
    /// Which shard.
    pub(super) shard: u16,
    /// This node's applied state.
    pub(super) lookup: Lookup,
    /// Follows the directory's applied index.
    pub(super) applied: watch::Receiver<u64>,
    /// The directory's group, to cut its queue.
    pub(super) directory_group: Group<DirectoryAdmission>,
    /// The shard's group.
    pub(super) group: Group<ShardAdmission>,
    /// Up to which directory index the shard's logs show everything.
    pub(super) through: watch::Sender<u64>,
}

impl Propagator {
    /// Runs until the directory or the shard is gone.
    pub(super) async fn run(mut self) {
        let mut last: Option<(u64, u32)> = None;
        let mut report_at: Option<Instant> = None;
        loop {
            let target = *self.applied.borrow_and_update();
            match self.catch_up(&mut last).await {
                Ok(true) => {
                    report_at.get_or_insert_with(|| Instant::now() + REPORT_DELAY);
                }
                Ok(false) => {}
                Err(Gone) => return,
            }
            self.through.send_replace(target);
            // Not one of the branches below: a directory that changes all the
            // time would win against it for ever, and its queue would fill up.
            if report_at.is_some_and(|at| Instant::now() >= at) {
                report_at = None;
                self.report(target).await;
            }
            let purging = self.purge_some().await;
            let report = async {
                match report_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.applied.changed() => if changed.is_err() { return },
                () = report => {}
                () = tokio::task::yield_now(), if purging => {}
            }
        }
    }

    /// Appends everything that waits after `last`; whether there was anything.
    async fn catch_up(&self, last: &mut Option<(u64, u32)>) -> Result<bool, Gone> {
        let mut any = false;
        loop {
            let page = self
                .lookup
                .directory()
                .pending_changes(self.shard, *last, BATCH_CHANGES);
            if page.items.is_empty() {
                return Ok(any);
            }
            any = true;
            self.append(page.items, last).await?;
        }
    }

    /// Appends changes in order, all queued before the first is waited for;
    /// `last` follows what is known to be applied.
    async fn append(
        &self,
        changes: Vec<ChannelChange>,
        last: &mut Option<(u64, u32)>,
    ) -> Result<(), Gone> {
        let mut waiting = Vec::with_capacity(changes.len());
        for change in changes {
            let place = (change.directory_index, change.ordinal);
            match self
                .group
                .try_propose(ShardRequest::Decided(Command::from(change)))
            {
                Ok(pending) => waiting.push((place, pending)),
                Err(ProposeError::Stopped | ProposeError::Fatal) => return Err(Gone),
                Err(_) => break,
            }
        }
        let queued = waiting.len();
        let mut done = 0;
        for (place, pending) in waiting {
            match pending.outcome().await {
                Ok(_) => {
                    *last = Some(place);
                    done += 1;
                }
                Err(ProposeError::Stopped | ProposeError::Fatal) => return Err(Gone),
                Err(_) => break,
            }
        }
        if done < queued || queued == 0 {
            tokio::time::sleep(RETRY_DELAY).await;
        }
        Ok(())
    }

    /// Tells the directory that it may forget what is done. Not being heard
    /// costs only room: it is told again after the next change.
    async fn report(&self, through_index: u64) {
        let request = DirectoryRequest {
            by: None,
            what: CommandKind::ChangesPropagated {
                shard: self.shard,
                through_index,
            },
            needs: Needs::Nothing,
        };
        if let Err(error) = self.directory_group.propose(request).await {
            tracing::debug!(
                shard = self.shard,
                ?error,
                "the directory's queue was not cut"
            );
        }
    }

    /// Removes a part of what deleted channels have left; whether there is more.
    async fn purge_some(&self) -> bool {
        let store = self.lookup.shard_store(self.shard);
        let mut more = false;
        for (channel, epoch) in query::pending_purges(store, PURGES_AT_ONCE) {
            let command = Command {
                channel,
                epoch,
                at_ms: now_ms(),
                directory_index: 0,
                action: Action::Purge {
                    rows_max: PURGE_ROWS,
                },
            };
            match self.group.propose(ShardRequest::Decided(command)).await {
                Ok(_) => more = true,
                Err(error) => {
                    tracing::debug!(shard = self.shard, ?error, "a purge has to wait");
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
        more
    }
}

/// The directory's or the shard's group has stopped.
struct Gone;
