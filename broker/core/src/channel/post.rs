//! Posting, the hot path: a message, what recognises its resend, its sender's
//! row and the head are all that is written for a plain message.
//!
//! Sending moves the sender's own cursors to the message: those of the channel
//! for a top-level message, those of the thread for a reply. A reply leaves the
//! channel's cursor alone, for whoever answers in a thread has not read what
//! else stands in the channel.

use confab_protocol::limits::{
    ATTACHMENT_MEDIA_TYPE_BYTES_MAX, ATTACHMENT_NAME_BYTES_MAX, ATTACHMENT_URL_BYTES_MAX,
    ATTACHMENTS_MAX, CONTENT_BYTES_MAX, MENTIONS_MAX,
};
use confab_protocol::message::event::Change;
use confab_protocol::position::{Offset, Position, Sequence};

use super::command::{Post, StoredAttachment, StoredMentions};
use super::head::Log;
use super::keys::Scope;
use super::message::Placed;
use super::record::{FirstAnswer, Reader, StoredChange, StoredMessage};
use super::reply::{Refusal, Reply};
use super::{keys, message, reader, rows, thread};

/// Posts a message, or answers a resend as the first time.
pub(super) fn post(log: &mut Log<'_>, post: &Post) -> Result<Reply, Refusal> {
    if let Some(first) = first_answer(log, post) {
        return Ok(posted(log, first, true));
    }
    log.not_archived()?;
    check_content(&post.content, &post.mentions)?;
    check_attachments(&post.attachments)?;
    let root = match post.thread_root {
        Some(root) => Some(open_thread(log, root)?),
        None => None,
    };

    let offset = append(log, post);
    let first = FirstAnswer {
        offset,
        created_at_ms: log.at_ms,
    };
    remember(log, post, first);
    match root {
        Some(root) => count_reply(log, post, root, offset),
        None => count_top_level(log, post, offset),
    }
    let at_ms = log.at_ms;
    log.head_mut().last_activity_ms = at_ms;
    Ok(posted(log, first, false))
}

fn posted(log: &Log<'_>, first: FirstAnswer, duplicate: bool) -> Reply {
    Reply::Posted {
        position: Position {
            epoch: log.epoch,
            offset: first.offset,
        },
        created_at_ms: first.created_at_ms,
        duplicate,
    }
}

/// The answer that the same post got before. When its two names say different
/// messages, which no honest client sends, the sequence counts.
fn first_answer(log: &Log<'_>, post: &Post) -> Option<FirstAnswer> {
    let by_sequence = (post.sequence != Sequence(0))
        .then(|| keys::sequence(log.epoch, &post.sender, &post.device, post.sequence))
        .and_then(|key| rows::read(&*log.store, &key));
    by_sequence.or_else(|| {
        let id = post.client_message_id.as_ref()?;
        rows::read(&*log.store, &keys::client_id(log.epoch, &post.sender, id))
    })
}

fn remember(log: &mut Log<'_>, post: &Post, first: FirstAnswer) {
    if post.sequence != Sequence(0) {
        let key = keys::sequence(log.epoch, &post.sender, &post.device, post.sequence);
        rows::write(log.store, &key, &first);
    }
    if let Some(id) = &post.client_message_id {
        let key = keys::client_id(log.epoch, &post.sender, id);
        rows::write(log.store, &key, &first);
    }
}

/// Refuses content and mentions past what a wire message may hold; what is
/// allowed to a user is checked before.
pub(super) fn check_content(content: &str, mentions: &StoredMentions) -> Result<(), Refusal> {
    if content.len() > CONTENT_BYTES_MAX || mentions.users.len() > MENTIONS_MAX {
        return Err(Refusal::TooLarge);
    }
    Ok(())
}

fn check_attachments(attachments: &[StoredAttachment]) -> Result<(), Refusal> {
    let fits = attachments.len() <= ATTACHMENTS_MAX
        && attachments.iter().all(|attachment| {
            attachment.name.len() <= ATTACHMENT_NAME_BYTES_MAX
                && attachment.media_type.len() <= ATTACHMENT_MEDIA_TYPE_BYTES_MAX
                && attachment.url.len() <= ATTACHMENT_URL_BYTES_MAX
        });
    if fits { Ok(()) } else { Err(Refusal::TooLarge) }
}

fn append(log: &mut Log<'_>, post: &Post) -> Offset {
    let placed = Placed {
        offset: log.head.head.next(),
        created_at_ms: log.at_ms,
        message: StoredMessage {
            sender: post.sender.clone(),
            content: post.content.clone(),
            thread_root: post.thread_root,
            attachments: post.attachments.clone(),
            mentions: post.mentions.clone(),
            client_message_id: post.client_message_id.clone(),
            edited_at_ms: None,
            deleted_at_ms: None,
            version: 1,
            pinned_at: None,
            threaded: false,
            reacted: false,
        },
    };
    let wire = Change::MessagePosted {
        message: placed.plain_wire(),
    };
    log.append(StoredChange::Posted(placed.message), wire)
}

fn count_top_level(log: &mut Log<'_>, post: &Post, offset: Offset) {
    let scope = Scope::top(log.epoch);
    let everyone = post.mentions.everyone();
    log.with_messages(scope, |messages, store| {
        messages.add(store, scope, offset);
        if everyone {
            messages.set_everyone(store, scope, offset, true);
        }
    });
    count_own(log, scope, post, offset, |reader| reader.member = true);
    let none = StoredMentions::default();
    log.change_counted(scope, offset, &post.sender, &none, &post.mentions);
}

/// Counts the message as its sender's and moves the sender's cursors to it.
fn count_own(
    log: &mut Log<'_>,
    scope: Scope,
    post: &Post,
    offset: Offset,
    mark: impl FnOnce(&mut Reader),
) {
    let sender = &post.sender;
    let everyone = post.mentions.everyone();
    log.with_reader(scope, sender, |reader, store| {
        mark(reader);
        reader.advance(offset, offset);
        reader.add_own(store, scope, sender, offset);
        if everyone {
            reader.set_own_everyone(store, scope, sender, offset, true);
        }
    });
}

/// The root of the thread to reply in. A deleted one will do when it has
/// replies already.
fn open_thread(log: &Log<'_>, root: Offset) -> Result<Placed, Refusal> {
    let root = message::read_root(&*log.store, log.epoch, root)?;
    if !root.message.threaded {
        root.not_deleted()?;
    }
    Ok(root)
}

fn count_reply(log: &mut Log<'_>, post: &Post, mut root: Placed, offset: Offset) {
    let scope = Scope::of(log.epoch, Some(root.offset));
    let everyone = post.mentions.everyone();
    let mut thread = thread::read(&*log.store, log.epoch, root.offset);
    if thread.replies.all.len() == 0 {
        let started = std::iter::once(&root.message.sender);
        let called = reader::mentioned_users(&root.message.sender, &root.message.mentions);
        thread::follow_all(log.store, scope, &mut thread, started.chain(called));
    }
    thread.replies.add(log.store, scope, offset);
    if everyone {
        thread.replies.set_everyone(log.store, scope, offset, true);
    }
    count_own(log, scope, post, offset, |reader| {
        thread.set_following(reader, true);
    });
    let called = reader::mentioned_users(&post.sender, &post.mentions);
    thread::follow_all(log.store, scope, &mut thread, called);
    thread::write(log.store, log.epoch, root.offset, &thread);
    let none = StoredMentions::default();
    log.change_counted(scope, offset, &post.sender, &none, &post.mentions);
    if !root.message.threaded {
        root.message.threaded = true;
        root.write(log.store, log.epoch);
    }
}
