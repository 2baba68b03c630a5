//! The checkpoint file.
//!
//! ```text
//! file   = header | block* | footer
//! header = "CFCHKPT1" | group u64 | index u64 | marker length u32 | marker | crc32 of the header
//! block  = payload length u32 (not 0) | crc32 of the payload | payload
//! payload= (key length u32 | value length u32 | key | value)*, keys ascending
//! footer = 0 u32 | keys u64 | payload bytes u64 | crc32 of all payloads | crc32 of the footer
//! ```
//! Numbers are big endian. Nothing follows the footer.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{CheckpointError, CheckpointInfo};
use crate::{GroupId, Marker};

const MAGIC: &[u8; 8] = b"CFCHKPT1";
/// Bytes of a footer.
const FOOTER: u64 = 28;
const BLOCK_BYTES: usize = 64 << 10;
/// A block holds at least one pair, whatever its size: the most a reader takes.
const BLOCK_BYTES_MAX: usize = 8 << 20;

/// Writes one checkpoint; not durable, and not to be read, before it is sealed.
pub(crate) struct CheckpointWriter {
    file: BufWriter<File>,
    group: GroupId,
    applied: Marker,
    block: Vec<u8>,
    keys: u64,
    payload_bytes: u64,
    payloads: crc32fast::Hasher,
    written: u64,
}

impl CheckpointWriter {
    pub(crate) fn begin(file: File, group: GroupId, applied: Marker) -> io::Result<Self> {
        let mut header = Vec::new();
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&group.as_u64().to_be_bytes());
        header.extend_from_slice(&applied.index.to_be_bytes());
        header.extend_from_slice(&(applied.bytes.len() as u32).to_be_bytes());
        header.extend_from_slice(&applied.bytes);
        header.extend_from_slice(&crc32fast::hash(&header).to_be_bytes());
        let mut writer = Self {
            file: BufWriter::new(file),
            group,
            applied,
            block: Vec::with_capacity(BLOCK_BYTES),
            keys: 0,
            payload_bytes: 0,
            payloads: crc32fast::Hasher::new(),
            written: 0,
        };
        writer.write(&header)?;
        Ok(writer)
    }

    /// Adds a pair; keys must ascend. Returns how many bytes went to the file.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> io::Result<u64> {
        self.keys += 1;
        self.block
            .extend_from_slice(&(key.len() as u32).to_be_bytes());
        self.block
            .extend_from_slice(&(value.len() as u32).to_be_bytes());
        self.block.extend_from_slice(key);
        self.block.extend_from_slice(value);
        if self.block.len() < BLOCK_BYTES {
            return Ok(0);
        }
        let before = self.written;
        self.end_block()?;
        Ok(self.written - before)
    }

    /// Writes the footer; the file is whole, and still to be fsynced.
    pub(crate) fn seal(mut self, path: &Path) -> io::Result<(File, CheckpointInfo)> {
        self.end_block()?;
        let mut footer = vec![0; 4];
        footer.extend_from_slice(&self.keys.to_be_bytes());
        footer.extend_from_slice(&self.payload_bytes.to_be_bytes());
        footer.extend_from_slice(&self.payloads.clone().finalize().to_be_bytes());
        footer.extend_from_slice(&crc32fast::hash(&footer).to_be_bytes());
        self.write(&footer)?;
        let info = CheckpointInfo {
            group: self.group,
            path: path.to_path_buf(),
            applied: self.applied,
            bytes: self.written,
            keys: self.keys,
        };
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        Ok((file, info))
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let block = std::mem::take(&mut self.block);
        self.payloads.update(&block);
        self.payload_bytes += block.len() as u64;
        self.write(&(block.len() as u32).to_be_bytes())?;
        self.write(&crc32fast::hash(&block).to_be_bytes())?;
        self.write(&block)?;
        self.block = block;
        self.block.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.file.write_all(bytes)
    }
}

/// Reads a checkpoint from its begin, checking as it goes: what it has given is
/// right block by block, and whole once [`CheckpointReader::next_block`] gave `None`.
pub(crate) struct CheckpointReader {
    file: BufReader<File>,
    path: PathBuf,
    group: GroupId,
    applied: Marker,
    keys: u64,
    payload_bytes: u64,
    payloads: crc32fast::Hasher,
    read: u64,
}

impl CheckpointReader {
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let io_error = |source| CheckpointError::Io {
            path: path.to_path_buf(),
            source,
        };
        let file = File::open(path).map_err(io_error)?;
        let mut reader = Self {
            file: BufReader::with_capacity(256 << 10, file),
            path: path.to_path_buf(),
            group: GroupId::NODE,
            applied: Marker {
                index: 0,
                bytes: Bytes::new(),
            },
            keys: 0,
            payload_bytes: 0,
            payloads: crc32fast::Hasher::new(),
            read: 0,
        };
        reader.read_header()?;
        Ok(reader)
    }

    /// Reads all of `path`; what it is when it is whole.
    pub(crate) fn check(path: &Path) -> Result<CheckpointInfo, CheckpointError> {
        let mut reader = Self::open(path)?;
        while reader.next_block()?.is_some() {}
        Ok(CheckpointInfo {
            group: reader.group,
            path: path.to_path_buf(),
            applied: reader.applied,
            bytes: reader.read,
            keys: reader.keys,
        })
    }

    /// What `path` is by its header and footer alone; not read is what lies between.
    pub(crate) fn glance(path: &Path) -> Result<CheckpointInfo, CheckpointError> {
        let reader = Self::open(path)?;
        let header = reader.read;
        let mut file = reader.file.get_ref();
        let bytes = file
            .seek(SeekFrom::End(0))
            .map_err(|e| reader.io_error(e))?;
        let Some(at) = bytes.checked_sub(FOOTER).filter(|at| *at >= header) else {
            return Err(reader.damaged("it ends too early"));
        };
        let mut footer = [0; FOOTER as usize];
        file.read_exact_at(&mut footer, at)
            .map_err(|e| reader.io_error(e))?;
        let (covered, checksum) = footer.split_at(FOOTER as usize - 4);
        if crc32fast::hash(covered).to_be_bytes() != checksum {
            return Err(reader.damaged("the footer's checksum is wrong"));
        }
        let mut keys = [0; 8];
        keys.copy_from_slice(&footer[4..12]);
        Ok(CheckpointInfo {
            group: reader.group,
            path: path.to_path_buf(),
            applied: reader.applied.clone(),
            bytes,
            keys: u64::from_be_bytes(keys),
        })
    }

    pub(crate) fn applied(&self) -> &Marker {
        &self.applied
    }

    /// The next pairs; `None` when the file has ended as it should.
    pub(crate) fn next_block(&mut self) -> Result<Option<Vec<(Bytes, Bytes)>>, CheckpointError> {
        let head = self.take::<4>()?;
        let length = u32::from_be_bytes(head) as usize;
        if length == 0 {
            self.read_footer()?;
            return Ok(None);
        }
        if length > BLOCK_BYTES_MAX {
            return Err(self.damaged("a block is too long"));
        }
        let checksum = u32::from_be_bytes(self.take::<4>()?);
        let mut payload = vec![0; length];
        self.fill(&mut payload)?;
        if crc32fast::hash(&payload) != checksum {
            return Err(self.damaged("a block's checksum is wrong"));
        }
        self.payloads.update(&payload);
        self.payload_bytes += length as u64;
        let pairs = split_pairs(&Bytes::from(payload))
            .ok_or_else(|| self.damaged("a block's content is wrong"))?;
        self.keys += pairs.len() as u64;
        Ok(Some(pairs))
    }

    fn read_header(&mut self) -> Result<(), CheckpointError> {
        let mut header = self.take::<28>()?.to_vec();
        let number = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[at..at + 8]);
            u64::from_be_bytes(bytes)
        };
        let (group, index) = (GroupId::from_u64(number(8)), number(16));
        let length = u32::from_be_bytes([header[24], header[25], header[26], header[27]]) as usize;
        if !header.starts_with(MAGIC) || length > Marker::BYTES_MAX {
            return Err(self.damaged("it does not begin like one"));
        }
        let mut marker = vec![0; length];
        self.fill(&mut marker)?;
        header.extend_from_slice(&marker);
        if u32::from_be_bytes(self.take::<4>()?) != crc32fast::hash(&header) {
            return Err(self.damaged("the header's checksum is wrong"));
        }
        self.group = group;
        self.applied = Marker {
            index,
            bytes: marker.into(),
        };
        Ok(())
    }

    fn read_footer(&mut self) -> Result<(), CheckpointError> {
        let mut footer = vec![0; 4];
        footer.extend_from_slice(&self.take::<20>()?);
        let checksum = u32::from_be_bytes(self.take::<4>()?);
        let mut expected = vec![0; 4];
        expected.extend_from_slice(&self.keys.to_be_bytes());
        expected.extend_from_slice(&self.payload_bytes.to_be_bytes());
        expected.extend_from_slice(&self.payloads.clone().finalize().to_be_bytes());
        if crc32fast::hash(&footer) != checksum || footer != expected {
            return Err(self.damaged("the footer does not fit the content"));
        }
        let mut more = [0];
        match self.file.read(&mut more) {
            Ok(0) => Ok(()),
            Ok(_) => Err(self.damaged("something follows the footer")),
            Err(source) => Err(self.io_error(source)),
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], CheckpointError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), CheckpointError> {
        self.read += bytes.len() as u64;
        match self.file.read_exact(bytes) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.damaged("it ends too early"))
            }
            Err(source) => Err(self.io_error(source)),
        }
    }

    fn damaged(&self, reason: &'static str) -> CheckpointError {
        CheckpointError::Damaged {
            path: self.path.clone(),
            reason,
        }
    }

    fn io_error(&self, source: io::Error) -> CheckpointError {
        CheckpointError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

fn split_pairs(payload: &Bytes) -> Option<Vec<(Bytes, Bytes)>> {
    let mut pairs = Vec::new();
    let mut at = 0;
    while at < payload.len() {
        let (key_length, rest) = payload[at..].split_first_chunk::<4>()?;
        let (value_length, _) = rest.split_first_chunk::<4>()?;
        let key_start = at + 8;
        let key_end = key_start.checked_add(u32::from_be_bytes(*key_length) as usize)?;
        let value_end = key_end.checked_add(u32::from_be_bytes(*value_length) as usize)?;
        if value_end > payload.len() {
            return None;
        }
        pairs.push((
            payload.slice(key_start..key_end),
            payload.slice(key_end..value_end),
        ));
        at = value_end;
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn write(path: &Path, keys: u32) -> CheckpointInfo {
        let applied = Marker {
            index: 9,
            bytes: Bytes::from_static(b"term 2"),
        };
        let file = File::create(path).unwrap();
        let mut writer = CheckpointWriter::begin(file, GroupId::new(1, 2), applied).unwrap();
        for key in 0..keys {
            writer
                .add(&key.to_be_bytes(), &vec![key as u8; 300])
                .unwrap();
        }
        writer.seal(path).unwrap().1
    }

    #[test]
    fn what_was_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        for keys in [0, 1, 1000] {
            let info = write(&path, keys);
            assert_eq!(CheckpointReader::check(&path).unwrap(), info);
            assert_eq!(info.keys, u64::from(keys));
            assert_eq!(info.bytes, path.metadata().unwrap().len());
        }
    }

    /// A single wrong byte anywhere, or a missing end, is noticed.
    #[test]
    fn any_damage_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write(&path, 20);
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len())
            .step_by(11)
            .chain(good.len() - 30..good.len())
        {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            assert!(CheckpointReader::check(&path).is_err(), "byte {at}");
            std::fs::write(&path, &good[..at]).unwrap();
            assert!(CheckpointReader::check(&path).is_err(), "cut at {at}");
        }
        std::fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        assert!(CheckpointReader::check(&path).is_err());
    }
}
