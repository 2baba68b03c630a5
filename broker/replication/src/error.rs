//! What can go wrong for those who propose, and for those who start a group.

use crate::{ConfigError, NodeId};

/// Why a proposal has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError<R> {
    /// Admission refused it; nothing was appended.
    #[error("refused")]
    Refused(R),
    /// This node does not lead the group; nothing was appended. Ask `leader`,
    /// or, where it is unknown, any node a little later.
    #[error("another node leads the group")]
    NotLeader {
        /// The leader, if this node knows one.
        leader: Option<NodeId>,
    },
    /// Too much waits already; nothing was appended.
    #[error("overloaded, try again in {retry_after_ms} ms")]
    Overloaded {
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// It was appended, but leadership was lost or time ran out before the
    /// outcome was known: it may be committed, now or later. Proposing it again
    /// is safe only if applying it twice is.
    #[error("the outcome is not known")]
    Uncertain,
    /// The group is shut down; nothing was appended.
    #[error("the group is shut down")]
    Stopped,
    /// Storage failed and the group has stopped for good; whether the proposal
    /// was appended is not known.
    #[error("storage has failed")]
    Fatal,
}

/// Why a group does not start. All mean that the node must not run as it is.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot work.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log, the state or a checkpoint cannot be read, or contradict each other.
    #[error("the group cannot be recovered from disk")]
    Recovery(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a group could not be given its first members.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InitializeError {
    /// This node is not among the members.
    #[error("this node is not among the members")]
    NotAMember,
    /// The group has stopped.
    #[error("the group has stopped")]
    Stopped,
}

/// Why a group stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// It was asked to.
    Shutdown,
    /// Storage failed: nothing more can be promised, the node must exit.
    Storage,
    /// A broken invariant in the consensus engine or the state machine: the node must exit.
    Panic,
}
