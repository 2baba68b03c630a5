//! Power cuts at random moments, one after the other on what the former left:
//! nothing acknowledged is missing, the state is exactly that of some prefix of
//! the log, and the store always comes up.
#![allow(clippy::unwrap_used)]

#[path = "support/power.rs"]
mod power;
mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_storage::{
    DataDir, GroupId, GroupState, Log, LogConfig, LogError, StateConfig, StateStore, SyncObserver,
};
use parking_lot::Mutex;
use power::Power;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use support::{entry, group, marker};

const GROUPS: u32 = 3;

/// How long to go on cutting; more seconds (`CONFAB_CUT_SECONDS`) find rarer things.
fn time() -> Duration {
    let seconds = std::env::var("CONFAB_CUT_SECONDS").ok();
    Duration::from_secs(seconds.map_or(12, |seconds| seconds.parse().unwrap()))
}

/// Printed, and taken from `CONFAB_SEED` when it is set.
fn seeded() -> SmallRng {
    let seed = std::env::var("CONFAB_SEED").ok();
    let seed = seed.map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("CONFAB_SEED={seed}");
    SmallRng::seed_from_u64(seed)
}

type Model = BTreeMap<Bytes, Bytes>;

/// What entry `index` of a group says; the same whenever it is asked.
fn command(group: GroupId, index: u64) -> Bytes {
    let mut random = SmallRng::seed_from_u64(group.as_u64() << 32 ^ index);
    let length = random.random_range(8..600);
    let bytes: Vec<u8> = (0..length).map(|_| random.random()).collect();
    bytes.into()
}

/// What applying a command changes: some keys set, some removed, one counted up.
fn effects(index: u64, command: &Bytes) -> Vec<(Bytes, Option<Bytes>)> {
    let mut effects = vec![
        (Bytes::from("head"), Some(Bytes::from(index.to_string()))),
        (
            Bytes::from(format!("message {index:08}")),
            Some(command.clone()),
        ),
    ];
    for byte in &command[..4] {
        let key = Bytes::from(format!("key {}", byte % 50));
        let value = (byte % 3 != 0).then(|| Bytes::from(format!("{index} {byte}")));
        effects.push((key, value));
    }
    if index > 300 {
        effects.push((Bytes::from(format!("message {:08}", index - 300)), None));
    }
    effects
}

/// The state after entry `last`.
fn model(group: GroupId, last: u64) -> Model {
    let mut model = Model::new();
    for index in 1..=last {
        for (key, value) in effects(index, &command(group, index)) {
            match value {
                Some(value) => model.insert(key, value),
                None => model.remove(&key),
            };
        }
    }
    model
}

fn content(state: &GroupState) -> Model {
    let mut found = Model::new();
    state.scan(b"", b"\xff", false, &mut |key, value| {
        found.insert(Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        ControlFlow::Continue(())
    });
    found
}

fn apply(log: &Log, state: &GroupState) -> Result<(), ()> {
    let from = state.applied().map_or(1, |applied| applied.index + 1);
    for entry in log
        .read(state.id(), from..u64::MAX, 1 << 20)
        .map_err(|_| ())?
    {
        assert_eq!(
            entry.bytes,
            command(state.id(), entry.index),
            "entry {}",
            entry.index
        );
        let mut transaction = state.begin();
        for (key, value) in effects(entry.index, &entry.bytes) {
            match value {
                Some(value) => transaction.put(key, value),
                None => transaction.delete(key),
            }
        }
        transaction.commit(marker(entry.index)).map_err(|_| ())?;
    }
    Ok(())
}

/// What the log has completed, per group: the last entry and the last vote.
#[derive(Default)]
struct Acknowledged {
    entries: [AtomicU64; GROUPS as usize],
    votes: [AtomicU64; GROUPS as usize],
}

impl Acknowledged {
    fn numbers(&self) -> Vec<(u64, u64)> {
        let load = |number: &AtomicU64| number.load(Ordering::SeqCst);
        let pairs = self.entries.iter().zip(&self.votes);
        pairs
            .map(|(entry, vote)| (load(entry), load(vote)))
            .collect()
    }
}

fn open(path: &Path, power: &Arc<Power>) -> (Log, StateStore, bool) {
    let data_dir = DataDir::open_observed(path, power.clone()).unwrap();
    let mut config = LogConfig::new(data_dir.clone());
    config.file_bytes = 100 << 10;
    config.disk_bytes_target = 400 << 10;
    config.clean_interval = Duration::from_millis(10);
    config.cache_bytes_max = 64 << 10;
    let log = Log::open(config).unwrap_or_else(|error| panic!("{error}"));
    let mut config = StateConfig::new(data_dir);
    config.window_age = Duration::from_millis(5);
    config.window_bytes = 16 << 10;
    config.sled_cache_bytes = 16 << 20;
    let (store, report) = StateStore::open(config, &log).unwrap_or_else(|error| panic!("{error}"));
    (log, store, report.rebuilt.is_some())
}

/// Appends, votes, applies, checkpoints and purges one group until told to stop.
fn work(
    log: &Log,
    state: &GroupState,
    number: usize,
    acknowledged: &Arc<Acknowledged>,
    stop: &AtomicBool,
    seed: u64,
) {
    let mut random = SmallRng::seed_from_u64(seed);
    let id = state.id();
    let stored = log.state(id).unwrap();
    let purged = stored.purged.map_or(0, |marker| marker.index);
    let mut next = stored.last_index.unwrap_or(purged) + 1;
    while !stop.load(Ordering::Relaxed) {
        let count = random.random_range(1..30);
        let entries = (next..next + count).map(|index| entry(index, command(id, index)));
        next += count;
        let (counter, last) = (acknowledged.clone(), next - 1);
        log.append(
            id,
            entries.collect(),
            Box::new(move |result: Result<(), LogError>| {
                result.unwrap();
                counter.entries[number].store(last, Ordering::SeqCst);
            }),
        );
        if random.random_range(0..10) == 0 {
            let (counter, vote) = (acknowledged.clone(), next);
            log.save_vote(
                id,
                vote.to_string().into(),
                Box::new(move |result: Result<(), LogError>| {
                    result.unwrap();
                    counter.votes[number].store(vote, Ordering::SeqCst);
                }),
            );
        }
        log.save_committed(id, (next - 1).to_string().into());
        apply(log, state).unwrap();
        if random.random_range(0..25) == 0 {
            state.checkpoint().unwrap();
            if let Some(purgeable) = state.purgeable() {
                log.purge(id, purgeable);
            }
        }
        std::thread::sleep(Duration::from_micros(random.random_range(0..2000)));
    }
}

/// Runs the workload on `path` for a while and cuts the power once in between.
fn run_and_cut(
    path: &Path,
    image: &Path,
    power: &Arc<Power>,
    random: &mut SmallRng,
) -> (Vec<(u64, u64)>, bool) {
    let (log, store, rebuilt) = open(path, power);
    let acknowledged = Arc::new(Acknowledged::default());
    let stop = AtomicBool::new(false);
    let numbers = std::thread::scope(|scope| {
        for number in 0..GROUPS {
            let state = store.group(group(number)).unwrap();
            let (log, acknowledged, stop, seed) = (&log, &acknowledged, &stop, random.random());
            scope.spawn(move || work(log, &state, number as usize, acknowledged, stop, seed));
        }
        std::thread::sleep(Duration::from_millis(random.random_range(1..250)));
        let numbers = power.cut(path, image, random, || acknowledged.numbers());
        stop.store(true, Ordering::Relaxed);
        numbers
    });
    (numbers, rebuilt)
}

/// Opens an image and compares it with what must be there.
fn check(image: &Path, acknowledged: &[(u64, u64)]) -> bool {
    let (log, store, rebuilt) = open(image, &Power::of(image));
    for (number, (entry, vote)) in acknowledged.iter().enumerate() {
        let id = group(number as u32);
        let held = log.state(id).unwrap();
        let purged = held.purged.map_or(0, |marker| marker.index);
        let last = held.last_index.unwrap_or(0).max(purged);
        assert!(last >= *entry, "group {id} lost {entry}, it has {last}");
        let held_vote: u64 = held.vote.map_or(0, |vote| {
            std::str::from_utf8(&vote).unwrap().parse().unwrap()
        });
        assert!(held_vote >= *vote, "group {id} lost its vote");
        let state = store.group(id).unwrap();
        let applied = state.applied().map_or(0, |marker| marker.index);
        assert_eq!(
            content(&state),
            model(id, applied),
            "group {id} at {applied}"
        );
        while state.applied().map_or(0, |marker| marker.index) < last {
            apply(&log, &state).unwrap();
        }
        assert_eq!(content(&state), model(id, last), "group {id} at {last}");
    }
    rebuilt
}

#[test]
fn nothing_acknowledged_is_lost_in_power_cuts() {
    let mut random = seeded();
    let started = Instant::now();
    let (mut cuts, mut rebuilds) = (0, 0);
    while started.elapsed() < time() {
        // A fresh directory, and then some cuts each on what the former left.
        let mut current = tempfile::tempdir().unwrap();
        let mut power = Power::of(current.path());
        for _ in 0..random.random_range(1..8) {
            let image = tempfile::tempdir().unwrap();
            let (acknowledged, _) = run_and_cut(current.path(), image.path(), &power, &mut random);
            cuts += 1;
            // Look at a copy, so that the next run meets it as the cut left it.
            let looked_at = tempfile::tempdir().unwrap();
            copy(image.path(), looked_at.path());
            rebuilds += u32::from(check(looked_at.path(), &acknowledged));
            power = Power::of(image.path());
            current = image;
        }
    }
    println!("{cuts} cuts, {rebuilds} rebuilds");
    assert!(cuts > 3);
    // It would heal, but only by reading the whole checkpoint: not what a cut should cost.
    assert!(rebuilds * 10 <= cuts);
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What a follower goes through: entries of a former leader are dropped and
/// others take their place. After a cut the log must be as it was after some
/// step, and not before the last acknowledged one.
#[test]
fn truncations_are_kept_in_order_in_power_cuts() {
    let mut random = seeded();
    let started = Instant::now();
    while started.elapsed() < time() / 3 {
        let directory = tempfile::tempdir().unwrap();
        let power = Power::of(directory.path());
        let (log, store, _) = open(directory.path(), &power);
        store.group(group(0)).unwrap();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let history: Mutex<Vec<Vec<u64>>> = Mutex::new(vec![Vec::new()]);
        let steps = random.random_range(1..200);
        for step in 1..=steps {
            let mut now = history.lock().last().cloned().unwrap();
            let counter = acknowledged.clone();
            let done = Box::new(move |result: Result<(), LogError>| {
                result.unwrap();
                counter.store(step, Ordering::SeqCst);
            });
            if random.random_range(0..4) == 0 {
                let kept = random.random_range(0..=now.len());
                now.truncate(kept);
                history.lock().push(now);
                log.truncate_after(group(0), kept.checked_sub(1).map(|last| last as u64), done);
            } else {
                let count = random.random_range(1..4u64);
                let first = now.len() as u64;
                let entries = (first..first + count).map(|index| {
                    let padding = "x".repeat(random.random_range(0..8000));
                    entry(index, format!("{step:06}{padding}"))
                });
                let entries = entries.collect();
                now.extend((0..count).map(|_| step));
                history.lock().push(now);
                log.append(group(0), entries, done);
            }
            if random.random_range(0..3) == 0 {
                std::thread::sleep(Duration::from_micros(random.random_range(0..500)));
            }
        }
        let image = tempfile::tempdir().unwrap();
        let last = power.cut(directory.path(), image.path(), &mut random, || {
            acknowledged.load(Ordering::SeqCst)
        });
        let (log, _store, _) = open(image.path(), &Power::of(image.path()));
        let held: Vec<u64> = log
            .read(group(0), 0..u64::MAX, usize::MAX)
            .unwrap()
            .iter()
            .map(|entry| {
                std::str::from_utf8(&entry.bytes[..6])
                    .unwrap()
                    .parse()
                    .unwrap()
            })
            .collect();
        let possible = &history.lock()[last as usize..];
        assert!(possible.contains(&held), "after step {last}: {held:?}");
    }
}

/// Cuts the power just before a checkpoint's file is fsynced.
struct CutAtCheckpoint {
    power: Arc<Power>,
    directory: std::path::PathBuf,
    image: std::path::PathBuf,
    armed: AtomicBool,
}

impl SyncObserver for CutAtCheckpoint {
    fn before_sync(&self, path: &Path) -> std::io::Result<()> {
        let is_checkpoint = path.to_string_lossy().ends_with(".checkpoint.tmp");
        if is_checkpoint && self.armed.swap(false, Ordering::SeqCst) {
            let mut random = seeded();
            self.power
                .cut(&self.directory, &self.image, &mut random, || ());
        }
        Ok(())
    }

    fn synced(&self, path: &Path) {
        self.power.synced(path);
    }
}

/// A checkpoint that was being written must not be taken for one: the former
/// serves, also when sled has to be rebuilt from it.
#[test]
fn an_unfinished_checkpoint_is_not_used() {
    for _ in 0..10 {
        let (directory, image) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let observer = Arc::new(CutAtCheckpoint {
            power: Power::of(directory.path()),
            directory: directory.path().to_path_buf(),
            image: image.path().to_path_buf(),
            armed: AtomicBool::new(false),
        });
        let data_dir = DataDir::open_observed(directory.path(), observer.clone()).unwrap();
        let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
        let (store, _) = StateStore::open(StateConfig::new(data_dir), &log).unwrap();
        let id = group(0);
        let state = store.group(id).unwrap();
        for step in 0..2 {
            let entries = step * 100 + 1..=step * 100 + 100;
            let entries = entries
                .map(|index| entry(index, command(id, index)))
                .collect();
            support::append(&log, id, entries);
            apply(&log, &state).unwrap();
            observer.armed.store(step == 1, Ordering::SeqCst);
            state.checkpoint().unwrap();
        }
        std::fs::remove_dir_all(image.path().join("state/sled")).unwrap();
        let (log, store, rebuilt) = open(image.path(), &Power::of(image.path()));
        assert!(rebuilt);
        let state = store.group(id).unwrap();
        assert_eq!(state.newest_checkpoint().unwrap().applied, marker(100));
        assert_eq!(content(&state), model(id, 100));
        apply(&log, &state).unwrap();
        assert_eq!(content(&state), model(id, 200));
    }
}
