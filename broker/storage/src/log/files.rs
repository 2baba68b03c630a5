//! The log engine's way to the disk: plain files, with every fsync observed and
//! every creation and removal recorded in the catalogue.

use std::io::{self, Read, Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission, WriteExt};

use super::catalogue::Catalogue;
use super::file_format::{LogFile, Queue};
use crate::disk::{Disk, parent_of};

type PlainHandle = <DefaultFileSystem as FileSystem>::Handle;
type PlainFile = <DefaultFileSystem as FileSystem>::Writer;

/// The file system given to the engine.
pub(crate) struct EngineFiles {
    log: PathBuf,
    disk: Disk,
    catalogue: Arc<Mutex<Catalogue>>,
}

impl EngineFiles {
    pub(crate) fn new(log: PathBuf, disk: Disk, catalogue: Catalogue) -> Self {
        Self {
            log,
            disk,
            catalogue: Arc::new(Mutex::new(catalogue)),
        }
    }

    fn handle(&self, plain: PlainHandle, path: &Path) -> EngineFile {
        EngineFile {
            plain: Arc::new(plain),
            path: path.to_path_buf(),
            log: self.log.clone(),
            disk: self.disk.clone(),
            written: AtomicU64::new(0),
            catalogue: self.catalogue.clone(),
        }
    }
}

impl FileSystem for EngineFiles {
    type Handle = EngineFile;
    type Reader = PlainFile;
    type Writer = EngineWriter;

    fn create<P: AsRef<Path>>(&self, path: P) -> Result<EngineFile> {
        let path = path.as_ref();
        let plain = DefaultFileSystem.create(path)?;
        self.disk.sync_directory(&parent_of(path))?;
        if let Some(file) = LogFile::of_path(path) {
            let mut catalogue = self.catalogue.lock();
            catalogue.created(&file);
            catalogue.write(&self.log, &self.disk)?;
        }
        Ok(self.handle(plain, path))
    }

    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> Result<EngineFile> {
        let path = path.as_ref();
        Ok(self.handle(DefaultFileSystem.open(path, permission)?, path))
    }

    /// Durable on return, so that files go in order and no gap is ever left.
    fn delete<P: AsRef<Path>>(&self, path: P) -> Result<()> {
        let path = path.as_ref();
        if let Some(file) = LogFile::of_path(path) {
            let mut catalogue = self.catalogue.lock();
            catalogue.removed(&file);
            catalogue.write(&self.log, &self.disk)?;
        }
        self.disk.remove_file(path)
    }

    /// Files are not recycled (see `engine`), so nothing is renamed.
    fn rename<P: AsRef<Path>>(&self, _from: P, _to: P) -> Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn new_reader(&self, handle: Arc<EngineFile>) -> Result<PlainFile> {
        DefaultFileSystem.new_reader(handle.plain.clone())
    }

    fn new_writer(&self, handle: Arc<EngineFile>) -> Result<EngineWriter> {
        Ok(EngineWriter {
            plain: DefaultFileSystem.new_writer(handle.plain.clone())?,
            at: 0,
            handle,
        })
    }
}

/// An open log file.
pub(crate) struct EngineFile {
    plain: Arc<PlainHandle>,
    path: PathBuf,
    log: PathBuf,
    disk: Disk,
    /// Where the last write ended.
    written: AtomicU64,
    catalogue: Arc<Mutex<Catalogue>>,
}

impl Handle for EngineFile {
    fn truncate(&self, offset: usize) -> Result<()> {
        Handle::truncate(&*self.plain, offset)
    }

    fn file_size(&self) -> Result<usize> {
        self.plain.file_size()
    }

    fn sync(&self) -> Result<()> {
        self.disk.around_sync(&self.path, || self.plain.sync())?;
        let Some(file) = LogFile::of_path(&self.path).filter(|file| file.queue == Queue::Rewrite)
        else {
            return Ok(());
        };
        let synced = Some((file.number, self.written.load(Ordering::Acquire)));
        let mut catalogue = self.catalogue.lock();
        if catalogue.rewrite_synced < synced {
            catalogue.rewrite_synced = synced;
            catalogue.write(&self.log, &self.disk)?;
        }
        Ok(())
    }
}

/// Writes a log file, keeping count of how far.
pub(crate) struct EngineWriter {
    plain: PlainFile,
    at: u64,
    handle: Arc<EngineFile>,
}

impl Write for EngineWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let written = self.plain.write(bytes)?;
        self.at += written as u64;
        self.handle.written.store(self.at, Ordering::Release);
        Ok(written)
    }

    fn flush(&mut self) -> Result<()> {
        self.plain.flush()
    }
}

impl Seek for EngineWriter {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        self.at = self.plain.seek(to)?;
        Ok(self.at)
    }
}

impl WriteExt for EngineWriter {
    fn truncate(&mut self, offset: usize) -> Result<()> {
        self.at = offset as u64;
        WriteExt::truncate(&mut self.plain, offset)
    }

    fn allocate(&mut self, offset: usize, size: usize) -> Result<()> {
        self.plain.allocate(offset, size)
    }
}

/// Shows the engine the log without letting it change anything: for verify.
///
/// What the engine does to files when it opens and closes them (truncating a
/// torn end, writing headers) is remembered as a length, or forgotten.
pub(crate) struct ReadOnlyFiles;

/// A file that keeps what it had; `None` stands for one the engine would have created.
pub(crate) struct ReadOnlyFile {
    file: Option<std::fs::File>,
    length: AtomicU64,
}

impl FileSystem for ReadOnlyFiles {
    type Handle = ReadOnlyFile;
    type Reader = ReadOnlyCursor;
    type Writer = Discard;

    fn create<P: AsRef<Path>>(&self, _path: P) -> Result<ReadOnlyFile> {
        Ok(ReadOnlyFile {
            file: None,
            length: AtomicU64::new(0),
        })
    }

    fn open<P: AsRef<Path>>(&self, path: P, _permission: Permission) -> Result<ReadOnlyFile> {
        let file = std::fs::File::open(path)?;
        let length = AtomicU64::new(file.metadata()?.len());
        Ok(ReadOnlyFile {
            file: Some(file),
            length,
        })
    }

    fn delete<P: AsRef<Path>>(&self, _path: P) -> Result<()> {
        Ok(())
    }

    fn rename<P: AsRef<Path>>(&self, _from: P, _to: P) -> Result<()> {
        Ok(())
    }

    fn new_reader(&self, handle: Arc<ReadOnlyFile>) -> Result<ReadOnlyCursor> {
        Ok(ReadOnlyCursor { handle, at: 0 })
    }

    fn new_writer(&self, _handle: Arc<ReadOnlyFile>) -> Result<Discard> {
        Ok(Discard)
    }
}

impl Handle for ReadOnlyFile {
    fn truncate(&self, offset: usize) -> Result<()> {
        self.length.store(offset as u64, Ordering::Release);
        Ok(())
    }

    fn file_size(&self) -> Result<usize> {
        Ok(self.length.load(Ordering::Acquire) as usize)
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}

/// Reads a file up to the length that the engine believes it has.
pub(crate) struct ReadOnlyCursor {
    handle: Arc<ReadOnlyFile>,
    at: u64,
}

impl Read for ReadOnlyCursor {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        use std::os::unix::fs::FileExt;
        let Some(file) = &self.handle.file else {
            return Ok(0);
        };
        let left = self
            .handle
            .length
            .load(Ordering::Acquire)
            .saturating_sub(self.at);
        let length = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = file.read_at(&mut buffer[..length], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for ReadOnlyCursor {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        let length = self.handle.length.load(Ordering::Acquire);
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => length.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Swallows what is written.
pub(crate) struct Discard;

impl Write for Discard {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Seek for Discard {
    fn seek(&mut self, _to: SeekFrom) -> Result<u64> {
        Ok(0)
    }
}

impl WriteExt for Discard {
    fn truncate(&mut self, _offset: usize) -> Result<()> {
        Ok(())
    }

    fn allocate(&mut self, _offset: usize, _size: usize) -> Result<()> {
        Ok(())
    }
}
