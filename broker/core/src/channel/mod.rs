//! The channel shard: the logs of the channels that a shard holds.
//!
//! Pure. A shard's replicas call [`apply`] for every committed [`Command`], in
//! log order, so they decide alike; whoever serves reads calls [`query`]. The
//! state of a channel is its events at dense offsets and what follows from
//! them: messages, threads, reactions, pins, cursors, counts, deduplication.
//!
//! Not here: who is a member and what members may do, which the directory
//! knows and the router checks before it proposes; sessions; delivery.
//!
//! Three choices that SEMANTICS leaves open are written down where they are
//! made: who joins a channel starts with everything read ([`change`]), a reply
//! moves its sender's cursor in the thread only ([`post`]), and a message keeps
//! at most [`EDITS_MAX`] edits, after which it can only be deleted ([`edit`]).

mod apply;
mod change;
mod command;
mod cursor;
mod edit;
mod head;
mod keys;
mod message;
mod offset_set;
mod pin;
mod post;
mod purge;
pub mod query;
mod reaction;
mod reader;
mod record;
mod reply;
mod rows;
mod thread;

#[cfg(test)]
mod tests;

pub use apply::apply;
pub use command::{
    Action, Command, Cursor, Delete, Edit, Follow, MarkUnread, MoveCursor, Pin, Post, React, Show,
    StoredAttachment, StoredMentions,
};
pub use edit::EDITS_MAX;
pub use pin::PINS_MAX;
pub use reply::{Applied, Output, Refusal, Reply};
