//! Applied state against a plain map: the same answers, before and after flushes
//! and reopening.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use confab_storage::{
    DataDir, GroupState, Log, LogConfig, StateConfig, StateError, StateStore, Transaction,
};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use support::{append, entry, group, marker};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn open(path: &std::path::Path) -> (Log, StateStore) {
    let data_dir = DataDir::open(path).unwrap();
    let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
    let mut config = StateConfig::new(data_dir);
    config.window_bytes = 4 << 10;
    config.window_age = Duration::from_millis(2);
    config.flush_bytes_max = 16 << 10;
    let (store, report) = StateStore::open(config, &log).unwrap();
    assert_eq!(report.rebuilt, None);
    (log, store)
}

fn random_key(random: &mut SmallRng) -> Vec<u8> {
    let length = random.random_range(0..3);
    (0..length)
        .map(|_| random.random_range(b'a'..=b'f'))
        .collect()
}

fn scanned(
    scan: impl FnOnce(&mut dyn FnMut(&[u8], &[u8]) -> ControlFlow<()>),
    limit: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    scan(&mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        if found.len() >= limit {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    found
}

fn expected(
    model: &Model,
    from: &[u8],
    to: &[u8],
    reverse: bool,
    limit: usize,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    if from >= to {
        return Vec::new();
    }
    let range = model.range(from.to_vec()..to.to_vec());
    let pairs = range.map(|(key, value)| (key.clone(), value.clone()));
    if reverse {
        pairs.rev().take(limit).collect()
    } else {
        pairs.take(limit).collect()
    }
}

fn compare(
    random: &mut SmallRng,
    state: &GroupState,
    transaction: Option<&Transaction>,
    model: &Model,
) {
    let key = random_key(random);
    let got = match transaction {
        Some(transaction) => transaction.get(&key),
        None => state.get(&key),
    };
    assert_eq!(got.as_deref(), model.get(&key).map(Vec::as_slice));
    let (from, to) = (random_key(random), random_key(random));
    let reverse = random.random();
    let limit = random.random_range(1..20);
    let found = scanned(
        |visit| match transaction {
            Some(transaction) => transaction.scan(&from, &to, reverse, visit),
            None => state.scan(&from, &to, reverse, visit),
        },
        limit,
    );
    assert_eq!(found, expected(model, &from, &to, reverse, limit));
}

/// Whatever mixture of overlay, windows being written and sled answers, the
/// answer is the map's.
#[test]
fn random_transactions_agree_with_a_map() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let (mut log, mut store) = open(directory.path());
    let mut models: BTreeMap<u32, (u64, Model)> = BTreeMap::new();
    for _ in 0..600 {
        let number = random.random_range(0..3);
        let (applied, model) = models.entry(number).or_default();
        let state = store.group(group(number)).unwrap();
        *applied += 1;
        append(&log, group(number), vec![entry(*applied, "command")]);
        let mut transaction = state.begin();
        let before = model.clone();
        for _ in 0..random.random_range(0..8) {
            let key = random_key(&mut random);
            if random.random_range(0..3) == 0 {
                transaction.delete(key.clone());
                model.remove(&key);
            } else {
                let value = vec![random.random(); random.random_range(0..600)];
                transaction.put(key.clone(), value.clone());
                model.insert(key, value);
            }
            compare(&mut random, &state, Some(&transaction), model);
        }
        compare(&mut random, &state, None, &before);
        transaction.commit(marker(*applied)).unwrap();
        compare(&mut random, &state, None, model);
        match random.random_range(0..60) {
            0 => store.flush_all().unwrap(),
            1 => {
                store.shutdown().unwrap();
                drop((state, store, log));
                (log, store) = open(directory.path());
            }
            2 => std::thread::sleep(Duration::from_millis(5)),
            _ => {}
        }
    }
    store.shutdown().unwrap();
    drop((store, log));
    let (_log, store) = open(directory.path());
    for (number, (applied, model)) in models {
        let state = store.group(group(number)).unwrap();
        assert_eq!(state.applied(), Some(marker(applied)));
        let all = scanned(|visit| state.scan(b"", b"zzz", false, visit), usize::MAX);
        assert_eq!(all, model.into_iter().collect::<Vec<_>>());
    }
}

/// Dropping a transaction is how apply gives up: nothing may remain.
#[test]
fn a_dropped_transaction_leaves_no_trace() {
    let directory = tempfile::tempdir().unwrap();
    let (_log, store) = open(directory.path());
    let state = store.group(group(0)).unwrap();
    let mut transaction = state.begin();
    transaction.put("a", "1");
    drop(transaction);
    assert_eq!(state.get(b"a"), None);
    assert_eq!(state.applied(), None);
    drop(state.begin());
}

/// The core reads within a scan; a waiting commit must not make that a deadlock.
#[test]
fn a_scan_may_read_while_a_commit_waits() {
    let directory = tempfile::tempdir().unwrap();
    let (log, store) = open(directory.path());
    let state = store.group(group(0)).unwrap();
    append(
        &log,
        group(0),
        (1..=200).map(|index| entry(index, "x")).collect(),
    );
    let mut first = state.begin();
    first.put("a", "1");
    first.commit(marker(1)).unwrap();
    let writer = state.clone();
    let thread = std::thread::spawn(move || {
        for index in 2..=200 {
            let mut transaction = writer.begin();
            transaction.put("b", index.to_string());
            transaction.commit(marker(index)).unwrap();
        }
    });
    while state.applied() != Some(marker(200)) {
        state.scan(b"", b"z", false, &mut |_, _| {
            std::thread::sleep(Duration::from_micros(50));
            assert_eq!(state.get(b"a").as_deref(), Some(&b"1"[..]));
            ControlFlow::Continue(())
        });
    }
    thread.join().unwrap();
}

/// Memory stays bounded when the disk is slower than apply: commits wait, and go
/// on when there is room.
#[test]
fn a_full_overlay_makes_commits_wait() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = DataDir::open(directory.path()).unwrap();
    let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
    let mut config = StateConfig::new(data_dir);
    config.overlay_bytes_max = 64 << 10;
    let (store, _) = StateStore::open(config, &log).unwrap();
    let state = store.group(group(0)).unwrap();
    let writer = state.clone();
    // The log has none of it yet, so nothing may go to sled.
    let thread = std::thread::spawn(move || {
        for index in 1..=100 {
            let mut transaction = writer.begin();
            transaction.put(index.to_string(), vec![1; 4 << 10]);
            transaction.commit(marker(index)).unwrap();
        }
    });
    std::thread::sleep(Duration::from_millis(300));
    assert!(!thread.is_finished());
    let waiting = state.applied().unwrap().index;
    assert!((10..=20).contains(&waiting), "{waiting}");
    assert!(store.figures().overlay_bytes <= 72 << 10);
    append(
        &log,
        group(0),
        (1..=100).map(|index| entry(index, "x")).collect(),
    );
    thread.join().unwrap();
    assert_eq!(state.applied(), Some(marker(100)));
    store.flush_all().unwrap();
    assert_eq!(store.figures().overlay_bytes, 0);
    assert!(store.figures().flushed_bytes >= 400 << 10);
}

/// A stopped store takes nothing any more but still answers.
#[test]
fn a_closed_store_refuses_commits() {
    let directory = tempfile::tempdir().unwrap();
    let (log, store) = open(directory.path());
    let state = store.group(group(0)).unwrap();
    append(&log, group(0), vec![entry(1, "x")]);
    let mut transaction = state.begin();
    transaction.put("a", "1");
    transaction.commit(marker(1)).unwrap();
    store.shutdown().unwrap();
    assert_eq!(state.get(b"a").as_deref(), Some(&b"1"[..]));
    let refused = state.begin().commit(marker(2));
    assert!(matches!(refused, Err(StateError::Closed)));
}
