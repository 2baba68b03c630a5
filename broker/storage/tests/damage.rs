//! A log that a power cut cannot have made so is refused with what is lost and
//! the way out; the way out works.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use confab_storage::{
    AcceptLoss, DataDir, DataDirError, Log, LogConfig, LogOpenError, RepairError, Severity,
    StateConfig, StateOpenError, StateStore, VerifyOptions, repair, verify,
};
use support::{append, entry, group, marker, open};

const ENTRIES: u64 = 40;

/// A log of 40 batches in some five files, nothing of it applied.
fn prepare(path: &Path) {
    let data_dir = DataDir::open(path).unwrap();
    let mut config = LogConfig::new(data_dir.clone());
    config.file_bytes = 10 << 10;
    let log = Log::open(config).unwrap();
    let (store, _) = StateStore::open(StateConfig::new(data_dir), &log).unwrap();
    store.group(group(1)).unwrap();
    for index in 1..=ENTRIES {
        append(&log, group(1), vec![entry(index, vec![index as u8; 1000])]);
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(path.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "raftlog"))
        .collect();
    files.sort();
    assert!(files.len() > 3 || !path.join("log/FILES").exists());
    files
}

fn open_error(path: &Path) -> LogOpenError {
    let data_dir = DataDir::open(path).unwrap();
    Log::open(LogConfig::new(data_dir))
        .err()
        .expect("must be refused")
}

/// All files below `path` with their content.
fn snapshot(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut directories = vec![path.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                found.push((path, content));
            }
        }
    }
    found.sort();
    found
}

fn assert_refused_and_repaired(path: &Path, kept: std::ops::RangeInclusive<u64>) {
    let before = snapshot(path);
    let report = verify(path, &VerifyOptions::default()).unwrap();
    assert_eq!(report.severity(), Severity::Refused, "{report:?}");
    assert_eq!(snapshot(path), before, "verify changes nothing");
    assert!(matches!(
        repair(path, AcceptLoss::No),
        Err(RepairError::WouldLose(_))
    ));
    assert_eq!(snapshot(path), before, "nothing is lost without consent");
    let report = repair(path, AcceptLoss::Yes).unwrap();
    assert!(!report.actions.is_empty());
    assert!(report.cut_off.is_none_or(|cut_off| cut_off.is_dir()));
    let (log, store, _) = open(path);
    let state = log.state(group(1)).unwrap();
    let last = state.last_index.unwrap();
    assert!(kept.contains(&last), "{last} of {kept:?}");
    // The node goes on from there.
    append(&log, group(1), vec![entry(last + 1, "after")]);
    drop((log, store));
    let (log, _store, _) = open(path);
    assert_eq!(log.state(group(1)).unwrap().last_index, Some(last + 1));
}

/// The last file's end is where a power cut tears; its middle is not.
#[test]
fn damage_in_the_middle_of_the_last_file_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let last = files(directory.path()).pop().unwrap();
    let file = OpenOptions::new().write(true).open(&last).unwrap();
    file.write_all_at(b"????????", 400).unwrap();
    let error = open_error(directory.path());
    let LogOpenError::Damaged { file, lost, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*file, last);
    assert!(lost.batches_behind > 0);
    assert_eq!(lost.groups[0].last_seen, ENTRIES);
    let text = error.to_string();
    assert!(
        text.contains("--repair") && text.contains("reached at least 40"),
        "{text}"
    );
    assert_refused_and_repaired(directory.path(), 20..=39);
}

#[test]
fn damage_in_an_earlier_file_is_refused() {
    for harm in [
        |file: &Path| {
            let file = OpenOptions::new().write(true).open(file).unwrap();
            file.write_all_at(b"!", 3000).unwrap();
        },
        |file: &Path| {
            let file = OpenOptions::new().write(true).open(file).unwrap();
            file.set_len(file.metadata().unwrap().len() - 1).unwrap();
        },
        |file: &Path| fs::write(file, "").unwrap(),
    ] {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        harm(&files(directory.path())[1]);
        let error = open_error(directory.path());
        assert!(matches!(error, LogOpenError::Damaged { .. }), "{error}");
        assert_refused_and_repaired(directory.path(), 5..=30);
    }
}

/// A file cut exactly between two batches looks whole by itself.
#[test]
fn a_file_that_lost_whole_batches_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let second = &files(directory.path())[1];
    let length = fs::metadata(second).unwrap().len();
    let bytes = fs::read(second).unwrap();
    let file = OpenOptions::new().write(true).open(second).unwrap();
    for cut in 1..=1200 {
        file.set_len(length - cut).unwrap();
        assert!(matches!(
            open_error(directory.path()),
            LogOpenError::Damaged { .. }
        ));
        file.write_all_at(&bytes, 0).unwrap();
    }
}

#[test]
fn a_missing_file_is_refused() {
    for which in [0, 2, usize::MAX] {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let files = files(directory.path());
        let gone = &files[which.min(files.len() - 1)];
        fs::remove_file(gone).unwrap();
        let error = open_error(directory.path());
        assert!(
            matches!(&error, LogOpenError::Missing(path) if path == gone),
            "{error}"
        );
        let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
        assert_eq!(report.severity(), Severity::Refused);
        if which != 0 {
            assert_refused_and_repaired(directory.path(), 10..=39);
        }
    }
}

/// Deleting the log must not make a node that forgot what it acknowledged.
#[test]
fn a_deleted_log_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    fs::remove_dir_all(directory.path().join("log")).unwrap();
    assert!(matches!(
        open_error(directory.path()),
        LogOpenError::Missing(_)
    ));
    let other = tempfile::tempdir().unwrap();
    prepare(other.path());
    fs::rename(other.path().join("log"), directory.path().join("log")).unwrap();
    assert!(matches!(
        open_error(directory.path()),
        LogOpenError::Foreign(_)
    ));
}

/// A manifest is remade from what the log says, losing nothing.
#[test]
fn a_lost_manifest_is_remade() {
    for harm in [
        |path: &Path| fs::remove_file(path).unwrap(),
        |path: &Path| fs::write(path, "scribble").unwrap(),
    ] {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        harm(&directory.path().join("MANIFEST"));
        match DataDir::open(directory.path()) {
            Err(DataDirError::ManifestDamaged(_)) => {}
            Err(other) => panic!("{other}"),
            Ok(data_dir) => {
                let error = Log::open(LogConfig::new(data_dir)).err().unwrap();
                assert!(matches!(
                    error,
                    LogOpenError::DataDir(DataDirError::ManifestMissing { .. })
                ));
            }
        }
        repair(directory.path(), AcceptLoss::No).unwrap();
        let (log, store, report) = open(directory.path());
        assert_eq!(report.rebuilt, None);
        assert_eq!(store.groups(), vec![group(1)]);
        assert_eq!(log.state(group(1)).unwrap().last_index, Some(ENTRIES));
    }
}

/// State that is ahead of its log says that acknowledged entries are gone.
#[test]
fn a_log_older_than_the_state_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    prepare(path);
    let saved = tempfile::tempdir().unwrap();
    for (file, content) in snapshot(&path.join("log")) {
        fs::write(saved.path().join(file.file_name().unwrap()), content).unwrap();
    }
    let (log, store, _) = open(path);
    let state = store.group(group(1)).unwrap();
    append(&log, group(1), vec![entry(ENTRIES + 1, "more")]);
    let mut transaction = state.begin();
    transaction.put("key", "value");
    transaction.commit(marker(ENTRIES + 1)).unwrap();
    store.shutdown().unwrap();
    drop((state, store, log));
    fs::remove_dir_all(path.join("log")).unwrap();
    fs::create_dir(path.join("log")).unwrap();
    for (file, content) in snapshot(saved.path()) {
        fs::write(path.join("log").join(file.file_name().unwrap()), content).unwrap();
    }
    let data_dir = DataDir::open(path).unwrap();
    let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
    let error = StateStore::open(StateConfig::new(data_dir), &log)
        .err()
        .unwrap();
    assert!(
        matches!(
            error,
            StateOpenError::LogLost {
                last_index: 40,
                applied: 41,
                ..
            }
        ),
        "{error}"
    );
    drop(log);
    assert!(matches!(
        repair(path, AcceptLoss::No),
        Err(RepairError::WouldLose(_))
    ));
    repair(path, AcceptLoss::Yes).unwrap();
    let (log, store, _) = open(path);
    assert_eq!(
        log.state(group(1)).unwrap().purged,
        Some(marker(ENTRIES + 1))
    );
    let state = store.group(group(1)).unwrap();
    assert_eq!(state.get(b"key").as_deref(), Some(&b"value"[..]));
    append(&log, group(1), vec![entry(ENTRIES + 2, "on")]);
}

/// Looking at a healthy directory finds nothing and changes nothing.
#[test]
fn verify_finds_a_healthy_directory_fine() {
    let directory = tempfile::tempdir().unwrap();
    prepare(directory.path());
    let before = snapshot(directory.path());
    let report = verify(directory.path(), &VerifyOptions::default()).unwrap();
    assert_eq!(report.severity(), Severity::Fine, "{report:?}");
    assert_eq!(report.groups[&group(1)].last_index, Some(ENTRIES));
    assert_eq!(snapshot(directory.path()), before);
    let data_dir = DataDir::open(directory.path()).unwrap();
    assert!(matches!(
        verify(directory.path(), &VerifyOptions::default()),
        Err(DataDirError::InUse(_))
    ));
    drop(data_dir);
}
