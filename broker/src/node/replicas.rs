//! The replicated part of a node: storage, the groups over it, the router.

use std::sync::Arc;

use confab_replication::{Group, GroupId, NoPeers, NodeId, StateMachine, StopReason};
use confab_storage::{DataDir, FailureHook, Log, StateStore, StorageFailure};
use tokio::sync::watch;

use super::NodeError;
use crate::config::Config;
use crate::fanout::Fanout;
use crate::ops::{Metrics, RaftFigures, RaftRole};
use crate::presence::Presence;
use crate::router::{DirectoryAdmission, Router, ShardAdmission};
use crate::session::registry::Registry;
use crate::state::{DirectoryMachine, GroupView, Lookup, ShardMachine};

/// The workspace of this cluster; more come later.
const WORKSPACE: u32 = 1;

/// The directory takes one command an entry: its log index then names one
/// change, which is what channels' logs refer to.
const DIRECTORY_BATCH_COMMANDS: usize = 1;

/// Entries of the directory that wait for the disk at once.
const DIRECTORY_BATCHES_IN_FLIGHT: usize = 64;

/// Storage that was opened, before anything runs over it.
pub(super) struct Storage {
    log: Log,
    store: StateStore,
    directory: confab_storage::GroupState,
    shards: Vec<confab_storage::GroupState>,
    failed: watch::Receiver<Option<StorageFailure>>,
}

/// The groups of this node, running.
pub(super) struct Replicas {
    pub(super) router: Router,
    pub(super) lookup: Lookup,
    directory: Group<DirectoryAdmission>,
    shards: Vec<Group<ShardAdmission>>,
    store: StateStore,
    failed: watch::Receiver<Option<StorageFailure>>,
}

impl Storage {
    /// Opens what is in the data directory: log, applied state, and every group.
    /// Blocks for as long as recovery takes.
    ///
    /// # Errors
    /// Whatever stands in the way, with the way out.
    pub(super) fn open(
        data_dir: DataDir,
        config: &Config,
        metrics: &Metrics,
    ) -> Result<Self, NodeError> {
        let (tell, failed) = watch::channel(None);
        let on_failure: FailureHook = Arc::new(move |failure: &StorageFailure| {
            tell.send_replace(Some(failure.clone()));
        });
        let mut log_config = config.log_storage(data_dir.clone());
        let written = metrics.clone();
        log_config.on_write = Some(Arc::new(move |write| {
            written.log_written(write.entries as u64, write.bytes as u64, write.took);
        }));
        log_config.on_failure = Some(Arc::clone(&on_failure));
        let log = Log::open(log_config)?;
        let mut state_config = config.state_storage(data_dir);
        state_config.on_failure = Some(on_failure);
        let (store, report) = StateStore::open(state_config, &log)?;
        if let Some(reason) = &report.rebuilt {
            tracing::warn!(%reason, "the state store was rebuilt from checkpoints; the log brings the rest");
        }
        // How many shards there are was decided when the first node started.
        let known = store.groups().len();
        let shards = match known {
            0 => usize::try_from(config.raft.shards).unwrap_or(usize::MAX),
            known => known - 1,
        };
        let group = |index| store.group(GroupId::new(WORKSPACE, index));
        let directory = group(0)?;
        let shards = (1..=shards)
            .map(|index| group(u32::try_from(index).unwrap_or(u32::MAX)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            log,
            store,
            directory,
            shards,
            failed,
        })
    }

    /// A lookup over what is stored.
    pub(super) fn lookup(&self) -> Lookup {
        Lookup::new(
            GroupView::new(self.directory.clone()),
            self.shards.iter().cloned().map(GroupView::new).collect(),
        )
    }
}

impl Replicas {
    /// Starts every group, waits until what was committed is applied, and
    /// begins the directory of a new cluster.
    ///
    /// # Errors
    /// That a group does not start, or the directory does not begin.
    pub(super) async fn start(
        storage: Storage,
        config: &Config,
        lookup: Lookup,
        fanout: &Fanout,
        registry: &Registry,
        presence: &Presence,
    ) -> Result<Self, NodeError> {
        let Storage {
            log,
            store,
            directory,
            shards,
            failed,
        } = storage;
        let view = GroupView::new(directory.clone());
        let directory_machine = Arc::new(DirectoryMachine::new(
            directory,
            registry.clone(),
            presence.clone(),
        ));
        let applied = directory_machine.applied();
        let group_config = config.group();
        let node = NodeId(config.raft.node_id);
        let mut directory_config = group_config.clone();
        directory_config.batch_commands_max = DIRECTORY_BATCH_COMMANDS;
        directory_config.batches_in_flight_max = DIRECTORY_BATCHES_IN_FLIGHT;
        let directory = Group::start(
            directory_config,
            GroupId::new(WORKSPACE, 0),
            log.clone(),
            directory_machine as Arc<dyn StateMachine>,
            DirectoryAdmission::new(view.clone()),
            NoPeers,
        )
        .await?;
        let mut groups = Vec::with_capacity(shards.len());
        for (index, shard) in (1..).zip(shards) {
            let machine = Arc::new(ShardMachine::new(shard, fanout.clone()));
            groups.push(
                Group::start(
                    group_config.clone(),
                    GroupId::new(WORKSPACE, index),
                    log.clone(),
                    machine as Arc<dyn StateMachine>,
                    ShardAdmission::new(view.clone()),
                    NoPeers,
                )
                .await?,
            );
        }
        directory.initialize([node]).await?;
        for group in &groups {
            group.initialize([node]).await?;
        }
        directory.wait_recovered().await;
        for group in &groups {
            group.wait_recovered().await;
        }
        let router = Router::new(
            config.router(),
            lookup.clone(),
            directory.clone(),
            &applied,
            groups.clone(),
        );
        router.initialize().await?;
        Ok(Self {
            router,
            lookup,
            directory,
            shards: groups,
            store,
            failed,
        })
    }

    /// Returns when this node can no longer promise anything.
    pub(super) async fn failed(&self) -> NodeError {
        let mut failed = self.failed.clone();
        let stopped = async {
            let shards = self.shards.iter().map(|group| Box::pin(group.stopped()));
            let any = futures_util::future::select_all(shards);
            tokio::select! {
                reason = self.directory.stopped() => reason,
                (reason, _, _) = any => reason,
            }
        };
        tokio::select! {
            changed = failed.wait_for(Option::is_some) => match changed.map(|failure| failure.clone()) {
                Ok(Some(failure)) => NodeError::StorageFailed(failure),
                // The hook lives as long as the store, which is ours.
                Ok(None) | Err(_) => NodeError::GroupStopped(StopReason::Storage),
            },
            reason = stopped => NodeError::GroupStopped(reason),
        }
    }

    /// Tells the metrics how groups and storage stand; `checkpoints` keeps what
    /// was seen of each group's newest checkpoint between two calls.
    pub(super) fn sample(&self, metrics: &Metrics, checkpoints: &mut Vec<Option<u64>>) {
        let figures = |status: &confab_replication::GroupStatus| RaftFigures {
            role: role(status.role),
            term: status.term,
            commit: status.committed_index.unwrap_or(0),
            applied: status.applied_index.unwrap_or(0),
            // Alone, a node has no followers that could lag.
            lag: 0,
        };
        let mut statuses = vec![("directory".to_owned(), self.directory.status())];
        for (number, group) in self.shards.iter().enumerate() {
            statuses.push((format!("shard-{number}"), group.status()));
        }
        for (place, (name, status)) in statuses.iter().enumerate() {
            metrics.raft(name, figures(status));
            match checkpoints.get_mut(place) {
                None => checkpoints.push(status.snapshot_index),
                Some(seen) if *seen != status.snapshot_index => {
                    *seen = status.snapshot_index;
                    metrics.checkpoint();
                }
                Some(_) => {}
            }
        }
        let storage = self.store.figures();
        metrics.flush_lag(storage.overlay_bytes as u64, storage.oldest_unflushed);
    }

    /// Stops the groups and writes what is applied to the state store.
    pub(super) async fn shutdown(self) {
        let Self {
            router,
            lookup,
            directory,
            shards,
            store,
            ..
        } = self;
        for group in &shards {
            group.shutdown().await;
        }
        directory.shutdown().await;
        drop((router, lookup, directory, shards));
        let closed = tokio::task::spawn_blocking(move || store.shutdown()).await;
        match closed {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the state store did not close; the log has everything")
            }
            Err(error) => tracing::error!(%error, "closing the state store panicked"),
        }
    }
}

const fn role(role: confab_replication::Role) -> RaftRole {
    match role {
        confab_replication::Role::Leader => RaftRole::Leader,
        confab_replication::Role::Candidate => RaftRole::Candidate,
        confab_replication::Role::Learner => RaftRole::Learner,
        confab_replication::Role::Follower | confab_replication::Role::Stopped => {
            RaftRole::Follower
        }
    }
}
