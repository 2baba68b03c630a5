//! The directory group's state machine: applies, then says what sessions and
//! propagators have to know at once.

use std::collections::BTreeSet;

use bytes::Bytes;
use confab_core::directory::{self, ChannelChangeKind, Command, DirectoryView, Effects, Reply};
use confab_protocol::codec::{decode, encode};
use confab_replication::{CommittedEntry, StateMachine};
use confab_storage::{GroupState, Marker, StateError};
use tokio::sync::watch;

use super::view::{GroupView, Writes};
use crate::presence::Presence;
use crate::session::registry::Registry;

/// What a directory command answers through Raft.
pub type DirectoryReply = Result<Reply, directory::Refusal>;

/// The directory over this node's storage.
pub struct DirectoryMachine {
    state: GroupState,
    applied: watch::Sender<u64>,
    sessions: Registry,
    presence: Presence,
}

impl DirectoryMachine {
    /// The machine over `state`; it ends sessions of `sessions` that lose
    /// their right to be, and tells `presence` whose channels changed.
    #[must_use]
    pub fn new(state: GroupState, sessions: Registry, presence: Presence) -> Self {
        let applied = state.applied().map_or(0, |marker| marker.index);
        Self {
            state,
            applied: watch::Sender::new(applied),
            sessions,
            presence,
        }
    }

    /// Follows the log index that was applied last.
    #[must_use]
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Ends the sessions that what was applied leaves without a right to be,
    /// and has looked up anew who hears of whom.
    fn take_effect(&self, effects: &Effects) {
        let channels: BTreeSet<_> = effects
            .members
            .iter()
            .map(|change| &change.channel)
            .collect();
        for channel in channels {
            self.presence.channel_changed(channel);
        }
        let left = effects
            .members
            .iter()
            .filter(|change| change.role.is_none());
        let left: Vec<_> = left.map(|change| change.user.clone()).collect();
        if !left.is_empty() {
            self.presence.members_left(&left);
        }
        for change in &effects.changes {
            if matches!(change.what, ChannelChangeKind::Deleted) {
                self.presence.channel_gone(&change.channel);
            }
        }
        let store = GroupView::new(self.state.clone());
        let directory = DirectoryView::new(&store);
        for user in &effects.users {
            if directory.user(user).is_none_or(|user| !user.active) {
                self.sessions.user_deactivated(user);
            }
            if let Some(issued_before) = directory.issued_before(user) {
                let issued_until = issued_before.saturating_sub(1);
                self.sessions.user_revoked(user, issued_until);
            }
        }
        for token_id in &effects.revoked_tokens {
            self.sessions.token_revoked(token_id);
        }
    }
}

impl StateMachine for DirectoryMachine {
    fn apply(&self, entries: &[CommittedEntry], applied: Marker) -> Result<Vec<Bytes>, StateError> {
        let index = applied.index;
        let mut writes = Writes(self.state.begin());
        let mut replies = Vec::new();
        let mut effects = Vec::new();
        for entry in entries {
            for bytes in &entry.commands {
                let command: Command = decode(bytes)
                    .expect("the directory's log holds only commands that this version reads");
                let applied = directory::apply(&mut writes, entry.index, &command);
                replies.push(Bytes::from(encode(&applied.outcome)));
                effects.push(applied.effects);
            }
        }
        writes.0.commit(applied)?;
        effects.iter().for_each(|effects| self.take_effect(effects));
        self.applied.send_replace(index);
        Ok(replies)
    }

    fn state(&self) -> &GroupState {
        &self.state
    }

    fn restored(&self) {
        let applied = self.state.applied().map_or(0, |marker| marker.index);
        self.applied.send_replace(applied);
    }
}
