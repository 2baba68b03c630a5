//! What is being written to sled, written down first.
//!
//! sled may come out of a power cut with a part of what it was given. Applying
//! the log again over half of its own later effects would be wrong, so each pack
//! of windows is fsynced here before its first insert, whole, and inserted again
//! at opening: inserts and removals can be repeated. Two files take turns, so
//! that one is whole while the other is written.
//!
//! ```text
//! file  = "CFREDO01" | sequence u64 | body length u64 | body | crc32 of all before
//! body  = group count u32 | (group u64 | generation u32 | from index u64 + 1, or 0 |
//!         record length u32 | marker | change count u32 | change*)*
//! change= key length u32 | value length u32 + 1, or 0 to remove | key | value
//! ```

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::table::{GroupRecord, Table, TableError};
use crate::disk::{Disk, parent_of};
use crate::{GroupId, Marker};

const MAGIC: &[u8; 8] = b"CFREDO01";
const HEADER: usize = 24;

/// What one flush changes of one group.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct GroupPack {
    pub(crate) group: GroupId,
    /// What the group's record becomes.
    pub(crate) record: GroupRecord,
    /// The index of the record before; the changes lead from there.
    pub(crate) from: Option<u64>,
    /// Keys ascending; `None` removes.
    pub(crate) changes: Vec<(Bytes, Option<Bytes>)>,
}

/// The two files.
pub(crate) struct Redo {
    files: [(File, PathBuf); 2],
    sequence: u64,
    disk: Disk,
}

pub(crate) fn paths(state: &Path) -> [PathBuf; 2] {
    [state.join("redo-0"), state.join("redo-1")]
}

impl Redo {
    /// Opens or creates the files; writing goes on after `last_sequence`.
    pub(crate) fn open(state: &Path, last_sequence: u64, disk: &Disk) -> io::Result<Self> {
        let open = |path: PathBuf| -> io::Result<(File, PathBuf)> {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            Ok((file, path))
        };
        let [first, second] = paths(state);
        let files = [open(first)?, open(second)?];
        disk.sync_directory(&parent_of(&files[0].1))?;
        Ok(Self {
            files,
            sequence: last_sequence,
            disk: disk.clone(),
        })
    }

    /// Writes the packs down. Durable on return.
    pub(crate) fn write(&mut self, packs: &[GroupPack]) -> io::Result<()> {
        self.sequence += 1;
        let bytes = encode(self.sequence, packs);
        let (file, path) = &mut self.files[(self.sequence % 2) as usize];
        file.rewind()?;
        file.write_all(&bytes)?;
        self.disk.sync_file(file, path)
    }
}

/// A redo file that is whole.
pub(crate) struct Written {
    pub(crate) sequence: u64,
    pub(crate) packs: Vec<GroupPack>,
}

/// The whole redo files in `state`, oldest first.
pub(crate) fn read(state: &Path) -> io::Result<Vec<Written>> {
    let mut found = Vec::new();
    for path in paths(state) {
        match std::fs::read(path) {
            Ok(bytes) => found.extend(decode(&bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    found.sort_by_key(|written: &Written| written.sequence);
    Ok(found)
}

/// Inserts again what may have been inserted in part. Every step is flushed.
///
/// # Errors
/// Also when sled is older than what the redo files lead on from: it has lost
/// something that was durable.
pub(crate) fn replay(
    written: &[Written],
    table: &Table,
    flush_bytes_max: usize,
) -> Result<(), TableError> {
    for pack in written.iter().flat_map(|written| &written.packs) {
        let current = table.record(pack.group)?;
        let (generation, index) = match &current {
            Some(record) => (record.generation, Some(record.applied.index)),
            None => (GroupRecord::FIRST_GENERATION, None),
        };
        let to = pack.record.applied.index;
        if pack.record.generation < generation || index.is_some_and(|index| index > to) {
            continue;
        }
        if pack.record.generation > generation || index < pack.from {
            let text = format!(
                "of group {} it holds {index:?}, but entry {:?} was written",
                pack.group, pack.from
            );
            return Err(TableError(text.into()));
        }
        insert([pack], table, flush_bytes_max)?;
    }
    Ok(())
}

/// Inserts packs, each with its record last, in steps that sled survives.
pub(crate) fn insert<'a>(
    packs: impl IntoIterator<Item = &'a GroupPack>,
    table: &Table,
    flush_bytes_max: usize,
) -> Result<(), TableError> {
    let mut bytes = 0;
    for pack in packs {
        for (key, value) in &pack.changes {
            bytes += key.len() + value.as_ref().map_or(0, Bytes::len);
            table.change(pack.group, pack.record.generation, key, value.as_deref())?;
            if bytes >= flush_bytes_max {
                table.flush()?;
                bytes = 0;
            }
        }
        table.set_record(pack.group, &pack.record)?;
    }
    table.flush()
}

fn encode(sequence: u64, packs: &[GroupPack]) -> Vec<u8> {
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&sequence.to_be_bytes());
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&(packs.len() as u32).to_be_bytes());
    for pack in packs {
        out.extend_from_slice(&pack.group.as_u64().to_be_bytes());
        out.extend_from_slice(&pack.record.generation.to_be_bytes());
        out.extend_from_slice(&pack.from.map_or(0, |from| from + 1).to_be_bytes());
        let marker = pack.record.applied.encode();
        out.extend_from_slice(&(marker.len() as u32).to_be_bytes());
        out.extend_from_slice(&marker);
        out.extend_from_slice(&(pack.changes.len() as u32).to_be_bytes());
        for (key, value) in &pack.changes {
            let value_length = value.as_ref().map_or(0, |value| value.len() as u32 + 1);
            out.extend_from_slice(&(key.len() as u32).to_be_bytes());
            out.extend_from_slice(&value_length.to_be_bytes());
            out.extend_from_slice(key);
            out.extend_from_slice(value.as_deref().unwrap_or_default());
        }
    }
    let body = (out.len() - HEADER) as u64;
    out[16..HEADER].copy_from_slice(&body.to_be_bytes());
    let checksum = crc32fast::hash(&out);
    out.extend_from_slice(&checksum.to_be_bytes());
    out
}

/// `None` unless it is whole; what lies behind the checksum is of an older, longer one.
fn decode(bytes: &[u8]) -> Option<Written> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let (length, _) = rest.split_first_chunk::<8>()?;
    let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
    let (covered, rest) = bytes.split_at_checked(HEADER.checked_add(length)?)?;
    let (checksum, _) = rest.split_first_chunk::<4>()?;
    if crc32fast::hash(covered) != u32::from_be_bytes(*checksum) {
        return None;
    }
    let mut body = Body {
        rest: Bytes::copy_from_slice(&covered[HEADER..]),
    };
    let count = body.u32()?;
    let packs = (0..count)
        .map(|_| body.pack())
        .collect::<Option<Vec<_>>>()?;
    Some(Written {
        sequence: u64::from_be_bytes(*sequence),
        packs,
    })
}

struct Body {
    rest: Bytes,
}

impl Body {
    fn pack(&mut self) -> Option<GroupPack> {
        let group = GroupId::from_u64(self.u64()?);
        let generation = self.u32()?;
        let from = self.u64()?.checked_sub(1);
        let marker_length = self.u32()?;
        let applied = Marker::decode(&self.bytes(marker_length)?)?;
        let count = self.u32()?;
        let changes = (0..count)
            .map(|_| self.change())
            .collect::<Option<Vec<_>>>()?;
        Some(GroupPack {
            group,
            record: GroupRecord {
                generation,
                applied,
            },
            from,
            changes,
        })
    }

    fn change(&mut self) -> Option<(Bytes, Option<Bytes>)> {
        let key_length = self.u32()?;
        let value_length = self.u32()?;
        let key = self.bytes(key_length)?;
        let value = match value_length.checked_sub(1) {
            Some(length) => Some(self.bytes(length)?),
            None => None,
        };
        Some((key, value))
    }

    fn u32(&mut self) -> Option<u32> {
        let bytes = self.bytes(4)?;
        Some(u32::from_be_bytes(bytes.as_ref().try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        let bytes = self.bytes(8)?;
        Some(u64::from_be_bytes(bytes.as_ref().try_into().ok()?))
    }

    fn bytes(&mut self, length: u32) -> Option<Bytes> {
        let length = length as usize;
        (length <= self.rest.len()).then(|| self.rest.split_to(length))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn packs() -> Vec<GroupPack> {
        vec![GroupPack {
            group: GroupId::new(0, 1),
            record: GroupRecord {
                generation: 3,
                applied: Marker {
                    index: 17,
                    bytes: Bytes::from_static(b"id"),
                },
            },
            from: Some(0),
            changes: vec![
                (Bytes::from_static(b"a"), Some(Bytes::from_static(b""))),
                (Bytes::from_static(b"b"), None),
            ],
        }]
    }

    #[test]
    fn whole_files_are_read_in_order_and_broken_ones_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let mut redo = Redo::open(directory.path(), 0, &Disk::default()).unwrap();
        for _ in 0..3 {
            redo.write(&packs()).unwrap();
        }
        let sequences = |found: Vec<Written>| -> Vec<u64> {
            found.iter().map(|written| written.sequence).collect()
        };
        let found = read(directory.path()).unwrap();
        assert_eq!(found[0].packs, packs());
        assert_eq!(sequences(found), [2, 3]);
        let path = directory.path().join("redo-1");
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(sequences(read(directory.path()).unwrap()), [2], "byte {at}");
        }
    }
}
