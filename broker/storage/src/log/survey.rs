//! Reads every log file before the engine may touch it, and judges what it finds.
//!
//! The writer fsyncs each batch before it writes the next, and numbers them. So
//! a power cut can tear only the last batch of the newest file. Whatever else is
//! wrong is damage: a broken batch with later ones behind it, a number missing,
//! a closed file with a broken end. Rewritten files hold copies whose originals
//! go only after an fsync; there the fsynced length in the catalogue decides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::catalogue::Catalogue;
use super::file_format::{Batch, FileReader, Item, LogFile, Queue, list_files};
use super::{Lost, LostEntries};
use crate::GroupId;
use crate::data_dir::Identity;

/// The key in the node's own records that every batch sets: its number and the
/// data directory's identity.
pub(crate) const BATCH_KEY: &[u8] = b"b";

/// What [`BATCH_KEY`] holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct BatchStamp {
    pub(crate) sequence: u64,
    pub(crate) identity: Identity,
}

impl BatchStamp {
    pub(crate) fn encode(self) -> Vec<u8> {
        [&self.sequence.to_be_bytes()[..], &self.identity].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (sequence, identity) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            sequence: u64::from_be_bytes(*sequence),
            identity: identity.try_into().ok()?,
        })
    }

    fn of(batch: &Batch) -> Option<Self> {
        batch.items.iter().find_map(|item| match item {
            Item::Put { group, key, value } if *group == GroupId::NODE && key == BATCH_KEY => {
                Self::decode(value)
            }
            _ => None,
        })
    }
}

/// Damage that no power cut explains.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    pub(crate) file: LogFile,
    /// Where the readable part of the file ends.
    pub(crate) offset: u64,
    pub(crate) lost: Lost,
}

/// What the files of a log hold.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) files: Vec<LogFile>,
    pub(crate) bytes: u64,
    pub(crate) batches: u64,
    /// Whose log it is by its last batch; `None` when it holds none.
    pub(crate) identity: Option<Identity>,
    /// The groups that anything is said of.
    pub(crate) groups: BTreeSet<GroupId>,
    /// The newest file's unfinished end, which a power cut or a kill leaves.
    pub(crate) torn: Option<(PathBuf, u64)>,
    /// The first damage of each queue.
    pub(crate) damages: Vec<Damage>,
    last_sequence: Option<u64>,
    last_indices: BTreeMap<GroupId, u64>,
}

/// Reads all files in `log`.
///
/// # Errors
/// Only when a file cannot be read; what is wrong with its content is in the answer.
pub(crate) fn survey(log: &Path, catalogue: &Catalogue) -> io::Result<Survey> {
    let files = list_files(log)?;
    let mut survey = Survey {
        files: files.clone(),
        ..Survey::default()
    };
    for queue in [Queue::Rewrite, Queue::Append] {
        survey.last_indices.clear();
        let files: Vec<_> = files.iter().filter(|file| file.queue == queue).collect();
        for (at, file) in files.iter().enumerate() {
            let bytes = fs::read(&file.path)?;
            survey.bytes += bytes.len() as u64;
            let is_last = at + 1 == files.len();
            if let Some(mut damage) = survey.read_file(file, &bytes, is_last, catalogue) {
                let mut behind = Behind::default();
                behind.read(file, &bytes, damage.offset as usize, survey.last_sequence);
                for later in &files[at + 1..] {
                    behind.read(later, &fs::read(&later.path)?, 0, survey.last_sequence);
                }
                damage.lost = behind.lost(&survey.last_indices);
                survey.damages.push(damage);
                break;
            }
        }
    }
    Ok(survey)
}

impl Survey {
    /// The number of the last batch.
    pub(crate) fn last_sequence(&self) -> Option<u64> {
        self.last_sequence
    }

    fn read_file(
        &mut self,
        file: &LogFile,
        bytes: &[u8],
        is_last: bool,
        catalogue: &Catalogue,
    ) -> Option<Damage> {
        let damage = |offset: usize| Damage {
            file: file.clone(),
            offset: offset as u64,
            lost: Lost::default(),
        };
        let Some(mut reader) = FileReader::new(file.number, bytes) else {
            return self.judge_end(file, bytes, 0, is_last, catalogue);
        };
        loop {
            let start = reader.offset();
            let Some(batch) = reader.next_batch() else {
                break;
            };
            if !self.take(file.queue, &batch) {
                return Some(damage(start));
            }
        }
        let end = reader.offset();
        if end == bytes.len() {
            return None;
        }
        self.judge_end(file, bytes, end, is_last, catalogue)
    }

    /// Is what follows the readable part what a power cut leaves?
    fn judge_end(
        &mut self,
        file: &LogFile,
        bytes: &[u8],
        end: usize,
        is_last: bool,
        catalogue: &Catalogue,
    ) -> Option<Damage> {
        let explained = is_last
            && match file.queue {
                Queue::Append => {
                    let mut behind = Behind::default();
                    behind.read(file, bytes, end, self.last_sequence);
                    behind.batches == 0
                }
                Queue::Rewrite => catalogue
                    .rewrite_synced
                    .is_none_or(|synced| synced <= (file.number, end as u64)),
            };
        if explained {
            if bytes[end..].iter().any(|byte| *byte != 0) {
                self.torn = Some((file.path.clone(), end as u64));
            }
            return None;
        }
        Some(Damage {
            file: file.clone(),
            offset: end as u64,
            lost: Lost::default(),
        })
    }

    /// Whether the batch is the one to come next.
    fn take(&mut self, queue: Queue, batch: &Batch) -> bool {
        if queue == Queue::Append {
            let Some(stamp) = BatchStamp::of(batch) else {
                return false;
            };
            if self
                .last_sequence
                .is_some_and(|last| stamp.sequence != last + 1)
            {
                return false;
            }
            self.last_sequence = Some(stamp.sequence);
            self.identity = Some(stamp.identity);
        } else if let Some(stamp) = BatchStamp::of(batch) {
            self.identity = Some(stamp.identity);
        }
        self.batches += 1;
        for item in &batch.items {
            self.groups.insert(item.group());
            if let Item::Entries {
                group,
                first,
                count,
            } = item
                && *count > 0
            {
                self.last_indices.insert(*group, first + count - 1);
            }
        }
        true
    }
}

impl Item {
    fn group(&self) -> GroupId {
        match self {
            Item::Entries { group, .. }
            | Item::Clean { group }
            | Item::Compact { group, .. }
            | Item::Put { group, .. }
            | Item::Delete { group, .. } => *group,
        }
    }
}

/// What lies intact behind damage.
#[derive(Default)]
struct Behind {
    batches: usize,
    last_indices: BTreeMap<GroupId, u64>,
}

impl Behind {
    /// Searches `bytes` from `from`. In appended files only batches newer than
    /// `last_sequence` count: nothing else can be proof that later ones were written.
    fn read(&mut self, file: &LogFile, bytes: &[u8], from: usize, last_sequence: Option<u64>) {
        let mut reader = FileReader::resume(file.number, bytes, from);
        loop {
            let Some(batch) = reader.next_batch().or_else(|| reader.skip_to_batch()) else {
                return;
            };
            if file.queue == Queue::Append {
                let newer = BatchStamp::of(&batch)
                    .is_some_and(|stamp| last_sequence.is_none_or(|last| stamp.sequence > last));
                if !newer {
                    continue;
                }
            }
            self.batches += 1;
            for item in &batch.items {
                if let Item::Entries {
                    group,
                    first,
                    count,
                } = item
                    && *count > 0
                {
                    self.last_indices.insert(*group, first + count - 1);
                }
            }
        }
    }

    fn lost(self, kept: &BTreeMap<GroupId, u64>) -> Lost {
        let groups = self
            .last_indices
            .into_iter()
            .map(|(group, last_seen)| LostEntries {
                group,
                last_kept: kept.get(&group).copied(),
                last_seen,
            })
            .collect();
        Lost {
            batches_behind: self.batches,
            groups,
        }
    }
}
