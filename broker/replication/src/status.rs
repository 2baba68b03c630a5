//! How a group stands, for metrics, health checks and people.

use openraft::metrics::RaftMetrics;
use openraft::{LogIdOptionExt, ServerState};

use crate::NodeId;
use crate::raft_types::RaftTypes;

/// What this node is in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It replicates and has no vote.
    Learner,
    /// It follows a leader, or waits for one.
    Follower,
    /// It stands for election.
    Candidate,
    /// It leads.
    Leader,
    /// It is stopping or has stopped.
    Stopped,
}

/// A moment of a group, as this node sees it. Indexes are inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// What this node is.
    pub role: Role,
    /// The term it is in.
    pub term: u64,
    /// The leader, if it knows one.
    pub leader: Option<NodeId>,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who replicates without a vote.
    pub learners: Vec<NodeId>,
    /// The last entry in its log.
    pub last_log_index: Option<u64>,
    /// The last entry it knows to be committed.
    pub committed_index: Option<u64>,
    /// The last entry it has applied.
    pub applied_index: Option<u64>,
    /// The last entry in its newest snapshot.
    pub snapshot_index: Option<u64>,
    /// The last entry that its log no longer holds.
    pub purged_index: Option<u64>,
    /// Proposals that wait to be batched.
    pub proposals_queued: usize,
}

impl GroupStatus {
    pub(crate) fn new(metrics: &RaftMetrics<RaftTypes>, proposals_queued: usize) -> Self {
        let role = match metrics.state {
            _ if metrics.running_state.is_err() => Role::Stopped,
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Stopped,
        };
        let membership = metrics.membership_config.membership();
        Self {
            role,
            term: metrics.current_term,
            leader: metrics.current_leader.map(NodeId),
            voters: membership.voter_ids().map(NodeId).collect(),
            learners: membership.learner_ids().map(NodeId).collect(),
            last_log_index: metrics.last_log_index,
            committed_index: metrics.local_committed.index(),
            applied_index: metrics.last_applied.index(),
            snapshot_index: metrics.snapshot.index(),
            purged_index: metrics.purged.index(),
            proposals_queued,
        }
    }
}
