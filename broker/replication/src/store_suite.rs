//! openraft's own test suite for stores, over this crate's log store and applier.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use confab_storage::{
    DataDir, GroupId, GroupState, Log, LogConfig, Marker, StateConfig, StateError, StateStore,
};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::vote::RaftLeaderId;
use tempfile::TempDir;

use crate::applier::Applier;
use crate::checkpointer::CheckpointPressure;
use crate::codec::encode_marker;
use crate::log_store::LogStore;
use crate::progress::Progress;
use crate::raft_types::{LeaderId, LogId, RaftTypes};
use crate::{CommittedEntry, GroupConfig, NodeId, StateMachine};

struct Nothing {
    state: GroupState,
    /// The suite applies entries that were never logged, and storage writes no
    /// state ahead of the log: where a checkpoint is wanted the log must follow.
    purged: Option<Log>,
}

impl StateMachine for Nothing {
    fn apply(&self, _: &[CommittedEntry], applied: Marker) -> Result<Vec<Bytes>, StateError> {
        if let Some(log) = &self.purged {
            log.purge(GROUP, applied.clone());
        }
        self.state.begin().commit(applied)?;
        Ok(Vec::new())
    }

    fn state(&self) -> &GroupState {
        &self.state
    }

    fn restored(&self) {}
}

const GROUP: GroupId = GroupId::new(0, 1);

/// Which store a test gets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDisk {
    Empty,
    /// The log begins at entry 2: storage lets a new log begin at 0 or 1 only.
    BeginsAtTwo,
    /// The log is purged up to what is applied.
    Purging,
}

impl StoreBuilder<RaftTypes, LogStore, Applier, (StateStore, TempDir)> for OnDisk {
    async fn build(
        &self,
    ) -> Result<((StateStore, TempDir), LogStore, Applier), StorageError<RaftTypes>> {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(directory.path()).unwrap();
        let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
        let (store, _) = StateStore::open(StateConfig::new(data_dir), &log).unwrap();
        let machine = Arc::new(Nothing {
            state: store.group(GROUP).unwrap(),
            purged: (*self == Self::Purging).then(|| log.clone()),
        });
        if *self == Self::BeginsAtTwo {
            let bytes = encode_marker(LogId::new(LeaderId::new(0, 0), 1), &Default::default());
            log.purge(GROUP, Marker { index: 1, bytes });
        }
        let config = GroupConfig::new(NodeId(0));
        let log_store = LogStore::open(log, GROUP, config.read_bytes_max).unwrap();
        let applier = Applier::new(
            machine,
            Arc::new(Progress::new()),
            Arc::new(CheckpointPressure::new(&config, None)),
            config.apply_commands_max,
            tokio::sync::oneshot::channel().0,
        )
        .unwrap();
        Ok(((store, directory), log_store, applier))
    }
}

type StoreSuite = Suite<RaftTypes, LogStore, Applier, OnDisk, (StateStore, TempDir)>;

/// Runs tests of the suite, each on a store of its own.
macro_rules! run {
    ($builder:expr; $($test:ident)*) => {
        $({
            let (_guard, log_store, applier) = $builder.build().await.unwrap();
            let outcome = StoreSuite::$test(log_store, applier).await;
            assert!(outcome.is_ok(), "{}: {outcome:?}", stringify!($test));
        })*
    };
}

/// What openraft expects of a store, in its own words.
///
/// All of `Suite::test_all` but for `get_initial_state_log_ids`: it has a log
/// that is purged while nothing was ever applied, which storage refuses to open.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_what_openraft_expects() {
    run! {
        OnDisk::Empty;
        last_membership_in_log_initial
        last_membership_in_log
        last_membership_in_log_multi_step
        get_membership_initial
        get_membership_from_log_and_empty_sm
        get_membership_from_empty_log_and_sm
        get_membership_from_log_le_sm_last_applied
        get_membership_from_log_gt_sm_last_applied_1
        get_membership_from_log_gt_sm_last_applied_2
        get_initial_state_without_init
        get_initial_state_membership_from_empty_log_and_sm
        get_initial_state_membership_from_sm_inlog_is_smaller
        get_initial_state_membership_from_log_insm_is_smaller
        get_initial_state_with_state
        get_initial_state_last_log_gt_sm
        save_vote
        get_log_entries
        limited_get_log_entries
        leader_bounded_stream
        entries_stream
        try_get_log_entry
        log_reader_reads_new_entries
        initial_logs
        get_log_state
        get_log_id
        last_id_in_log
        last_applied_state
        purge_logs_upto_0
        purge_logs_upto_5
        purge_logs_upto_20
        delete_logs_after_11
        delete_logs_after_5
        delete_logs_after_0
        delete_logs_after_none
        append_to_log
        apply_single
        apply_multiple
    }
    run! {
        OnDisk::BeginsAtTwo;
        get_initial_state_last_log_lt_sm
        get_initial_state_inverted_log_order
        get_initial_state_conflict_at_same_index
        get_initial_state_re_apply_committed
    }
    run! {
        OnDisk::Purging;
        snapshot_meta
        snapshot_meta_optional
    }
    StoreSuite::transfer_snapshot(&OnDisk::Purging)
        .await
        .unwrap();
}
