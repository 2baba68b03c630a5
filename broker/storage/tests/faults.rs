//! A disk that fails is fatal: everything pending gets the error, nothing more is
//! taken, the node is told once, and the next start is whole.
#![allow(clippy::unwrap_used)]

mod support;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use confab_storage::{
    DataDir, Log, LogConfig, LogError, StateConfig, StateError, StateStore, StoragePart,
    SyncObserver,
};
use support::{append, completion, entry, group, marker, open};

/// Fails every fsync of paths that contain `part` while it is switched on.
struct Failing {
    part: &'static str,
    on: AtomicBool,
}

impl Failing {
    fn new(part: &'static str) -> Arc<Self> {
        Arc::new(Self {
            part,
            on: AtomicBool::new(false),
        })
    }
}

impl SyncObserver for Failing {
    fn before_sync(&self, path: &Path) -> io::Result<()> {
        if self.on.load(Ordering::SeqCst) && path.to_string_lossy().contains(self.part) {
            return Err(io::Error::other("no more disk"));
        }
        Ok(())
    }
}

/// Of an fsync that failed nobody knows what it left: no completion may say `Ok`.
#[test]
fn a_failed_fsync_of_the_log_ends_it() {
    let directory = tempfile::tempdir().unwrap();
    let failing = Failing::new(".raftlog");
    let data_dir = DataDir::open_observed(directory.path(), failing.clone()).unwrap();
    let told = Arc::new(AtomicUsize::new(0));
    let mut config = LogConfig::new(data_dir.clone());
    let counter = told.clone();
    config.on_failure = Some(Arc::new(move |failure| {
        assert_eq!(failure.part, StoragePart::Log);
        assert!(failure.message.contains("no more disk"), "{failure}");
        counter.fetch_add(1, Ordering::SeqCst);
    }));
    let log = Log::open(config).unwrap();
    let (store, _) = StateStore::open(StateConfig::new(data_dir), &log).unwrap();
    let state = store.group(group(1)).unwrap();
    append(&log, group(1), vec![entry(1, "good")]);
    failing.on.store(true, Ordering::SeqCst);
    let (send, receive) = mpsc::channel();
    for index in 2..=100 {
        let send = send.clone();
        let done = Box::new(move |result| send.send(result).unwrap());
        log.append(group(1), vec![entry(index, "lost?")], done);
    }
    for _ in 2..=100 {
        assert!(matches!(receive.recv().unwrap(), Err(LogError::Failed(_))));
    }
    failing.on.store(false, Ordering::SeqCst);
    let (done, result) = completion();
    log.save_vote(group(1), Bytes::from("no"), done);
    assert!(matches!(result.recv().unwrap(), Err(LogError::Failed(_))));
    assert!(log.state(group(1)).is_err());
    // What waits for the log is told as well.
    let mut transaction = state.begin();
    transaction.put("a", "1");
    transaction.commit(marker(50)).unwrap();
    assert!(matches!(store.flush_all(), Err(StateError::Failed(_))));
    assert_eq!(told.load(Ordering::SeqCst), 1);
    drop((state, store, log));
    let (log, _store, _) = open(directory.path());
    assert!(log.state(group(1)).unwrap().last_index >= Some(1));
}

/// sled's own file: the next start must not trust it.
#[test]
fn a_failed_fsync_of_sled_has_it_rebuilt() {
    for (part, rebuilt) in [("sled/db", true), ("redo-", false)] {
        let directory = tempfile::tempdir().unwrap();
        let failing = Failing::new(part);
        let data_dir = DataDir::open_observed(directory.path(), failing.clone()).unwrap();
        let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
        let told = Arc::new(AtomicUsize::new(0));
        let counter = told.clone();
        let mut config = StateConfig::new(data_dir);
        config.on_failure = Some(Arc::new(move |failure| {
            assert_eq!(failure.part, StoragePart::State);
            counter.fetch_add(1, Ordering::SeqCst);
        }));
        let (store, _) = StateStore::open(config, &log).unwrap();
        let state = store.group(group(1)).unwrap();
        append(&log, group(1), vec![entry(1, "a"), entry(2, "b")]);
        let mut transaction = state.begin();
        transaction.put("key", "1");
        transaction.commit(marker(1)).unwrap();
        store.flush_all().unwrap();
        failing.on.store(true, Ordering::SeqCst);
        let mut transaction = state.begin();
        transaction.put("key", "2");
        transaction.commit(marker(2)).unwrap();
        assert!(matches!(store.flush_all(), Err(StateError::Failed(_))));
        let refused = state.begin().commit(marker(3));
        assert!(matches!(refused, Err(StateError::Failed(_))));
        assert!(state.checkpoint().is_err());
        assert_eq!(told.load(Ordering::SeqCst), 1);
        drop((state, store, log));
        let (_log, store, report) = open(directory.path());
        assert_eq!(report.rebuilt.is_some(), rebuilt, "{report:?}");
        let state = store.group(group(1)).unwrap();
        // Rebuilt without a checkpoint it begins at the log's begin.
        let applied = state.applied().map(|applied| applied.index);
        let expected = applied.map(|index| Bytes::from(index.to_string()));
        assert_eq!(state.get(b"key"), expected);
    }
}

/// A full or failing disk while a checkpoint is written costs only the checkpoint.
#[test]
fn a_failed_checkpoint_leaves_the_former() {
    let directory = tempfile::tempdir().unwrap();
    let failing = Failing::new(".checkpoint.tmp");
    let data_dir = DataDir::open_observed(directory.path(), failing.clone()).unwrap();
    let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
    let (store, _) = StateStore::open(StateConfig::new(data_dir), &log).unwrap();
    let state = store.group(group(1)).unwrap();
    append(&log, group(1), vec![entry(1, "a"), entry(2, "b")]);
    for index in 1..=2 {
        let mut transaction = state.begin();
        transaction.put("key", index.to_string());
        transaction.commit(marker(index)).unwrap();
        failing.on.store(index == 2, Ordering::SeqCst);
        assert_eq!(state.checkpoint().is_err(), index == 2);
    }
    assert_eq!(state.newest_checkpoint().unwrap().applied, marker(1));
    failing.on.store(false, Ordering::SeqCst);
    assert_eq!(state.checkpoint().unwrap().applied, marker(2));
    let shelf = directory.path().join(format!("checkpoints/{:016x}", 1));
    assert_eq!(std::fs::read_dir(shelf).unwrap().count(), 2);
}
