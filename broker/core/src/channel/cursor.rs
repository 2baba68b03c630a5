//! Moving cursors: forward, or back by an explicit "mark unread" only.

use confab_protocol::id::UserId;
use confab_protocol::position::Offset;

use super::command::{Cursor, MarkUnread, MoveCursor};
use super::head::Log;
use super::keys::Scope;
use super::record::Reader;
use super::reply::{Output, Refusal, Reply};
use super::{message, reader, thread};

/// Moves a cursor forward.
pub(super) fn move_cursor(log: &mut Log<'_>, command: &MoveCursor) -> Result<Reply, Refusal> {
    let offset = command.offset.min(log.head.head);
    let read = match command.cursor {
        Cursor::Read => offset,
        Cursor::Delivered => Offset(0),
    };
    update(log, &command.user, command.thread, |reader| {
        reader.advance(read, offset)
    })
}

/// Moves a read cursor to just before a message; never forward.
pub(super) fn mark_unread(log: &mut Log<'_>, command: &MarkUnread) -> Result<Reply, Refusal> {
    let before = Offset(command.offset.0.saturating_sub(1));
    update(log, &command.user, command.thread, |reader| {
        let moved = before < reader.read;
        reader.read = reader.read.min(before);
        moved
    })
}

fn update(
    log: &mut Log<'_>,
    user: &UserId,
    thread: Option<Offset>,
    change: impl FnOnce(&mut Reader) -> bool,
) -> Result<Reply, Refusal> {
    let scope = Scope::of(log.epoch, thread);
    let replies = match thread {
        None => None,
        Some(root) => {
            message::read_root(&*log.store, log.epoch, root)?;
            Some(thread::read(&*log.store, log.epoch, root).replies)
        }
    };
    let messages = replies.as_ref().unwrap_or(&log.head.messages);
    let mut row = reader::read(&*log.store, scope, user);
    let moved = change(&mut row);
    let read_state = row.state(&*log.store, scope, user, messages);
    if moved {
        row.member |= thread.is_none();
        reader::write(log.store, scope, user, &row);
        log.output(Output::Cursor {
            channel: log.head.channel.clone(),
            epoch: log.epoch,
            user: user.clone(),
            thread,
            read_state,
            member_count: log.head.member_count,
            at_ms: log.at_ms,
        });
    }
    Ok(Reply::Cursor { thread, read_state })
}
