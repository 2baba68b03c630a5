//! What a group replicates into.

use bytes::Bytes;
use confab_storage::{GroupState, Marker, StateError};

/// One committed log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedEntry {
    /// Its log index.
    pub index: u64,
    /// The term of the leader that appended it.
    pub term: u64,
    /// Its commands, in order; none in entries that Raft itself appends.
    pub commands: Vec<Bytes>,
}

/// A replica's state and how commands change it.
///
/// Called by one task at a time, in log order, and never twice for one index
/// of what the state has kept: after a crash the log is replayed from the
/// applied marker that the state still holds.
pub trait StateMachine: Send + Sync + 'static {
    /// Applies the commands of consecutive log entries in one storage
    /// transaction, closed by `applied`; returns one reply per command, in order.
    ///
    /// A few commands are applied on an async thread, many on a blocking one: it
    /// may compute, and wait for the storage, but for nothing else.
    ///
    /// # Errors
    /// Storage that failed; the group stops for good then. What a command asks
    /// for is never an error: that is a reply.
    fn apply(&self, entries: &[CommittedEntry], applied: Marker) -> Result<Vec<Bytes>, StateError>;

    /// The stored state: for checkpoints, snapshots, and the applied marker.
    fn state(&self) -> &GroupState;

    /// Called after a snapshot has replaced the state: caches are void.
    fn restored(&self);
}
