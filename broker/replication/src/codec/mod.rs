//! Bytes of the log, of the applied marker and of peers' messages.
//!
//! Written by hand: the formats are few, commands are sliced out of an entry
//! without a copy, and nothing is allocated on the word of a length that the
//! input does not back. Decoding what a disk or a peer gave never panics.
//! Integers are little-endian; an option is a byte 0 or 1 before its value.

mod entry;
mod message;

use bytes::{BufMut, Bytes, BytesMut};

pub(crate) use entry::{
    decode_entry, decode_log_id, decode_marker, decode_vote, encode_entry, encode_log_id,
    encode_marker, encode_vote, entry_size,
};
pub(crate) use message::{
    AppendAnswer, ControlAnswer, ControlRequest, SnapshotHeader, decode_append_answer,
    decode_append_request, decode_control_answer, decode_control_request, decode_snapshot_header,
    decode_vote_answer, encode_append_answer, encode_append_request, encode_control_answer,
    encode_control_request, encode_snapshot_header, encode_vote_answer,
};

/// Why bytes are not what they should be. All mean the same to a caller: damage, or a version from the future.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The input ends before the value does.
    #[error("the value is cut short")]
    Truncated,
    /// Bytes are left after the value.
    #[error("bytes follow after the value")]
    Trailing,
    /// A format version that this build does not know.
    #[error("unknown format version {0}")]
    UnknownVersion(u8),
    /// A kind or flag that this build does not know.
    #[error("unknown kind {0}")]
    UnknownKind(u8),
    /// An entry says another index than the one it is stored under.
    #[error("the entry says another index than it is stored under")]
    WrongIndex,
    /// A membership in which a voter is no node, or a set of voters is empty.
    #[error("the membership contradicts itself")]
    Membership,
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

/// Takes values off the front of `Bytes`; slices share the allocation.
pub(crate) struct Reader {
    input: Bytes,
}

impl Reader {
    pub(crate) fn new(input: Bytes) -> Self {
        Self { input }
    }

    fn remaining(&self) -> usize {
        self.input.len()
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let (head, _) = self
            .input
            .split_first_chunk::<N>()
            .ok_or(CodecError::Truncated)?;
        let head = *head;
        let _ = self.input.split_to(N);
        Ok(head)
    }

    fn u8(&mut self) -> Result<u8, CodecError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, CodecError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, CodecError> {
        self.array().map(u64::from_le_bytes)
    }

    fn flag(&mut self) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(CodecError::UnknownKind(other)),
        }
    }

    /// A `u32` length and that many bytes.
    fn bytes(&mut self) -> Result<Bytes, CodecError> {
        let length = self.u32()? as usize;
        if length > self.remaining() {
            return Err(CodecError::Truncated);
        }
        Ok(self.input.split_to(length))
    }

    /// A `u32` count of values of at least `size_min` bytes each.
    fn count(&mut self, size_min: usize) -> Result<usize, CodecError> {
        let count = self.u32()? as usize;
        if count.saturating_mul(size_min) > self.remaining() {
            return Err(CodecError::Truncated);
        }
        Ok(count)
    }

    fn version(&mut self, known: u8) -> Result<(), CodecError> {
        match self.u8()? {
            version if version == known => Ok(()),
            version => Err(CodecError::UnknownVersion(version)),
        }
    }

    fn option<T>(
        &mut self,
        value: impl FnOnce(&mut Self) -> Result<T, CodecError>,
    ) -> Result<Option<T>, CodecError> {
        if self.flag()? {
            value(self).map(Some)
        } else {
            Ok(None)
        }
    }

    fn finish(self) -> Result<(), CodecError> {
        if self.input.is_empty() {
            Ok(())
        } else {
            Err(CodecError::Trailing)
        }
    }
}

/// Writes a length or count; what is written here is bounded far below 4 GiB by the batch and message limits.
fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u32_le(
        u32::try_from(count).expect("batches and memberships are bounded far below 2^32"),
    );
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.put_slice(bytes);
}

fn put_option<T>(out: &mut BytesMut, value: Option<T>, put: impl FnOnce(&mut BytesMut, T)) {
    match value {
        None => out.put_u8(0),
        Some(value) => {
            out.put_u8(1);
            put(out, value);
        }
    }
}
