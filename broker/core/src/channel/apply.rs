//! Applying a committed command.

use super::command::{Action, Command};
use super::head::Log;
use super::reply::{Applied, Refusal, Reply};
use super::{change, cursor, edit, pin, post, purge, reaction, thread};
use crate::store::StoreMut;

/// Applies one committed command to a shard's state.
///
/// Deterministic, and total: whatever the command holds, it is answered, and a
/// refused one changes nothing. The caller applies every command once, in log
/// order, and makes what this wrote durable together with the applied index.
pub fn apply(store: &mut dyn StoreMut, command: &Command) -> Applied {
    try_apply(store, command).unwrap_or_else(Applied::from)
}

fn try_apply(store: &mut dyn StoreMut, command: &Command) -> Result<Applied, Refusal> {
    match &command.action {
        Action::Show(show) => change::show(store, command, show),
        Action::Purge { rows_max } => purge::purge(store, command, *rows_max).map(Applied::from),
        action => {
            let mut log = Log::open(store, command)?;
            let reply = act(&mut log, action)?;
            Ok(log.close(reply))
        }
    }
}

fn act(log: &mut Log<'_>, action: &Action) -> Result<Reply, Refusal> {
    match action {
        Action::Post(command) => post::post(log, command),
        Action::Edit(command) => edit::edit(log, command),
        Action::Delete(command) => edit::delete(log, command),
        Action::React(command) => reaction::react(log, command),
        Action::Pin(command) => pin::pin(log, command),
        Action::MoveCursor(command) => cursor::move_cursor(log, command),
        Action::MarkUnread(command) => cursor::mark_unread(log, command),
        Action::Follow(command) => thread::follow(log, command),
        // Both are about channels that have no open log.
        Action::Show(_) | Action::Purge { .. } => Err(Refusal::ChannelGone),
    }
}
