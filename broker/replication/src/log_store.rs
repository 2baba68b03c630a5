//! openraft's log storage over the node's one log.
//!
//! Entries are encoded once, when they are appended; the newest of them are
//! also kept here, sharing that memory, so that apply and replication read them
//! without asking the log and without ever waiting for a disk. Older ones are
//! read on a blocking thread. Completions come from the log's writer thread, in
//! order, and go to openraft from there.

use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;

use confab_storage::{GroupId, Log, LogEntry, LogError, Marker};
use futures_util::{Stream, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::codec::{
    decode_entry, decode_log_id, decode_marker, decode_vote, encode_entry, encode_log_id,
    encode_marker, encode_vote,
};
use crate::raft_types::{Entry, LogId, RaftTypes, StoredMembership, Vote};
use crate::recent::RecentEntries;

/// Appended bytes that may wait for the disk before an append waits for it.
/// A leader never comes near it, for batches in flight are few; it slows down
/// whoever feeds a follower faster than its disk writes.
const UNFLUSHED_BYTES_MAX: usize = 8 << 20;

/// Entries decoded at once while reading a range as a stream.
const STREAM_ENTRIES_MAX: u64 = 64;

/// One group's part of the log; clones are the same.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Log,
    group: GroupId,
    read_bytes_max: usize,
    shared: Arc<Shared>,
}

struct Shared {
    recent: Mutex<RecentEntries>,
    vote: Mutex<Option<Vote>>,
    progress: watch::Sender<Progress>,
}

/// What was given to the log, and how much of it is not durable yet.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    appended_next: u64,
    unflushed_bytes: usize,
    /// The log has failed: nothing is flushed any more.
    failed: bool,
}

impl LogStore {
    /// # Errors
    /// What the log says, and a vote that cannot be read.
    pub(crate) fn open(log: Log, group: GroupId, read_bytes_max: usize) -> io::Result<Self> {
        let state = log.state(group).map_err(log_error)?;
        let saved = state.vote.map(decode_vote).transpose()?;
        let last = match (state.last_index, state.purged) {
            (Some(last), _) => {
                let entries = log.read(group, last..last + 1, 1).map_err(log_error)?;
                let entry = entries.into_iter().next();
                let decoded = entry.map(|entry| decode_entry(entry.index, entry.bytes));
                decoded.transpose()?.map(|entry| entry.log_id)
            }
            (None, Some(purged)) => Some(decode_marker(purged.bytes)?.0),
            (None, None) => None,
        };
        let vote = at_least(saved, last);
        let next = state.last_index.map_or(0, |last| last + 1);
        let progress = Progress {
            appended_next: next,
            ..Progress::default()
        };
        let shared = Shared {
            recent: Mutex::new(RecentEntries::new(read_bytes_max.saturating_mul(2))),
            vote: Mutex::new(vote),
            progress: watch::Sender::new(progress),
        };
        Ok(Self {
            log,
            group,
            read_bytes_max,
            shared: Arc::new(shared),
        })
    }

    async fn room_for_append(&self) -> io::Result<()> {
        let reached =
            |progress: &Progress| progress.failed || progress.unflushed_bytes < UNFLUSHED_BYTES_MAX;
        let mut progress = *self.shared.progress.borrow();
        if !reached(&progress) {
            let mut changes = self.shared.progress.subscribe();
            progress = *changes.wait_for(reached).await.map_err(io::Error::other)?;
        }
        if progress.failed {
            Err(io::Error::other("the log has failed"))
        } else {
            Ok(())
        }
    }

    /// Entries of `range` until `bytes_max` is reached: at least one when there is one.
    async fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let recent = self.shared.recent.lock().read(range.clone(), bytes_max);
        let entries = match recent {
            Some(entries) => entries,
            None => {
                let (log, group) = (self.log.clone(), self.group);
                tokio::task::spawn_blocking(move || log.read(group, range, bytes_max))
                    .await
                    .map_err(io::Error::other)?
                    .map_err(log_error)?
            }
        };
        entries
            .into_iter()
            .map(|entry| decode_entry(entry.index, entry.bytes).map_err(io::Error::from))
            .collect()
    }

    /// All that is left of `range`: openraft checks itself whether the first entry is the one it needs.
    async fn read_all(&self, range: Range<u64>) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let first_index = self.log.state(self.group).map_err(log_error)?.first_index;
        let mut next = range.start.max(first_index.unwrap_or(range.end));
        while next < range.end {
            let read = self.read(next..range.end, self.read_bytes_max).await?;
            let Some(last) = read.last() else { break };
            next = last.log_id.index + 1;
            entries.extend(read);
        }
        Ok(entries)
    }

    fn resolve(&self, range: impl RangeBounds<u64>) -> Range<u64> {
        let start = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let appended_next = self.shared.progress.borrow().appended_next;
        let end = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1),
            Bound::Excluded(index) => *index,
            Bound::Unbounded => appended_next,
        };
        start..end.min(appended_next)
    }
}

/// The vote, or that of the leader of the last entry where the vote is older.
///
/// A log that was cut to repair it begins after a checkpoint that may be of a
/// later term than the vote it still holds. Whoever has an entry of a term has
/// known that term's leader, so nothing is claimed that was not so.
fn at_least(saved: Option<Vote>, last: Option<LogId>) -> Option<Vote> {
    let leader = last.map(|last| *last.committed_leader_id());
    match (saved, leader) {
        (Some(saved), Some(leader)) if saved.leader_id.term >= leader.term => Some(saved),
        (_, Some(leader)) => Some(Vote::new_committed(leader.term, leader.node_id)),
        (saved, None) => saved,
    }
}

impl RaftLogReader<RaftTypes> for LogStore {
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + Send
    where
        RB: RangeBounds<u64> + Clone + std::fmt::Debug + Send,
    {
        // A whole range may be a long replay: it is read piece by piece.
        let store = self.clone();
        let range = store.resolve(range);
        let pieces = stream::unfold((store, range), |(store, range)| async move {
            if range.is_empty() {
                return None;
            }
            let piece_end = range
                .end
                .min(range.start.saturating_add(STREAM_ENTRIES_MAX));
            match store
                .read(range.start..piece_end, store.read_bytes_max)
                .await
            {
                Ok(entries) => {
                    let next = entries.last()?.log_id.index + 1;
                    let entries = entries.into_iter().map(Ok).collect::<Vec<_>>();
                    Some((stream::iter(entries), (store, next..range.end)))
                }
                Err(error) => Some((stream::iter(vec![Err(error)]), (store, 0..0))),
            }
        });
        Box::pin(futures_util::StreamExt::flatten(pieces))
    }

    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + std::fmt::Debug + Send,
    {
        self.read_all(self.resolve(range)).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(*self.shared.vote.lock())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(self.resolve(start..end), self.read_bytes_max)
            .await
    }
}

impl RaftLogStorage<RaftTypes> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<RaftTypes>, io::Error> {
        let state = self.log.state(self.group).map_err(log_error)?;
        let last_purged_log_id = match state.purged {
            Some(marker) => Some(decode_marker(marker.bytes)?.0),
            None => None,
        };
        let last_log_id = match state.last_index {
            Some(last) => {
                let entries = self.read(last..last.saturating_add(1), 1).await?;
                let entry = entries.first().ok_or_else(|| {
                    io::Error::new(io::ErrorKind::InvalidData, "the last log entry is missing")
                })?;
                Some(entry.log_id)
            }
            None => last_purged_log_id,
        };
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (saved, durable) = oneshot::channel();
        let done = move |result| {
            // Whoever gave up waiting has been told that the group stops.
            let _ = saved.send(result);
        };
        self.log
            .save_vote(self.group, encode_vote(*vote), Box::new(done));
        durable
            .await
            .map_err(io::Error::other)?
            .map_err(log_error)?;
        *self.shared.vote.lock() = Some(*vote);
        Ok(())
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        if let Some(committed) = committed {
            self.log
                .save_committed(self.group, encode_log_id(committed));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let state = self.log.state(self.group).map_err(log_error)?;
        Ok(state.committed.map(decode_log_id).transpose()?)
    }

    async fn append<I>(
        &mut self,
        entries: I,
        flushed: IOFlushed<RaftTypes>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<LogEntry> = entries
            .into_iter()
            .map(|entry| LogEntry {
                index: entry.log_id.index,
                bytes: encode_entry(&entry),
            })
            .collect();
        let Some(last) = entries.last() else {
            flushed.io_completed(Ok(()));
            return Ok(());
        };
        let next = last.index + 1;
        let bytes = entries.iter().map(|entry| entry.bytes.len()).sum::<usize>();
        self.room_for_append().await?;
        self.shared.recent.lock().append(&entries);
        self.shared.progress.send_modify(|progress| {
            progress.appended_next = next;
            progress.unflushed_bytes += bytes;
        });
        let shared = self.shared.clone();
        let done = move |result: Result<(), LogError>| {
            shared.progress.send_modify(|progress| {
                progress.unflushed_bytes -= bytes;
                progress.failed |= result.is_err();
            });
            flushed.io_completed(result.map_err(log_error));
        };
        self.log.append(self.group, entries, Box::new(done));
        Ok(())
    }

    async fn truncate_after(&mut self, last_kept: Option<LogId>) -> Result<(), io::Error> {
        let last_kept = last_kept.map(|log_id| log_id.index);
        let next = last_kept.map_or(0, |last| last + 1);
        self.shared.recent.lock().truncate(next);
        self.shared.progress.send_modify(|progress| {
            progress.appended_next = progress.appended_next.min(next);
        });
        // Whatever is appended later completes after this, so nobody waits here.
        self.log
            .truncate_after(self.group, last_kept, Box::new(|_| {}));
        Ok(())
    }

    async fn purge(&mut self, last_purged: LogId) -> Result<(), io::Error> {
        let next = last_purged.index + 1;
        self.shared.recent.lock().purge(next);
        self.shared.progress.send_modify(|progress| {
            progress.appended_next = progress.appended_next.max(next);
        });
        // The marker has the form that checkpoints give theirs, which may purge the log as well.
        let bytes = encode_marker(last_purged, &StoredMembership::default());
        self.log.purge(
            self.group,
            Marker {
                index: last_purged.index,
                bytes,
            },
        );
        Ok(())
    }
}

fn log_error(error: LogError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{LogId, Vote, at_least};
    use crate::raft_types::LeaderId;

    /// After a repair the log may begin at an entry of a later term than the
    /// vote that is left; such a group must start, and never vote back in time.
    #[test]
    fn a_vote_is_never_older_than_the_last_entry() {
        let entry = |term| Some(LogId::new(LeaderId { term, node_id: 2 }, 7));
        let vote = Vote::new(5, 1);
        assert_eq!(at_least(Some(vote), entry(5)), Some(vote));
        assert_eq!(at_least(Some(vote), None), Some(vote));
        assert_eq!(at_least(None, None), None);
        let raised = Some(Vote::new_committed(9, 2));
        assert_eq!(at_least(Some(vote), entry(9)), raised);
        assert_eq!(at_least(None, entry(9)), raised);
    }
}
