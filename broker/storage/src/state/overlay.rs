//! What one group has committed and sled does not hold yet.
//!
//! Pure. `latest` answers reads: each key's newest value. `windows` are what is
//! to be written, oldest first, each closed by the log id it leads up to, so that
//! sled only ever goes from one applied log id to a later one.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::Bytes;

use super::redo::GroupPack;
use super::table::GroupRecord;
use crate::{GroupId, Marker};

/// What a change costs in memory besides its bytes: nodes of two maps and two handles.
const CHANGE_OVERHEAD: usize = 192;
/// What sled writes for a change besides its bytes, roughly.
const STORED_OVERHEAD: usize = 64;

/// A value, or that there is none.
pub(super) type Value = Option<Bytes>;

/// The newest value of a key.
struct Latest {
    value: Value,
    /// The window that holds it.
    window: u64,
}

/// Changes of consecutive commits, in order of commit.
struct Window {
    number: u64,
    changes: Vec<(Bytes, Value)>,
    /// What it takes in memory.
    bytes: usize,
    /// What sled will write for it at most.
    stored_bytes: usize,
    since: Instant,
    applied: Marker,
}

/// One group's overlay.
///
/// Invariant: a key is in `latest` exactly while a window holds a change of it.
pub(super) struct Overlay {
    latest: BTreeMap<Bytes, Latest>,
    /// The last one is open if `is_open`, all others are closed.
    windows: VecDeque<Window>,
    is_open: bool,
    next_window: u64,
    /// Which of sled's keys are the group's.
    pub(super) generation: u32,
    pub(super) applied: Option<Marker>,
    /// What sled's keys hold.
    pub(super) flushed: Option<Marker>,
}

/// Windows to be written together.
pub(super) struct Pack {
    pub(super) pack: GroupPack,
    /// The last window in it.
    pub(super) last_window: u64,
    pub(super) bytes: usize,
}

impl Overlay {
    pub(super) fn new(record: Option<GroupRecord>) -> Self {
        let (generation, flushed) = match record {
            Some(record) => (record.generation, Some(record.applied)),
            None => (GroupRecord::FIRST_GENERATION, None),
        };
        Self {
            latest: BTreeMap::new(),
            windows: VecDeque::new(),
            is_open: false,
            next_window: 0,
            generation,
            applied: flushed.clone(),
            flushed,
        }
    }

    /// The key's value if sled's is not it.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Value> {
        self.latest.get(key).map(|latest| &latest.value)
    }

    /// The changed keys of `from..to`, in order.
    pub(super) fn range<'a>(
        &'a self,
        from: &'a [u8],
        to: &'a [u8],
    ) -> impl DoubleEndedIterator<Item = (&'a Bytes, &'a Value)> {
        use std::ops::Bound::{Excluded, Included};
        let bounds = (Included(from), Excluded(to));
        // An empty range would make the map panic.
        let range = (from < to).then(|| self.latest.range::<[u8], _>(bounds));
        range
            .into_iter()
            .flatten()
            .map(|(key, latest)| (key, &latest.value))
    }

    /// What committing `changes` will add in bytes.
    pub(super) fn cost(changes: &BTreeMap<Bytes, Value>) -> usize {
        let bytes = |(key, value): (&Bytes, &Value)| {
            key.len() + value.as_ref().map_or(0, Bytes::len) + CHANGE_OVERHEAD
        };
        changes.iter().map(bytes).sum::<usize>() + CHANGE_OVERHEAD
    }

    /// Adds a commit of `bytes` bytes (see [`Overlay::cost`]) to the open window.
    pub(super) fn commit(
        &mut self,
        changes: BTreeMap<Bytes, Value>,
        bytes: usize,
        applied: Marker,
    ) {
        if !self.is_open {
            self.is_open = true;
            self.windows.push_back(Window {
                number: self.next_window,
                changes: Vec::new(),
                bytes: 0,
                stored_bytes: 0,
                since: Instant::now(),
                applied: applied.clone(),
            });
            self.next_window += 1;
        }
        let Some(window) = self.windows.back_mut() else {
            return;
        };
        for (key, value) in changes {
            let length = key.len() + value.as_ref().map_or(0, Bytes::len);
            window.stored_bytes += length + STORED_OVERHEAD;
            window.changes.push((key.clone(), value.clone()));
            let latest = Latest {
                value,
                window: window.number,
            };
            self.latest.insert(key, latest);
        }
        window.bytes += bytes;
        window.applied = applied.clone();
        self.applied = Some(applied);
    }

    /// When the oldest commit was that is not in sled.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.windows.front().map(|window| window.since)
    }

    /// Closes the open window if it is large or old enough.
    pub(super) fn rotate(&mut self, bytes: usize, since: Instant) {
        let due = self
            .windows
            .back()
            .is_some_and(|window| window.bytes >= bytes || window.since <= since);
        if due {
            self.is_open = false;
        }
    }

    /// Closed windows, oldest first, that lead to an index below `durable_end`
    /// and whose changes come to `bytes_max` (but at least one); `None` when there is none.
    pub(super) fn next_pack(
        &self,
        group: GroupId,
        durable_end: u64,
        bytes_max: usize,
    ) -> Option<Pack> {
        let closed = self.windows.len() - usize::from(self.is_open);
        let mut changes: BTreeMap<Bytes, Value> = BTreeMap::new();
        let mut bytes = 0;
        let mut last = None;
        for window in self.windows.iter().take(closed) {
            let is_durable = window.applied.index < durable_end;
            if !is_durable || (last.is_some() && bytes + window.stored_bytes > bytes_max) {
                break;
            }
            let size = |value: &Value| value.as_ref().map_or(0, Bytes::len);
            for (key, value) in &window.changes {
                bytes += size(value);
                match changes.insert(key.clone(), value.clone()) {
                    Some(former) => bytes -= size(&former),
                    None => bytes += key.len() + STORED_OVERHEAD,
                }
            }
            last = Some(window);
        }
        let last = last?;
        Some(Pack {
            pack: GroupPack {
                group,
                record: GroupRecord {
                    generation: self.generation,
                    applied: last.applied.clone(),
                },
                from: self.flushed.as_ref().map(|marker| marker.index),
                changes: changes.into_iter().collect(),
            },
            last_window: last.number,
            bytes,
        })
    }

    /// Forgets keys that sled holds now as the windows up to `last_window` had them.
    /// To be called for all keys of a pack, in as many parts as one likes, before
    /// [`Overlay::flushed`].
    pub(super) fn forget<'a>(&mut self, keys: impl Iterator<Item = &'a Bytes>, last_window: u64) {
        for key in keys {
            if self
                .latest
                .get(key)
                .is_some_and(|latest| latest.window <= last_window)
            {
                self.latest.remove(key);
            }
        }
    }

    /// The windows up to `last_window` are in sled. Returns the bytes this frees.
    pub(super) fn flushed(&mut self, last_window: u64, applied: Marker) -> usize {
        self.flushed = Some(applied);
        let mut freed = 0;
        while let Some(window) = self.windows.front() {
            if window.number > last_window {
                break;
            }
            freed += window.bytes;
            self.windows.pop_front();
        }
        freed
    }

    /// Takes on another state that sled holds already. Returns the bytes this frees.
    pub(super) fn replace(&mut self, record: GroupRecord) -> usize {
        let freed = self.windows.iter().map(|window| window.bytes).sum();
        let next_window = self.next_window;
        *self = Self::new(Some(record));
        self.next_window = next_window;
        freed
    }
}
