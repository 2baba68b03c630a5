//! Which Raft group, and how far it has come.

use bytes::Bytes;
use std::fmt;

/// A Raft group's id: the workspace in the upper 32 bits, the group's index in
/// it in the lower ones (0 is the directory, channel shards count from 1).
///
/// Invariant: the id with all bits set is kept for the node's own records and
/// never names a group.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct GroupId(u64);

impl GroupId {
    /// Where the node keeps what belongs to no group.
    pub(crate) const NODE: GroupId = GroupId(u64::MAX);

    /// The group `index` of `workspace`.
    pub const fn new(workspace: u32, index: u32) -> Self {
        Self((workspace as u64) << 32 | index as u64)
    }

    /// The id as stored: workspace and index in one number.
    pub const fn from_u64(id: u64) -> Self {
        Self(id)
    }

    /// The id as stored: workspace and index in one number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The workspace this group belongs to.
    pub const fn workspace(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// The group's index within its workspace; 0 is the directory.
    pub const fn index(self) -> u32 {
        self.0 as u32
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.workspace(), self.index())
    }
}

/// A place in a group's log: the index, by which storage compares, and the log
/// id as its owner encodes it, which storage only keeps.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Marker {
    /// The log index.
    pub index: u64,
    /// The encoded log id, opaque to storage; at most 1 KiB.
    pub bytes: Bytes,
}

impl Marker {
    /// The most bytes an encoded log id may take.
    pub const BYTES_MAX: usize = 1024;

    /// `index u64 | bytes`, big endian: how a marker is kept in the log and in sled.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + self.bytes.len());
        out.extend_from_slice(&self.index.to_be_bytes());
        out.extend_from_slice(&self.bytes);
        out
    }

    /// The opposite of [`Marker::encode`]; `None` for anything that is none.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (index, rest) = bytes.split_first_chunk::<8>()?;
        (rest.len() <= Self::BYTES_MAX).then(|| Self {
            index: u64::from_be_bytes(*index),
            bytes: Bytes::copy_from_slice(rest),
        })
    }
}
