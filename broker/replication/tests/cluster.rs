//! Three nodes in one process: one order, and nothing acknowledged is lost with one of them.
#![allow(clippy::unwrap_used)]

mod journal;

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use confab_replication::{GroupConfig, MemoryNetwork, NodeId, ProposeError};
use journal::{Node, command, config};
use tempfile::TempDir;

struct Cluster {
    network: MemoryNetwork,
    directories: Vec<TempDir>,
    nodes: Vec<Option<Node>>,
    config: fn(u64) -> GroupConfig,
}

impl Cluster {
    async fn start(config: fn(u64) -> GroupConfig) -> Self {
        let network = MemoryNetwork::default();
        let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
        let mut nodes = Vec::new();
        for id in 1..=3_u64 {
            let directory = directories[id as usize - 1].path();
            nodes.push(Some(
                Node::open(directory, config(id), Some(&network)).await,
            ));
        }
        let cluster = Self {
            network,
            directories,
            nodes,
            config,
        };
        cluster
            .node(1)
            .group
            .initialize([1, 2, 3].map(NodeId))
            .await
            .unwrap();
        cluster
    }

    fn node(&self, id: u64) -> &Node {
        self.nodes[id as usize - 1].as_ref().unwrap()
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    async fn kill(&mut self, id: u64) {
        self.nodes[id as usize - 1].take().unwrap().stop().await;
    }

    async fn restart(&mut self, id: u64) {
        let directory = self.directories[id as usize - 1].path();
        let node = Node::open(directory, (self.config)(id), Some(&self.network)).await;
        self.nodes[id as usize - 1] = Some(node);
    }

    /// Who leads among the nodes but `except`.
    async fn leader(&self, except: Option<u64>) -> u64 {
        for _ in 0..2_000 {
            let leads = self
                .running()
                .find(|node| Some(node.id.0) != except && node.group.is_leader())
                .map(|node| node.id.0);
            if let Some(leader) = leads {
                return leader;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no leader");
    }

    /// Proposes at whichever node leads until one acknowledges.
    async fn propose(&self, command: &Bytes) {
        for _ in 0..2_000 {
            for node in self.running() {
                if node.group.is_leader() && node.group.propose(command.clone()).await.is_ok() {
                    return;
                }
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nobody acknowledges");
    }

    /// Returns once all running nodes have the same journal, with `count` commands at least.
    async fn converged(&self, count: usize) -> Vec<Bytes> {
        for _ in 0..2_000 {
            let mut journals = self.running().map(Node::journal);
            let first = journals.next().unwrap();
            if first.len() >= count && journals.all(|journal| journal == first) {
                return first;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let lengths: Vec<_> = self.running().map(|node| node.journal().len()).collect();
        let status: Vec<_> = self.running().map(|node| node.group.status()).collect();
        panic!("journals differ: {lengths:?}\n{status:#?}");
    }

    async fn stop(self) {
        for node in self.nodes.into_iter().flatten() {
            node.stop().await;
        }
    }
}

/// Every replica applies the same commands in the same order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_replicas_apply_the_same() {
    let cluster = Cluster::start(config).await;
    let leader = cluster.leader(None).await;
    let pending: Vec<_> = (0..1_000)
        .map(|number| {
            cluster
                .node(leader)
                .group
                .try_propose(command(number))
                .unwrap()
        })
        .collect();
    for pending in pending {
        pending.outcome().await.unwrap();
    }
    let journal = cluster.converged(1_000).await;
    assert_eq!(journal, (0..1_000).map(command).collect::<Vec<_>>());
    cluster.stop().await;
}

/// Who asks the wrong node must be told the right one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_name_the_leader() {
    let cluster = Cluster::start(config).await;
    cluster.propose(&command(0)).await;
    let leader = cluster.leader(None).await;
    for node in cluster.running().filter(|node| node.id.0 != leader) {
        let outcome = node.group.propose(command(1)).await;
        assert_eq!(
            outcome,
            Err(ProposeError::NotLeader {
                leader: Some(NodeId(leader))
            })
        );
        assert!(
            node.admission.admitted.lock().is_empty(),
            "a follower must not admit"
        );
    }
    cluster.stop().await;
}

/// The leader dies under load: another takes over, and whatever was acknowledged
/// by either is in the journal once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_with_the_leader() {
    let mut cluster = Cluster::start(config).await;
    let leader = cluster.leader(None).await;
    let group = cluster.node(leader).group.clone();
    let proposing = tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        for number in 0..100_000 {
            match group.propose(command(number)).await {
                Ok(_) => acknowledged.push(command(number)),
                Err(_) => break,
            }
        }
        acknowledged
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    cluster.network.set_isolated(NodeId(leader), true);
    cluster.kill(leader).await;
    cluster.network.set_isolated(NodeId(leader), false);
    let mut acknowledged = proposing.await.unwrap();
    assert!(acknowledged.len() > 10, "{}", acknowledged.len());

    assert_ne!(cluster.leader(Some(leader)).await, leader);
    for number in 0..100 {
        let command = Bytes::from(format!("after {number}"));
        cluster.propose(&command).await;
        acknowledged.push(command);
    }
    cluster.restart(leader).await;
    let journal = cluster.converged(acknowledged.len()).await;
    let mut rest = journal.iter();
    for command in &acknowledged {
        assert!(
            rest.any(|applied| applied == command),
            "{command:?} is lost or out of order"
        );
        assert_eq!(
            journal.iter().filter(|applied| *applied == command).count(),
            1
        );
    }
    cluster.stop().await;
}

/// A leader that is cut off must not acknowledge, and what it took in alone must
/// not stay: its callers hear that nothing is certain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_isolated_leader_acknowledges_nothing() {
    let cluster = Cluster::start(|id| GroupConfig {
        proposal_timeout_ms: 1_500,
        ..config(id)
    })
    .await;
    cluster.propose(&command(0)).await;
    let leader = cluster.leader(None).await;
    cluster.network.set_isolated(NodeId(leader), true);
    // What is on its way still arrives, and may then be committed without its sender.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let alone = cluster
        .node(leader)
        .group
        .propose(Bytes::from_static(b"alone"))
        .await;
    assert!(
        matches!(
            alone,
            Err(ProposeError::Uncertain | ProposeError::NotLeader { .. })
        ),
        "{alone:?}"
    );
    let successor = cluster.leader(Some(leader)).await;
    cluster.node(successor).propose(command(1)).await;
    cluster.network.set_isolated(NodeId(leader), false);
    let journal = cluster.converged(2).await;
    assert_eq!(journal, [command(0), command(1)]);
    cluster.stop().await;
}

/// A follower that comes back must not depose a healthy leader: that is what pre-vote is for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_returning_follower_does_not_disturb() {
    let cluster = Cluster::start(config).await;
    cluster.propose(&command(0)).await;
    let leader = cluster.leader(None).await;
    let term = cluster.node(leader).group.status().term;
    let follower = cluster.running().find(|node| node.id.0 != leader).unwrap();
    cluster.network.set_isolated(follower.id, true);
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    cluster.network.set_isolated(follower.id, false);
    cluster.propose(&command(1)).await;
    assert_eq!(cluster.converged(2).await.len(), 2);
    assert_eq!(cluster.leader(None).await, leader);
    assert_eq!(cluster.node(leader).group.status().term, term);
    cluster.stop().await;
}

/// The log it needs is purged everywhere: a node that was away catches up from a snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_for_long_catches_up_from_a_snapshot() {
    let mut cluster = Cluster::start(|id| GroupConfig {
        entries_kept_max: 0,
        snapshot_chunk_bytes: 1_000,
        ..config(id)
    })
    .await;
    let leader = cluster.leader(None).await;
    let away = if leader == 3 { 1 } else { 3 };
    cluster.propose(&command(0)).await;
    cluster.converged(1).await;
    cluster.kill(away).await;
    for number in 1..400 {
        cluster.propose(&command(number)).await;
    }
    for number in 400..450 {
        // The log is purged up to the last checkpoint but one.
        for node in cluster.running().filter(|_| number == 400 || number == 410) {
            node.group.checkpoint().await.unwrap();
        }
        cluster.propose(&command(number)).await;
    }
    cluster.restart(away).await;
    let journal = cluster.converged(450).await;
    assert_eq!(journal, (0..450).map(command).collect::<Vec<_>>());
    assert_eq!(
        cluster.node(away).machine.restored.load(Ordering::Relaxed),
        1
    );

    // What it was given is its own from now on: it survives a restart of the node.
    cluster.kill(away).await;
    cluster.restart(away).await;
    cluster.propose(&command(450)).await;
    assert_eq!(cluster.converged(451).await.len(), 451);
    assert_eq!(
        cluster.node(away).machine.restored.load(Ordering::Relaxed),
        0
    );
    cluster.stop().await;
}

/// All nodes die at once: what was acknowledged is on a majority of disks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_all_nodes_loses_nothing() {
    let mut cluster = Cluster::start(config).await;
    for round in 0..3 {
        for number in 0..50 {
            cluster.propose(&command(round * 50 + number)).await;
        }
        for id in 1..=3 {
            cluster.kill(id).await;
        }
        for id in 1..=3 {
            cluster.restart(id).await;
        }
        let journal = cluster.converged((round + 1) * 50).await;
        assert_eq!(
            journal,
            (0..(round + 1) * 50).map(command).collect::<Vec<_>>()
        );
    }
    cluster.stop().await;
}
