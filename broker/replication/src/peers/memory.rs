//! Peers within one process: for tests and simulations of whole clusters.
//!
//! Messages are handed over in memory, in order, with the same back-pressure
//! and the same chunks as over a network. Nodes can be cut off from each other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use confab_storage::GroupId;
use futures_channel::mpsc;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Lane, PeerError, PeerService, PeerStream, PeerTransport};
use crate::NodeId;

/// Messages that wait in one direction of a stream.
const STREAM_MESSAGES_MAX: usize = 16;

/// A network of nodes in this process; clones are the same network.
#[derive(Clone, Default)]
pub struct MemoryNetwork {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    services: Mutex<HashMap<(NodeId, GroupId), Arc<dyn PeerService>>>,
    isolated: Mutex<HashSet<NodeId>>,
    /// Raised with each change of who is isolated: streams check themselves then.
    changes: watch::Sender<u64>,
}

impl MemoryNetwork {
    /// Makes `node`'s replica of `group` reachable for the others.
    pub fn attach(&self, node: NodeId, group: GroupId, service: Arc<dyn PeerService>) {
        self.shared.services.lock().insert((node, group), service);
    }

    /// The end of a node: nothing reaches its replica of `group` any more.
    pub fn detach(&self, node: NodeId, group: GroupId) {
        self.shared.services.lock().remove(&(node, group));
        self.shared.changes.send_modify(|change| *change += 1);
    }

    /// Cuts a node off from all others, or joins it again. Streams that are cut break.
    pub fn set_isolated(&self, node: NodeId, isolated: bool) {
        let mut nodes = self.shared.isolated.lock();
        if isolated {
            nodes.insert(node);
        } else {
            nodes.remove(&node);
        }
        drop(nodes);
        self.shared.changes.send_modify(|change| *change += 1);
    }

    /// The network as `node` uses it.
    pub fn transport(&self, node: NodeId) -> impl PeerTransport {
        MemoryTransport {
            from: node,
            shared: self.shared.clone(),
        }
    }
}

struct MemoryTransport {
    from: NodeId,
    shared: Arc<Shared>,
}

impl Shared {
    fn connected(&self, from: NodeId, to: NodeId, group: GroupId) -> Option<Arc<dyn PeerService>> {
        let isolated = self.isolated.lock();
        if isolated.contains(&from) || isolated.contains(&to) {
            return None;
        }
        self.services.lock().get(&(to, group)).cloned()
    }

    /// Returns when the two nodes are no longer connected.
    async fn cut(&self, from: NodeId, to: NodeId, group: GroupId) {
        let mut changes = self.changes.subscribe();
        while self.connected(from, to, group).is_some() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}

impl PeerTransport for MemoryTransport {
    fn open(
        &self,
        to: NodeId,
        group: GroupId,
        lane: Lane,
    ) -> BoxFuture<'_, Result<PeerStream, PeerError>> {
        Box::pin(async move {
            let service = self
                .shared
                .connected(self.from, to, group)
                .ok_or(PeerError::Unreachable)?;
            let (near, far) = stream_pair();
            let (shared, from) = (self.shared.clone(), self.from);
            tokio::spawn(async move {
                tokio::select! {
                    () = service.serve(lane, far) => {}
                    () = shared.cut(from, to, group) => {}
                }
            });
            Ok(near)
        })
    }
}

/// Two ends of one stream.
fn stream_pair() -> (PeerStream, PeerStream) {
    let (near_out, far_in) = one_way(STREAM_MESSAGES_MAX);
    let (far_out, near_in) = one_way(STREAM_MESSAGES_MAX);
    (
        PeerStream {
            outgoing: near_out,
            incoming: near_in,
        },
        PeerStream {
            outgoing: far_out,
            incoming: far_in,
        },
    )
}

type Outgoing = std::pin::Pin<Box<dyn futures_util::Sink<Bytes, Error = PeerError> + Send>>;
type Incoming =
    std::pin::Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, PeerError>> + Send>>;

fn one_way(messages_max: usize) -> (Outgoing, Incoming) {
    let (sender, receiver) = mpsc::channel(messages_max);
    (
        Box::pin(sender.sink_map_err(|_| PeerError::Broken)),
        Box::pin(receiver.map(Ok)),
    )
}
