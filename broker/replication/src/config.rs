//! What can be set for a group, and what each setting costs.

use std::time::Duration;

use crate::NodeId;

/// Settings of one group on one node. Nodes of a cluster should agree on the timeouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// This node. Never reuse the id of a node that lost its disk: votes it gave are forgotten.
    pub node_id: NodeId,
    /// Milliseconds between a leader's signs of life; default 100. Halving it
    /// finds a dead leader sooner and doubles the idle cost of every group.
    pub heartbeat_interval_ms: u64,
    /// The shortest silence, in milliseconds, after which a follower stands for
    /// election; default 500. Too short and a busy node loses its leadership to
    /// a late timer.
    pub election_timeout_min_ms: u64,
    /// The longest; default 1,000. Each follower draws between the two, so that
    /// seldom two stand at once. Also how long a leader's lease lasts.
    pub election_timeout_max_ms: u64,
    /// Most commands in one log entry; default 512. Larger batches raise
    /// throughput and the latency of the commands in them.
    pub batch_commands_max: usize,
    /// Bytes of commands after which a batch is closed; default 256 KiB. One
    /// command may exceed it and then travels alone.
    pub batch_bytes_max: usize,
    /// Batches that wait for their quorum at once; default 2. One leaves the
    /// disk idle while replies are sent, more make batches smaller.
    pub batches_in_flight_max: usize,
    /// Proposals that may wait for a batch; default 4,096. The next is answered
    /// with `Overloaded`. Costs the memory of the requests that wait.
    pub proposals_queued_max: usize,
    /// What `Overloaded` advises, in milliseconds; default 50.
    pub overload_retry_after_ms: u64,
    /// Milliseconds after which a proposal without an outcome is answered with
    /// `Uncertain`; default 10,000.
    pub proposal_timeout_ms: u64,
    /// Milliseconds for which proposals wait for a leader to be known; default
    /// 2,000. Covers an election without an error at the caller.
    pub leader_wait_ms: u64,
    /// Log entries after which a checkpoint is made; default 50,000. More makes
    /// a restart replay more and the log engine hold more in memory: the log
    /// keeps what follows the last checkpoint but one.
    pub checkpoint_entries_max: u64,
    /// Bytes of log after which a checkpoint is made, if the last checkpoint
    /// was not larger; default 64 MiB. A group whose checkpoints are larger
    /// waits until as many bytes were logged, so that making them never costs
    /// more than the log itself.
    pub checkpoint_bytes_min: u64,
    /// Entries below the newest checkpoint that the log keeps at least; default 2,000.
    /// A follower that lags by less catches up from the log, one that lags by
    /// more is sent the checkpoint.
    pub entries_kept_max: u64,
    /// Bytes of entries read from the log at once, for peers and for apply;
    /// default 1 MiB. One batch may exceed it.
    pub read_bytes_max: usize,
    /// Commands applied in one storage transaction; default 2,048. Larger
    /// transactions make replay faster and readers wait longer.
    pub apply_commands_max: usize,
    /// Bytes of one chunk of a snapshot on its way to a peer; default 256 KiB.
    pub snapshot_chunk_bytes: usize,
}

impl GroupConfig {
    /// The defaults, for `node_id`.
    pub fn new(node_id: NodeId) -> Self {
        Self {
            node_id,
            heartbeat_interval_ms: 100,
            election_timeout_min_ms: 500,
            election_timeout_max_ms: 1_000,
            batch_commands_max: 512,
            batch_bytes_max: 256 << 10,
            batches_in_flight_max: 2,
            proposals_queued_max: 4_096,
            overload_retry_after_ms: 50,
            proposal_timeout_ms: 10_000,
            leader_wait_ms: 2_000,
            checkpoint_entries_max: 50_000,
            checkpoint_bytes_min: 64 << 20,
            entries_kept_max: 2_000,
            read_bytes_max: 1 << 20,
            apply_commands_max: 2_048,
            snapshot_chunk_bytes: 256 << 10,
        }
    }

    /// # Errors
    /// The first setting that cannot work, alone or with another.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.heartbeat_interval_ms == 0 {
            return Err(ConfigError::Zero("heartbeat_interval_ms"));
        }
        if self.election_timeout_min_ms < self.heartbeat_interval_ms.saturating_mul(2) {
            return Err(ConfigError::ElectionBeforeHeartbeat);
        }
        if self.election_timeout_max_ms <= self.election_timeout_min_ms {
            return Err(ConfigError::ElectionTimeoutsReversed);
        }
        let positive: [(&'static str, u64); 9] = [
            ("batch_commands_max", self.batch_commands_max as u64),
            ("batch_bytes_max", self.batch_bytes_max as u64),
            ("batches_in_flight_max", self.batches_in_flight_max as u64),
            ("proposals_queued_max", self.proposals_queued_max as u64),
            ("proposal_timeout_ms", self.proposal_timeout_ms),
            ("checkpoint_entries_max", self.checkpoint_entries_max),
            ("read_bytes_max", self.read_bytes_max as u64),
            ("apply_commands_max", self.apply_commands_max as u64),
            ("snapshot_chunk_bytes", self.snapshot_chunk_bytes as u64),
        ];
        match positive.iter().find(|(_, value)| *value == 0) {
            Some((name, _)) => Err(ConfigError::Zero(name)),
            None => Ok(()),
        }
    }

    /// The part of it that openraft wants to know.
    pub(crate) fn to_raft(&self, cluster_name: String) -> openraft::Config {
        openraft::Config {
            cluster_name,
            heartbeat_interval: self.heartbeat_interval_ms,
            election_timeout_min: self.election_timeout_min_ms,
            election_timeout_max: self.election_timeout_max_ms,
            enable_pre_vote: Some(true),
            // A leader that restarts must be elected again: entries it had sent
            // but not yet written are gone from its log, and in the same term it
            // would give their indexes to others.
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            max_payload_entries: 64,
            // Checkpoints are asked for by bytes and entries (see `checkpointer`).
            snapshot_policy: openraft::SnapshotPolicy::Never,
            // So is purging, which leaves more than openraft would.
            max_in_snapshot_log_to_keep: u64::MAX,
            ..openraft::Config::default()
        }
    }

    pub(crate) fn leader_wait(&self) -> Duration {
        Duration::from_millis(self.leader_wait_ms)
    }

    pub(crate) fn proposal_timeout(&self) -> Duration {
        Duration::from_millis(self.proposal_timeout_ms)
    }

    /// How long a peer may leave a message unanswered before its stream is given up.
    pub(crate) fn peer_answer_timeout(&self) -> Duration {
        Duration::from_millis(self.election_timeout_max_ms.saturating_mul(4))
    }
}

/// A setting that cannot work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A setting that must not be 0.
    #[error("`{0}` must be greater than 0")]
    Zero(&'static str),
    /// A healthy leader would be voted out between two heartbeats.
    #[error("`election_timeout_min_ms` must be at least twice `heartbeat_interval_ms`")]
    ElectionBeforeHeartbeat,
    /// There is nothing to draw between.
    #[error("`election_timeout_max_ms` must be greater than `election_timeout_min_ms`")]
    ElectionTimeoutsReversed,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_defaults_work() {
        let config = GroupConfig::new(NodeId(1));
        assert_eq!(config.check(), Ok(()));
        config.to_raft("test".to_owned()).validate().unwrap();
    }

    #[test]
    fn what_cannot_work_is_named() {
        let config = |change: fn(&mut GroupConfig)| {
            let mut config = GroupConfig::new(NodeId(1));
            change(&mut config);
            config.check().unwrap_err()
        };
        assert_eq!(
            config(|config| config.election_timeout_min_ms = 150),
            ConfigError::ElectionBeforeHeartbeat
        );
        assert_eq!(
            config(|config| config.election_timeout_max_ms = 500),
            ConfigError::ElectionTimeoutsReversed
        );
        assert_eq!(
            config(|config| config.batches_in_flight_max = 0),
            ConfigError::Zero("batches_in_flight_max")
        );
    }
}
