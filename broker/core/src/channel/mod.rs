//! The channel shard: the logs of the channels that a shard holds.
//!
//! Pure. A shard's replicas call `apply` for every committed [`Command`], in
//! log order, so they decide alike. The state of a channel is its events at
//! dense offsets and what follows from them: messages, threads, reactions,
//! pins, cursors, counts, deduplication.
//!
//! Not here: who is a member and what members may do, which the directory
//! knows and the router checks before it proposes; sessions; delivery.

mod command;
mod reply;

pub use command::{
    Action, Command, Cursor, Delete, Edit, Follow, MarkUnread, MoveCursor, Pin, Post, React, Show,
    StoredAttachment, StoredMentions,
};
pub use reply::{Applied, Output, Refusal, Reply};

/// Most edits of one message; each keeps the content before it readable.
pub const EDITS_MAX: u32 = 99;

/// Most pinned messages of one channel.
pub const PINS_MAX: usize = 100;
