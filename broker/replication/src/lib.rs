//! Confab's Raft groups: replicated, durable, in one order.
//!
//! A [`Group`] is one replica of one Raft group on this node. Proposals go in
//! through a batcher that admits them in order and writes what has gathered as
//! one log entry; openraft makes it durable on a quorum through the node's one
//! log; the applier hands it to a [`StateMachine`], whose replies go back to
//! the proposers. Peers are reached over a [`PeerTransport`], which this crate
//! defines and others implement.
//!
//! The only home of openraft: its types appear nowhere outside. Not here: what
//! commands mean, who may propose them, sockets, disks.

mod admission;
mod applier;
mod batcher;
mod checkpointer;
mod codec;
mod config;
mod error;
mod group;
mod log_store;
mod peers;
mod progress;
mod raft_types;
mod recent;
mod snapshot;
mod state_machine;
mod status;
#[cfg(test)]
mod store_suite;

pub use admission::Admission;
pub use confab_storage::GroupId;
pub use config::{ConfigError, GroupConfig};
pub use error::{InitializeError, ProposeError, StartError, StopReason};
pub use group::{Group, PendingProposal, Proposed};
pub use peers::{Lane, MemoryNetwork, NoPeers, PeerError, PeerService, PeerStream, PeerTransport};
pub use state_machine::{CommittedEntry, StateMachine};
pub use status::{GroupStatus, Role};

/// A node of the cluster. Ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
