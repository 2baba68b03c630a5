//! Reads the log engine's files without the engine.
//!
//! The engine truncates a file at the first broken batch when it opens; this
//! reader looks first and changes nothing, so that damage can be told from the
//! torn end a power cut leaves. Layout (raft-engine 0.4, big endian but for checksums):
//!
//! ```text
//! file   = 53 bytes magic | version u64 | (version 2: alignment u64) | batch*
//! batch  = length << 8 | compression, u64 | footer offset u64 | entries crc32 | footer
//! footer = varint items | item* | crc32 ^ (version 2: file number)
//! item   = varint group | 1: entries | 2: command | 3: key and value
//! ```

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::GroupId;

const MAGIC: &[u8] = b"RAFT-LOG-FILE-HEADER-9986AB3E47F320B394C8E84916EB0ED5";
const BATCH_HEADER: usize = 16;
const CHECKSUM: usize = 4;

/// The engine's two series of files.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) enum Queue {
    /// What is appended.
    Append,
    /// What is kept of older files so that those can go.
    Rewrite,
}

/// One file of the log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct LogFile {
    pub(crate) queue: Queue,
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
}

impl LogFile {
    pub(crate) fn of_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let (number, kind) = name.split_once('.')?;
        let queue = match kind {
            "raftlog" => Queue::Append,
            "rewrite" => Queue::Rewrite,
            _ => return None,
        };
        if number.len() != 16 {
            return None;
        }
        Some(Self {
            queue,
            number: number.parse().ok()?,
            path: path.to_path_buf(),
        })
    }

    pub(crate) fn path_of(directory: &Path, queue: Queue, number: u64) -> PathBuf {
        let kind = match queue {
            Queue::Append => "raftlog",
            Queue::Rewrite => "rewrite",
        };
        directory.join(format!("{number:016}.{kind}"))
    }
}

/// The files of the log in `directory`, by queue and number; none if it is not there.
pub(crate) fn list_files(directory: &Path) -> io::Result<Vec<LogFile>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut files = Vec::new();
    for entry in entries {
        files.extend(LogFile::of_path(&entry?.path()));
    }
    files.sort_by_key(|file| (file.queue, file.number));
    Ok(files)
}

/// One thing a batch says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Item {
    Entries {
        group: GroupId,
        first: u64,
        count: u64,
    },
    Clean {
        group: GroupId,
    },
    Compact {
        group: GroupId,
        index: u64,
    },
    Put {
        group: GroupId,
        key: Vec<u8>,
        value: Vec<u8>,
    },
    Delete {
        group: GroupId,
        key: Vec<u8>,
    },
}

/// A file's content with where its batches start.
pub(crate) struct FileReader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Mixed into the footers' checksums, so that a batch of another file is none of this one.
    signature: u32,
}

/// A batch that passed its checksums.
pub(crate) struct Batch {
    pub(crate) items: Vec<Item>,
    pub(crate) end: usize,
}

impl<'a> FileReader<'a> {
    /// `None` when the file's header is broken.
    pub(crate) fn new(number: u64, bytes: &'a [u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let (header, signature) = match u64::from_be_bytes(*version) {
            1 => (MAGIC.len() + 8, 0),
            2 if rest.len() >= 8 => (MAGIC.len() + 16, number as u32),
            _ => return None,
        };
        Some(Self {
            bytes,
            at: header,
            signature,
        })
    }

    /// Reads on at `from`, whatever the header says: for what lies behind damage.
    pub(crate) fn resume(number: u64, bytes: &'a [u8], from: usize) -> Self {
        let header = Self::new(number, bytes);
        Self {
            bytes,
            at: header.as_ref().map_or(from, |reader| from.max(reader.at)),
            signature: header.map_or(number as u32, |reader| reader.signature),
        }
    }

    /// Where the next batch is expected.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// The next batch; `None` at the end of the file and where it is broken.
    pub(crate) fn next_batch(&mut self) -> Option<Batch> {
        let batch = self.batch_at(self.at)?;
        self.at = batch.end;
        Some(batch)
    }

    /// Goes to the next place behind the current one at which a whole batch lies.
    pub(crate) fn skip_to_batch(&mut self) -> Option<Batch> {
        for at in self.at + 1..self.bytes.len().saturating_sub(BATCH_HEADER) {
            // Of sixteen header bytes the 8th, the compression, is 0 or 1: most places fail here.
            if self.bytes[at + 7] <= 1
                && let Some(batch) = self.batch_at(at)
            {
                self.at = batch.end;
                return Some(batch);
            }
        }
        None
    }

    fn batch_at(&self, at: usize) -> Option<Batch> {
        let rest = self.bytes.get(at..)?;
        let (head, _) = rest.split_first_chunk::<BATCH_HEADER>()?;
        let (length, footer) = head.split_at(8);
        let length = u64::from_be_bytes(length.try_into().ok()?);
        let footer = usize::try_from(u64::from_be_bytes(footer.try_into().ok()?)).ok()?;
        if length & 0xff > 1 {
            return None;
        }
        let length = usize::try_from(length >> 8).ok()?;
        if footer < BATCH_HEADER || footer >= length || length > rest.len() {
            return None;
        }
        let items = Items::new(checked(&rest[footer..length], self.signature)?).all()?;
        let entries = &rest[BATCH_HEADER..footer];
        if !entries.is_empty() {
            checked(entries, 0)?;
        }
        Some(Batch {
            items,
            end: at + length,
        })
    }
}

/// Strips the checksum behind `bytes` if it is right.
fn checked(bytes: &[u8], signature: u32) -> Option<&[u8]> {
    let (body, checksum) = bytes.split_at_checked(bytes.len().checked_sub(CHECKSUM)?)?;
    let checksum = u32::from_le_bytes(checksum.try_into().ok()?);
    (crc32fast::hash(body) == checksum ^ signature).then_some(body)
}

/// Decodes a footer.
struct Items<'a> {
    rest: &'a [u8],
}

impl<'a> Items<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    fn all(mut self) -> Option<Vec<Item>> {
        let count = self.varint()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(self.item()?);
        }
        Some(items)
    }

    fn item(&mut self) -> Option<Item> {
        let group = GroupId::from_u64(self.varint()?);
        match self.byte()? {
            1 => {
                let count = self.varint()?;
                let first = if count > 0 { self.varint()? } else { 0 };
                for _ in 0..count {
                    self.varint()?;
                }
                Some(Item::Entries {
                    group,
                    first,
                    count,
                })
            }
            2 => match self.byte()? {
                1 => Some(Item::Clean { group }),
                2 => Some(Item::Compact {
                    group,
                    index: self.varint()?,
                }),
                _ => None,
            },
            3 => match self.byte()? {
                1 => Some(Item::Put {
                    group,
                    key: self.bytes()?,
                    value: self.bytes()?,
                }),
                2 => Some(Item::Delete {
                    group,
                    key: self.bytes()?,
                }),
                _ => None,
            },
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn bytes(&mut self) -> Option<Vec<u8>> {
        let length = usize::try_from(self.varint()?).ok()?;
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes.to_vec())
    }

    /// Seven bits a byte, least significant first.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}
