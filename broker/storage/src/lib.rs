//! Confab's durable storage: one log for all Raft groups of a node, the state
//! they have applied, and checkpoints of that state.
//!
//! The log (`log`) is the authority: what it has completed survives a power
//! cut. Applied state (`state`) is kept in memory over sled and written behind;
//! it can always be rebuilt from a checkpoint and the log. Log engine and sled
//! are private to this crate: no other crate sees their types.
//!
//! Driven by the replication crate, from async tasks as well as from threads
//! of its own: each method says whether it may block. Not here: what the bytes
//! mean. Keys, values, entries and markers are opaque.

pub mod checkpoint;
pub mod data_dir;
mod disk;
pub mod failure;
mod group;
pub mod log;
pub mod repair;
pub mod state;
pub mod verify;

pub use checkpoint::{CheckpointError, CheckpointInfo};
pub use data_dir::{DataDir, DataDirError};
pub use disk::SyncObserver;
pub use failure::{FailureHook, StorageFailure, StoragePart};
pub use group::{GroupId, Marker};
pub use log::{Completion, Log, LogConfig, LogEntry, LogError, LogOpenError, LogState};
pub use repair::{AcceptLoss, RepairError, RepairReport, repair};
pub use state::{
    GroupState, OpenReport, StateConfig, StateError, StateFigures, StateOpenError, StateStore,
    Transaction,
};
pub use verify::{Finding, Severity, VerifyOptions, VerifyReport, verify};
