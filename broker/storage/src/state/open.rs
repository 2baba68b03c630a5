//! Opening the state: is sled usable, does it fit the log, and if not, what can
//! it be rebuilt from. Decides everything before it changes anything.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::rebuild::{Sources, move_aside, read_note, rebuild, reload, sled_path};
use super::redo::{self, Redo};
use super::store::{Group, Shared};
use super::table::{Table, TableError};
use super::{Found, OpenReport, StateConfig, StateOpenError, StateStore};
use crate::checkpoint::shelf::{KEPT, Shelf};
use crate::checkpoint::{CheckpointInfo, CheckpointReader};
use crate::data_dir::DataDirError;
use crate::log::{Log, LogState};
use crate::{DataDir, GroupId};

impl StateStore {
    /// Opens the state, rebuilding sled from checkpoints when it is unusable.
    /// Blocks; a rebuild takes about as long as reading the checkpoints.
    ///
    /// # Errors
    /// See [`StateOpenError`]: the state cannot be had without losing something.
    pub fn open(config: StateConfig, log: &Log) -> Result<(Self, OpenReport), StateOpenError> {
        let data_dir = config.data_dir.clone();
        let state_path = data_dir.state_path();
        let io_error = |source| StateOpenError::Io {
            path: state_path.clone(),
            source,
        };
        data_dir
            .disk()
            .create_directory(&state_path)
            .map_err(io_error)?;
        let mut report = OpenReport::default();
        let groups: BTreeSet<_> = data_dir.groups().into_iter().chain(log.groups()).collect();
        let table = if data_dir.has_manifest() {
            open_used(&config, log, &groups, &mut report)?
        } else {
            open_unused(&config)?
        };
        data_dir.add_groups(groups.iter().copied())?;
        let written = redo::read(&state_path).map_err(io_error)?;
        let last_sequence = written.last().map_or(0, |written| written.sequence);
        let redo = Redo::open(&state_path, last_sequence, data_dir.disk()).map_err(io_error)?;
        let mut opened = Vec::new();
        for id in groups {
            let record = table.record(id).map_err(sled_error(&data_dir))?;
            let applied = record.as_ref().map(|record| record.applied.clone());
            report.groups.push((id, applied));
            let shelf = Shelf::of(&data_dir, id);
            shelf.clear_unfinished()?;
            opened.push(Group::new(&data_dir, id, record, glance(&shelf)?));
        }
        let shared = Shared::new(config, log.clone(), table, opened);
        shared.erase_remains();
        let store = Self::start(shared, redo).map_err(io_error)?;
        Ok((store, report))
    }
}

fn sled_error(data_dir: &DataDir) -> impl FnOnce(TableError) -> StateOpenError {
    let path = sled_path(data_dir);
    move |error| StateOpenError::Sled {
        path,
        message: error.0,
    }
}

/// The checkpoints by their headers and footers, oldest first; whether all
/// between is right is checked when one is used.
fn glance(shelf: &Shelf) -> Result<Vec<CheckpointInfo>, StateOpenError> {
    let mut kept = Vec::new();
    for candidate in shelf.candidates()? {
        match CheckpointReader::glance(&candidate.path) {
            Ok(info) => kept.push(info),
            Err(error) => tracing::warn!(%error, "a checkpoint is not usable"),
        }
    }
    let surplus = kept.len().saturating_sub(KEPT);
    kept.drain(..surplus);
    Ok(kept)
}

/// A directory without manifest: must not hold anything but what is left of a
/// first start that was cut off.
fn open_unused(config: &StateConfig) -> Result<Table, StateOpenError> {
    let data_dir = &config.data_dir;
    let path = sled_path(data_dir);
    let io_error = |source| StateOpenError::Io {
        path: path.clone(),
        source,
    };
    let missing = |found| {
        StateOpenError::DataDir(DataDirError::ManifestMissing {
            path: data_dir.manifest_path(),
            found,
        })
    };
    let checkpoints = data_dir.checkpoints_path();
    if checkpoints.is_dir() {
        return Err(missing(checkpoints));
    }
    if path.is_dir() {
        match Table::open(&path, config.sled_cache_bytes, data_dir.disk())
            .and_then(|table| table.holds_groups())
        {
            Ok(false) => {}
            Ok(true) => return Err(missing(path)),
            Err(error) => {
                tracing::warn!(%error, "what is left of the first start is unusable");
            }
        }
        move_aside(&path, data_dir.disk()).map_err(io_error)?;
    }
    let table = Table::open(&path, config.sled_cache_bytes, data_dir.disk())
        .and_then(|table| {
            table.set_identity(data_dir.identity())?;
            table.flush()?;
            Ok(table)
        })
        .map_err(sled_error(data_dir))?;
    Ok(table)
}

/// Opens the sled that should be there, or rebuilds it.
fn open_used(
    config: &StateConfig,
    log: &Log,
    groups: &BTreeSet<GroupId>,
    report: &mut OpenReport,
) -> Result<Table, StateOpenError> {
    let data_dir = &config.data_dir;
    let reason = match open_existing(config, groups)? {
        Ok(table) => {
            check_against_log(config, log, groups, &table)?;
            return Ok(table);
        }
        Err(reason) => reason,
    };
    tracing::warn!(
        sled = %sled_path(data_dir).display(),
        %reason,
        "the state is unusable and will be rebuilt from checkpoints and log"
    );
    let mut sources = Sources::new();
    for group in groups {
        let log_state = log_state(log, *group);
        let mut source = source(data_dir, *group, &log_state, None)?;
        let reached = source.as_ref().map(|info| info.applied.index);
        check_log(data_dir, *group, &log_state, reached)?;
        if let Some(info) = &mut source {
            promote(data_dir, info)?;
        }
        sources.push((*group, source));
    }
    let (table, moved_aside) = rebuild(config, &reason, &sources)?;
    if let Some(moved_aside) = &moved_aside {
        tracing::warn!(to = %moved_aside.display(), "the unusable state was moved aside");
    }
    report.rebuilt = Some(reason);
    report.moved_aside = moved_aside;
    Ok(table)
}

/// The sled that is there, with what was being written to it; or why it is unusable.
fn open_existing(
    config: &StateConfig,
    groups: &BTreeSet<GroupId>,
) -> Result<Result<Table, Arc<str>>, StateOpenError> {
    let data_dir = &config.data_dir;
    let state_path = data_dir.state_path();
    let io_error = |source| StateOpenError::Io {
        path: state_path.clone(),
        source,
    };
    if let Some(note) = read_note(data_dir).map_err(io_error)? {
        return Ok(Err(note.into()));
    }
    let path = sled_path(data_dir);
    if !path.is_dir() {
        return Ok(Err("it is missing".into()));
    }
    let written = redo::read(&state_path).map_err(io_error)?;
    let opened = Table::open(&path, config.sled_cache_bytes, data_dir.disk()).and_then(|table| {
        if table.identity()? != Some(data_dir.identity()) {
            return Err(TableError("it is empty or not of this directory".into()));
        }
        redo::replay(&written, &table, config.flush_bytes_max)?;
        for group in groups {
            table.record(*group)?;
        }
        Ok(table)
    });
    Ok(opened.map_err(|error| error.0))
}

/// Does the log lead on from where each group is? A group that is behind its log
/// (the crash came while it took on a checkpoint) is loaded from there.
fn check_against_log(
    config: &StateConfig,
    log: &Log,
    groups: &BTreeSet<GroupId>,
    table: &Table,
) -> Result<(), StateOpenError> {
    let data_dir = &config.data_dir;
    for group in groups {
        let record = table.record(*group).map_err(sled_error(data_dir))?;
        let reached = record.map(|record| record.applied.index);
        let log_state = log_state(log, *group);
        let purged = log_state.purged.as_ref().map(|marker| marker.index);
        if reached >= purged {
            check_log(data_dir, *group, &log_state, reached)?;
            continue;
        }
        let Some(mut found) = source(data_dir, *group, &log_state, reached)? else {
            continue;
        };
        check_log(data_dir, *group, &log_state, Some(found.applied.index))?;
        promote(data_dir, &mut found)?;
        tracing::warn!(%group, from = %found.path.display(), "the group's state is behind its log and is loaded from a checkpoint");
        reload(table, *group, &found, config)?;
    }
    Ok(())
}

fn log_state(log: &Log, group: GroupId) -> LogState {
    // A log that has failed already lets nothing go on anyway.
    log.state(group).unwrap_or_default()
}

/// The newest whole checkpoint from which the log leads on; `None` when the log
/// goes back to its begin and there is none.
pub(crate) fn source(
    data_dir: &DataDir,
    group: GroupId,
    log: &LogState,
    sled: Option<u64>,
) -> Result<Option<CheckpointInfo>, StateOpenError> {
    let shelf = Shelf::of(data_dir, group);
    let purged = log.purged.as_ref().map(|marker| marker.index);
    let (whole, broken) = shelf.newest_whole(group, purged)?;
    for error in broken {
        tracing::warn!(%group, %error, "a checkpoint is not usable");
    }
    match (whole, purged) {
        (None, Some(last_purged)) => {
            let (newest, _) = shelf.newest_whole(group, None)?;
            Err(StateOpenError::StateLost {
                group,
                last_purged,
                state: sled_path(data_dir),
                checkpoints: shelf.path().to_path_buf(),
                found: Found {
                    sled,
                    checkpoint: newest.map(|info| info.applied.index),
                },
            })
        }
        (whole, _) => Ok(whole),
    }
}

/// A received checkpoint that is used becomes the group's own.
fn promote(data_dir: &DataDir, info: &mut CheckpointInfo) -> Result<(), StateOpenError> {
    let received = info.path.extension().is_some_and(|kind| kind == "received");
    if received {
        info.path = Shelf::of(data_dir, info.group).promote(info.applied.index)?;
    }
    Ok(())
}

/// Does the log lead on from the entry `reached`, and had it come that far?
pub(crate) fn check_log(
    data_dir: &DataDir,
    group: GroupId,
    log: &LogState,
    reached: Option<u64>,
) -> Result<(), StateOpenError> {
    let purged = log.purged.as_ref().map(|marker| marker.index);
    let end = log.last_index.max(purged);
    if let Some(applied) = reached.filter(|reached| Some(*reached) > end) {
        return Err(StateOpenError::LogLost {
            group,
            log: data_dir.log_path(),
            last_index: end.unwrap_or(0),
            applied,
        });
    }
    // A log that was never purged begins at 0 or 1.
    let needed = reached.map_or(1, |reached| reached + 1);
    match log.first_index {
        Some(first_index) if first_index > needed => Err(StateOpenError::LogGap {
            group,
            log: data_dir.log_path(),
            first_index,
            needed,
        }),
        _ => Ok(()),
    }
}
