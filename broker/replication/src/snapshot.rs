//! Snapshots: storage's checkpoint files, built, sent in chunks, received.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use confab_storage::{CheckpointInfo, GroupId, GroupState};
use futures_util::{Stream, StreamExt, stream};
use openraft::storage::{RaftSnapshotBuilder, Snapshot};
use openraft::type_config::alias::SnapshotOf;

use crate::codec::decode_marker;
use crate::raft_types::{RaftTypes, SnapshotMeta};

/// A snapshot by its file: content is never held in memory.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFile {
    path: PathBuf,
    length: u64,
    /// Removes a received file once nobody needs it; checkpoints belong to storage.
    _received: Option<Arc<ReceivedFile>>,
}

#[derive(Debug)]
struct ReceivedFile(PathBuf);

impl Drop for ReceivedFile {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        let _ = std::fs::remove_file(&self.0);
    }
}

impl SnapshotFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Its content in chunks of at most `chunk_bytes`, read on blocking threads.
    pub(crate) fn chunks(
        &self,
        chunk_bytes: usize,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + use<> {
        let path = self.path.clone();
        let chunks = stream::try_unfold(None::<File>, move |file| {
            let path = path.clone();
            async move {
                tokio::task::spawn_blocking(move || read_chunk(file, &path, chunk_bytes))
                    .await
                    .map_err(io::Error::other)?
            }
        });
        Box::pin(chunks)
    }
}

fn read_chunk(
    file: Option<File>,
    path: &Path,
    chunk_bytes: usize,
) -> io::Result<Option<(Bytes, Option<File>)>> {
    let mut file = match file {
        Some(file) => file,
        None => File::open(path)?,
    };
    let mut chunk = BytesMut::zeroed(chunk_bytes);
    let mut filled = 0;
    while filled < chunk_bytes {
        match file.read(&mut chunk[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    chunk.truncate(filled);
    Ok((filled > 0).then(|| (chunk.freeze(), Some(file))))
}

/// The snapshot that a checkpoint is.
///
/// # Errors
/// A marker that this build cannot read.
pub(crate) fn snapshot_of(
    checkpoint: CheckpointInfo,
) -> io::Result<SnapshotOf<RaftTypes, SnapshotFile>> {
    let (last_log_id, last_membership) = decode_marker(checkpoint.applied.bytes)?;
    Ok(Snapshot {
        meta: SnapshotMeta {
            last_log_id: Some(last_log_id),
            last_membership,
        },
        snapshot: SnapshotFile {
            path: checkpoint.path,
            length: checkpoint.bytes,
            _received: None,
        },
    })
}

/// Hands openraft a checkpoint as its snapshot.
pub(crate) struct SnapshotBuilder {
    pub(crate) state: GroupState,
    /// Make one now. Else the newest will do, which the checkpointer has made
    /// before it asked openraft: a disk that refuses a checkpoint then costs a
    /// retry, not the node.
    pub(crate) fresh: bool,
}

impl RaftSnapshotBuilder<RaftTypes> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<RaftTypes, SnapshotFile>, io::Error> {
        let (state, fresh) = (self.state.clone(), self.fresh);
        let checkpoint = tokio::task::spawn_blocking(move || match state.newest_checkpoint() {
            Some(checkpoint) if !fresh => Ok(checkpoint),
            _ => state.checkpoint(),
        })
        .await
        .map_err(io::Error::other)?
        .map_err(io::Error::other)?;
        snapshot_of(checkpoint)
    }
}

/// Where snapshots from peers are put until they are installed.
#[derive(Clone)]
pub(crate) struct SnapshotInbox {
    directory: PathBuf,
    next_file: Arc<AtomicU64>,
}

impl SnapshotInbox {
    /// The inbox of `group` in the data directory; empties it of what a crash left.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn open(data_dir: &Path, group: GroupId) -> io::Result<Self> {
        let directory = data_dir
            .join("incoming")
            .join(format!("{:016x}", group.as_u64()));
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::create_dir_all(&directory)?;
        Ok(Self {
            directory,
            next_file: Arc::default(),
        })
    }

    /// Takes in `length` bytes of chunks as the snapshot `meta` describes.
    ///
    /// # Errors
    /// Chunks that end early, exceed `length` or fail, and what the disk says.
    pub(crate) async fn receive(
        &self,
        meta: SnapshotMeta,
        length: u64,
        mut chunks: impl Stream<Item = io::Result<Bytes>> + Unpin,
    ) -> io::Result<SnapshotOf<RaftTypes, SnapshotFile>> {
        let number = self.next_file.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("{number}.snapshot"));
        let received = Arc::new(ReceivedFile(path.clone()));
        let mut file = {
            let path = path.clone();
            on_blocking_thread(move || File::create(path)).await?
        };
        let mut missing = length;
        while missing > 0 {
            let chunk = chunks.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
            missing = missing
                .checked_sub(chunk.len() as u64)
                .ok_or(io::ErrorKind::InvalidData)?;
            file = on_blocking_thread(move || file.write_all(&chunk).map(|()| file)).await?;
        }
        let snapshot = SnapshotFile {
            path,
            length,
            _received: Some(received),
        };
        Ok(Snapshot { meta, snapshot })
    }
}

async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}
