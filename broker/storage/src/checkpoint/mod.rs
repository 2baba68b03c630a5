//! Checkpoints: one group's state at one applied log id, sealed in one file.
//!
//! A file is written under a temporary name, fsynced, renamed and its directory
//! fsynced; only then are older ones removed. Every block and the whole carry
//! checksums, so a file is either whole or known not to be. The same files serve
//! for rebuilding sled, as Raft snapshots, and as the content of backups.

mod file;
pub(crate) mod shelf;

use std::io;
use std::path::PathBuf;

pub(crate) use self::file::{CheckpointReader, CheckpointWriter};
use crate::{GroupId, Marker, StateError};

/// A finished checkpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckpointInfo {
    /// Whose state it is.
    pub group: GroupId,
    /// The file; open it before it is superseded twice, an open file stays readable.
    pub path: PathBuf,
    /// The last applied log id whose effects it contains.
    pub applied: Marker,
    /// Size of the file.
    pub bytes: u64,
    /// Keys in it.
    pub keys: u64,
}

/// Why a checkpoint could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The group has applied nothing yet: there is nothing to keep.
    #[error("group {0} has applied nothing yet")]
    Empty(GroupId),
    /// The file is no whole checkpoint: take another.
    #[error("{path} is not a whole checkpoint: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The file belongs to another group.
    #[error("{path} is a checkpoint of group {found}, not of {expected}")]
    WrongGroup {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: GroupId,
        /// Whose was wanted.
        expected: GroupId,
    },
    /// The disk refused; the state itself is untouched.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The state store is dead or closed.
    #[error(transparent)]
    State(#[from] StateError),
}
