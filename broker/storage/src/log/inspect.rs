//! Looks at a closed log without changing it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LogState;
use super::catalogue::{Catalogue, CatalogueError};
use super::engine::Engine;
use super::files::ReadOnlyFiles;
use super::survey::{Survey, survey};
use crate::GroupId;

/// What a closed log is like.
pub(crate) struct Inspection {
    pub(crate) survey: Survey,
    /// A file that should be there and is not, or the catalogue itself.
    pub(crate) missing: Option<PathBuf>,
    /// What it holds of each group, or why the engine would not open it.
    pub(crate) groups: Result<BTreeMap<GroupId, LogState>, Arc<str>>,
}

impl Inspection {
    /// Whether the log would open.
    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_none() && self.survey.damages.is_empty() && self.groups.is_ok()
    }
}

/// Reads all files of the log in `log`. The engine is shown them through a file
/// system that keeps its changes to itself.
///
/// # Errors
/// Only when files cannot be read.
pub(crate) fn inspect(log: &Path) -> io::Result<Inspection> {
    let (catalogue, no_catalogue) = match Catalogue::read(log) {
        Ok(Some(catalogue)) => (catalogue, None),
        Ok(None) => (Catalogue::default(), Some(Catalogue::path_in(log))),
        Err(CatalogueError::Damaged(path)) => (Catalogue::default(), Some(path)),
        Err(CatalogueError::Io(_, error)) => return Err(error),
    };
    let survey = survey(log, &catalogue)?;
    let missing = no_catalogue.or_else(|| catalogue.missing(log, &survey.files));
    let groups = if survey.damages.is_empty() && missing.is_none() {
        read_groups(log)
    } else {
        Err("it is damaged".into())
    };
    Ok(Inspection {
        survey,
        missing,
        groups,
    })
}

fn read_groups(log: &Path) -> Result<BTreeMap<GroupId, LogState>, Arc<str>> {
    let engine = Engine::open(log, ReadOnlyFiles, 64 << 20, u64::MAX).map_err(|e| e.0)?;
    let mut groups = BTreeMap::new();
    for group in engine.groups() {
        let loaded = engine.load(group);
        if let Some((from, end)) = loaded.missing {
            let text = format!("entries {from} to {end} (exclusive) of group {group} are missing");
            return Err(text.into());
        }
        groups.insert(group, loaded.state);
    }
    Ok(groups)
}
