//! What the directory changed about a channel, on its way into the channel's log.
//!
//! The directory queues these durably; the propagator hands them to the shard
//! that keeps the log, at least once and in order; the shard skips what it has.

use confab_protocol::codec::{Decode, Encode, Text};
use confab_protocol::message::event::{ChannelProperties, ChannelRole};
use confab_protocol::{ChannelId, ChannelKind, Epoch, UserId};

/// One change that the directory made to one channel and that the channel's
/// log must show.
///
/// Invariant: `(directory_index, ordinal)` grows within a channel, over all its
/// epochs.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct ChannelChange {
    /// The directory's log index of the command that made it.
    pub directory_index: u64,
    /// Its place among the changes of that index, from 0.
    pub ordinal: u32,
    /// Which channel.
    pub channel: ChannelId,
    /// Which life of its log.
    pub epoch: Epoch,
    /// What the channel is for.
    pub kind: ChannelKind,
    /// Who did it; `None` for the directory itself (an import, a CRM hook).
    pub by: Option<UserId>,
    /// When, in Unix milliseconds.
    pub at_ms: u64,
    /// What changed.
    pub what: ChannelChangeKind,
}

/// What changed about a channel. Append-only: a variant keeps its place for ever.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub enum ChannelChangeKind {
    /// The log begins: its first event shows the properties, its second the
    /// first members.
    Created {
        /// The channel's first properties.
        properties: StoredProperties,
        /// Its first members; `removed` is empty.
        members: MembersDelta,
    },
    /// The properties are these now.
    Updated {
        /// All of them, also those that did not change.
        properties: StoredProperties,
    },
    /// Members came, went or have another role.
    Members(MembersDelta),
    /// The channel is gone: hidden at once, its messages to be purged.
    Deleted,
}

/// What a channel is called and how it is open, as it is stored.
#[derive(Clone, Debug, Default, Eq, PartialEq, Encode, Decode)]
pub struct StoredProperties {
    /// Display name; empty for a direct message.
    pub name: Text,
    /// What it is about.
    pub topic: Text,
    /// Whether only invited users may join a group; false for other kinds.
    pub private: bool,
    /// Since when nothing can be added.
    pub archived_at_ms: Option<u64>,
}

impl StoredProperties {
    /// The properties as clients see them.
    #[must_use]
    pub fn to_wire(&self) -> ChannelProperties {
        ChannelProperties {
            name: self.name.clone(),
            topic: self.topic.clone(),
            private: self.private,
            archived_at_ms: self.archived_at_ms,
        }
    }
}

/// Most users that each list of a [`MembersDelta`] holds: as many as one command
/// can name, so that lists are complete but for what follows from a rule alone.
pub const DELTA_USERS_MAX: usize = 1_000;

/// How a channel's members changed in one step.
///
/// Invariant: no user is both in `added` and in `removed`, and the counts are
/// those of the whole step, of which the lists hold the first
/// [`DELTA_USERS_MAX`] in order of their ids.
#[derive(Clone, Debug, Default, Eq, PartialEq, Encode, Decode)]
pub struct MembersDelta {
    /// Who is a member now or has another role, with the role.
    pub added: Vec<(UserId, ChannelRole)>,
    /// Who is no longer a member.
    pub removed: Vec<UserId>,
    /// How many were added or changed in all.
    pub added_count: u32,
    /// How many were removed in all.
    pub removed_count: u32,
    /// Members after the change.
    pub member_count: u32,
}

impl MembersDelta {
    /// Counts a user who is a member with `role` now.
    pub(super) fn add(&mut self, user: &UserId, role: ChannelRole) {
        self.added_count = self.added_count.saturating_add(1);
        if self.added.len() < DELTA_USERS_MAX {
            self.added.push((user.clone(), role));
        }
    }

    /// Counts a user who is no longer a member.
    pub(super) fn remove(&mut self, user: &UserId) {
        self.removed_count = self.removed_count.saturating_add(1);
        if self.removed.len() < DELTA_USERS_MAX {
            self.removed.push(user.clone());
        }
    }

    /// Whether nobody came, went or changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added_count == 0 && self.removed_count == 0
    }
}
