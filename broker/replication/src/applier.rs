//! The applying end of a group: committed entries into the state machine.
//!
//! Runs on openraft's state machine task. Few commands are applied right there,
//! for a change of threads costs more than they do; many, or whenever the last
//! apply was slow since storage made it wait, go to a blocking thread, so that
//! the async runtime is never held up.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_storage::Marker;
use futures_util::{Stream, StreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftStateMachine};
use openraft::type_config::alias::SnapshotOf;
use tokio::sync::oneshot;

use crate::checkpointer::CheckpointPressure;
use crate::codec::{decode_marker, encode_marker, entry_size};
use crate::progress::Progress;
use crate::raft_types::{
    Entry, LogId, Payload, RaftTypes, Replies, SnapshotMeta, StoredMembership,
};
use crate::snapshot::{SnapshotBuilder, SnapshotFile, snapshot_of};
use crate::state_machine::{CommittedEntry, StateMachine};

/// Most commands that are applied on the async thread: some tens of microseconds of work.
const INLINE_COMMANDS_MAX: usize = 64;

/// An apply that took longer waited for storage: the next one may wait as well.
const SLOW_APPLY: Duration = Duration::from_millis(3);

pub(crate) struct Applier {
    machine: Arc<dyn StateMachine>,
    applied: Option<LogId>,
    membership: StoredMembership,
    progress: Arc<Progress>,
    pressure: Arc<CheckpointPressure>,
    commands_max: usize,
    last_was_slow: bool,
    /// Dropped with the applier: nothing touches the state after it.
    _ended: oneshot::Sender<()>,
}

/// Consecutive entries that are applied in one transaction.
#[derive(Default)]
struct Chunk {
    entries: Vec<CommittedEntry>,
    responders: Vec<Option<ApplyResponder<RaftTypes>>>,
    last: Option<LogId>,
    membership: Option<StoredMembership>,
    commands: usize,
    bytes: usize,
}

impl Chunk {
    fn push(&mut self, entry: Entry, responder: Option<ApplyResponder<RaftTypes>>) {
        self.bytes += entry_size(&entry);
        self.last = Some(entry.log_id);
        let commands = match entry.payload {
            Payload::Blank => Vec::new(),
            Payload::Normal(batch) => batch.0,
            Payload::Membership(membership) => {
                self.membership = Some(StoredMembership::new(Some(entry.log_id), membership));
                Vec::new()
            }
        };
        self.commands += commands.len();
        self.entries.push(CommittedEntry {
            index: entry.log_id.index,
            term: entry.log_id.leader_id.term,
            commands,
        });
        self.responders.push(responder);
    }
}

impl Applier {
    /// # Errors
    /// An applied marker that this build cannot read.
    pub(crate) fn new(
        machine: Arc<dyn StateMachine>,
        progress: Arc<Progress>,
        pressure: Arc<CheckpointPressure>,
        commands_max: usize,
        ended: oneshot::Sender<()>,
    ) -> io::Result<Self> {
        let mut applier = Self {
            machine,
            applied: None,
            membership: StoredMembership::default(),
            progress,
            pressure,
            commands_max,
            last_was_slow: false,
            _ended: ended,
        };
        applier.load()?;
        Ok(applier)
    }

    /// Takes over what the state says of itself.
    fn load(&mut self) -> io::Result<()> {
        if let Some(marker) = self.machine.state().applied() {
            let (applied, membership) = decode_marker(marker.bytes)?;
            self.applied = Some(applied);
            self.membership = membership;
            self.progress.set_applied(applied);
        }
        Ok(())
    }

    async fn apply_chunk(&mut self, chunk: Chunk) -> io::Result<()> {
        let Some(last) = chunk.last else {
            return Ok(());
        };
        if let Some(membership) = chunk.membership {
            self.membership = membership;
        }
        let marker = Marker {
            index: last.index,
            bytes: encode_marker(last, &self.membership),
        };
        let entry_count = chunk.entries.len() as u64;
        let command_counts: Vec<usize> = chunk
            .entries
            .iter()
            .map(|entry| entry.commands.len())
            .collect();
        let replies = self
            .run_machine(chunk.entries, chunk.commands, marker)
            .await?;
        if replies.len() != chunk.commands {
            self.progress.set_panicked();
            return Err(io::Error::other(
                "the state machine gave not one reply per command",
            ));
        }
        self.applied = Some(last);
        // Before the replies: who has one must find its effect applied.
        self.progress.set_applied(last);
        let mut replies = replies.into_iter();
        for (responder, count) in chunk.responders.into_iter().zip(command_counts) {
            let replies = Replies(replies.by_ref().take(count).collect());
            if let Some(responder) = responder {
                responder.send(replies);
            }
        }
        self.pressure.add(entry_count, chunk.bytes as u64);
        Ok(())
    }

    async fn run_machine(
        &mut self,
        entries: Vec<CommittedEntry>,
        command_count: usize,
        marker: Marker,
    ) -> io::Result<Vec<Bytes>> {
        let machine = self.machine.clone();
        let started = Instant::now();
        let apply =
            move || std::panic::catch_unwind(AssertUnwindSafe(|| machine.apply(&entries, marker)));
        let inline = command_count <= INLINE_COMMANDS_MAX && !self.last_was_slow;
        let outcome = if inline {
            apply()
        } else {
            tokio::task::spawn_blocking(apply)
                .await
                .map_err(io::Error::other)?
        };
        self.last_was_slow = command_count <= INLINE_COMMANDS_MAX && started.elapsed() > SLOW_APPLY;
        match outcome {
            Ok(applied) => applied.map_err(io::Error::other),
            Err(_panic) => {
                self.progress.set_panicked();
                Err(io::Error::other("the state machine panicked"))
            }
        }
    }
}

impl RaftStateMachine<RaftTypes> for Applier {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<RaftTypes>, io::Error>> + Unpin + Send,
    {
        let mut chunk = Chunk::default();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            chunk.push(entry, responder);
            if chunk.commands >= self.commands_max {
                self.apply_chunk(std::mem::take(&mut chunk)).await?;
            }
        }
        self.apply_chunk(chunk).await
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        Some(SnapshotBuilder {
            state: self.machine.state().clone(),
            fresh: force,
        })
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder {
            state: self.machine.state().clone(),
            fresh: true,
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let state = self.machine.state().clone();
        tokio::task::spawn_blocking(move || state.restore(snapshot.path()))
            .await
            .map_err(io::Error::other)?
            .map_err(io::Error::other)?;
        self.load()?;
        self.machine.restored();
        if self.applied != meta.last_log_id || self.membership != meta.last_membership {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the snapshot is not the one that was announced",
            ));
        }
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<RaftTypes, SnapshotFile>>, io::Error> {
        self.machine
            .state()
            .newest_checkpoint()
            .map(snapshot_of)
            .transpose()
    }
}
