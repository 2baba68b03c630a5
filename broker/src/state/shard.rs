//! A channel shard's state machine: apply is deliver.

use bytes::Bytes;
use confab_core::channel::{self, Command};
use confab_protocol::codec::{decode, encode};
use confab_replication::{CommittedEntry, StateMachine};
use confab_storage::{GroupState, Marker, StateError};

use super::view::Writes;
use crate::fanout::Fanout;

/// A shard over this node's storage.
///
/// Invariant: no session is attached while a node replays its log at start, so
/// what is delivered here is new, and the node's directory is not older than
/// the changes that a shard shows: they were read from it.
pub struct ShardMachine {
    state: GroupState,
    fanout: Fanout,
}

impl ShardMachine {
    /// The machine over `state`; what it applies goes to `fanout`.
    #[must_use]
    pub const fn new(state: GroupState, fanout: Fanout) -> Self {
        Self { state, fanout }
    }
}

impl StateMachine for ShardMachine {
    fn apply(&self, entries: &[CommittedEntry], applied: Marker) -> Result<Vec<Bytes>, StateError> {
        let mut writes = Writes(self.state.begin());
        let mut replies = Vec::new();
        let mut outputs = Vec::new();
        for bytes in entries.iter().flat_map(|entry| &entry.commands) {
            let command: Command =
                decode(bytes).expect("a shard's log holds only commands that this version reads");
            let done = channel::apply(&mut writes, &command);
            replies.push(Bytes::from(encode(&done.reply)));
            outputs.extend(done.outputs);
        }
        // Nobody may see what a crash could still take back here alone.
        writes.0.commit(applied)?;
        self.fanout.deliver(outputs);
        Ok(replies)
    }

    fn state(&self) -> &GroupState {
        &self.state
    }

    fn restored(&self) {}
}
