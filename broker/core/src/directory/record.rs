//! What the directory stores, apart from what clients see of it.

use confab_protocol::codec::{Decode, Encode, Text};
use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::{UserKind, UserProfile};
use confab_protocol::{ChannelKind, ClientMessageId, Epoch, UserId};

use super::change::StoredProperties;

/// A user.
///
/// Invariant: a client is never an administrator.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct StoredUser {
    /// Display name.
    pub name: Text,
    /// Of the company, or a client of it.
    pub kind: UserKind,
    /// Whether the user may connect.
    pub active: bool,
    /// Whether the user administers the server.
    pub admin: bool,
    /// Who gave the name.
    pub name_source: Source,
    /// Who said whether the user is an administrator.
    pub admin_source: Source,
    /// When the user became known, in Unix milliseconds.
    pub created_at_ms: u64,
}

impl StoredUser {
    /// Whether the user is in the general channel: the whole of that rule.
    #[must_use]
    pub fn is_in_general(&self) -> bool {
        self.active && self.kind == UserKind::Internal
    }

    /// The user's public face.
    #[must_use]
    pub fn to_profile(&self, id: &UserId) -> UserProfile {
        UserProfile {
            id: id.clone(),
            name: self.name.clone(),
            kind: self.kind,
            active: self.active,
            admin: self.admin,
        }
    }
}

/// Who a fact about a user is from: a token gives way to the directory.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Encode, Decode)]
pub enum Source {
    /// A token's claims, or nobody so far.
    Token,
    /// The CRM, an import or an administrator.
    Directory,
}

/// A department.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct StoredDepartment {
    /// Display name, its channel's too.
    pub name: Text,
    /// When it was created, in Unix milliseconds.
    pub created_at_ms: u64,
}

/// A project.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct StoredProject {
    /// Display name, its channel's too.
    pub name: Text,
    /// Whether it is closed, its channel archived.
    pub closed: bool,
    /// When it was created, in Unix milliseconds.
    pub created_at_ms: u64,
}

/// On which sides of a project a user is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Encode, Decode)]
pub struct ProjectSides {
    /// In its team.
    pub team: bool,
    /// Among its clients.
    pub client: bool,
}

/// A channel that exists.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct StoredChannel {
    /// Which life of its log.
    pub epoch: Epoch,
    /// What it is for.
    pub kind: ChannelKind,
    /// What it is called and how it is open.
    pub properties: StoredProperties,
    /// When it was created, in Unix milliseconds.
    pub created_at_ms: u64,
    /// Who created it; `None` for the directory.
    pub created_by: Option<UserId>,
    /// By which its creator's repeated request is recognised.
    pub client_id: Option<ClientMessageId>,
    /// A group's owner.
    ///
    /// Invariant: the one member with the role `Owner`; a group is without one
    /// only when it has no internal member.
    pub owner: Option<UserId>,
    /// How many members it has.
    pub member_count: u32,
}

/// A member of a channel other than general.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Encode, Decode)]
pub struct StoredMember {
    /// With which role.
    pub role: ChannelRole,
    /// Since which command: who is oldest inherits a group.
    pub joined: u64,
}

/// The directory's own numbers.
///
/// Invariant: `shards` never changes; the others only grow.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Encode, Decode)]
pub(super) struct Counters {
    /// How many shards there are.
    pub(super) shards: u16,
    /// The epoch of the next channel.
    pub(super) next_epoch: u64,
    /// The index of the newest queued change.
    pub(super) last_index: u64,
    /// The ordinal of the next change queued at `last_index`.
    pub(super) next_ordinal: u32,
}
