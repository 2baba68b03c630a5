//! Reading a shard's state: what requests are answered with.
//!
//! Pure reads of any replica's state; whether it is new enough, and whether the
//! user may see the channel, is for the caller to say. Answers are wire bodies,
//! bounded as the wire wants them.

mod channel;
mod history;
mod message;
mod sync;

pub use channel::{
    ChannelState, channel_state, channel_state_for, cursors, has_begun, pending_purges, read_state,
    thread_info,
};
pub use history::{history, pins};
pub use message::{MessageFacts, message, message_facts};
pub use sync::sync;

use confab_protocol::limits::PAGE_ITEMS_MAX;

/// How many items a page may hold: 0 stands for `default`.
fn page_limit(asked: u16, default: u16) -> usize {
    let limit = if asked == 0 { default } else { asked };
    usize::from(limit.min(PAGE_ITEMS_MAX))
}
