//! Making a new sled from checkpoints, and the note that one is needed.
//!
//! A crash may come at any step. The note is written first and removed last; the
//! new sled gets the data directory's identity when it is complete. So a start
//! that finds the note, or a sled without the identity, begins again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::redo;
use super::table::{GroupRecord, Table, TableError};
use super::{StateConfig, StateOpenError};
use crate::checkpoint::{CheckpointInfo, CheckpointReader};
use crate::disk::{Disk, parent_of};
use crate::{DataDir, GroupId};

/// How many unusable sleds are kept for inspection.
const UNUSABLE_KEPT: usize = 2;
/// How often progress is told.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(2);
/// How a note begins that stands for a rebuild in progress.
const IN_PROGRESS: &str = "rebuilding: ";

pub(crate) fn sled_path(data_dir: &DataDir) -> PathBuf {
    data_dir.state_path().join("sled")
}

fn note_path(data_dir: &DataDir) -> PathBuf {
    data_dir.state_path().join("REBUILD")
}

/// Leaves the note that sled must be rebuilt, durably.
pub(crate) fn leave_note(data_dir: &DataDir, reason: &str) -> io::Result<()> {
    let path = note_path(data_dir);
    data_dir.disk().replace_file(&path, reason.as_bytes())
}

fn remove_note(data_dir: &DataDir) -> io::Result<()> {
    data_dir.disk().remove_file(&note_path(data_dir))
}

/// What the note says, if there is one.
pub(crate) fn read_note(data_dir: &DataDir) -> io::Result<Option<String>> {
    match fs::read(note_path(data_dir)) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// From what each group is rebuilt; `None` for one whose log goes back to its begin.
pub(super) type Sources = Vec<(GroupId, Option<CheckpointInfo>)>;

/// Moves what is there aside and makes a new sled from `sources`. Returns it,
/// and where the old one went.
pub(super) fn rebuild(
    config: &StateConfig,
    reason: &str,
    sources: &Sources,
) -> Result<(Table, Option<PathBuf>), StateOpenError> {
    let data_dir = &config.data_dir;
    let path = sled_path(data_dir);
    let io_error = |source| StateOpenError::Io {
        path: path.clone(),
        source,
    };
    let was_in_progress = read_note(data_dir)
        .map_err(io_error)?
        .is_some_and(|note| note.starts_with(IN_PROGRESS));
    leave_note(data_dir, &format!("{IN_PROGRESS}{reason}")).map_err(io_error)?;
    let moved_aside = if was_in_progress {
        remove_directory(&path, data_dir.disk()).map_err(io_error)?;
        None
    } else {
        move_aside(&path, data_dir.disk()).map_err(io_error)?
    };
    // They lead on from a state that is gone.
    for path in redo::paths(&data_dir.state_path()) {
        data_dir.disk().remove_file(&path).map_err(io_error)?;
    }
    let table = fill(config, &path, sources)?;
    remove_note(data_dir).map_err(io_error)?;
    Ok((table, moved_aside))
}

fn fill(config: &StateConfig, path: &Path, sources: &Sources) -> Result<Table, StateOpenError> {
    let sled_error = |error: TableError| StateOpenError::Sled {
        path: path.to_path_buf(),
        message: error.0,
    };
    let table =
        Table::open(path, config.sled_cache_bytes, config.data_dir.disk()).map_err(sled_error)?;
    let mut progress = Progress::new(sources);
    for (group, source) in sources {
        if let Some(source) = source {
            let generation = GroupRecord::FIRST_GENERATION;
            load(&table, *group, source, generation, config, &mut progress)?;
        }
    }
    table
        .set_identity(config.data_dir.identity())
        .and_then(|()| table.flush())
        .map_err(sled_error)?;
    progress.finished();
    Ok(table)
}

/// Puts one checkpoint into sled as the group's `generation`, and switches to it.
fn load(
    table: &Table,
    group: GroupId,
    source: &CheckpointInfo,
    generation: u32,
    config: &StateConfig,
    progress: &mut Progress,
) -> Result<(), StateOpenError> {
    let sled_error = |error: TableError| StateOpenError::Sled {
        path: sled_path(&config.data_dir),
        message: error.0,
    };
    let mut reader = CheckpointReader::open(&source.path)?;
    let mut bytes = 0;
    while let Some(pairs) = reader.next_block()? {
        let block: usize = pairs.iter().map(|(k, v)| k.len() + v.len()).sum();
        for (key, value) in pairs {
            table
                .change(group, generation, &key, Some(&value))
                .map_err(sled_error)?;
        }
        bytes += block;
        progress.add(block);
        if bytes >= config.flush_bytes_max {
            table.flush().map_err(sled_error)?;
            bytes = 0;
        }
    }
    table.flush().map_err(sled_error)?;
    let record = GroupRecord {
        generation,
        applied: source.applied.clone(),
    };
    table.set_record(group, &record).map_err(sled_error)?;
    table.flush().map_err(sled_error)
}

/// Rebuilds one group in a sled that is else usable.
pub(super) fn reload(
    table: &Table,
    group: GroupId,
    source: &CheckpointInfo,
    config: &StateConfig,
) -> Result<(), StateOpenError> {
    let sled_error = |error: TableError| StateOpenError::Sled {
        path: sled_path(&config.data_dir),
        message: error.0,
    };
    let current = table.record(group).map_err(sled_error)?;
    let current = current.map_or(GroupRecord::FIRST_GENERATION, |record| record.generation);
    erase(table, group, current, config)?;
    let mut progress = Progress::new(&vec![(group, Some(source.clone()))]);
    load(table, group, source, current + 1, config, &mut progress)?;
    progress.finished();
    Ok(())
}

/// Removes what an interrupted restore has left of other generations.
fn erase(
    table: &Table,
    group: GroupId,
    kept: u32,
    config: &StateConfig,
) -> Result<(), StateOpenError> {
    let sled_error = |error: TableError| StateOpenError::Sled {
        path: sled_path(&config.data_dir),
        message: error.0,
    };
    loop {
        let finished = table
            .erase_others(group, kept, config.flush_bytes_max)
            .map_err(sled_error)?;
        if finished {
            return Ok(());
        }
        table.flush().map_err(sled_error)?;
    }
}

/// Renames `path` to the first free `<path>.unusable-<n>`; the oldest go when
/// there are more than a few. `None` if there is nothing.
pub(crate) fn move_aside(path: &Path, disk: &Disk) -> io::Result<Option<PathBuf>> {
    if !path.exists() {
        return Ok(None);
    }
    let mut kept = unusable(path)?;
    let number = kept.last().map_or(1, |(number, _)| number + 1);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".unusable-{number}"));
    let to = PathBuf::from(name);
    disk.rename(path, &to)?;
    kept.push((number, to.clone()));
    for (_, old) in &kept[..kept.len().saturating_sub(UNUSABLE_KEPT)] {
        remove_directory(old, disk)?;
    }
    Ok(Some(to))
}

/// What was moved aside earlier, oldest first.
fn unusable(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Ok(Vec::new());
    };
    let prefix = format!("{name}.unusable-");
    let mut found = Vec::new();
    for entry in fs::read_dir(parent_of(path))? {
        let path = entry?.path();
        let number = path
            .file_name()
            .and_then(|name| name.to_str()?.strip_prefix(&prefix)?.parse().ok());
        found.extend(number.map(|number| (number, path)));
    }
    found.sort();
    Ok(found)
}

fn remove_directory(path: &Path, disk: &Disk) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(()) => disk.sync_directory(&parent_of(path)),
    }
}

/// Tells how far a rebuild is.
struct Progress {
    bytes_all: u64,
    bytes: u64,
    started: Instant,
    told: Instant,
}

impl Progress {
    fn new(sources: &Sources) -> Self {
        let bytes_all = sources
            .iter()
            .filter_map(|(_, source)| Some(source.as_ref()?.bytes))
            .sum();
        tracing::info!(
            bytes = bytes_all,
            groups = sources.len(),
            "rebuilding the state from checkpoints"
        );
        let now = Instant::now();
        Self {
            bytes_all,
            bytes: 0,
            started: now,
            told: now,
        }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.told.elapsed() >= PROGRESS_INTERVAL {
            self.told = Instant::now();
            let percent = self.bytes * 100 / self.bytes_all.max(1);
            tracing::info!(percent, "rebuilding the state from checkpoints");
        }
    }

    fn finished(&self) {
        let took_ms = self.started.elapsed().as_millis() as u64;
        tracing::info!(
            took_ms,
            "the state is rebuilt; the log is applied again from there"
        );
    }
}
