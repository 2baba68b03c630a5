//! openraft's own test suite for stores, over this crate's log store and applier.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use confab_storage::{
    DataDir, GroupId, GroupState, Log, LogConfig, Marker, StateConfig, StateError, StateStore,
};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use tempfile::TempDir;

use crate::applier::Applier;
use crate::checkpointer::CheckpointPressure;
use crate::log_store::LogStore;
use crate::progress::Progress;
use crate::raft_types::RaftTypes;
use crate::{CommittedEntry, GroupConfig, NodeId, StateMachine};

struct Nothing(GroupState);

impl StateMachine for Nothing {
    fn apply(&self, _: &[CommittedEntry], applied: Marker) -> Result<Vec<Bytes>, StateError> {
        self.0.begin().commit(applied)?;
        Ok(Vec::new())
    }

    fn state(&self) -> &GroupState {
        &self.0
    }

    fn restored(&self) {}
}

struct OnDisk;

impl StoreBuilder<RaftTypes, LogStore, Applier, (TempDir, StateStore)> for OnDisk {
    async fn build(
        &self,
    ) -> Result<((TempDir, StateStore), LogStore, Applier), StorageError<RaftTypes>> {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(directory.path()).unwrap();
        let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
        let (store, _) = StateStore::open(StateConfig::new(data_dir), &log).unwrap();
        let group = GroupId::new(0, 1);
        let machine = Arc::new(Nothing(store.group(group).unwrap()));
        let config = GroupConfig::new(NodeId(0));
        let log_store = LogStore::open(log, group, config.read_bytes_max).unwrap();
        let applier = Applier::new(
            machine,
            Arc::new(Progress::new()),
            Arc::new(CheckpointPressure::new(&config, None)),
            config.apply_commands_max,
        )
        .unwrap();
        Ok(((directory, store), log_store, applier))
    }
}

/// What openraft expects of a store, in its own words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_what_openraft_expects() {
    Suite::test_all(OnDisk).await.unwrap();
}
