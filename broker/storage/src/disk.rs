//! How this crate writes files of its own: fsynced, renamed into place, watched.
//!
//! Every fsync of storage passes through here or is reported here, so that a
//! test can know exactly what a power cut would leave behind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Watches, and for tests disturbs, what storage makes durable.
///
/// Called from storage's threads around each fsync of a file or directory.
pub trait SyncObserver: Send + Sync {
    /// Called before `path` is fsynced; an error is taken as fsync's own.
    ///
    /// # Errors
    /// Whatever the fault to be injected is.
    fn before_sync(&self, path: &Path) -> io::Result<()> {
        let _ = path;
        Ok(())
    }

    /// Called after `path` has been fsynced: its content, or a directory's entries, now survive.
    fn synced(&self, path: &Path) {
        let _ = path;
    }
}

/// The way to the disk: fsync with its observer.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    observer: Option<Arc<dyn SyncObserver>>,
}

impl Disk {
    pub(crate) fn observed(observer: Arc<dyn SyncObserver>) -> Self {
        Self {
            observer: Some(observer),
        }
    }

    /// Runs `sync`, which makes `path` durable, with the observer around it.
    pub(crate) fn around_sync(
        &self,
        path: &Path,
        sync: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(observer) = &self.observer else {
            return sync();
        };
        observer.before_sync(path)?;
        sync()?;
        observer.synced(path);
        Ok(())
    }

    /// Makes the content and length of `file`, found at `path`, durable.
    pub(crate) fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        self.around_sync(path, || file.sync_data())
    }

    /// Makes the entries of the directory `path` durable.
    pub(crate) fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.around_sync(path, || File::open(path)?.sync_all())
    }

    /// Creates `path` and the directories above it, up to the existing one, durably.
    pub(crate) fn create_directory(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        let parent = parent_of(path);
        if !parent.as_os_str().is_empty() {
            self.create_directory(&parent)?;
        }
        match fs::create_dir(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
        self.sync_directory(&parent)
    }

    /// Replaces `path` by `bytes` so that a power cut leaves the old or the new
    /// content, never a mixture. Durable on return.
    pub(crate) fn replace_file(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = temporary_name(path);
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&temporary)?;
        file.write_all(bytes)?;
        self.sync_file(&file, &temporary)?;
        self.rename(&temporary, path)
    }

    /// Renames within one directory, durably.
    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        self.sync_directory(&parent_of(to))
    }

    /// Removes the file `path`, if there is one, durably.
    pub(crate) fn remove_file(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e),
            Ok(()) => self.sync_directory(&parent_of(path)),
        }
    }
}

/// The name a file has until it is whole: never read, removed at the next start.
pub(crate) fn temporary_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    name.into()
}

pub(crate) fn parent_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
