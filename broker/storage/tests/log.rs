//! The log: what it says it holds is what it holds, before and after reopening.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use bytes::Bytes;
use confab_storage::{DataDir, Log, LogConfig, LogError};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use support::{append, completion, entry, group, marker};

/// Opens a log whose directory counts as used, small files so that they rotate.
fn open(path: &std::path::Path) -> Log {
    if !path.join("MANIFEST").exists() {
        let (log, store, _) = support::open(path);
        drop((log, store));
    }
    let mut config = LogConfig::new(DataDir::open(path).unwrap());
    config.file_bytes = 64 << 10;
    config.disk_bytes_target = 256 << 10;
    config.cache_bytes_max = 0;
    config.clean_interval = std::time::Duration::from_millis(5);
    Log::open(config).unwrap()
}

/// Entries are readable between `append` and its fsync, and in order after it.
#[test]
fn what_was_appended_is_read_at_once_and_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let (done, result) = completion();
    log.append(group(1), vec![entry(0, "a"), entry(1, "b")], done);
    assert_eq!(
        log.read(group(1), 0..10, 1 << 20).unwrap(),
        vec![entry(0, "a"), entry(1, "b")]
    );
    result.recv().unwrap().unwrap();
    let (done, result) = completion();
    log.save_vote(group(1), Bytes::from("me"), done);
    log.save_committed(group(1), Bytes::from("1"));
    result.recv().unwrap().unwrap();
    let before = log.state(group(1)).unwrap();
    assert_eq!(before.first_index, Some(0));
    assert_eq!(before.last_index, Some(1));
    drop(log);
    let log = open(directory.path());
    assert_eq!(log.state(group(1)).unwrap(), before);
    assert_eq!(log.groups(), vec![group(1)]);
    assert_eq!(log.read(group(1), 1..2, 0).unwrap(), vec![entry(1, "b")]);
}

/// `bytes_max` limits an answer, but never to nothing.
#[test]
fn a_read_gives_at_least_one_entry() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let entries = (1..=9).map(|index| entry(index, vec![7; 100])).collect();
    append(&log, group(1), entries);
    assert_eq!(log.read(group(1), 1..10, 0).unwrap().len(), 1);
    assert_eq!(log.read(group(1), 1..10, 350).unwrap().len(), 3);
    assert_eq!(log.read(group(1), 5..100, 1 << 20).unwrap().len(), 5);
    assert!(log.read(group(1), 10..20, 1 << 20).unwrap().is_empty());
}

/// Followers drop what the new leader does not have; it must stay dropped.
#[test]
fn a_truncated_suffix_stays_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path());
    let entries = (1..=9).map(|index| entry(index, format!("old {index}")));
    append(&log, group(1), entries.collect());
    for last_kept in [Some(6), Some(4), None] {
        let (done, result) = completion();
        log.truncate_after(group(1), last_kept, done);
        assert_eq!(log.state(group(1)).unwrap().last_index, last_kept);
        result.recv().unwrap().unwrap();
        drop(log);
        log = open(directory.path());
        assert_eq!(log.state(group(1)).unwrap().last_index, last_kept);
    }
    append(&log, group(1), vec![entry(1, "new")]);
    drop(log);
    let log = open(directory.path());
    assert_eq!(
        log.read(group(1), 1..9, 1 << 20).unwrap(),
        vec![entry(1, "new")]
    );
}

/// After a snapshot was installed the log goes on behind it, with nothing between.
#[test]
fn a_log_may_be_purged_beyond_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    append(&log, group(1), vec![entry(1, "a"), entry(2, "b")]);
    log.purge(group(1), marker(1000));
    assert!(matches!(
        log.read(group(1), 2..3, 10),
        Err(LogError::Purged { last_purged: 1000 })
    ));
    append(&log, group(1), vec![entry(1001, "c")]);
    drop(log);
    let log = open(directory.path());
    let state = log.state(group(1)).unwrap();
    assert_eq!(state.purged, Some(marker(1000)));
    assert_eq!(state.first_index, Some(1001));
    assert_eq!(state.last_index, Some(1001));
}

/// One fsync serves whatever the groups wanted to append at the same time.
#[test]
fn concurrent_appends_share_an_fsync() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()));
    let writes = Arc::new(AtomicUsize::new(0));
    let mut config = LogConfig::new(DataDir::open(directory.path()).unwrap());
    let counter = writes.clone();
    config.on_write = Some(Arc::new(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
    }));
    let log = Log::open(config).unwrap();
    let (send, receive) = mpsc::channel();
    for index in 1..=1000 {
        for number in 1..=4 {
            let send = send.clone();
            let done = Box::new(move |result: Result<(), LogError>| {
                result.unwrap();
                send.send((number, index)).unwrap();
            });
            log.append(group(number), vec![entry(index, "x")], done);
        }
    }
    drop(send);
    let mut last = BTreeMap::new();
    for (number, index) in receive {
        assert_eq!(
            last.insert(number, index).unwrap_or(0) + 1,
            index,
            "in order"
        );
    }
    assert_eq!(last.len(), 4);
    assert!(writes.load(Ordering::Relaxed) < 1000);
}

/// A random history against a plain map: dense, complete, the same after reopening.
#[test]
fn a_random_history_is_kept() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path());
    // Per group: up to where it is purged, and the entries behind.
    type Held = (u64, Vec<(u64, Vec<u8>)>);
    let mut model: BTreeMap<u32, Held> = BTreeMap::new();
    for step in 0..2000u32 {
        let number = random.random_range(1..=3);
        let (purged, entries) = model.entry(number).or_default();
        let next = entries.last().map_or(*purged, |(index, _)| *index) + 1;
        match random.random_range(0..100) {
            0..70 => {
                let count = random.random_range(1..5);
                let new: Vec<_> = (next..next + count)
                    .map(|index| {
                        let length = random.random_range(0..3000);
                        (index, vec![step as u8; length])
                    })
                    .collect();
                entries.extend(new.clone());
                let new = new.into_iter().map(|(index, bytes)| entry(index, bytes));
                append(&log, group(number), new.collect());
            }
            70..80 => {
                let kept = random.random_range(0..=entries.len());
                let last_kept = entries[..kept].last().map(|(index, _)| *index);
                entries.truncate(kept);
                let (done, result) = completion();
                log.truncate_after(group(number), last_kept.or(Some(*purged)), done);
                result.recv().unwrap().unwrap();
            }
            80..95 => {
                let gone = random.random_range(0..=entries.len().min(30));
                if let Some((index, _)) = entries[..gone].last() {
                    *purged = *index;
                    entries.drain(..gone);
                    log.purge(group(number), marker(*purged));
                }
            }
            _ => {
                drop(log);
                log = open(directory.path());
                // Nothing dropped earlier may have come back, in any group.
                for (number, (_, entries)) in &model {
                    let first = entries.first().map_or(0, |(index, _)| *index);
                    let read = match entries.is_empty() {
                        true => Vec::new(),
                        false => log
                            .read(group(*number), first..u64::MAX, usize::MAX)
                            .unwrap(),
                    };
                    let read = read.iter().map(|entry| (entry.index, entry.bytes.to_vec()));
                    assert_eq!(read.collect::<Vec<_>>(), *entries);
                    let last = log.state(group(*number)).unwrap().last_index;
                    assert_eq!(last, entries.last().map(|(index, _)| *index));
                }
                continue;
            }
        }
        let (purged, entries) = &model[&number];
        let state = log.state(group(number)).unwrap();
        assert_eq!(state.first_index, entries.first().map(|(index, _)| *index));
        assert_eq!(state.last_index, entries.last().map(|(index, _)| *index));
        if let Some((first, _)) = entries.first() {
            let from = random.random_range(0..entries.len());
            let start = first + from as u64;
            let read = log.read(group(number), start..start + 50, 1 << 20).unwrap();
            assert!(!read.is_empty());
            for (read, (index, bytes)) in read.iter().zip(&entries[from..]) {
                assert_eq!((read.index, &read.bytes[..]), (*index, &bytes[..]));
            }
        }
        assert_eq!(state.purged.map_or(0, |marker| marker.index), *purged);
    }
}
