//! Editing and deleting.
//!
//! An edit keeps the content before it as a version; a message takes at most
//! [`EDITS_MAX`] edits and then refuses more, rather than lose versions that
//! somebody may have answered. An edit that changes nothing is answered as
//! done, so that an edit sent twice is no conflict.
//!
//! A delete erases the content from the message and from all its versions, and
//! with them from the events that posted and edited it. The tombstone keeps
//! sender, place, times and the sender's name for the message.

use confab_protocol::codec::Text;
use confab_protocol::message::event::Change;
use confab_protocol::position::{Epoch, Offset};

use super::command::{Delete, Edit, StoredMentions};
use super::head::Log;
use super::message::Placed;
use super::record::{StoredChange, StoredVersion};
use super::reply::{Refusal, Reply};
use super::{keys, message, post, rows, thread};
use crate::store::Store;

/// Most edits of one message; each keeps the content before it readable.
pub const EDITS_MAX: u32 = 99;

/// Gives a message new content.
pub(super) fn edit(log: &mut Log<'_>, edit: &Edit) -> Result<Reply, Refusal> {
    let mut placed = message::read(&*log.store, log.epoch, edit.message)?;
    placed.not_deleted()?;
    let version = placed.message.version;
    if placed.message.content == edit.content && placed.message.mentions == edit.mentions {
        return Ok(log.changed(version));
    }
    log.not_archived()?;
    if edit.if_version.is_some_and(|asked| asked != version) {
        return Err(Refusal::VersionConflict { version });
    }
    if version > EDITS_MAX {
        return Err(Refusal::TooManyEdits);
    }
    post::check_content(&edit.content, &edit.mentions)?;

    let before = keep_version(log, &mut placed, edit);
    let version = placed.message.version;
    log.append(
        StoredChange::Edited {
            message: edit.message,
            by: edit.by.clone(),
            version,
        },
        Change::MessageEdited {
            message: edit.message,
            by: edit.by.clone(),
            content: edit.content.clone(),
            mentions: edit.mentions.to_wire(),
            version,
        },
    );
    let sender = placed.message.sender.clone();
    let scope = placed.scope(log.epoch);
    if let Some(root) = placed.thread() {
        thread::follow_mentioned(log, root, &sender, &before, &edit.mentions);
    }
    placed.write(log.store, log.epoch);
    log.change_mentions(scope, edit.message, &sender, &before, &edit.mentions);
    Ok(log.changed(version))
}

/// Puts the new content into the message and the old into its versions;
/// answers whom the old called on.
fn keep_version(log: &mut Log<'_>, placed: &mut Placed, edit: &Edit) -> StoredMentions {
    let message = &mut placed.message;
    let before = StoredVersion {
        content: std::mem::replace(&mut message.content, edit.content.clone()),
        mentions: std::mem::replace(&mut message.mentions, edit.mentions.clone()),
        written_at_ms: message.edited_at_ms.unwrap_or(placed.created_at_ms),
    };
    let key = keys::version(log.epoch, edit.message, message.version);
    rows::write(log.store, &key, &before);
    message.version += 1;
    message.edited_at_ms = Some(log.at_ms);
    before.mentions
}

/// Reads an earlier version of a message.
pub(super) fn read_version(
    store: &dyn Store,
    epoch: Epoch,
    message: Offset,
    version: u32,
) -> Option<StoredVersion> {
    rows::read(store, &keys::version(epoch, message, version))
}

/// Deletes a message; one that is deleted already is answered as done.
pub(super) fn delete(log: &mut Log<'_>, delete: &Delete) -> Result<Reply, Refusal> {
    let mut placed = message::read(&*log.store, log.epoch, delete.message)?;
    let version = placed.message.version;
    if placed.message.deleted_at_ms.is_some() {
        return Ok(log.changed(version));
    }
    log.append(
        StoredChange::Deleted {
            message: delete.message,
            by: delete.by.clone(),
        },
        Change::MessageDeleted {
            message: delete.message,
            by: delete.by.clone(),
        },
    );
    uncount(log, &placed);
    erase(log, &mut placed);
    placed.write(log.store, log.epoch);
    Ok(log.changed(version))
}

/// Takes a message out of everything that is counted.
fn uncount(log: &mut Log<'_>, placed: &Placed) {
    let (scope, offset, sender) = (
        placed.scope(log.epoch),
        placed.offset,
        &placed.message.sender,
    );
    let none = StoredMentions::default();
    log.change_mentions(scope, offset, sender, &placed.message.mentions, &none);
    log.with_messages(scope, |messages, store| {
        messages.bury(store, scope, offset);
    });
    log.with_reader(scope, sender, |reader, store| {
        reader.remove_own(store, scope, sender, offset);
    });
}

/// Erases a message's content, versions, pin and reactions. Who reacted stays
/// in rows that nothing reads, until the channel is purged: there may be more
/// of them than one command should touch.
fn erase(log: &mut Log<'_>, placed: &mut Placed) {
    let (epoch, offset) = (log.epoch, placed.offset);
    let message = &mut placed.message;
    for version in 1..message.version {
        log.store.delete(&keys::version(epoch, offset, version));
    }
    if let Some(pinned_at) = message.pinned_at.take() {
        log.store.delete(&keys::pin(epoch, pinned_at));
    }
    if message.reacted {
        log.store.delete(&keys::reactions(epoch, offset));
        message.reacted = false;
    }
    message.content = Text::default();
    message.attachments.clear();
    message.mentions = StoredMentions::default();
    message.deleted_at_ms = Some(log.at_ms);
}
