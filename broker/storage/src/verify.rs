//! Looks at a data directory without changing it.
//!
//! The log is read twice: by this crate's own reader, which finds damage and says
//! where, and by the engine over a file system that keeps what it writes to itself.
//! sled has no such seam and writes when it opens, so a copy of it is opened, in a
//! scratch directory that must have room for it. Checkpoints are read whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::checkpoint::shelf::{Shelf, check};
use crate::data_dir::DataDirError;
use crate::log::LogState;
use crate::log::inspect::{Inspection, inspect};
use crate::state::open::{check_log, source};
use crate::state::rebuild::{read_note, sled_path};
use crate::state::redo;
use crate::state::table::{Table, TableError};
use crate::{DataDir, GroupId};

/// How bad a finding is.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Nothing to do: the next start deals with it, and nothing is lost.
    Heals,
    /// The next start refuses; something is to be decided.
    Refused,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file or directory.
    pub path: PathBuf,
    /// What was found, for a person.
    pub text: String,
}

/// What one group has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GroupReport {
    /// First entry in the log.
    pub first_index: Option<u64>,
    /// Last entry in the log.
    pub last_index: Option<u64>,
    /// Up to where the log is purged.
    pub purged_index: Option<u64>,
    /// Up to where sled has applied.
    pub applied_index: Option<u64>,
    /// The indices of whole checkpoints, oldest first.
    pub checkpoint_indices: Vec<u64>,
}

/// What `verify` found.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// In the order of looking: manifest, log, state, checkpoints, groups.
    pub findings: Vec<Finding>,
    /// What each group has.
    pub groups: BTreeMap<GroupId, GroupReport>,
}

impl VerifyReport {
    /// The worst of the findings.
    pub fn severity(&self) -> Severity {
        let severities = self.findings.iter().map(|finding| finding.severity);
        severities.max().unwrap_or(Severity::Fine)
    }

    fn add(&mut self, severity: Severity, path: impl Into<PathBuf>, text: impl fmt::Display) {
        self.findings.push(Finding {
            severity,
            path: path.into(),
            text: text.to_string(),
        });
    }
}

/// Where `verify` works.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// Where sled is copied to; needs as much room as `state/sled`. Default: the
    /// system's directory for temporary files.
    pub scratch: PathBuf,
}

impl Default for VerifyOptions {
    fn default() -> Self {
        Self {
            scratch: std::env::temp_dir(),
        }
    }
}

/// Looks at all of the data directory, which no process may have open. Blocks.
///
/// # Errors
/// When the directory cannot be looked at; what is wrong with it is in the report.
pub fn verify(path: &Path, options: &VerifyOptions) -> Result<VerifyReport, DataDirError> {
    let (data_dir, manifest_problem) = DataDir::open_for_repair(path)?;
    let mut report = VerifyReport::default();
    let io_error = |path: &Path| {
        let path = path.to_path_buf();
        move |source| DataDirError::Io { path, source }
    };
    verify_manifest(&data_dir, manifest_problem, &mut report);
    let log_path = data_dir.log_path();
    let log = inspect(&log_path).map_err(io_error(&log_path))?;
    verify_log(&data_dir, &log, &mut report);
    let logs = log.groups.unwrap_or_default();
    let groups: BTreeSet<_> = data_dir
        .groups()
        .into_iter()
        .chain(logs.keys().copied())
        .collect();
    let sled_usable = verify_state(&data_dir, &groups, options, &mut report)
        .map_err(io_error(&data_dir.state_path()))?;
    for group in groups {
        let log = logs.get(&group).cloned().unwrap_or_default();
        verify_checkpoints(&data_dir, group, &mut report);
        verify_group(&data_dir, group, &log, sled_usable, &mut report);
    }
    Ok(report)
}

fn verify_manifest(data_dir: &DataDir, problem: Option<DataDirError>, report: &mut VerifyReport) {
    let path = data_dir.manifest_path();
    if let Some(problem) = problem {
        report.add(Severity::Refused, path, problem);
    } else if data_dir.has_manifest() {
        let text = format!("names {} groups", data_dir.groups().len());
        report.add(Severity::Fine, path, text);
    } else {
        let used = data_dir.checkpoints_path().exists() || data_dir.log_path().exists();
        let severity = if used {
            Severity::Refused
        } else {
            Severity::Fine
        };
        report.add(severity, path, "there is none");
    }
}

fn verify_log(data_dir: &DataDir, log: &Inspection, report: &mut VerifyReport) {
    let path = data_dir.log_path();
    let survey = &log.survey;
    if let Some(missing) = &log.missing {
        report.add(Severity::Refused, missing, "it is missing or unreadable");
    }
    for damage in &survey.damages {
        let text = format!(
            "it is damaged at byte {}, before its end: {}",
            damage.offset, damage.lost
        );
        report.add(Severity::Refused, &damage.file.path, text);
    }
    if let Some((file, offset)) = &survey.torn {
        let text = format!("its last batch is cut off at byte {offset}, as by a power cut");
        report.add(Severity::Heals, file, text);
    }
    if data_dir.has_manifest() && survey.identity != Some(data_dir.identity()) {
        report.add(
            Severity::Refused,
            &path,
            "it is not this data directory's log",
        );
    }
    if !log.is_whole() {
        if let Err(message) = &log.groups
            && survey.damages.is_empty()
            && log.missing.is_none()
        {
            report.add(
                Severity::Refused,
                &path,
                format!("it does not open: {message}"),
            );
        }
        return;
    }
    let text = format!(
        "{} batches in {} files, {} bytes",
        survey.batches,
        survey.files.len(),
        survey.bytes
    );
    report.add(Severity::Fine, path, text);
    for (group, log) in log.groups.iter().flatten() {
        let entry = report.groups.entry(*group).or_default();
        entry.first_index = log.first_index;
        entry.last_index = log.last_index;
        entry.purged_index = log.purged.as_ref().map(|marker| marker.index);
    }
}

/// Whether sled is usable.
fn verify_state(
    data_dir: &DataDir,
    groups: &BTreeSet<GroupId>,
    options: &VerifyOptions,
    report: &mut VerifyReport,
) -> io::Result<bool> {
    let sled = sled_path(data_dir);
    if let Some(note) = read_note(data_dir)? {
        let text = format!("the next start rebuilds it: {note}");
        report.add(Severity::Heals, sled, text);
        return Ok(false);
    }
    if !sled.is_dir() {
        if data_dir.has_manifest() {
            report.add(
                Severity::Heals,
                sled,
                "it is missing; the next start rebuilds it",
            );
        }
        return Ok(false);
    }
    let scratch = Scratch::new(&options.scratch)?;
    if let Err(error) = copy_directory(&sled, &scratch.path) {
        let text = format!(
            "it was not looked into: copying it to {} failed: {error}",
            scratch.path.display()
        );
        report.add(Severity::Fine, sled, text);
        return Ok(true);
    }
    match read_state(data_dir, groups, &scratch.path) {
        Ok((keys, applied)) => {
            report.add(Severity::Fine, sled, format!("{keys} keys"));
            for (group, index) in applied {
                report.groups.entry(group).or_default().applied_index = Some(index);
            }
            Ok(true)
        }
        Err(error) => {
            let text = format!("it is unusable; the next start rebuilds it: {error}");
            report.add(Severity::Heals, sled, text);
            Ok(false)
        }
    }
}

/// Opens the copy as a start would, and reads all of it.
fn read_state(
    data_dir: &DataDir,
    groups: &BTreeSet<GroupId>,
    copy: &Path,
) -> Result<(u64, Vec<(GroupId, u64)>), TableError> {
    const CACHE_BYTES: u64 = 32 << 20;
    const FLUSH_BYTES: usize = 1 << 20;
    let table = Table::open(copy, CACHE_BYTES, data_dir.disk())?;
    if table.identity()? != Some(data_dir.identity()) {
        return Err(TableError("it is empty or not of this directory".into()));
    }
    redo::replay(&redo::read(&data_dir.state_path())?, &table, FLUSH_BYTES)?;
    let mut keys = 0;
    let mut applied = Vec::new();
    for group in groups {
        let Some(record) = table.record(*group)? else {
            continue;
        };
        applied.push((*group, record.applied.index));
        let mut pairs = table.all(*group, record.generation);
        while pairs.next_pair()?.is_some() {
            keys += 1;
        }
    }
    Ok((keys, applied))
}

fn verify_checkpoints(data_dir: &DataDir, group: GroupId, report: &mut VerifyReport) {
    let shelf = Shelf::of(data_dir, group);
    let candidates = match shelf.candidates() {
        Ok(candidates) => candidates,
        Err(error) => return report.add(Severity::Refused, shelf.path(), error),
    };
    for candidate in candidates {
        match check(&candidate, group) {
            Ok(info) => {
                let text = format!(
                    "{} keys of group {group} at entry {}",
                    info.keys, info.applied.index
                );
                report.add(Severity::Fine, &candidate.path, text);
                let entry = report.groups.entry(group).or_default();
                entry.checkpoint_indices.push(candidate.index);
            }
            // Whether that matters is for what else there is to decide.
            Err(error) => report.add(Severity::Heals, &candidate.path, error),
        }
    }
}

/// Do log, state and checkpoints of the group fit together?
fn verify_group(
    data_dir: &DataDir,
    group: GroupId,
    log: &LogState,
    sled_usable: bool,
    report: &mut VerifyReport,
) {
    if report.findings.iter().any(|finding| {
        finding.severity == Severity::Refused && finding.path.starts_with(data_dir.log_path())
    }) {
        // Judged by what a damaged log holds, everything would look lost.
        return;
    }
    let applied = report
        .groups
        .get(&group)
        .and_then(|group| group.applied_index);
    let purged = log.purged.as_ref().map(|marker| marker.index);
    let judged = if sled_usable && applied >= purged {
        check_log(data_dir, group, log, applied)
    } else {
        source(data_dir, group, log, applied).and_then(|source| {
            let reached = source.map(|info| info.applied.index);
            check_log(data_dir, group, log, reached)
        })
    };
    if let Err(error) = judged {
        report.add(Severity::Refused, data_dir.path(), error);
    }
}

/// A directory of our own that goes when we do.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new(parent: &Path) -> io::Result<Self> {
        let mut number = 0;
        loop {
            let path = parent.join(format!("confab-verify-{}-{number}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(e) => return Err(e),
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a scratch directory stays");
        }
    }
}

fn copy_directory(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_directory(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
