//! The directory's state machine.
//!
//! Holds users, departments, projects, channels with their members and roles,
//! revocations, and the durable queue of what the channels' logs must show.
//! Driven by the directory group's log through [`apply`]; read by every node
//! through [`DirectoryView`]. Not here: who may do what ([`crate::rights`]), and
//! what stands in a channel's log ([`crate::channel`]).

mod apply;
mod change;
mod command;
mod draft;
mod effects;
mod keys;
mod placement;
mod record;
mod reply;
mod view;

pub use apply::{Applied, apply};
pub use change::{
    ChannelChange, ChannelChangeKind, DELTA_USERS_MAX, MembersDelta, StoredProperties,
};
pub use command::{Command, CommandKind, CreateGroup, Provision};
pub use effects::{Effects, MemberChange};
pub use placement::{SHARDS_MAX, shard_of};
pub use record::{
    ProjectSides, Source, StoredChannel, StoredDepartment, StoredMember, StoredProject, StoredUser,
};
pub use reply::{Property, Refusal, RefusalReason, Reply, ReplyKind};
pub use view::{DirectoryView, Page};

/// Longest token id (`jti`) that can be revoked, in bytes. A door refuses
/// tokens with a longer one, so that every token can be.
pub const TOKEN_ID_BYTES_MAX: usize = 256;

/// Most departments that a token may name.
pub const CLAIMED_DEPARTMENTS_MAX: usize = 32;

/// Largest encoded [`Command`], in bytes: below what can be decoded. A proposer
/// refuses a longer one (a batch of many large projects) before it is proposed.
pub const COMMAND_BYTES_MAX: usize = 4 << 20;

/// Most changes that may wait for one shard, about 20 MB of state; a command
/// that would add to a longer queue is refused.
pub const PENDING_CHANGES_MAX: u64 = 100_000;

#[cfg(test)]
mod tests;
