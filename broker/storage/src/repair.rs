//! Makes a damaged data directory usable again, saying what that costs.
//!
//! What costs nothing is done at once: remaking the manifest, having the next
//! start rebuild sled. What gives up entries of the log is done only when it is
//! accepted, and what is cut off is kept beside it. Nothing is made to start
//! empty: a group whose state is gone needs a backup or its peers.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::data_dir::DataDirError;
use crate::log::LostEntries;
use crate::log::inspect::{Inspection, inspect};
use crate::log::mend::{MendError, Mender, cut};
use crate::state::StateOpenError;
use crate::state::open::{check_log, source};
use crate::state::rebuild::{leave_note, read_note, sled_path};
use crate::state::redo;
use crate::state::table::{Table, TableError};
use crate::{DataDir, GroupId, Marker};

/// Whether entries that were acknowledged may be given up.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum AcceptLoss {
    /// Do only what loses nothing.
    No,
    /// Give up what cannot be read.
    Yes,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct RepairReport {
    /// What was done, for a person, in order.
    pub actions: Vec<String>,
    /// Entries that are gone, as far as it can be told.
    pub lost: Vec<LostEntries>,
    /// Where what was cut off the log is kept.
    pub cut_off: Option<PathBuf>,
}

/// Why a directory was not repaired.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// It cannot be done without losing entries, which was not accepted.
    #[error("this cannot be repaired without losing entries of the log: {0}")]
    WouldLose(Arc<str>),
    /// The state of a group is gone: restore a backup, or let the node join again.
    #[error(transparent)]
    State(#[from] StateOpenError),
    /// The log does not open even after it was cut.
    #[error("the log does not open: {0}")]
    Log(Arc<str>),
    /// The directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

/// Repairs the data directory, which no process may have open. Blocks.
///
/// # Errors
/// See [`RepairError`]; what was done before can be done again.
pub fn repair(path: &Path, accept: AcceptLoss) -> Result<RepairReport, RepairError> {
    let (data_dir, _) = DataDir::open_for_repair(path)?;
    let mut report = RepairReport::default();
    let io_error = |path: PathBuf| move |source| DataDirError::Io { path, source };
    let log_path = data_dir.log_path();
    let found = inspect(&log_path).map_err(io_error(log_path.clone()))?;
    remake_manifest(&data_dir, &found, &mut report)?;
    mend_log(&data_dir, &found, accept, &mut report)?;
    let mut mender = Mender::open(&data_dir).map_err(|error| mend_error(&log_path, error))?;
    let logs = mender.groups();
    let sled = sled_markers(&data_dir, &mut report).map_err(io_error(data_dir.state_path()))?;
    let groups: BTreeSet<_> = data_dir
        .groups()
        .into_iter()
        .chain(logs.keys().copied())
        .collect();
    for group in groups {
        let (log, is_short) = logs.get(&group).cloned().unwrap_or_default();
        if is_short && accept == AcceptLoss::Yes {
            mender
                .accept_end(group)
                .map_err(|error| mend_error(&log_path, error))?;
        }
        let purged = log.purged.as_ref().map(|marker| marker.index);
        let in_sled = sled.iter().find(|(of, _)| *of == group);
        let in_sled = in_sled.map(|(_, marker)| marker.clone());
        let in_sled_index = in_sled.as_ref().map(|marker| marker.index);
        let reached = if !sled.is_empty() && in_sled_index >= purged {
            in_sled
        } else {
            source(&data_dir, group, &log, in_sled_index)?.map(|info| info.applied)
        };
        let reached_index = reached.as_ref().map(|marker| marker.index);
        if check_log(&data_dir, group, &log, reached_index).is_ok() {
            continue;
        }
        let text = lead_on_text(group, reached.as_ref(), log.first_index.zip(log.last_index));
        if accept == AcceptLoss::No {
            return Err(RepairError::WouldLose(text.into()));
        }
        mender
            .restart(group, reached.as_ref())
            .map_err(|error| mend_error(&log_path, error))?;
        report
            .lost
            .extend(log.last_index.map(|last_seen| LostEntries {
                group,
                last_kept: reached_index,
                last_seen: last_seen.max(reached_index.unwrap_or(0)),
            }));
        report.actions.push(text);
    }
    Ok(report)
}

fn mend_error(log: &Path, error: MendError) -> RepairError {
    match error {
        MendError::Io(source) => RepairError::DataDir(DataDirError::Io {
            path: log.to_path_buf(),
            source,
        }),
        MendError::Engine(message) => RepairError::Log(message),
    }
}

fn lead_on_text(group: GroupId, reached: Option<&Marker>, held: Option<(u64, u64)>) -> String {
    let reached = match reached {
        Some(marker) => format!("entry {}, up to where it was applied", marker.index),
        None => "its begin".to_owned(),
    };
    match held {
        Some((first, last)) => {
            format!(
                "the log of group {group} gives up entries {first} to {last} and leads on from {reached}"
            )
        }
        None => format!("the log of group {group} leads on from {reached}"),
    }
}

/// Writes a manifest from what log and checkpoints say, if there is no usable one.
fn remake_manifest(
    data_dir: &DataDir,
    found: &Inspection,
    report: &mut RepairReport,
) -> Result<(), RepairError> {
    if data_dir.has_manifest() {
        return Ok(());
    }
    let mut groups: BTreeSet<_> = found.survey.groups.iter().copied().collect();
    groups.remove(&GroupId::NODE);
    let checkpoints = data_dir.checkpoints_path();
    let io_error = |source| DataDirError::Io {
        path: checkpoints.clone(),
        source,
    };
    match fs::read_dir(&checkpoints) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(io_error(e).into()),
        Ok(entries) => {
            for entry in entries {
                let name = entry.map_err(io_error)?.file_name();
                let id = name
                    .to_str()
                    .and_then(|name| u64::from_str_radix(name, 16).ok());
                groups.extend(id.map(GroupId::from_u64));
            }
        }
    }
    let identity = found.survey.identity.unwrap_or(data_dir.identity());
    report.actions.push(format!(
        "the manifest was remade with the {} groups that log and checkpoints name",
        groups.len()
    ));
    data_dir.add_groups_as(identity, groups)?;
    Ok(())
}

/// Cuts the log at its damage.
fn mend_log(
    data_dir: &DataDir,
    found: &Inspection,
    accept: AcceptLoss,
    report: &mut RepairReport,
) -> Result<(), RepairError> {
    let foreign = found.survey.identity != Some(data_dir.identity());
    if found.is_whole() && !foreign {
        return Ok(());
    }
    let mut texts = Vec::new();
    if let Some(missing) = &found.missing {
        texts.push(format!("{} is missing or unreadable", missing.display()));
    }
    for damage in &found.survey.damages {
        let (path, offset) = (damage.file.path.display(), damage.offset);
        texts.push(format!("{path} is cut at byte {offset}: {}", damage.lost));
        report.lost.extend(damage.lost.groups.iter().copied());
    }
    if let Err(message) = &found.groups
        && texts.is_empty()
    {
        texts.push(message.to_string());
    }
    if foreign {
        texts.push("the log was not this data directory's and is taken for it".to_owned());
    }
    if accept == AcceptLoss::No {
        return Err(RepairError::WouldLose(texts.join("; ").into()));
    }
    let log = data_dir.log_path();
    report.cut_off = cut(data_dir, found).map_err(|error| mend_error(&log, error))?;
    report.actions.extend(texts);
    report.actions.push(
        "votes may be older than those given: in a cluster, let this node join again under a new id"
            .to_owned(),
    );
    Ok(())
}

/// Up to where sled has applied each group; none when it is unusable, which the
/// next start then finds noted.
fn sled_markers(
    data_dir: &DataDir,
    report: &mut RepairReport,
) -> io::Result<Vec<(GroupId, Marker)>> {
    const CACHE_BYTES: u64 = 32 << 20;
    const FLUSH_BYTES: usize = 1 << 20;
    let path = sled_path(data_dir);
    if read_note(data_dir)?.is_some() || !path.is_dir() {
        return Ok(Vec::new());
    }
    let written = redo::read(&data_dir.state_path())?;
    let opened = Table::open(&path, CACHE_BYTES, data_dir.disk()).and_then(|table| {
        if table.identity()? != Some(data_dir.identity()) {
            return Err(TableError("it is empty or not of this directory".into()));
        }
        redo::replay(&written, &table, FLUSH_BYTES)?;
        let mut markers = Vec::new();
        for group in data_dir.groups() {
            markers.extend(table.record(group)?.map(|record| (group, record.applied)));
        }
        Ok(markers)
    });
    match opened {
        Ok(markers) => Ok(markers),
        Err(error) => {
            leave_note(data_dir, &error.0)?;
            let path = path.display();
            report.actions.push(format!(
                "{path} is unusable; the next start rebuilds it: {error}"
            ));
            Ok(Vec::new())
        }
    }
}
