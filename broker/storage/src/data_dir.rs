//! The data directory: whose it is, what lies in it, and that only one process
//! has it open.
//!
//! ```text
//! LOCK                      held while a process has the directory open
//! MANIFEST                  format version, identity, groups
//! log/                      the Raft log (see `log`)
//! state/sled/               applied state; rebuildable
//! state/redo-0, redo-1      what is being written to sled
//! state/REBUILD             present: sled must be rebuilt at the next start
//! state/sled.unusable-<n>   a sled that did not open, kept for inspection
//! checkpoints/<group>/<index>.checkpoint
//! ```
//!
//! The identity is a random number that the log and sled carry too: a log or a
//! sled that was emptied, or comes from another directory, is recognised by it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::GroupId;
use crate::disk::{Disk, SyncObserver};

/// The layout this build writes; others are refused.
const FORMAT: u32 = 1;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process has it open: stop that one, or choose another directory.
    #[error("the data directory {0} is already in use by another process")]
    InUse(PathBuf),
    /// It was written by another version of Confab.
    #[error(
        "the data directory {path} has format {found}, this build reads format {FORMAT}: use the version that wrote it"
    )]
    Format {
        /// The directory.
        path: PathBuf,
        /// The format found in its MANIFEST.
        found: u32,
    },
    /// The manifest is damaged; it must be restored, or remade from log and checkpoints.
    #[error(
        "{0} is damaged: restore it from a backup, or let `confab verify --repair` remake it from the log and the checkpoints"
    )]
    ManifestDamaged(PathBuf),
    /// There is a log or state, but no manifest that says whose.
    #[error(
        "{path} is missing, but {found} holds data: restore it from a backup, or let `confab verify --repair` remake it"
    )]
    ManifestMissing {
        /// Where the manifest should be.
        path: PathBuf,
        /// What was found without it.
        found: PathBuf,
    },
    /// The system refused to read or write.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A random number that all parts of one data directory carry.
pub(crate) type Identity = [u8; 16];

#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) identity: Identity,
    pub(crate) groups: BTreeSet<GroupId>,
}

/// An open, locked data directory. Cheap to clone; unlocked with the last clone.
#[derive(Clone)]
pub struct DataDir {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    disk: Disk,
    /// What an unused directory will be called once its manifest is written.
    new_identity: Identity,
    manifest: Mutex<Option<Manifest>>,
    _lock: File,
}

impl DataDir {
    /// Opens the directory, creating it if need be, and locks it. Blocks briefly.
    ///
    /// # Errors
    /// See [`DataDirError`]; nothing was changed then.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, DataDirError> {
        Self::open_on(path.into(), Disk::default())
    }

    /// As [`DataDir::open`], with an observer of every fsync: the seam for fault injection.
    ///
    /// # Errors
    /// See [`DataDirError`].
    pub fn open_observed(
        path: impl Into<PathBuf>,
        observer: Arc<dyn SyncObserver>,
    ) -> Result<Self, DataDirError> {
        Self::open_on(path.into(), Disk::observed(observer))
    }

    fn open_on(path: PathBuf, disk: Disk) -> Result<Self, DataDirError> {
        let lock = lock(&path, &disk)?;
        let manifest = read_manifest(&path)?;
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                disk,
                new_identity: random_identity(),
                manifest: Mutex::new(manifest),
                _lock: lock,
            }),
        })
    }

    /// Opens the directory even when its manifest is damaged or missing: for verify and repair.
    pub(crate) fn open_for_repair(
        path: &Path,
    ) -> Result<(Self, Option<DataDirError>), DataDirError> {
        let disk = Disk::default();
        if !path.is_dir() {
            return Err(DataDirError::Io {
                path: path.to_path_buf(),
                source: io::ErrorKind::NotFound.into(),
            });
        }
        let lock = lock(path, &disk)?;
        let (manifest, problem) = match read_manifest(path) {
            Ok(manifest) => (manifest, None),
            Err(e @ DataDirError::ManifestDamaged(_)) => (None, Some(e)),
            Err(e) => return Err(e),
        };
        let inner = Inner {
            path: path.to_path_buf(),
            disk,
            new_identity: random_identity(),
            manifest: Mutex::new(manifest),
            _lock: lock,
        };
        Ok((
            Self {
                inner: Arc::new(inner),
            },
            problem,
        ))
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    pub(crate) fn manifest_path(&self) -> PathBuf {
        self.path().join("MANIFEST")
    }

    pub(crate) fn log_path(&self) -> PathBuf {
        self.path().join("log")
    }

    pub(crate) fn state_path(&self) -> PathBuf {
        self.path().join("state")
    }

    pub(crate) fn checkpoints_path(&self) -> PathBuf {
        self.path().join("checkpoints")
    }

    /// Whether the directory was in use before this process opened it.
    pub(crate) fn has_manifest(&self) -> bool {
        self.inner.manifest.lock().is_some()
    }

    pub(crate) fn identity(&self) -> Identity {
        self.inner
            .manifest
            .lock()
            .as_ref()
            .map_or(self.inner.new_identity, |manifest| manifest.identity)
    }

    /// The groups that were ever created here.
    pub(crate) fn groups(&self) -> BTreeSet<GroupId> {
        self.inner
            .manifest
            .lock()
            .as_ref()
            .map(|manifest| manifest.groups.clone())
            .unwrap_or_default()
    }

    /// Records `groups` beside those already there, writing the first manifest
    /// if there is none. Durable on return.
    pub(crate) fn add_groups(
        &self,
        groups: impl IntoIterator<Item = GroupId>,
    ) -> Result<(), DataDirError> {
        self.add_groups_as(self.inner.new_identity, groups)
    }

    /// As [`DataDir::add_groups`]; a first manifest gets `identity`.
    pub(crate) fn add_groups_as(
        &self,
        identity: Identity,
        groups: impl IntoIterator<Item = GroupId>,
    ) -> Result<(), DataDirError> {
        let mut current = self.inner.manifest.lock();
        let mut manifest = current.clone().unwrap_or(Manifest {
            identity,
            groups: BTreeSet::new(),
        });
        manifest.groups.extend(groups);
        if current.as_ref() == Some(&manifest) {
            return Ok(());
        }
        let path = self.manifest_path();
        self.disk()
            .replace_file(&path, manifest.encode().as_bytes())
            .map_err(|source| DataDirError::Io { path, source })?;
        *current = Some(manifest);
        Ok(())
    }
}

fn lock(path: &Path, disk: &Disk) -> Result<File, DataDirError> {
    let io_error = |path: &Path, source| DataDirError::Io {
        path: path.to_path_buf(),
        source,
    };
    disk.create_directory(path).map_err(|e| io_error(path, e))?;
    let lock_path = path.join("LOCK");
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path)
        .map_err(|e| io_error(&lock_path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_path_buf())),
        Err(TryLockError::Error(e)) => Err(io_error(&lock_path, e)),
    }
}

fn read_manifest(directory: &Path) -> Result<Option<Manifest>, DataDirError> {
    let path = directory.join("MANIFEST");
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DataDirError::Io { path, source }),
    };
    let text = String::from_utf8(bytes).map_err(|_| DataDirError::ManifestDamaged(path.clone()))?;
    match Manifest::decode(&text) {
        Some(Ok(manifest)) => Ok(Some(manifest)),
        Some(Err(found)) => Err(DataDirError::Format {
            path: directory.to_path_buf(),
            found,
        }),
        None => Err(DataDirError::ManifestDamaged(path)),
    }
}

impl Manifest {
    const TITLE: &str = "confab data directory, format ";

    /// Lines of text, for a person may look at it; the last is a checksum of those before.
    fn encode(&self) -> String {
        let mut text = format!("{}{FORMAT}\nidentity ", Self::TITLE);
        for byte in self.identity {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
        for group in &self.groups {
            let _ = writeln!(text, "group {:016x}", group.as_u64());
        }
        let checksum = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "checksum {checksum:08x}");
        text
    }

    /// `None` if damaged, `Some(Err(format))` if of another format.
    fn decode(text: &str) -> Option<Result<Self, u32>> {
        let rest = text.strip_prefix(Self::TITLE)?;
        let (format, _) = rest.split_once('\n')?;
        let format: u32 = format.parse().ok()?;
        if format != FORMAT {
            return Some(Err(format));
        }
        let body_bytes = text.rfind("checksum ")?;
        let (body, checksum) = text.split_at(body_bytes);
        let checksum = checksum.strip_prefix("checksum ")?.strip_suffix('\n')?;
        if u32::from_str_radix(checksum, 16).ok()? != crc32fast::hash(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines().skip(1);
        let identity = u128::from_str_radix(lines.next()?.strip_prefix("identity ")?, 16).ok()?;
        let groups = lines
            .map(|line| {
                let id = line.strip_prefix("group ")?;
                Some(GroupId::from_u64(u64::from_str_radix(id, 16).ok()?))
            })
            .collect::<Option<BTreeSet<_>>>()?;
        Some(Ok(Self {
            identity: identity.to_be_bytes(),
            groups,
        }))
    }
}

/// Random enough to tell two directories apart; nothing secret hangs on it.
fn random_identity() -> Identity {
    let number = || {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u128(
            std::time::SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(0, |since| since.as_nanos()),
        );
        hasher.finish()
    };
    (u128::from(number()) << 64 | u128::from(number())).to_be_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn groups_survive_and_a_second_process_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let first = DataDir::open(directory.path()).unwrap();
        assert!(!first.has_manifest());
        first
            .add_groups([GroupId::new(0, 0), GroupId::new(7, 3)])
            .unwrap();
        let identity = first.identity();
        assert!(matches!(
            DataDir::open(directory.path()),
            Err(DataDirError::InUse(_))
        ));
        drop(first);
        let again = DataDir::open(directory.path()).unwrap();
        assert_eq!(again.identity(), identity);
        assert_eq!(again.groups().len(), 2);
    }

    #[test]
    fn a_damaged_or_foreign_manifest_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(directory.path()).unwrap();
        data_dir.add_groups([GroupId::new(0, 0)]).unwrap();
        drop(data_dir);
        let path = directory.path().join("MANIFEST");
        let good = std::fs::read_to_string(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone().into_bytes();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert!(DataDir::open(directory.path()).is_err(), "byte {at}");
        }
        std::fs::write(&path, good.replace("format 1", "format 2")).unwrap();
        let error = DataDir::open(directory.path()).err().unwrap();
        assert!(matches!(error, DataDirError::Format { found: 2, .. }));
    }
}
