//! A cluster of one: what is acknowledged is there after a restart.
#![allow(clippy::unwrap_used)]

mod journal;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use confab_replication::{GroupConfig, ProposeError, Role, StopReason};
use confab_storage::{DataDir, SyncObserver};
use journal::{Node, command, config};

/// The whole point: an answer means that it survives, in order, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::single(directory.path()).await;
    for number in 0..200 {
        assert_eq!(node.propose(command(number)).await, number as u64 + 1);
    }
    node.stop().await;

    for round in 0..3 {
        let node = Node::single(directory.path()).await;
        node.group.wait_recovered().await;
        let expected: Vec<Bytes> = (0..200 + round).map(command).collect();
        assert_eq!(node.journal(), expected);
        node.propose(command(200 + round)).await;
        node.stop().await;
    }
}

/// A reply that comes before its effect can be read would break read-your-writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_means_applied() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::single(directory.path()).await;
    for number in 0..50 {
        let proposed = node.group.propose(command(number)).await.unwrap();
        assert!(node.group.applied_index() >= proposed.index);
        assert_eq!(node.journal().len(), number + 1);
        node.group.wait_applied(proposed.index).await;
    }
    let status = node.group.status();
    assert_eq!(status.role, Role::Leader);
    assert!(node.group.is_leader());
    assert_eq!(status.leader, Some(node.id));
    assert_eq!(status.voters, [node.id]);
    assert_eq!(status.proposals_queued, 0);
    node.stop().await;
}

/// A dead process leaves no flush behind it: everything must come out of the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proposals_in_flight_at_the_end_are_answered_and_consistent() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::single(directory.path()).await;
    let pending: Vec<_> = (0..1_000)
        .map(|number| node.group.try_propose(command(number)).unwrap())
        .collect();
    node.group.shutdown().await;
    let mut acknowledged = 0;
    for (number, pending) in pending.into_iter().enumerate() {
        match pending.outcome().await {
            Ok(_) => {
                assert_eq!(acknowledged, number, "an earlier proposal was given up");
                acknowledged += 1;
            }
            Err(error) => assert!(
                matches!(error, ProposeError::Uncertain | ProposeError::Stopped),
                "{error:?}"
            ),
        }
    }
    assert_eq!(node.group.stop_reason(), Some(StopReason::Shutdown));
    assert_eq!(
        node.group.propose(command(0)).await,
        Err(ProposeError::Stopped)
    );
    node.stop().await;

    let node = Node::single(directory.path()).await;
    node.group.wait_recovered().await;
    let journal = node.journal();
    assert!(journal.len() >= acknowledged);
    assert_eq!(journal, (0..journal.len()).map(command).collect::<Vec<_>>());
    node.stop().await;
}

/// Requests are admitted and appended in the order in which they were queued,
/// and a refusal leaves no trace.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_is_kept_and_refusals_are_not_appended() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::single(directory.path()).await;
    let mut pending = Vec::new();
    let mut expected = Vec::new();
    for number in 0..2_000 {
        let request = if number % 3 == 0 {
            Bytes::from(format!("no {number}"))
        } else {
            command(number)
        };
        if number % 3 != 0 {
            expected.push(request.clone());
        }
        pending.push((request.clone(), node.group.try_propose(request).unwrap()));
    }
    let (mut last_index, mut last_number) = (0, 0);
    for (request, pending) in pending {
        match pending.outcome().await {
            Ok(proposed) => {
                assert!(proposed.index >= last_index);
                let number = journal::number(&proposed.reply);
                assert_eq!(number, last_number + 1);
                (last_index, last_number) = (proposed.index, number);
            }
            Err(error) => assert_eq!(error, ProposeError::Refused(request)),
        }
    }
    assert_eq!(node.journal(), expected);
    assert_eq!(*node.admission.admitted.lock(), expected);
    node.stop().await;
}

/// More than fits is answered at once; what was taken in is still done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_is_answered_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let config = GroupConfig {
        proposals_queued_max: 16,
        overload_retry_after_ms: 7,
        ..config(1)
    };
    let node = Node::single_with(directory.path(), config).await;
    let mut taken = Vec::new();
    let mut refused = 0;
    for number in 0..5_000 {
        match node.group.try_propose(command(number)) {
            Ok(pending) => taken.push((number, pending)),
            Err(error) => {
                assert_eq!(error, ProposeError::Overloaded { retry_after_ms: 7 });
                refused += 1;
            }
        }
    }
    assert!(refused > 0);
    let mut expected = Vec::new();
    for (number, pending) in taken {
        pending.outcome().await.unwrap();
        expected.push(command(number));
    }
    assert_eq!(node.journal(), expected);
    node.stop().await;
}

/// Before a group has members there is no leader: callers hear so, in bounded time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_members_nobody_leads() {
    let directory = tempfile::tempdir().unwrap();
    let config = GroupConfig {
        leader_wait_ms: 100,
        ..config(1)
    };
    let node = Node::open(directory.path(), config, None).await;
    let outcome = node.group.propose(command(1)).await;
    assert_eq!(outcome, Err(ProposeError::NotLeader { leader: None }));
    // A group that waits for its members serves as soon as it has them, and takes them once.
    node.group.initialize([node.id]).await.unwrap();
    node.group.initialize([node.id]).await.unwrap();
    assert_eq!(node.propose(command(1)).await, 1);
    node.stop().await;
}

/// The log is purged below a checkpoint: a restart must begin there, not at entry 0.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purged_log_is_replayed_from_the_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let config = GroupConfig {
        checkpoint_entries_max: 20,
        entries_kept_max: 5,
        ..config(1)
    };
    let node = Node::single_with(directory.path(), config.clone()).await;
    for number in 0..600 {
        node.propose(command(number)).await;
    }
    wait_for("the log is purged", || {
        node.group.status().purged_index.is_some()
    })
    .await;
    let purged = node
        .log
        .state(journal::GROUP)
        .unwrap()
        .purged
        .unwrap()
        .index;
    let checkpoint = node.state.newest_checkpoint().unwrap().applied.index;
    assert!(
        purged <= checkpoint,
        "purged {purged} beyond the checkpoint {checkpoint}"
    );
    node.stop().await;

    let node = Node::single_with(directory.path(), config).await;
    node.group.wait_recovered().await;
    assert_eq!(node.journal(), (0..600).map(command).collect::<Vec<_>>());
    assert_eq!(node.propose(command(600)).await, 601);
    node.stop().await;
}

/// sled is gone, the log begins in the middle: checkpoint and log give everything back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_that_is_lost_is_rebuilt_from_checkpoint_and_log() {
    let directory = tempfile::tempdir().unwrap();
    let config = GroupConfig {
        entries_kept_max: 0,
        ..config(1)
    };
    let node = Node::single_with(directory.path(), config.clone()).await;
    for number in 0..300 {
        node.propose(command(number)).await;
    }
    node.group.checkpoint().await.unwrap();
    node.propose(command(300)).await;
    node.group.checkpoint().await.unwrap();
    wait_for("the log is purged", || {
        node.group.status().purged_index.is_some()
    })
    .await;
    for number in 301..400 {
        node.propose(command(number)).await;
    }
    node.stop().await;
    std::fs::remove_dir_all(directory.path().join("state")).unwrap();

    let node = Node::single_with(directory.path(), config).await;
    node.group.wait_recovered().await;
    assert_eq!(node.journal(), (0..400).map(command).collect::<Vec<_>>());
    node.stop().await;
}

/// A state machine that panics must stop the group, say so, and let nobody wait for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_apply_stops_the_group() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::single(directory.path()).await;
    node.propose(command(1)).await;
    let outcome = node.group.propose(Bytes::from_static(b"panic")).await;
    assert!(
        matches!(outcome, Err(ProposeError::Fatal | ProposeError::Uncertain)),
        "{outcome:?}"
    );
    assert_eq!(node.group.stopped().await, StopReason::Panic);
    assert_eq!(
        node.group.propose(command(2)).await,
        Err(ProposeError::Fatal)
    );
    assert_eq!(node.group.status().role, Role::Stopped);
}

/// So must a bug in admission: no proposal may hang, and the node must exit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_admission_stops_the_group() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::single(directory.path()).await;
    node.propose(command(1)).await;
    let outcome = node.group.propose(Bytes::from_static(b"bug")).await;
    assert!(
        matches!(outcome, Err(ProposeError::Fatal | ProposeError::Uncertain)),
        "{outcome:?}"
    );
    assert_eq!(node.group.stopped().await, StopReason::Panic);
    assert_eq!(
        node.group.propose(command(2)).await,
        Err(ProposeError::Fatal)
    );
}

/// Fails one fsync of the log once it is told to.
#[derive(Default)]
struct FailingDisk(AtomicBool);

impl SyncObserver for FailingDisk {
    fn before_sync(&self, path: &Path) -> std::io::Result<()> {
        let in_log = path.components().any(|part| part.as_os_str() == "log");
        if in_log && self.0.swap(false, Ordering::Relaxed) {
            return Err(std::io::Error::other("the disk is gone"));
        }
        Ok(())
    }
}

/// After a failed fsync nobody knows what is durable: nothing may be
/// acknowledged any more, and the node must hear that it has to exit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_disk_stops_the_group() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(FailingDisk::default());
    let data_dir = DataDir::open_observed(directory.path(), disk.clone()).unwrap();
    let node = Node::open_on(data_dir, config(1), None).await;
    node.group.initialize([node.id]).await.unwrap();
    node.propose(command(1)).await;
    disk.0.store(true, Ordering::Relaxed);
    let outcome = node.group.propose(command(2)).await;
    assert!(
        matches!(outcome, Err(ProposeError::Fatal | ProposeError::Uncertain)),
        "{outcome:?}"
    );
    assert_eq!(node.group.stopped().await, StopReason::Storage);
    assert_eq!(
        node.group.propose(command(3)).await,
        Err(ProposeError::Fatal)
    );
}

/// Whoever drops the last handle has no use for the group: it must not run on unseen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_group_ends_with_its_last_handle() {
    let directory = tempfile::tempdir().unwrap();
    let node = Node::single(directory.path()).await;
    node.propose(command(1)).await;
    drop(node);
    // The directory's lock is given back only once nothing uses storage any more.
    let node = Node::single(directory.path()).await;
    node.group.wait_recovered().await;
    assert_eq!(node.journal(), [command(1)]);
    node.stop().await;
}

async fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if reached() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("timed out: {what}");
}
