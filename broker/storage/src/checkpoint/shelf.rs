//! Where a group's checkpoints lie, and which of them are kept.
//!
//! `<index>.checkpoint` is whole and durable. `<index>.received` came from a
//! peer and becomes a checkpoint once the log is purged up to it: until then a
//! state that is ahead of the log would look like a log that has lost entries.
//! `*.tmp` is what a crash left unfinished.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use super::{CheckpointError, CheckpointInfo, CheckpointReader};
use crate::disk::{Disk, temporary_name};
use crate::{DataDir, GroupId};

/// How many checkpoints of a group are kept: a second one in case the newest is damaged.
pub(crate) const KEPT: usize = 2;

/// The checkpoints directory of one group.
#[derive(Clone)]
pub(crate) struct Shelf {
    path: PathBuf,
    disk: Disk,
}

/// A file that bears a checkpoint's name; not looked into yet.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct Candidate {
    pub(crate) index: u64,
    pub(crate) received: bool,
    pub(crate) path: PathBuf,
}

impl Shelf {
    pub(crate) fn of(data_dir: &DataDir, group: GroupId) -> Self {
        Self {
            path: data_dir
                .checkpoints_path()
                .join(format!("{:016x}", group.as_u64())),
            disk: data_dir.disk().clone(),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
        let path = path.to_path_buf();
        move |source| CheckpointError::Io { path, source }
    }

    /// All candidates, oldest first.
    pub(crate) fn candidates(&self) -> Result<Vec<Candidate>, CheckpointError> {
        let mut found = Vec::new();
        for path in self.files()? {
            let name = path.file_name().and_then(|name| name.to_str());
            let Some((index, kind)) = name.and_then(|name| name.split_once('.')) else {
                continue;
            };
            let Ok(index) = index.parse() else { continue };
            match kind {
                "checkpoint" | "received" => found.push(Candidate {
                    index,
                    received: kind == "received",
                    path,
                }),
                _ => {}
            }
        }
        found.sort();
        Ok(found)
    }

    fn files(&self) -> Result<Vec<PathBuf>, CheckpointError> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(Self::io_error(&self.path)(e)),
        };
        entries
            .map(|entry| Ok(entry.map_err(Self::io_error(&self.path))?.path()))
            .collect()
    }

    /// Reads the candidates from the newest on; the first whole one of `group`
    /// whose index is at least `index_min`, and which ones were broken.
    pub(crate) fn newest_whole(
        &self,
        group: GroupId,
        index_min: Option<u64>,
    ) -> Result<(Option<CheckpointInfo>, Vec<CheckpointError>), CheckpointError> {
        let mut broken = Vec::new();
        for candidate in self.candidates()?.into_iter().rev() {
            // What was received counts once the log was purged for it.
            if candidate.received && index_min.is_none_or(|min| candidate.index > min) {
                continue;
            }
            match check(&candidate, group) {
                Ok(info) if index_min.is_none_or(|min| info.applied.index >= min) => {
                    return Ok((Some(info), broken));
                }
                Ok(_) => {}
                Err(e @ CheckpointError::Io { .. }) => return Err(e),
                Err(e) => broken.push(e),
            }
        }
        Ok((None, broken))
    }

    /// Where the checkpoint at `index` is written before it is whole.
    pub(crate) fn begin(&self, index: u64) -> Result<(File, PathBuf), CheckpointError> {
        self.disk
            .create_directory(&self.path)
            .map_err(Self::io_error(&self.path))?;
        let path = temporary_name(&self.file(index, "checkpoint"));
        let file = File::create(&path).map_err(Self::io_error(&path))?;
        Ok((file, path))
    }

    /// Removes a file that will not become whole, as far as that goes.
    pub(crate) fn abandon(&self, temporary: &Path) {
        if let Err(error) = fs::remove_file(temporary) {
            tracing::warn!(file = %temporary.display(), %error, "an unfinished checkpoint stays until the next start");
        }
    }

    /// Makes the file at `temporary` the checkpoint at `index`, durably.
    pub(crate) fn finish(
        &self,
        file: &File,
        temporary: &Path,
        index: u64,
    ) -> Result<PathBuf, CheckpointError> {
        self.publish(file, temporary, &self.file(index, "checkpoint"))
    }

    /// Makes the file at `temporary` a received checkpoint, durably.
    pub(crate) fn finish_received(
        &self,
        file: &File,
        temporary: &Path,
        index: u64,
    ) -> Result<PathBuf, CheckpointError> {
        self.publish(file, temporary, &self.file(index, "received"))
    }

    /// A received checkpoint has become this group's own.
    pub(crate) fn promote(&self, index: u64) -> Result<PathBuf, CheckpointError> {
        let (from, to) = (self.file(index, "received"), self.file(index, "checkpoint"));
        self.disk
            .rename(&from, &to)
            .map_err(Self::io_error(&from))?;
        Ok(to)
    }

    fn publish(
        &self,
        file: &File,
        temporary: &Path,
        path: &Path,
    ) -> Result<PathBuf, CheckpointError> {
        self.disk
            .sync_file(file, temporary)
            .and_then(|()| self.disk.rename(temporary, path))
            .map_err(Self::io_error(path))?;
        Ok(path.to_path_buf())
    }

    /// Removes all but the newest checkpoints. The newest must be durable.
    pub(crate) fn remove_old(&self) -> Result<(), CheckpointError> {
        let mut kept = 0;
        for candidate in self.candidates()?.into_iter().rev() {
            if candidate.received {
                continue;
            }
            kept += 1;
            if kept > KEPT {
                self.remove(&candidate.path)?;
            }
        }
        Ok(())
    }

    /// Removes what a crash left unfinished, and what was received in vain.
    pub(crate) fn clear_unfinished(&self) -> Result<(), CheckpointError> {
        for path in self.files()? {
            let unfinished = path
                .extension()
                .is_some_and(|kind| kind == "tmp" || kind == "received");
            if unfinished {
                self.remove(&path)?;
            }
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), CheckpointError> {
        self.disk.remove_file(path).map_err(Self::io_error(path))
    }

    fn file(&self, index: u64, kind: &str) -> PathBuf {
        self.path.join(format!("{index:020}.{kind}"))
    }
}

/// Reads all of it: whole, of this group, and of the index its name says?
pub(crate) fn check(
    candidate: &Candidate,
    group: GroupId,
) -> Result<CheckpointInfo, CheckpointError> {
    let info = CheckpointReader::check(&candidate.path)?;
    if info.group != group {
        return Err(CheckpointError::WrongGroup {
            path: candidate.path.clone(),
            found: info.group,
            expected: group,
        });
    }
    if info.applied.index != candidate.index {
        return Err(CheckpointError::Damaged {
            path: candidate.path.clone(),
            reason: "its name and its content disagree on the index",
        });
    }
    Ok(info)
}
