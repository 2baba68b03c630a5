//! What must be atomic is cut at every single step: before each fsync that a
//! first start, a rebuild or the taking on of a checkpoint does.
#![allow(clippy::unwrap_used)]

#[path = "support/power.rs"]
mod power;
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use confab_storage::{
    DataDir, GroupState, Log, LogConfig, OpenReport, StateConfig, StateStore, SyncObserver,
};
use power::Power;
use rand::rngs::SmallRng;
use rand::{SeedableRng, random};
use support::{append, entry, group, marker};
use tempfile::TempDir;

/// Cuts the power before the n-th fsync from now.
struct CutBefore {
    power: Arc<Power>,
    directory: PathBuf,
    image: PathBuf,
    left: AtomicUsize,
    seed: u64,
}

impl CutBefore {
    fn new(directory: &Path, image: &Path) -> Arc<Self> {
        let seed = random();
        println!("seed {seed}");
        Arc::new(Self {
            power: Power::of(directory),
            directory: directory.to_path_buf(),
            image: image.to_path_buf(),
            left: AtomicUsize::new(0),
            seed,
        })
    }

    fn arm(&self, nth: usize) {
        self.left.store(nth, Ordering::SeqCst);
    }

    /// Whether there were fewer steps than that.
    fn is_armed(&self) -> bool {
        self.left.load(Ordering::SeqCst) > 0
    }
}

impl SyncObserver for CutBefore {
    fn before_sync(&self, _path: &Path) -> std::io::Result<()> {
        let left = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if left == Ok(1) {
            let mut random = SmallRng::seed_from_u64(self.seed);
            self.power
                .cut(&self.directory, &self.image, &mut random, || ());
        }
        Ok(())
    }

    fn synced(&self, path: &Path) {
        self.power.synced(path);
    }
}

fn open(path: &Path, observer: Arc<dyn SyncObserver>) -> (Log, StateStore, OpenReport) {
    let data_dir = DataDir::open_observed(path, observer).unwrap();
    let log = Log::open(LogConfig::new(data_dir.clone())).unwrap_or_else(|error| panic!("{error}"));
    let (store, report) = StateStore::open(StateConfig::new(data_dir), &log)
        .unwrap_or_else(|error| panic!("{error}"));
    (log, store, report)
}

fn set(log: &Log, state: &GroupState, index: u64, value: &str) {
    append(log, state.id(), vec![entry(index, value.to_owned())]);
    let mut transaction = state.begin();
    transaction.put("key", value.to_owned());
    transaction.put(format!("only {value}"), "");
    transaction.commit(marker(index)).unwrap();
}

fn value(state: &GroupState) -> Option<String> {
    let value = state.get(b"key")?;
    Some(String::from_utf8(value.to_vec()).unwrap())
}

/// Runs `steps` with a cut before each of its fsyncs in turn, and `check` on each image.
fn at_every_step(mut steps: impl FnMut(usize) -> (Arc<CutBefore>, TempDir), check: impl Fn(&Path)) {
    for nth in 1.. {
        let (cut, image) = steps(nth);
        if cut.is_armed() {
            println!("{} steps", nth - 1);
            assert!(nth > 5);
            return;
        }
        check(image.path());
    }
}

#[test]
fn a_first_start_can_be_cut_anywhere() {
    at_every_step(
        |nth| {
            let (directory, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let cut = CutBefore::new(directory.path(), image.path());
            cut.arm(nth);
            let (log, store, _) = open(directory.path(), cut.clone());
            set(&log, &store.group(group(0)).unwrap(), 1, "a");
            (cut, image)
        },
        |image| {
            let (log, store, _) = open(image, Power::of(image));
            let state = store.group(group(0)).unwrap();
            let last = log.state(group(0)).unwrap().last_index;
            set(&log, &state, last.unwrap_or(0) + 1, "b");
            store.flush_all().unwrap();
        },
    );
}

#[test]
fn taking_on_a_checkpoint_can_be_cut_anywhere() {
    let leader = tempfile::tempdir().unwrap();
    let (log, store, _) = open(leader.path(), Power::of(leader.path()));
    let state = store.group(group(0)).unwrap();
    for index in 1..=50 {
        set(&log, &state, index, "new");
    }
    let snapshot = state.checkpoint().unwrap();
    at_every_step(
        |nth| {
            let (directory, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let cut = CutBefore::new(directory.path(), image.path());
            let (log, store, _) = open(directory.path(), cut.clone());
            let state = store.group(group(0)).unwrap();
            set(&log, &state, 1, "old");
            store.flush_all().unwrap();
            cut.arm(nth);
            state.restore(&snapshot.path).unwrap();
            set(&log, &state, 51, "newer");
            (cut, image)
        },
        |image| {
            let (log, store, report) = open(image, Power::of(image));
            assert_eq!(report.rebuilt, None);
            let state = store.group(group(0)).unwrap();
            let applied = state.applied().unwrap().index;
            let held = log.state(group(0)).unwrap();
            assert!(held.purged.is_none_or(|purged| purged.index <= applied));
            match applied {
                1 => assert_eq!(value(&state).as_deref(), Some("old")),
                50 => assert_eq!(value(&state).as_deref(), Some("new")),
                other => panic!("{other}"),
            }
            assert_eq!(state.get(b"only old").is_some(), applied == 1);
            assert_eq!(state.get(b"only new").is_some(), applied == 50);
            // Whatever was left half-way must not be in the way of another try.
            state.restore(&snapshot.path).unwrap();
            assert_eq!(value(&state).as_deref(), Some("new"));
        },
    );
}

#[test]
fn a_rebuild_can_be_cut_anywhere() {
    at_every_step(
        |nth| {
            let (directory, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            let (log, store, _) = open(directory.path(), Power::of(directory.path()));
            let state = store.group(group(0)).unwrap();
            for index in 1..=10 {
                set(&log, &state, index, &index.to_string());
                if index % 4 == 0 {
                    state.checkpoint().unwrap();
                }
            }
            log.purge(group(0), state.purgeable().unwrap());
            set(&log, &state, 11, "11");
            store.shutdown().unwrap();
            drop((state, store, log));
            std::fs::write(directory.path().join("state/sled/db"), "broken").unwrap();
            let cut = CutBefore::new(directory.path(), image.path());
            cut.arm(nth);
            let (_log, _store, report) = open(directory.path(), cut.clone());
            assert!(report.rebuilt.is_some());
            (cut, image)
        },
        |image| {
            let (log, store, _) = open(image, Power::of(image));
            let state = store.group(group(0)).unwrap();
            assert_eq!(state.applied(), Some(marker(8)));
            assert_eq!(value(&state).as_deref(), Some("8"));
            assert_eq!(log.read(group(0), 9..12, 1 << 20).unwrap().len(), 3);
        },
    );
}
