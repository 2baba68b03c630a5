//! What the directory can be told to do.
//!
//! A command is authorised before it is proposed (see [`crate::rights`]); what
//! stands in the log is done unless the state makes it impossible.

use confab_protocol::codec::{Decode, Encode, Packed, Text};
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, ClientMessageId, DepartmentId, UserId};

/// One entry of the directory's log.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Command {
    /// When the leader took it, in Unix milliseconds.
    pub at_ms: u64,
    /// Who asked; `None` for the system (a CRM hook, an import, a token).
    pub by: Option<UserId>,
    /// What to do.
    pub what: CommandKind,
}

/// What to do. Append-only: a variant keeps its place for ever.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub enum CommandKind {
    /// Begins the directory: how many shards there are, and the general
    /// channel. Must come first; a repetition changes nothing.
    Initialize {
        /// 1 to [`super::SHARDS_MAX`]; for ever.
        shards: u16,
    },
    /// Makes a user known from the claims of its token.
    Provision(Provision),
    /// The hooks of the CRM, of imports and of administrators: all or nothing.
    /// At most [`confab_protocol::limits::DIRECTORY_CHANGES_MAX`].
    Change(Packed<DirectoryChange>),
    /// Creates the direct messages of two users, or finds them.
    OpenDm {
        /// One of them.
        a: UserId,
        /// The other.
        b: UserId,
    },
    /// Creates a group whose owner is `by`.
    CreateGroup(CreateGroup),
    /// Changes a channel's properties; `None` leaves one as it is.
    UpdateChannel {
        /// Which.
        channel: ChannelId,
        /// A new name. A department's or project's own name changes with it.
        name: Option<Text>,
        /// A new topic.
        topic: Option<Text>,
        /// Close or open a group.
        private: Option<bool>,
        /// Archive or bring back. A project is closed or open with it.
        archived: Option<bool>,
    },
    /// Deletes a channel, and the department or project that it belongs to.
    DeleteChannel {
        /// Which; neither general nor a direct message.
        channel: ChannelId,
    },
    /// Makes `by` a member of a group.
    Join {
        /// Which.
        channel: ChannelId,
    },
    /// Takes `by` out of a group.
    Leave {
        /// Which.
        channel: ChannelId,
    },
    /// Makes users members of a group; clients become guests.
    AddMembers {
        /// Which.
        channel: ChannelId,
        /// Whom, at most 500.
        users: Packed<UserId>,
    },
    /// Takes users out of a group.
    RemoveMembers {
        /// Which.
        channel: ChannelId,
        /// Whom, at most 500; who is no member is passed over.
        users: Packed<UserId>,
    },
    /// Gives a member of a group another role. A new owner takes the place of
    /// the old one, who becomes an admin.
    SetRole {
        /// Which.
        channel: ChannelId,
        /// Whom.
        user: UserId,
        /// The new role; guests are clients and clients are guests.
        role: ChannelRole,
    },
    /// A shard's log has every queued change up to an index: forget them.
    ChangesPropagated {
        /// Which shard.
        shard: u16,
        /// Up to and with this directory index.
        through_index: u64,
    },
}

/// What a token says about its user.
///
/// A user not known yet is created: active, in the named departments, which
/// are created too when they are missing (a client is put in none). Of a known
/// user, kind, state and departments stay. The name is taken over while only
/// tokens have given one, the administrator's role while only tokens have
/// spoken of it: what the directory set is never overridden.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Provision {
    /// `sub`.
    pub user: UserId,
    /// `name`; empty takes the id.
    pub name: Text,
    /// `kind`.
    pub kind: UserKind,
    /// `departments`, at most [`super::CLAIMED_DEPARTMENTS_MAX`].
    pub departments: Vec<DepartmentId>,
    /// Whether `roles` holds `admin`; `None` when the token has no `roles`.
    /// A client is never an administrator.
    pub admin: Option<bool>,
}

/// A group to create.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct CreateGroup {
    /// Its id, with the proposer's randomness; see [`ChannelId::group`].
    pub id: ChannelId,
    /// Display name.
    pub name: Text,
    /// What it is about.
    pub topic: Text,
    /// Whether only invited users may join.
    pub private: bool,
    /// Whom to invite at once, at most 500; `by` may be among them.
    pub members: Packed<UserId>,
    /// By which a repetition is recognised, for as long as the group exists.
    pub client_id: Option<ClientMessageId>,
}
