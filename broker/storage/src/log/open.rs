//! Opening the log: is it whole, is it ours, and only then the engine.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;

use parking_lot::{Condvar, Mutex, RwLock};

use super::catalogue::{Catalogue, CatalogueError};
use super::engine::{Batch, Engine, EngineError};
use super::files::EngineFiles;
use super::group::GroupLog;
use super::queue::Queue;
use super::reader::{clean, serve_reads};
use super::survey::{BatchStamp, Survey, survey};
use super::writer::Writer;
use super::{Inner, Log, LogConfig, LogOpenError, Shared};
use crate::GroupId;
use crate::data_dir::{DataDir, DataDirError};
use crate::disk::Disk;

impl Log {
    /// Opens the log, checking every file of it. Blocks, about a second per GB.
    ///
    /// # Errors
    /// See [`LogOpenError`]. A batch torn by a power cut at the very end is no error.
    pub fn open(config: LogConfig) -> Result<Self, LogOpenError> {
        let data_dir = config.data_dir.clone();
        let path = data_dir.log_path();
        let io_error = |source| LogOpenError::Io {
            path: path.clone(),
            source,
        };
        let catalogue = check(&data_dir)?;
        data_dir.disk().create_directory(&path).map_err(io_error)?;
        let files = EngineFiles::new(path.clone(), data_dir.disk().clone(), catalogue);
        let engine_error = |error: EngineError| LogOpenError::Engine {
            path: path.clone(),
            message: error.0,
        };
        let engine = Engine::open(&path, files, config.file_bytes, config.disk_bytes_target)
            .map_err(engine_error)?;
        let stamp = stamp(&data_dir, &engine).map_err(engine_error)?;
        let Some(stamp) = stamp else {
            return Err(LogOpenError::Foreign(path));
        };
        for group in engine.groups() {
            if let Some((from, end)) = engine.load(group).missing {
                return Err(LogOpenError::Incomplete {
                    path,
                    group,
                    from,
                    end,
                });
            }
        }
        let stamp = drop_stale(&engine, stamp).map_err(engine_error)?;
        Self::start(config, engine, stamp).map_err(io_error)
    }

    fn start(
        config: LogConfig,
        engine: Engine<EngineFiles>,
        stamp: BatchStamp,
    ) -> std::io::Result<Self> {
        let groups = engine
            .groups()
            .into_iter()
            .map(|group| {
                let log = GroupLog::new(engine.load(group).state);
                (group, Arc::new(RwLock::new(log)))
            })
            .collect();
        let shared = Arc::new(Shared {
            groups: RwLock::new(groups),
            queue: Mutex::new(Queue::default()),
            work: Condvar::new(),
            room: Condvar::new(),
            failure: OnceLock::new(),
            on_failure: config.on_failure,
        });
        let engine = Arc::new(engine);
        let mut inner = Inner {
            data_dir: config.data_dir,
            shared: shared.clone(),
            queue_bytes_max: config.queue_bytes_max,
            reads: None,
            cleaning: None,
            threads: Vec::new(),
        };
        let named = |name: &str| thread::Builder::new().name(name.to_owned());
        let (reads, requests) = mpsc::channel();
        inner.reads = Some(reads);
        let reader = engine.clone();
        inner
            .threads
            .push(named("log-reader").spawn(move || serve_reads(&reader, &requests))?);
        let (cleaning, closed) = mpsc::channel();
        inner.cleaning = Some(cleaning);
        let (cleaner, cleaner_shared) = (engine.clone(), shared.clone());
        let interval = config.clean_interval;
        inner.threads.push(
            named("log-cleaner")
                .spawn(move || clean(&cleaner, &cleaner_shared, interval, &closed))?,
        );
        let writer = Writer {
            shared,
            engine,
            stamp,
            batch_bytes_max: config.batch_bytes_max,
            cache_bytes_max: config.cache_bytes_max,
            committed_delay: config.committed_delay,
            on_write: config.on_write,
        };
        inner
            .threads
            .push(named("log-writer").spawn(move || writer.run())?);
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}

/// Checks the files and returns their catalogue. Changes nothing but to clear
/// away a log that was begun and never used.
fn check(data_dir: &DataDir) -> Result<Catalogue, LogOpenError> {
    let path = data_dir.log_path();
    let io_error = |source| LogOpenError::Io {
        path: path.clone(),
        source,
    };
    let catalogue = match Catalogue::read(&path) {
        Ok(catalogue) => catalogue,
        Err(CatalogueError::Damaged(file)) => return Err(LogOpenError::Missing(file)),
        Err(CatalogueError::Io(path, source)) => return Err(LogOpenError::Io { path, source }),
    };
    let in_use = data_dir.has_manifest();
    if in_use && catalogue.is_none() {
        return Err(LogOpenError::Missing(Catalogue::path_in(&path)));
    }
    let catalogue = catalogue.unwrap_or_default();
    let survey = survey(&path, &catalogue).map_err(io_error)?;
    if !in_use {
        return clear_unused(data_dir, &survey);
    }
    if let Some(missing) = catalogue.missing(&path, &survey.files) {
        return Err(LogOpenError::Missing(missing));
    }
    if let Some(damage) = survey.damages.first() {
        return Err(LogOpenError::Damaged {
            file: damage.file.path.clone(),
            offset: damage.offset,
            lost: damage.lost.clone(),
        });
    }
    if let Some((file, offset)) = &survey.torn {
        tracing::info!(file = %file.display(), offset, "the log's last batch was cut off and is dropped");
    }
    if survey.identity != Some(data_dir.identity()) {
        return Err(LogOpenError::Foreign(path));
    }
    Ok(catalogue)
}

/// Without a manifest the directory was never used: what is left of a first
/// start that was cut off can go, anything else must not.
fn clear_unused(data_dir: &DataDir, survey: &Survey) -> Result<Catalogue, LogOpenError> {
    let path = data_dir.log_path();
    let holds_data =
        survey.groups.iter().any(|group| *group != GroupId::NODE) || !survey.damages.is_empty();
    if holds_data {
        return Err(LogOpenError::DataDir(DataDirError::ManifestMissing {
            path: data_dir.manifest_path(),
            found: path,
        }));
    }
    remove_directory(&path, data_dir.disk()).map_err(|source| LogOpenError::Io { path, source })?;
    Ok(Catalogue::default())
}

fn remove_directory(path: &Path, disk: &Disk) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
        Ok(()) => disk.sync_directory(&crate::disk::parent_of(path)),
    }
}

/// The stamp of the last batch, after writing the first one of a new log.
/// `None` when it is another data directory's.
fn stamp(
    data_dir: &DataDir,
    engine: &Engine<EngineFiles>,
) -> Result<Option<BatchStamp>, EngineError> {
    let identity = data_dir.identity();
    if let Some(stamp) = engine.stamp() {
        return Ok((stamp.identity == identity).then_some(stamp));
    }
    if data_dir.has_manifest() {
        return Ok(None);
    }
    let stamp = BatchStamp {
        sequence: 1,
        identity,
    };
    let mut batch = Batch::default();
    batch.stamp(stamp)?;
    engine.write(batch)?;
    Ok(Some(stamp))
}

/// Has the engine drop what it has beyond the ends of the groups' logs.
fn drop_stale(
    engine: &Engine<EngineFiles>,
    mut stamp: BatchStamp,
) -> Result<BatchStamp, EngineError> {
    let mut batch = Batch::default();
    for group in engine.groups() {
        engine.drop_stale(group, &mut batch)?;
    }
    if !batch.is_empty() {
        stamp.sequence += 1;
        batch.stamp(stamp)?;
        engine.write(batch)?;
    }
    Ok(stamp)
}
