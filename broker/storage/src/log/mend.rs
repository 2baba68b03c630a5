//! Makes a damaged log open again: keeps what can be read up to the first damage,
//! moves the rest aside, and ends groups where the state they have needs it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LogState;
use super::catalogue::Catalogue;
use super::engine::{Batch, Engine, EngineError};
use super::file_format::{LogFile, list_files};
use super::files::EngineFiles;
use super::inspect::Inspection;
use super::survey::{BatchStamp, Damage, survey};
use crate::disk::{Disk, parent_of};
use crate::{DataDir, GroupId, Marker};

/// Why a log could not be mended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MendError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Engine(Arc<str>),
}

impl From<EngineError> for MendError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error.0)
    }
}

/// Cuts the log at its damage. Returns where what was cut off went, if anything.
pub(crate) fn cut(data_dir: &DataDir, found: &Inspection) -> Result<Option<PathBuf>, MendError> {
    let log = data_dir.log_path();
    let disk = data_dir.disk();
    disk.create_directory(&log)?;
    let mut aside = None;
    for damage in &found.survey.damages {
        let aside = aside_of(&log, disk, &mut aside)?;
        cut_at(damage, &found.survey.files, &aside, disk)?;
    }
    // Without a file in the middle, those behind it do not lead on.
    let files = list_files(&log)?;
    for pair in files.windows(2) {
        let follows = pair[0].queue != pair[1].queue || pair[0].number + 1 == pair[1].number;
        if !follows {
            let aside = aside_of(&log, disk, &mut aside)?;
            for file in files.iter().filter(|file| {
                file.queue == pair[1].queue && file.number >= pair[1].number && file.path.exists()
            }) {
                move_file(&file.path, &aside, disk)?;
            }
        }
    }
    Catalogue::of_files(&list_files(&log)?).write(&log, disk)?;
    Ok(aside)
}

/// Moves the damaged file's copy and all later files aside; the file itself ends
/// at the damage.
fn cut_at(damage: &Damage, files: &[LogFile], aside: &Path, disk: &Disk) -> io::Result<()> {
    let later = files
        .iter()
        .filter(|file| file.queue == damage.file.queue && file.number > damage.file.number);
    for file in later {
        move_file(&file.path, aside, disk)?;
    }
    if damage.offset == 0 {
        return move_file(&damage.file.path, aside, disk);
    }
    let name = damage.file.path.file_name().unwrap_or_default();
    let copy = aside.join(name);
    fs::copy(&damage.file.path, &copy)?;
    disk.sync_file(&File::open(&copy)?, &copy)?;
    let file = OpenOptions::new().write(true).open(&damage.file.path)?;
    file.set_len(damage.offset)?;
    disk.sync_file(&file, &damage.file.path)
}

fn move_file(path: &Path, to: &Path, disk: &Disk) -> io::Result<()> {
    fs::rename(path, to.join(path.file_name().unwrap_or_default()))?;
    disk.sync_directory(&parent_of(path))?;
    disk.sync_directory(to)
}

/// The first free `log.damaged-<n>`, created when it is first needed.
fn aside_of(log: &Path, disk: &Disk, aside: &mut Option<PathBuf>) -> io::Result<PathBuf> {
    if let Some(path) = aside {
        return Ok(path.clone());
    }
    let mut number = 1;
    let path = loop {
        let path = log.with_file_name(format!("log.damaged-{number}"));
        if !path.exists() {
            break path;
        }
        number += 1;
    };
    disk.create_directory(&path)?;
    *aside = Some(path.clone());
    Ok(path)
}

/// A log that is whole, opened to be set right.
pub(crate) struct Mender {
    engine: Engine<EngineFiles>,
    stamp: BatchStamp,
}

impl Mender {
    pub(crate) fn open(data_dir: &DataDir) -> Result<Self, MendError> {
        let log = data_dir.log_path();
        data_dir.disk().create_directory(&log)?;
        let catalogue = Catalogue::read(&log).ok().flatten().unwrap_or_default();
        let last_sequence = survey(&log, &catalogue)?.last_sequence().unwrap_or(0);
        let files = EngineFiles::new(log.clone(), data_dir.disk().clone(), catalogue);
        let engine = Engine::open(&log, files, 64 << 20, u64::MAX)?;
        let mut mender = Self {
            engine,
            stamp: BatchStamp {
                sequence: last_sequence,
                identity: data_dir.identity(),
            },
        };
        // A log that lost its begin, or another directory's, becomes this one's.
        mender.write(Batch::default())?;
        Ok(mender)
    }

    fn write(&mut self, mut batch: Batch) -> Result<(), MendError> {
        self.stamp.sequence += 1;
        batch.stamp(self.stamp)?;
        self.engine.write(batch)?;
        Ok(())
    }

    /// What is left of each group, and whether its records say that there was more.
    pub(crate) fn groups(&self) -> BTreeMap<GroupId, (LogState, bool)> {
        let groups = self.engine.groups().into_iter();
        groups
            .map(|group| {
                let loaded = self.engine.load(group);
                (group, (loaded.state, loaded.missing.is_some()))
            })
            .collect()
    }

    /// Records that the group's log ends where what is left of it does.
    pub(crate) fn accept_end(&mut self, group: GroupId) -> Result<(), MendError> {
        let state = self.engine.load(group).state;
        let purged = state.purged.map(|marker| marker.index);
        let end = state.last_index.max(purged).map_or(0, |last| last + 1);
        let mut batch = Batch::default();
        self.engine.drop_stale(group, &mut batch)?;
        batch.end(group, end)?;
        self.write(batch)
    }

    /// Drops all entries of the group and has its log lead on from `applied`.
    pub(crate) fn restart(
        &mut self,
        group: GroupId,
        applied: Option<&Marker>,
    ) -> Result<(), MendError> {
        let mut batch = Batch::default();
        if let Some((_, last)) = self.engine.bounds(group) {
            batch.drop_before(group, last + 1);
        }
        if let Some(applied) = applied {
            batch.purge(group, applied)?;
        }
        batch.end(group, applied.map_or(0, |applied| applied.index + 1))?;
        self.write(batch)
    }
}
