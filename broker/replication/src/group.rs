//! One Raft group on this node: starting it, proposing to it, watching it.
//!
//! A [`Group`] is a handle. Behind it run openraft's own tasks, the batcher
//! (the only one that admits and writes), the checkpointer, and a supervisor
//! that says when and why the group has stopped.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use confab_storage::{GroupId, GroupState, Log};
use openraft::async_runtime::WatchReceiver as _;
use openraft::errors::{self, RaftError};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::applier::Applier;
use crate::batcher::{Batcher, Outcome, Proposal};
use crate::checkpointer::{CheckpointPressure, checkpoint_now, run_checkpointer};
use crate::log_store::LogStore;
use crate::peers::{PeerClients, PeerService, PeerTransport, ReplicaService};
use crate::progress::Progress;
use crate::raft_types::RaftTypes;
use crate::snapshot::SnapshotInbox;
use crate::state_machine::StateMachine;
use crate::status::GroupStatus;
use crate::{
    Admission, GroupConfig, InitializeError, NodeId, ProposeError, StartError, StopReason,
};

pub(crate) type Raft = openraft::Raft<RaftTypes, Applier>;

/// A committed and applied proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposed {
    /// The index of the log entry that carried the command. Commands of one
    /// batch share it; their order is that of the proposals.
    pub index: u64,
    /// What the state machine replied.
    pub reply: Bytes,
}

/// A handle on one group; cheap to clone. The group stops when it is shut down
/// or when the last handle is dropped.
pub struct Group<A: Admission> {
    inner: Arc<Inner<A>>,
}

impl<A: Admission> Clone for Group<A> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
        }
    }
}

struct Inner<A: Admission> {
    id: GroupId,
    config: GroupConfig,
    proposals: mpsc::Sender<Proposal<A>>,
    raft: Raft,
    state: GroupState,
    inbox: SnapshotInbox,
    progress: Arc<Progress>,
    stop: Arc<Notify>,
}

impl<A: Admission> Group<A> {
    /// Starts this node's replica of `group` and replays what is known to be
    /// committed. Must be called on a tokio runtime with timers; reads the disk
    /// briefly on the calling thread.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn start(
        config: GroupConfig,
        group: GroupId,
        log: Log,
        machine: Arc<dyn StateMachine>,
        admission: A,
        transport: impl PeerTransport,
    ) -> Result<Self, StartError> {
        config.check()?;
        let recovery = |error: std::io::Error| StartError::Recovery(Box::new(error));
        let progress = Arc::new(Progress::new());
        let newest_checkpoint = machine.state().newest_checkpoint();
        let pressure = Arc::new(CheckpointPressure::new(&config, newest_checkpoint));
        let inbox = SnapshotInbox::open(log.data_dir().path(), group).map_err(recovery)?;
        let state = machine.state().clone();
        let log = LogStore::open(log, group, config.read_bytes_max).map_err(recovery)?;
        let (applier_ended, applier_end) = oneshot::channel();
        let applier = Applier::new(
            machine,
            progress.clone(),
            pressure.clone(),
            config.apply_commands_max,
            applier_ended,
        )
        .map_err(recovery)?;
        let clients = PeerClients {
            transport: Arc::new(transport),
            group,
            answer_timeout: config.peer_answer_timeout(),
            snapshot_chunk_bytes: config.snapshot_chunk_bytes,
        };
        let raft_config = Arc::new(config.to_raft(group.to_string()));
        let raft = Raft::new(config.node_id.0, raft_config, clients, log, applier)
            .await
            .map_err(|fatal| StartError::Recovery(Box::new(fatal)))?;

        let stop = Arc::new(Notify::new());
        let (proposals, receiver) = mpsc::channel(config.proposals_queued_max);
        let batcher = Batcher {
            config: config.clone(),
            admission,
            proposals: receiver,
            raft: raft.clone(),
            leadership: raft.server_metrics(),
            progress: progress.clone(),
            waiting: VecDeque::new(),
            reign: None,
        };
        let batcher = tokio::spawn(batcher.run());
        tokio::spawn(run_checkpointer(
            pressure,
            state.clone(),
            raft.clone(),
            progress.clone(),
            config.entries_kept_max,
        ));
        let supervisor = Supervisor {
            raft: raft.clone(),
            progress: progress.clone(),
            stop: stop.clone(),
            applier_end,
        };
        tokio::spawn(supervisor.run(batcher));
        let inner = Inner {
            id: group,
            config,
            proposals,
            raft,
            state,
            inbox,
            progress,
            stop,
        };
        let started = Self {
            inner: Arc::new(inner),
        };
        started.stand_if_alone().await;
        Ok(started)
    }

    /// The only voter need not wait for others to fall silent.
    async fn stand_if_alone(&self) {
        let alone = {
            let server = self.inner.raft.server_metrics();
            let server = server.borrow_watched();
            let mut voters = server.membership_config.voter_ids();
            voters.next() == Some(self.inner.config.node_id.0) && voters.next().is_none()
        };
        if alone {
            // An engine that is gone already has told the supervisor.
            let _ = self.inner.raft.trigger().elect(false).await;
        }
    }

    /// The group this is a replica of.
    pub fn id(&self) -> GroupId {
        self.inner.id
    }

    /// Gives a new group its first members; does nothing if it has any. Call it
    /// on one node, or on several with the same members.
    ///
    /// # Errors
    /// See [`InitializeError`].
    pub async fn initialize(
        &self,
        members: impl IntoIterator<Item = NodeId>,
    ) -> Result<(), InitializeError> {
        let members: BTreeMap<u64, ()> = members.into_iter().map(|node| (node.0, ())).collect();
        match self.inner.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(errors::InitializeError::NotAllowed(_))) => Ok(()),
            Err(RaftError::APIError(errors::InitializeError::NotInMembers(_))) => {
                Err(InitializeError::NotAMember)
            }
            Err(RaftError::Fatal(_)) => Err(InitializeError::Stopped),
        }
    }

    /// Proposes `request` and waits for its outcome. Cancel-safe in that a
    /// dropped future changes nothing: the request goes its way.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn propose(&self, request: A::Request) -> Result<Proposed, ProposeError<A::Refusal>> {
        self.try_propose(request)?.outcome().await
    }

    /// Puts `request` in the queue at once, so that requests are admitted in
    /// the order of these calls, and returns what to wait on.
    ///
    /// # Errors
    /// `Overloaded` when the queue is full, `Stopped` or `Fatal` after the end.
    pub fn try_propose(
        &self,
        request: A::Request,
    ) -> Result<PendingProposal<A>, ProposeError<A::Refusal>> {
        let (outcome, receiver) = oneshot::channel();
        match self.inner.proposals.try_send(Proposal { request, outcome }) {
            Ok(()) => Ok(PendingProposal {
                receiver,
                inner: self.inner.clone(),
            }),
            Err(mpsc::error::TrySendError::Full(_)) => Err(ProposeError::Overloaded {
                retry_after_ms: self.inner.config.overload_retry_after_ms,
            }),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(ProposeError::Fatal),
        }
    }

    /// The last applied log index; 0 before anything is.
    pub fn applied_index(&self) -> u64 {
        self.inner.progress.applied_index()
    }

    /// Returns once this replica has applied `index`, or has stopped.
    pub async fn wait_applied(&self, index: u64) {
        if index <= self.applied_index() {
            return;
        }
        tokio::select! {
            () = self.inner.progress.wait_applied(|applied| applied.index >= index) => {}
            _ = self.inner.progress.wait_stopped() => {}
        }
    }

    /// Whether this node believes to lead. It may be wrong: only a committed
    /// proposal proves leadership.
    pub fn is_leader(&self) -> bool {
        self.inner.raft.is_leader()
    }

    /// How the group stands, for metrics and people.
    pub fn status(&self) -> GroupStatus {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let queue = &self.inner.proposals;
        GroupStatus::new(&metrics, queue.max_capacity() - queue.capacity())
    }

    /// Returns once there is a leader and everything that was committed before
    /// the start has been applied here, or the group has stopped (see
    /// [`stop_reason`](Self::stop_reason)). Before it, reads may show the past.
    pub async fn wait_recovered(&self) {
        tokio::select! {
            _ = self.inner.raft.wait_for_recovery(None) => {}
            _ = self.inner.progress.wait_stopped() => {}
        }
    }

    /// Makes a checkpoint now and has the log purged below the one before it.
    ///
    /// # Errors
    /// What storage says; the group goes on.
    pub async fn checkpoint(&self) -> Result<(), confab_storage::CheckpointError> {
        checkpoint_now(
            self.inner.state.clone(),
            &self.inner.raft,
            self.inner.config.entries_kept_max,
        )
        .await
        .map(|_info| ())
    }

    /// What answers the other replicas; hand it the streams that peers open to this group.
    pub fn peer_service(&self) -> Arc<dyn PeerService> {
        Arc::new(ReplicaService {
            raft: self.inner.raft.clone(),
            inbox: self.inner.inbox.clone(),
        })
    }

    /// Why the group has stopped; `None` while it runs.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.inner.progress.stop_reason()
    }

    /// Returns when the group has stopped. Anything but `Shutdown` means that
    /// the node must exit: what it holds can no longer be trusted.
    pub async fn stopped(&self) -> StopReason {
        self.inner.progress.wait_stopped().await
    }

    /// Stops the replica. Proposals without an outcome are answered with
    /// `Uncertain` or `Stopped`. Storage may be closed once this returns.
    pub async fn shutdown(&self) {
        self.inner.stop.notify_one();
        self.inner.progress.wait_stopped().await;
    }
}

/// A proposal that is queued or in flight.
#[must_use = "the outcome tells whether the request was committed"]
pub struct PendingProposal<A: Admission> {
    receiver: oneshot::Receiver<Outcome<A>>,
    inner: Arc<Inner<A>>,
}

impl<A: Admission> PendingProposal<A> {
    /// Waits until it is applied, refused or given up.
    ///
    /// # Errors
    /// See [`ProposeError`].
    pub async fn outcome(self) -> Result<Proposed, ProposeError<A::Refusal>> {
        match tokio::time::timeout(self.inner.config.proposal_timeout(), self.receiver).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_dropped)) => match self.inner.progress.stop_reason() {
                Some(StopReason::Storage | StopReason::Panic) => Err(ProposeError::Fatal),
                Some(StopReason::Shutdown) | None => Err(ProposeError::Uncertain),
            },
            Err(_elapsed) => Err(ProposeError::Uncertain),
        }
    }
}

/// How long a group that stops waits for what is being applied.
const APPLY_END_MAX: Duration = Duration::from_secs(10);

/// Waits for the end of a group, ends what is left of it, and says why it came.
struct Supervisor {
    raft: Raft,
    progress: Arc<Progress>,
    stop: Arc<Notify>,
    applier_end: oneshot::Receiver<()>,
}

impl Supervisor {
    async fn run(self, batcher: JoinHandle<()>) {
        let mut server = self.raft.server_metrics();
        let engine_gone = async { while server.changed().await.is_ok() {} };
        let asked = tokio::select! {
            () = self.stop.notified() => true,
            () = engine_gone => false,
            // It ends by itself when the last handle is gone.
            ended = batcher => match ended {
                Ok(()) => true,
                Err(_panic) => {
                    self.progress.set_panicked();
                    false
                }
            },
        };
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "the consensus engine did not end in order");
        }
        let reason = self.reason(asked);
        // What is committed is still applied and answered.
        if tokio::time::timeout(APPLY_END_MAX, self.applier_end)
            .await
            .is_err()
        {
            tracing::error!("a group stops, but what it applies does not end");
        }
        self.progress.set_stopped(reason);
    }

    fn reason(&self, asked: bool) -> StopReason {
        let ended = self.raft.metrics().borrow_watched().running_state.clone();
        match ended {
            _ if self.progress.has_panicked() => StopReason::Panic,
            Err(errors::Fatal::StorageError(error)) => {
                tracing::error!(%error, "a group stops, for its storage has failed");
                StopReason::Storage
            }
            Ok(()) | Err(errors::Fatal::Stopped) if asked => StopReason::Shutdown,
            Ok(()) | Err(errors::Fatal::Stopped | errors::Fatal::Panicked) => StopReason::Panic,
        }
    }
}
