//! The state machines of the core over the storage of this node.
//!
//! Raft calls [`DirectoryMachine`] and [`ShardMachine`] in log order; everybody
//! else reads through [`Lookup`]. Not here: rights, which were decided before
//! a command was proposed, and Raft itself.

mod directory;
mod lookup;
mod shard;
mod view;

pub use directory::{DirectoryMachine, DirectoryReply};
pub use lookup::Lookup;
pub use shard::ShardMachine;
pub use view::GroupView;
