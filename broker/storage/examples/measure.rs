//! Prints what this machine's disk gives the log and the state store:
//! `cargo run --release -p confab-storage --example measure [directory]`.
#![allow(clippy::unwrap_used)]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use confab_storage::{
    DataDir, GroupId, GroupState, Log, LogConfig, LogEntry, LogError, Marker, StateConfig,
    StateStore,
};

const ENTRY_BYTES: usize = 310;
const MESSAGES_PER_ENTRY: u64 = 32;

fn main() {
    let parent = std::env::args().nth(1);
    let directory = match parent {
        Some(parent) => tempfile::tempdir_in(parent).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let data_dir = DataDir::open(directory.path()).unwrap();
    let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
    let (store, _) = StateStore::open(StateConfig::new(data_dir.clone()), &log).unwrap();
    let mut next = 1;
    let group = GroupId::new(0, 1);
    let state = store.group(group).unwrap();
    for in_flight in [1, 32, 512] {
        next = append(&log, group, next, in_flight);
    }
    apply(&log, &state, &store, next);
    let last = next - 1;
    let started = Instant::now();
    for _ in 0..100_000 {
        assert!(state.get(b"head").is_some());
    }
    println!("get: {:.2} us", started.elapsed().as_secs_f64() * 10.0);
    let started = Instant::now();
    let info = state.checkpoint().unwrap();
    println!(
        "checkpoint: {} keys, {} MB in {:?}",
        info.keys,
        info.bytes >> 20,
        started.elapsed()
    );
    store.shutdown().unwrap();
    drop((state, store, log));
    let started = Instant::now();
    let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
    println!(
        "log reopened with {last} entries in {:?}",
        started.elapsed()
    );
    let started = Instant::now();
    let opened = StateStore::open(StateConfig::new(data_dir), &log).unwrap();
    println!("state reopened in {:?}", started.elapsed());
    drop(opened);
}

/// Appends for two seconds with `in_flight` entries unacknowledged.
fn append(log: &Log, group: GroupId, first: u64, in_flight: u64) -> u64 {
    let (send, receive) = mpsc::channel();
    let started = Instant::now();
    let (mut next, mut done) = (first, first);
    while started.elapsed() < Duration::from_secs(2) {
        while next - done < in_flight {
            let send = send.clone();
            let entry = LogEntry {
                index: next,
                bytes: vec![next as u8; ENTRY_BYTES].into(),
            };
            let completion = move |result: Result<(), LogError>| {
                result.unwrap();
                let _ = send.send(());
            };
            log.append(group, vec![entry], Box::new(completion));
            next += 1;
        }
        receive.recv().unwrap();
        done += 1;
        done += receive.try_iter().count() as u64;
    }
    let rate = (done - first) as f64 / started.elapsed().as_secs_f64();
    println!("log, {in_flight} in flight: {rate:.0} entries/s");
    while done < next {
        receive.recv().unwrap();
        done += 1;
    }
    next
}

/// Commits messages, some keys of which change with each, then waits for sled.
fn apply(log: &Log, state: &GroupState, store: &StateStore, end: u64) {
    let entries = 10_000.min(end - 1);
    assert!(log.state(state.id()).unwrap().last_index >= Some(entries));
    let started = Instant::now();
    for index in 1..=entries {
        let mut transaction = state.begin();
        for message in 0..MESSAGES_PER_ENTRY {
            let number = index * MESSAGES_PER_ENTRY + message;
            transaction.put(format!("message {number:012}"), vec![1; ENTRY_BYTES]);
            transaction.put(format!("cursor {}", number % 500), number.to_string());
            transaction.put("head", number.to_string());
        }
        let applied = Marker {
            index,
            bytes: index.to_string().into(),
        };
        transaction.commit(applied).unwrap();
    }
    let messages = (entries * MESSAGES_PER_ENTRY) as f64;
    let rate = messages / started.elapsed().as_secs_f64();
    println!("state, committed: {rate:.0} messages/s");
    store.flush_all().unwrap();
    let rate = messages / started.elapsed().as_secs_f64();
    println!("state, in sled: {rate:.0} messages/s");
}
