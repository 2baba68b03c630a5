//! The one kind of error after which a node must stop.

use std::fmt;
use std::sync::Arc;

/// Which half of storage failed.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum StoragePart {
    /// The Raft log: writing or fsync failed.
    Log,
    /// The applied state: sled, redo file or checkpoint failed.
    State,
}

/// Storage has failed for good: nothing more is written, everything pending was
/// completed with an error, and the node must be stopped. The next start
/// recovers, or says what is in its way.
#[derive(Clone, Debug)]
pub struct StorageFailure {
    /// Which half failed.
    pub part: StoragePart,
    /// What was being done and what the system answered, for the operator.
    pub message: Arc<str>,
}

impl StorageFailure {
    pub(crate) fn new(part: StoragePart, message: impl fmt::Display) -> Self {
        Self {
            part,
            message: message.to_string().into(),
        }
    }
}

impl fmt::Display for StorageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            StoragePart::Log => "the Raft log",
            StoragePart::State => "the state store",
        };
        write!(f, "{part} has failed: {}", self.message)
    }
}

impl std::error::Error for StorageFailure {}

/// Called once, from whichever thread met the failure; must not block.
pub type FailureHook = Arc<dyn Fn(&StorageFailure) + Send + Sync>;

/// What a caught panic said.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a message".to_owned()
    }
}
