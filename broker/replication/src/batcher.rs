//! The ordering task of a group: gathers proposals, admits them in order, and
//! writes what has gathered as one log entry.
//!
//! A proposal that comes alone is written at once; no timer delays it. While
//! batches are in flight, what arrives gathers for the next one, so batches
//! grow with the load by themselves.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::ClientWriteError;
use openraft::metrics::RaftServerMetrics;
use openraft::type_config::alias::WatchReceiverOf;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::group::Raft;
use crate::progress::Progress;
use crate::raft_types::{CommandBatch, Completion, LeaderId, RaftTypes, WriteResult};
use crate::{Admission, GroupConfig, NodeId, ProposeError, Proposed, StopReason};

pub(crate) type Outcome<A> = Result<Proposed, ProposeError<<A as Admission>::Refusal>>;

/// A request on its way, and where its outcome goes.
pub(crate) struct Proposal<A: Admission> {
    pub(crate) request: A::Request,
    pub(crate) outcome: oneshot::Sender<Outcome<A>>,
}

pub(crate) struct Batcher<A: Admission> {
    pub(crate) config: GroupConfig,
    pub(crate) admission: A,
    pub(crate) proposals: mpsc::Receiver<Proposal<A>>,
    pub(crate) raft: Raft,
    pub(crate) leadership: WatchReceiverOf<RaftTypes, RaftServerMetrics<RaftTypes>>,
    pub(crate) progress: Arc<Progress>,
    /// Taken from the queue, in order, and not yet admitted.
    pub(crate) waiting: VecDeque<Proposal<A>>,
    pub(crate) reign: Option<Reign>,
}

/// This node's leadership in one term.
pub(crate) struct Reign {
    leader: LeaderId,
    in_flight: Arc<Semaphore>,
    /// A batch of it was not appended.
    broken: Arc<AtomicBool>,
}

/// Whether proposals can be written now.
enum Standing {
    Leading,
    /// Answer with `NotLeader`.
    Following(Option<NodeId>),
    Stopped,
}

impl<A: Admission> Batcher<A> {
    /// Runs until all handles on the group are gone.
    pub(crate) async fn run(mut self) {
        let mut arrived = Vec::with_capacity(self.config.batch_commands_max);
        loop {
            if self.waiting.is_empty() {
                let count_max = self.config.batch_commands_max;
                if self.proposals.recv_many(&mut arrived, count_max).await == 0 {
                    return;
                }
                self.waiting.extend(arrived.drain(..));
            }
            match self.standing().await {
                Standing::Leading => {}
                Standing::Following(leader) => {
                    self.refuse_waiting(|| ProposeError::NotLeader { leader });
                    continue;
                }
                Standing::Stopped => {
                    let failed = self.progress.stop_reason() != Some(StopReason::Shutdown);
                    self.refuse_waiting(|| {
                        if failed {
                            ProposeError::Fatal
                        } else {
                            ProposeError::Stopped
                        }
                    });
                    continue;
                }
            }
            let Some(permit) = self.permit().await else {
                continue;
            };
            self.gather();
            self.write_batch(permit).await;
        }
    }

    /// Waits, up to the limit, until it is known who leads and, if it is this
    /// node, until everything from before its term is applied.
    async fn standing(&mut self) -> Standing {
        let deadline = Instant::now() + self.config.leader_wait();
        loop {
            if self.progress.stop_reason().is_some() {
                return Standing::Stopped;
            }
            let (leads, known_leader) = {
                let metrics = self.leadership.borrow_and_update();
                let leads = metrics.state.is_leader() && metrics.vote.committed;
                (
                    leads.then_some(metrics.vote.leader_id),
                    metrics.current_leader,
                )
            };
            let this_node = self.config.node_id.0;
            let leads = leads.filter(|leader| leader.node_id == this_node);
            match (leads, known_leader) {
                (Some(leader), _) if self.progress.has_applied_of(leader) => {
                    self.begin_reign(leader);
                    return Standing::Leading;
                }
                (None, Some(other)) if other != this_node => {
                    return Standing::Following(Some(NodeId(other)));
                }
                _ => {}
            }
            let applied_own = async {
                match leads {
                    Some(leader) => {
                        self.progress
                            .wait_applied(|applied| applied.leader_id == leader)
                            .await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.leadership.changed() => if changed.is_err() {
                    // The engine is gone; its reason follows at once.
                    self.progress.wait_stopped().await;
                },
                () = applied_own => {}
                () = tokio::time::sleep_until(deadline) => return Standing::Following(None),
            }
        }
    }

    fn begin_reign(&mut self, leader: LeaderId) {
        if self
            .reign
            .as_ref()
            .is_some_and(|reign| reign.leader == leader)
        {
            return;
        }
        self.admission.forget_unapplied();
        self.reign = Some(Reign {
            leader,
            in_flight: Arc::new(Semaphore::new(self.config.batches_in_flight_max)),
            broken: Arc::default(),
        });
    }

    /// Leave to have one more batch in flight; `None` if leadership may have changed meanwhile.
    async fn permit(&mut self) -> Option<OwnedSemaphorePermit> {
        let in_flight = self.reign.as_ref()?.in_flight.clone();
        if let Ok(permit) = in_flight.clone().try_acquire_owned() {
            return Some(permit);
        }
        tokio::select! {
            permit = in_flight.acquire_owned() => permit.ok(),
            _ = self.leadership.changed() => None,
        }
    }

    /// Adds what has arrived meanwhile.
    fn gather(&mut self) {
        while self.waiting.len() < self.config.batch_commands_max {
            match self.proposals.try_recv() {
                Ok(proposal) => self.waiting.push_back(proposal),
                Err(_none_or_closed) => return,
            }
        }
    }

    async fn write_batch(&mut self, permit: OwnedSemaphorePermit) {
        let Some(reign) = self.reign.as_ref() else {
            return;
        };
        if reign.broken.swap(false, Ordering::Relaxed) {
            self.admission.forget_unapplied();
        }
        let mut commands = Vec::with_capacity(self.waiting.len());
        let mut outcomes = Vec::with_capacity(self.waiting.len());
        let mut bytes = 0;
        while commands.len() < self.config.batch_commands_max && bytes < self.config.batch_bytes_max
        {
            let Some(Proposal { request, outcome }) = self.waiting.pop_front() else {
                break;
            };
            match self.admission.admit(request) {
                Ok(command) => {
                    bytes += command.len();
                    commands.push(command);
                    outcomes.push(outcome);
                }
                Err(refusal) => answer::<A>(outcome, Err(ProposeError::Refused(refusal))),
            }
        }
        if commands.is_empty() {
            return;
        }
        let broken = reign.broken.clone();
        let this_node = self.config.node_id.0;
        let completion = Completion::new(move |result: WriteResult| {
            drop(permit);
            if result.is_err() {
                broken.store(true, Ordering::Relaxed);
            }
            complete::<A>(this_node, outcomes, result);
        });
        let write = self
            .raft
            .write(CommandBatch(commands))
            .with_leader(reign.leader)
            .responder(completion);
        // An engine that is gone drops the completion, and with it the
        // outcomes: those who wait learn that nothing is known.
        let _ = write.await;
    }

    fn refuse_waiting(&mut self, error: impl Fn() -> ProposeError<A::Refusal>) {
        for proposal in self.waiting.drain(..) {
            answer::<A>(proposal.outcome, Err(error()));
        }
    }
}

/// Tells the proposers of one batch what became of it.
fn complete<A: Admission>(
    this_node: u64,
    outcomes: Vec<oneshot::Sender<Outcome<A>>>,
    result: WriteResult,
) {
    let error = match result {
        Ok(response) => {
            let index = response.log_id.index;
            for (outcome, reply) in outcomes.into_iter().zip(response.data.0) {
                let reply: Bytes = reply;
                answer::<A>(outcome, Ok(Proposed { index, reply }));
            }
            return;
        }
        Err(error) => error,
    };
    // Only `ForwardToLeader` says for certain that nothing was appended.
    let error = || match &error {
        ClientWriteError::ForwardToLeader(forward) => ProposeError::NotLeader {
            leader: forward
                .leader_id
                .filter(|leader| *leader != this_node)
                .map(NodeId),
        },
        _ => ProposeError::Uncertain,
    };
    for outcome in outcomes {
        answer::<A>(outcome, Err(error()));
    }
}

/// Proposers may have gone away; the outcome stands all the same.
fn answer<A: Admission>(to: oneshot::Sender<Outcome<A>>, outcome: Outcome<A>) {
    let _ = to.send(outcome);
}
