//! What the tests replicate: a journal of commands, and nodes that hold it.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use confab_replication::{
    Admission, CommittedEntry, Group, GroupConfig, GroupId, MemoryNetwork, NoPeers, NodeId,
    StateMachine,
};
use confab_storage::{
    DataDir, DataDirError, GroupState, Log, LogConfig, Marker, StateConfig, StateError, StateStore,
};

pub const GROUP: GroupId = GroupId::new(0, 1);

/// Keeps every command under its number, counted from 1, and replies with that number.
pub struct Journal {
    state: GroupState,
    pub restored: AtomicUsize,
}

impl StateMachine for Journal {
    fn apply(&self, entries: &[CommittedEntry], applied: Marker) -> Result<Vec<Bytes>, StateError> {
        let mut transaction = self.state.begin();
        let mut count = transaction.get(b"count").map_or(0, |bytes| number(&bytes));
        let mut replies = Vec::new();
        for command in entries.iter().flat_map(|entry| &entry.commands) {
            assert!(
                &command[..] != b"panic",
                "a command that must not be committed"
            );
            count += 1;
            transaction.put(key(count), command.clone());
            replies.push(Bytes::copy_from_slice(&count.to_be_bytes()));
        }
        transaction.put(&b"count"[..], count.to_be_bytes().to_vec());
        transaction.commit(applied)?;
        Ok(replies)
    }

    fn state(&self) -> &GroupState {
        &self.state
    }

    fn restored(&self) {
        self.restored.fetch_add(1, Ordering::Relaxed);
    }
}

pub fn number(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes.try_into().unwrap())
}

fn key(count: u64) -> Vec<u8> {
    [b"e", &count.to_be_bytes()[..]].concat()
}

/// Admits what does not begin with `no`, and notes what it admitted; panics at `bug`.
#[derive(Clone, Default)]
pub struct NoNo {
    pub admitted: Arc<parking_lot::Mutex<Vec<Bytes>>>,
}

impl Admission for NoNo {
    type Request = Bytes;
    type Refusal = Bytes;

    fn admit(&mut self, request: Bytes) -> Result<Bytes, Bytes> {
        assert!(&request[..] != b"bug", "a request that must not be made");
        if request.starts_with(b"no") {
            return Err(request);
        }
        self.admitted.lock().push(request.clone());
        Ok(request)
    }
}

/// A node with one group of journals.
pub struct Node {
    pub id: NodeId,
    pub group: Group<NoNo>,
    pub admission: NoNo,
    pub machine: Arc<Journal>,
    pub log: Log,
    pub state: GroupState,
    store: StateStore,
    network: Option<MemoryNetwork>,
}

/// Timeouts short enough for tests, checkpoints small enough to see them.
pub fn config(id: u64) -> GroupConfig {
    GroupConfig {
        heartbeat_interval_ms: 50,
        election_timeout_min_ms: 250,
        election_timeout_max_ms: 500,
        ..GroupConfig::new(NodeId(id))
    }
}

impl Node {
    /// A node of its own cluster.
    pub async fn single(directory: &Path) -> Self {
        Self::single_with(directory, config(1)).await
    }

    pub async fn single_with(directory: &Path, config: GroupConfig) -> Self {
        let node = Self::open(directory, config, None).await;
        node.group.initialize([node.id]).await.unwrap();
        node
    }

    pub async fn open(
        directory: &Path,
        config: GroupConfig,
        network: Option<&MemoryNetwork>,
    ) -> Self {
        Self::open_on(open_data_dir(directory).await, config, network).await
    }

    pub async fn open_on(
        data_dir: DataDir,
        config: GroupConfig,
        network: Option<&MemoryNetwork>,
    ) -> Self {
        let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
        let (store, _report) = StateStore::open(StateConfig::new(data_dir), &log).unwrap();
        let state = store.group(GROUP).unwrap();
        let machine = Arc::new(Journal {
            state: state.clone(),
            restored: AtomicUsize::new(0),
        });
        let admission = NoNo::default();
        let id = config.node_id;
        let start = (
            config,
            GROUP,
            log.clone(),
            machine.clone(),
            admission.clone(),
        );
        let group = match network {
            None => Group::start(start.0, start.1, start.2, start.3, start.4, NoPeers).await,
            Some(network) => {
                let transport = network.transport(id);
                Group::start(start.0, start.1, start.2, start.3, start.4, transport).await
            }
        }
        .unwrap();
        if let Some(network) = network {
            network.attach(id, GROUP, group.peer_service());
        }
        let network = network.cloned();
        Self {
            id,
            group,
            admission,
            machine,
            log,
            state,
            store,
            network,
        }
    }

    /// Ends in order; the directory can be opened again.
    pub async fn stop(self) {
        if let Some(network) = &self.network {
            network.detach(self.id, GROUP);
        }
        self.group.shutdown().await;
        self.store.shutdown().unwrap();
    }

    pub async fn propose(&self, command: impl Into<Bytes>) -> u64 {
        let proposed = self.group.propose(command.into()).await.unwrap();
        number(&proposed.reply)
    }

    /// All commands applied here, in order.
    pub fn journal(&self) -> Vec<Bytes> {
        let mut commands = Vec::new();
        self.state.scan(b"e", b"f", false, &mut |_, command| {
            commands.push(Bytes::copy_from_slice(command));
            ControlFlow::Continue(())
        });
        commands
    }
}

/// The lock of a node that just ended is released a moment later.
async fn open_data_dir(directory: &Path) -> DataDir {
    for _ in 0..500 {
        match DataDir::open(directory) {
            Err(DataDirError::InUse(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            opened => return opened.unwrap(),
        }
    }
    panic!("the data directory stays locked");
}

pub fn command(number: usize) -> Bytes {
    Bytes::from(format!("command {number}"))
}
