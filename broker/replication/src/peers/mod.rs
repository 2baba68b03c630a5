//! The seam between a group and the nodes that hold its other replicas.
//!
//! Whoever connects nodes implements [`PeerTransport`]: it opens ordered
//! streams of messages to a group on another node, and hands the streams that
//! other nodes open to [`PeerService::serve`]. What the messages say is this
//! crate's own business; a transport sees bytes. Not here: addresses,
//! certificates, connections.

mod append;
mod client;
mod memory;
mod service;

use std::pin::Pin;

use bytes::Bytes;
use confab_storage::GroupId;
use futures_util::future::BoxFuture;
use futures_util::{Sink, Stream};

pub(crate) use client::PeerClients;
pub use memory::MemoryNetwork;
pub use service::PeerService;
pub(crate) use service::ReplicaService;

use crate::NodeId;

/// What a stream carries. Lanes never wait for each other: a snapshot must not delay a heartbeat, nor a heartbeat a vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Votes, pre-votes and transfers of leadership: one small answer for each small message.
    Control,
    /// Signs of life: small messages that are worthless when late.
    Heartbeat,
    /// Log entries, pipelined: answers come in the order of the messages. Messages are of up to about 1 MiB, or one batch.
    Append,
    /// One snapshot: a header, then chunks, then one answer. Bulk: give it the lowest priority.
    Snapshot,
}

/// One ordered, reliable, bidirectional stream of messages to or from a peer.
///
/// Dropping it closes it in both directions.
pub struct PeerStream {
    /// Where messages to the peer go; it must exert back-pressure.
    pub outgoing: Pin<Box<dyn Sink<Bytes, Error = PeerError> + Send>>,
    /// What the peer sends; it ends when the peer closes the stream.
    pub incoming: Pin<Box<dyn Stream<Item = Result<Bytes, PeerError>> + Send>>,
}

/// Why there is no stream, or no more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The node cannot be reached now: back off before trying again.
    #[error("the peer cannot be reached")]
    Unreachable,
    /// The stream broke: a new one may be opened at once.
    #[error("the stream to the peer broke")]
    Broken,
}

/// Opens streams to the replicas of a group on other nodes.
pub trait PeerTransport: Send + Sync + 'static {
    /// Opens a stream for `lane` to the replica of `group` on node `to`.
    ///
    /// It must answer within the network's own connect timeout.
    ///
    /// # Errors
    /// [`PeerError::Unreachable`] where no stream can be had.
    fn open(
        &self,
        to: NodeId,
        group: GroupId,
        lane: Lane,
    ) -> BoxFuture<'_, Result<PeerStream, PeerError>>;
}

/// The transport of a cluster of one: nobody is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl PeerTransport for NoPeers {
    fn open(&self, _: NodeId, _: GroupId, _: Lane) -> BoxFuture<'_, Result<PeerStream, PeerError>> {
        Box::pin(std::future::ready(Err(PeerError::Unreachable)))
    }
}
