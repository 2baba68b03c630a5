//! The newest entries of a group's log, for those who follow its end.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use confab_storage::LogEntry;

/// A window over the end of the log.
///
/// Invariant: holds `first_index..first_index + entries.len()`, all of which
/// are in the log; `bytes` is the sum of their sizes. The newest entry is kept
/// whatever its size.
pub(crate) struct RecentEntries {
    first_index: u64,
    entries: VecDeque<Bytes>,
    bytes: usize,
    bytes_max: usize,
}

impl RecentEntries {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            first_index: 0,
            entries: VecDeque::new(),
            bytes: 0,
            bytes_max,
        }
    }

    fn next_index(&self) -> u64 {
        self.first_index + self.entries.len() as u64
    }

    /// Takes in consecutive entries, in place of any from the first of them on.
    pub(crate) fn append(&mut self, entries: &[LogEntry]) {
        let Some(first) = entries.first() else { return };
        self.truncate(first.index);
        if first.index != self.next_index() {
            self.clear(first.index);
        }
        for entry in entries {
            self.bytes += entry.bytes.len();
            self.entries.push_back(entry.bytes.clone());
        }
        while self.bytes > self.bytes_max && self.entries.len() > 1 {
            self.pop_front();
        }
    }

    /// Forgets entries from `next` on.
    pub(crate) fn truncate(&mut self, next: u64) {
        while self.next_index() > next {
            match self.entries.pop_back() {
                Some(entry) => self.bytes -= entry.len(),
                None => return,
            }
        }
    }

    /// Forgets entries before `first`.
    pub(crate) fn purge(&mut self, first: u64) {
        while self.first_index < first && !self.entries.is_empty() {
            self.pop_front();
        }
    }

    fn pop_front(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.len();
            self.first_index += 1;
        }
    }

    fn clear(&mut self, first_index: u64) {
        self.entries.clear();
        self.bytes = 0;
        self.first_index = first_index;
    }

    /// Entries of `range` up to `bytes_max`, at least one; `None` where the log must be asked.
    pub(crate) fn read(&self, range: Range<u64>, bytes_max: usize) -> Option<Vec<LogEntry>> {
        if !(self.first_index..self.next_index()).contains(&range.start) {
            return None;
        }
        let skipped = usize::try_from(range.start - self.first_index).ok()?;
        let mut bytes = 0;
        let entries = (range.start..range.end)
            .zip(self.entries.iter().skip(skipped))
            .take_while(|(index, entry)| {
                bytes += entry.len();
                *index == range.start || bytes <= bytes_max
            })
            .map(|(index, bytes)| LogEntry {
                index,
                bytes: bytes.clone(),
            })
            .collect();
        Some(entries)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn entries(range: Range<u64>) -> Vec<LogEntry> {
        range
            .map(|index| LogEntry {
                index,
                bytes: Bytes::from(index.to_string()),
            })
            .collect()
    }

    fn indexes(read: Option<Vec<LogEntry>>) -> Option<Vec<u64>> {
        read.map(|entries| entries.iter().map(|entry| entry.index).collect())
    }

    /// Followers at the end of the log must be served from here, others must not.
    #[test]
    fn only_the_window_is_served() {
        let mut recent = RecentEntries::new(4);
        recent.append(&entries(10..14));
        assert_eq!(indexes(recent.read(10..14, 100)), None);
        assert_eq!(indexes(recent.read(12..14, 100)), Some(vec![12, 13]));
        assert_eq!(indexes(recent.read(12..14, 1)), Some(vec![12]));
        assert_eq!(indexes(recent.read(13..20, 100)), Some(vec![13]));
        assert_eq!(indexes(recent.read(14..20, 100)), None);
    }

    /// A new leader overwrites the end of the log: the old entries must not be seen again.
    #[test]
    fn overwritten_and_truncated_entries_are_gone() {
        let mut recent = RecentEntries::new(100);
        recent.append(&entries(1..5));
        recent.append(&[LogEntry {
            index: 3,
            bytes: Bytes::from_static(b"new"),
        }]);
        let read = recent.read(2..9, 100).unwrap();
        assert_eq!(read[1].bytes, Bytes::from_static(b"new"));
        assert_eq!(read.len(), 2);
        recent.truncate(3);
        assert_eq!(indexes(recent.read(2..9, 100)), Some(vec![2]));
        recent.append(&entries(20..22));
        assert_eq!(indexes(recent.read(2..9, 100)), None);
        recent.purge(21);
        assert_eq!(indexes(recent.read(20..22, 100)), None);
        assert_eq!(indexes(recent.read(21..22, 100)), Some(vec![21]));
    }
}
