//! sled may be lost in any way: the state comes back from checkpoint and log, or
//! the start is refused; it is never silently empty.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, OpenOptions};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use confab_storage::{
    AcceptLoss, CheckpointError, DataDir, GroupState, Log, LogConfig, Severity, StateConfig,
    StateOpenError, StateStore, VerifyOptions, repair, verify,
};
use support::{append, entry, group, marker, open};

/// Applies the log as the replication layer does: entry `n` sets key `n % 10` to `n`.
fn apply(log: &Log, state: &GroupState) {
    let from = state.applied().map_or(1, |applied| applied.index + 1);
    for entry in log.read(state.id(), from..u64::MAX, usize::MAX).unwrap() {
        let mut transaction = state.begin();
        transaction.put(format!("key {}", entry.index % 10), entry.bytes.clone());
        transaction.delete(format!("gone {}", entry.index - 1));
        transaction.put(format!("gone {}", entry.index), entry.bytes);
        transaction.commit(marker(entry.index)).unwrap();
    }
}

fn write(log: &Log, state: &GroupState, entries: std::ops::RangeInclusive<u64>) {
    let entries = entries.map(|index| entry(index, index.to_string()));
    append(log, state.id(), entries.collect());
    apply(log, state);
}

fn content(state: &GroupState) -> Vec<(Bytes, Bytes)> {
    let mut found = Vec::new();
    state.scan(b"", b"\xff", false, &mut |key, value| {
        found.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        ControlFlow::Continue(())
    });
    found
}

/// Two groups with two checkpoints each, the log purged to the older, and more after.
fn prepare(path: &Path) -> Vec<(Bytes, Bytes)> {
    let (log, store, report) = open(path);
    assert_eq!(report.rebuilt, None);
    for number in [0, 1] {
        let state = store.group(group(number)).unwrap();
        for step in 0..3 {
            write(&log, &state, step * 100 + 1..=step * 100 + 100);
            let info = state.checkpoint().unwrap();
            assert_eq!(info.applied, marker(step * 100 + 100));
            assert_eq!(info.keys, 11, "deleted keys must not be in it");
        }
        log.purge(group(number), state.purgeable().unwrap());
        assert_eq!(state.purgeable(), Some(marker(200)));
        write(&log, &state, 301..=350);
    }
    let kept = fs::read_dir(path.join("checkpoints").join(format!("{:016x}", 0)));
    assert_eq!(kept.unwrap().count(), 2);
    let expected = content(&store.group(group(0)).unwrap());
    store.shutdown().unwrap();
    expected
}

fn assert_whole(path: &Path, expected: &[(Bytes, Bytes)], rebuilt: bool) {
    let (log, store, report) = open(path);
    assert_eq!(report.rebuilt.is_some(), rebuilt, "{report:?}");
    for number in [0, 1] {
        let state = store.group(group(number)).unwrap();
        apply(&log, &state);
        assert_eq!(state.applied(), Some(marker(350)));
        assert_eq!(content(&state), expected);
    }
    // What was rebuilt must stay.
    store.shutdown().unwrap();
    drop((store, log));
    let (_log, _store, report) = open(path);
    assert_eq!(report.rebuilt, None);
}

fn random_bytes(path: &Path) {
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let length = fs::metadata(&path).unwrap().len() as usize;
            let bytes: Vec<u8> = (0..length).map(|_| rand::random()).collect();
            fs::write(&path, bytes).unwrap();
        }
    }
}

/// Every way of losing sled that an operator or a disk may find.
#[test]
fn a_lost_sled_is_rebuilt() {
    type Harm = (&'static str, bool, fn(&Path));
    let harms: [Harm; 8] = [
        ("nothing", false, |_| {}),
        ("deleted", true, |sled| fs::remove_dir_all(sled).unwrap()),
        ("emptied", true, |sled| {
            fs::remove_dir_all(sled).unwrap();
            fs::create_dir(sled).unwrap();
        }),
        ("db deleted", true, |sled| {
            fs::remove_file(sled.join("db")).unwrap()
        }),
        ("db truncated", true, |sled| {
            let file = OpenOptions::new()
                .write(true)
                .open(sled.join("db"))
                .unwrap();
            file.set_len(1000).unwrap();
        }),
        ("random bytes", true, random_bytes),
        ("a file in its place", true, |sled| {
            fs::remove_dir_all(sled).unwrap();
            fs::write(sled, "what?").unwrap();
        }),
        ("conf deleted", false, |sled| {
            fs::remove_file(sled.join("conf")).unwrap()
        }),
    ];
    for (name, rebuilt, harm) in harms {
        println!("{name}");
        let directory = tempfile::tempdir().unwrap();
        let expected = prepare(directory.path());
        harm(&directory.path().join("state/sled"));
        assert_whole(directory.path(), &expected, rebuilt);
        let severity = verify(directory.path(), &VerifyOptions::default())
            .unwrap()
            .severity();
        assert_eq!(severity, Severity::Fine);
    }
}

/// A sled from yesterday's copy lacks what its redo files lead on from, or is
/// simply behind: the log brings it up, or it is rebuilt; never wrong.
#[test]
fn an_older_copy_of_sled_is_brought_up_to_date() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let copy = tempfile::tempdir().unwrap();
    {
        let (log, store, _) = open(path);
        let state = store.group(group(0)).unwrap();
        write(&log, &state, 1..=50);
        store.shutdown().unwrap();
    }
    for file in ["db", "conf"] {
        fs::copy(path.join("state/sled").join(file), copy.path().join(file)).unwrap();
    }
    let (log, store, _) = open(path);
    let state = store.group(group(0)).unwrap();
    for step in 1..=4 {
        write(&log, &state, step * 50 + 1..=step * 50 + 50);
        store.flush_all().unwrap();
    }
    let expected = content(&state);
    store.shutdown().unwrap();
    drop((state, store, log));
    fs::remove_dir_all(path.join("state/sled")).unwrap();
    fs::create_dir_all(path.join("state/sled/blobs")).unwrap();
    for file in ["db", "conf"] {
        fs::copy(copy.path().join(file), path.join("state/sled").join(file)).unwrap();
    }
    let (log, store, _) = open(path);
    let state = store.group(group(0)).unwrap();
    apply(&log, &state);
    assert_eq!(content(&state), expected);
}

/// The newest checkpoint may be what was damaged: then the older one serves.
#[test]
fn a_broken_newest_checkpoint_falls_back() {
    let directory = tempfile::tempdir().unwrap();
    let expected = prepare(directory.path());
    let newest = directory
        .path()
        .join(format!("checkpoints/{:016x}/{:020}.checkpoint", 0, 300));
    let file = OpenOptions::new().write(true).open(newest).unwrap();
    file.write_all_at(b"?", 60).unwrap();
    fs::remove_dir_all(directory.path().join("state/sled")).unwrap();
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    assert_eq!(report.severity(), Severity::Heals);
    assert_whole(directory.path(), &expected, true);
}

/// When neither sled nor a checkpoint reaches the log, starting would lose data.
#[test]
fn nothing_starts_empty() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    fs::remove_dir_all(directory.path().join("state/sled")).unwrap();
    fs::remove_dir_all(directory.path().join("checkpoints")).unwrap();
    let data_dir = DataDir::open(directory.path()).unwrap();
    let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
    let error = StateStore::open(StateConfig::new(data_dir), &log)
        .err()
        .unwrap();
    assert!(matches!(
        error,
        StateOpenError::StateLost {
            last_purged: 200,
            ..
        }
    ));
    assert!(error.to_string().contains("checkpoints"));
    drop(log);
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    assert_eq!(report.severity(), Severity::Refused);
    assert!(repair(directory.path(), AcceptLoss::Yes).is_err());
}

/// What was moved aside must not fill the disk.
#[test]
fn only_a_few_unusable_sleds_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let expected = prepare(directory.path());
    for _ in 0..4 {
        fs::write(directory.path().join("state/sled/db"), "broken").unwrap();
        assert_whole(directory.path(), &expected, true);
    }
    let names: Vec<_> = fs::read_dir(directory.path().join("state"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("sled."))
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(&"sled.unusable-4".to_owned()));
}

/// A follower that is far behind gets its leader's checkpoint instead of the log.
#[test]
fn a_checkpoint_is_taken_on_by_another_node() {
    let (leader, follower) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    prepare(leader.path());
    let (_leader_log, leader_store, _) = open(leader.path());
    let leader_state = leader_store.group(group(0)).unwrap();
    let snapshot = leader_state.newest_checkpoint().unwrap();

    let (log, store, _) = open(follower.path());
    let state = store.group(group(0)).unwrap();
    append(&log, group(0), vec![entry(1, "1")]);
    let mut transaction = state.begin();
    transaction.put("only here", "1");
    transaction.commit(marker(1)).unwrap();
    let taken = state.restore(&snapshot.path).unwrap();
    assert_eq!(taken.applied, marker(300));
    assert_eq!(state.newest_checkpoint(), Some(taken));
    assert_eq!(state.get(b"only here"), None);
    assert_eq!(state.get(b"key 0").as_deref(), Some(&b"300"[..]));
    assert_eq!(log.state(group(0)).unwrap().purged, Some(marker(300)));
    // The log leads on from there, also after a restart.
    write(&log, &state, 301..=310);
    let expected = content(&state);
    store.shutdown().unwrap();
    drop((state, store, log));
    let (_log, store, report) = open(follower.path());
    assert_eq!(report.rebuilt, None);
    let state = store.group(group(0)).unwrap();
    assert_eq!(content(&state), expected);
    assert!(matches!(
        store.group(group(1)).unwrap().restore(&snapshot.path),
        Err(CheckpointError::WrongGroup { .. })
    ));
    assert!(matches!(
        state.restore(&follower.path().join("MANIFEST")),
        Err(CheckpointError::Damaged { .. })
    ));
    assert_eq!(content(&state), expected);
}

/// A checkpoint is one moment's state, although applying goes on.
#[test]
fn a_checkpoint_under_load_is_of_one_moment() {
    let directory = tempfile::tempdir().unwrap();
    let (log, store, _) = open(directory.path());
    let state = store.group(group(0)).unwrap();
    let writer = (log.clone(), state.clone());
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || {
        let mut next = 1;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            write(&writer.0, &writer.1, next..=next + 9);
            next += 10;
        }
    });
    let mut last = 0;
    for _ in 0..5 {
        std::thread::sleep(std::time::Duration::from_millis(50));
        let Ok(info) = state.checkpoint() else {
            continue;
        };
        assert!(info.applied.index > last);
        last = info.applied.index;
        // Taken on by another node, the keys must be those of just that index.
        let other = tempfile::tempdir().unwrap();
        let (_log, store, _) = open(other.path());
        let copy = store.group(group(0)).unwrap();
        copy.restore(&info.path).unwrap();
        for index in last.saturating_sub(9).max(1)..=last {
            let value = copy.get(format!("key {}", index % 10).as_bytes());
            assert_eq!(value, Some(Bytes::from(index.to_string())));
        }
        assert_eq!(copy.get(format!("gone {}", last - 1).as_bytes()), None);
    }
    assert!(last > 0);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    thread.join().unwrap();
}
