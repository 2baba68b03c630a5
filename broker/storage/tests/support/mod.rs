//! What several storage tests need.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::path::Path;
use std::sync::mpsc;

use bytes::Bytes;
use confab_storage::{
    Completion, DataDir, GroupId, Log, LogConfig, LogEntry, LogError, Marker, OpenReport,
    StateConfig, StateStore,
};

pub fn group(index: u32) -> GroupId {
    GroupId::new(0, index)
}

pub fn marker(index: u64) -> Marker {
    Marker {
        index,
        bytes: Bytes::from(format!("log id {index}")),
    }
}

pub fn entry(index: u64, content: impl Into<Bytes>) -> LogEntry {
    LogEntry {
        index,
        bytes: content.into(),
    }
}

/// A completion and where its result arrives.
pub fn completion() -> (Completion, mpsc::Receiver<Result<(), LogError>>) {
    let (send, receive) = mpsc::channel();
    let done: Completion = Box::new(move |result| {
        let _ = send.send(result);
    });
    (done, receive)
}

/// Appends and waits until it is durable.
pub fn append(log: &Log, group: GroupId, entries: Vec<LogEntry>) {
    let (done, result) = completion();
    log.append(group, entries, done);
    result.recv().unwrap().unwrap();
}

pub fn open_log(path: &Path) -> Log {
    let data_dir = DataDir::open(path).unwrap();
    Log::open(LogConfig::new(data_dir)).unwrap()
}

pub fn open(path: &Path) -> (Log, StateStore, OpenReport) {
    let log = open_log(path);
    let (store, report) = StateStore::open(StateConfig::new(log.data_dir().clone()), &log).unwrap();
    (log, store, report)
}
