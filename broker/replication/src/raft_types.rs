//! The types that openraft is instantiated with.
//!
//! One log entry carries a batch of commands and is answered by a batch of
//! replies; everything else is openraft's own. Nothing here is public: outside
//! this crate nobody knows openraft.

use std::fmt;

use bytes::Bytes;
use openraft::raft::responder::Responder;
use openraft::type_config::alias;

/// The type configuration of every group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RaftTypes;

impl openraft::RaftTypeConfig for RaftTypes {
    type D = CommandBatch;
    type R = Replies;
    type NodeId = u64;
    type Node = ();
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<CommandBatch, u64, ()>;
    type Entry =
        openraft::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = openraft::TokioRuntime;
    type Responder<T>
        = Completion<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

pub(crate) type LeaderId = alias::LeaderIdOf<RaftTypes>;
pub(crate) type LogId = alias::LogIdOf<RaftTypes>;
pub(crate) type Vote = alias::VoteOf<RaftTypes>;
pub(crate) type Entry = alias::EntryOf<RaftTypes>;
pub(crate) type Payload = alias::PayloadOf<RaftTypes>;
pub(crate) type Membership = openraft::Membership<u64, ()>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<RaftTypes>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<RaftTypes>;
pub(crate) type WriteResult = openraft::raft::ClientWriteResult<RaftTypes>;

/// The commands of one log entry, in the order in which they were admitted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CommandBatch(pub(crate) Vec<Bytes>);

impl fmt::Display for CommandBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.0.len())
    }
}

/// One reply per command of an entry, in order; empty where nothing was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Replies(pub(crate) Vec<Bytes>);

/// Calls back with the outcome of a write, on the task that applied it.
///
/// Dropped uncalled when the group stops: whoever waits then learns that the
/// outcome is uncertain.
pub(crate) struct Completion<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Completion<T> {
    pub(crate) fn new(done: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(done))
    }
}

impl<T: Send + 'static> Responder<RaftTypes, T> for Completion<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}
