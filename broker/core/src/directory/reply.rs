//! What a command answers: what it did, or why it did nothing.

use confab_protocol::codec::{Decode, Encode, Text};
use confab_protocol::{ChannelId, DepartmentId, Epoch, ErrorCode, ProjectId, UserId, WireError};

/// What a command did.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct Reply {
    /// The directory's log index of the command.
    pub directory_index: u64,
    /// How many channel changes it queued. Until the shards have them, see
    /// `DirectoryView::is_propagated`, the channels' logs do not show it.
    pub channel_changes: u32,
    /// What else the asker wants to know.
    pub what: ReplyKind,
}

/// What the asker wants to know. Append-only: a variant keeps its place for ever.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub enum ReplyKind {
    /// `Initialize`, `Change`, `Provision`, `DeleteChannel`, `ChangesPropagated`.
    Done {
        /// How many parts of the command had something to change.
        changed: u32,
    },
    /// `OpenDm`, `CreateGroup`, `UpdateChannel`, `Join`, `Leave`, `AddMembers`,
    /// `RemoveMembers`, `SetRole`.
    Channel {
        /// Which.
        channel: ChannelId,
        /// Which life of its log.
        epoch: Epoch,
        /// Members after the command.
        member_count: u32,
        /// Whether the command changed anything; for `OpenDm` and
        /// `CreateGroup`, whether the channel is new.
        changed: bool,
    },
}

/// Why a command did nothing.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, thiserror::Error)]
#[error("{}{reason}", Place(*.place))]
pub struct Refusal {
    /// Which change of a batch is at fault, from 0.
    pub place: Option<u32>,
    /// What is wrong.
    pub reason: RefusalReason,
}

/// Writes the place of a change before its reason.
struct Place(Option<u32>);

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(place) => write!(formatter, "change {place}: "),
            None => Ok(()),
        }
    }
}

/// What is wrong with a command. Append-only: a variant keeps its place for ever.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, thiserror::Error)]
pub enum RefusalReason {
    /// Nothing is possible before `Initialize`.
    #[error("the directory is not initialised")]
    NotInitialized,
    /// The number of shards is for ever.
    #[error("the directory is initialised with {0} shards already")]
    OtherShards(u16),
    /// Too few or too many shards.
    #[error("a directory has 1 to {max} shards", max = super::SHARDS_MAX)]
    BadShards,
    /// A shard has not taken the changes queued for it.
    #[error("shard {0} is behind with the directory's changes; try again later")]
    Backlog(u16),
    /// The command needs somebody who asks.
    #[error("nobody is said to have asked")]
    NobodyAsks,
    /// There is no such user.
    #[error("user {0} does not exist")]
    NoSuchUser(UserId),
    /// The user is deactivated.
    #[error("user {0} is deactivated")]
    UserInactive(UserId),
    /// There is no such department.
    #[error("department {0} does not exist")]
    NoSuchDepartment(DepartmentId),
    /// There is no such project.
    #[error("project {0} does not exist")]
    NoSuchProject(ProjectId),
    /// There is no such channel, or no longer.
    #[error("channel {0} does not exist")]
    NoSuchChannel(ChannelId),
    /// Departments and teams are of the company.
    #[error("user {0} is a client; only internal users can be put there")]
    NeedsInternal(UserId),
    /// Projects are assigned to clients.
    #[error("user {0} is internal; a project is assigned to clients")]
    NeedsClient(UserId),
    /// Clients administer nothing.
    #[error("user {0} is a client and cannot be an administrator")]
    ClientAdmin(UserId),
    /// Guests are clients and clients are guests.
    #[error("user {0} cannot have this role: clients are guests, and only clients are")]
    WrongRole(UserId),
    /// The user is not in the channel.
    #[error("user {0} is not a member of the channel")]
    NotMember(UserId),
    /// A group is never without an owner.
    #[error("user {0} owns the group; make another member its owner first")]
    OwnerStays(UserId),
    /// Only a group's members are a list that can be changed.
    #[error("the members of this channel follow from the directory")]
    MembersDerived,
    /// General and direct messages stay.
    #[error("this channel cannot be deleted")]
    CannotDelete,
    /// The property does not exist for this kind of channel.
    #[error("a channel of this kind has no {0}")]
    NoSuchProperty(Property),
    /// The new group's id is in use: propose it again with another.
    #[error("the group's id is in use; try again")]
    GroupIdTaken,
    /// The id is not one of a group.
    #[error("this is not the id of a group")]
    NotAGroup,
    /// A direct message needs two users.
    #[error("a direct message needs two different users")]
    DmWithSelf,
    /// A name is empty, too long, or holds a control character.
    #[error("a name has 1 to {max} bytes and no control characters", max = confab_protocol::limits::NAME_BYTES_MAX)]
    BadName,
    /// A topic is too long.
    #[error("a topic has at most {max} bytes", max = confab_protocol::limits::TOPIC_BYTES_MAX)]
    BadTopic,
    /// A token id is empty or too long.
    #[error("a token id has 1 to {max} bytes", max = super::TOKEN_ID_BYTES_MAX)]
    BadTokenId,
    /// A list has more items than are allowed.
    #[error("at most {0} items are allowed here")]
    TooMany(u32),
}

/// A property of a channel, to name it in a refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Encode, Decode)]
pub enum Property {
    /// Its name.
    Name,
    /// Its topic.
    Topic,
    /// Whether it is private.
    Private,
    /// Whether it is archived.
    Archived,
}

impl std::fmt::Display for Property {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Name => "name of its own",
            Self::Topic => "topic",
            Self::Private => "private state",
            Self::Archived => "archived state",
        })
    }
}

impl RefusalReason {
    /// The code that every door answers with.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotInitialized | Self::Backlog(_) => ErrorCode::Overloaded,
            Self::NobodyAsks => ErrorCode::Internal,
            Self::NoSuchUser(_)
            | Self::NoSuchDepartment(_)
            | Self::NoSuchProject(_)
            | Self::NoSuchChannel(_)
            | Self::NotMember(_) => ErrorCode::NotFound,
            Self::OtherShards(_) | Self::GroupIdTaken | Self::OwnerStays(_) => ErrorCode::Conflict,
            Self::MembersDerived | Self::CannotDelete => ErrorCode::Forbidden,
            Self::TooMany(_) => ErrorCode::TooLarge,
            Self::BadShards
            | Self::UserInactive(_)
            | Self::NeedsInternal(_)
            | Self::NeedsClient(_)
            | Self::ClientAdmin(_)
            | Self::WrongRole(_)
            | Self::NoSuchProperty(_)
            | Self::NotAGroup
            | Self::DmWithSelf
            | Self::BadName
            | Self::BadTopic
            | Self::BadTokenId => ErrorCode::InvalidArgument,
        }
    }
}

impl From<RefusalReason> for Refusal {
    fn from(reason: RefusalReason) -> Self {
        Self {
            place: None,
            reason,
        }
    }
}

impl Refusal {
    /// The refusal of one change of a batch.
    pub(super) fn at(place: usize, reason: RefusalReason) -> Self {
        Self {
            place: u32::try_from(place).ok(),
            reason,
        }
    }

    /// The code that every door answers with.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.reason.code()
    }

    /// The error as it travels.
    #[must_use]
    pub fn to_wire(&self) -> WireError {
        let error = WireError::new(self.code(), Text::from(self.to_string()));
        match self.code() {
            ErrorCode::Overloaded => error.retry_after(1_000),
            _ => error,
        }
    }
}
