//! Threads: one level of replies under a top-level message, and who follows.
//!
//! A thread is followed by whoever started it, replied or was mentioned in it,
//! and by hand; by hand it is left, until the next reply or mention of one's
//! own. Its root may be deleted: the replies stay, and it can be replied to.

use confab_protocol::id::UserId;
use confab_protocol::message::channel::ThreadInfo;
use confab_protocol::position::{Epoch, Offset};

use super::command::Follow;
use super::command::StoredMentions;
use super::head::Log;
use super::keys::Scope;
use super::record::{Reader, Thread};
use super::reply::{Refusal, Reply};
use super::{keys, message, reader, rows};
use crate::store::{Store, StoreMut};

/// The thread under `root`; an empty one when there is none.
pub(super) fn read(store: &dyn Store, epoch: Epoch, root: Offset) -> Thread {
    rows::read(store, &keys::thread(epoch, root)).unwrap_or_default()
}

pub(super) fn write(store: &mut dyn StoreMut, epoch: Epoch, root: Offset, thread: &Thread) {
    rows::write(store, &keys::thread(epoch, root), thread);
}

impl Thread {
    /// Live replies.
    pub(super) fn reply_count(&self) -> u32 {
        u32::try_from(self.replies.live.len()).unwrap_or(u32::MAX)
    }

    /// How the thread stands for a user.
    pub(super) fn info(
        &self,
        store: &dyn Store,
        log: (&confab_protocol::ChannelId, Epoch),
        root: Offset,
        user: &UserId,
        reader: &Reader,
    ) -> ThreadInfo {
        let scope = Scope::of(log.1, Some(root));
        ThreadInfo {
            channel: log.0.clone(),
            root,
            reply_count: self.reply_count(),
            last_reply: self.replies.last_live(store, scope),
            following: reader.following,
            follower_count: self.follower_count,
            read_state: reader.state(store, scope, user, &self.replies),
        }
    }

    /// Makes a user follow the thread, or not; answers whether that is new.
    pub(super) fn set_following(&mut self, reader: &mut Reader, on: bool) -> bool {
        if reader.following == on {
            return false;
        }
        reader.following = on;
        if on {
            self.follower_count = self.follower_count.saturating_add(1);
        } else {
            self.follower_count = self.follower_count.saturating_sub(1);
        }
        true
    }
}

/// Makes users follow a thread that a message called them to.
pub(super) fn follow_all<'u>(
    store: &mut dyn StoreMut,
    scope: Scope,
    thread: &mut Thread,
    users: impl IntoIterator<Item = &'u UserId>,
) {
    for user in users {
        let mut row = reader::read(&*store, scope, user);
        if thread.set_following(&mut row, true) {
            reader::write(store, scope, user, &row);
        }
    }
}

/// Makes whom an edited message newly calls on follow its thread.
pub(super) fn follow_mentioned(
    log: &mut Log<'_>,
    root: Offset,
    sender: &UserId,
    before: &StoredMentions,
    mentions: &StoredMentions,
) {
    let known = reader::mentioned_users(sender, before);
    let users = &reader::mentioned_users(sender, mentions) - &known;
    if users.is_empty() {
        return;
    }
    let mut thread = read(&*log.store, log.epoch, root);
    let scope = Scope::of(log.epoch, Some(root));
    follow_all(log.store, scope, &mut thread, users);
    write(log.store, log.epoch, root, &thread);
}

/// Follows a thread or stops following it, by hand. A message without replies
/// can be followed too.
pub(super) fn follow(log: &mut Log<'_>, follow: &Follow) -> Result<Reply, Refusal> {
    let mut root = message::read_root(&*log.store, log.epoch, follow.root)?;
    let scope = Scope::of(log.epoch, Some(follow.root));
    let mut thread = read(&*log.store, log.epoch, follow.root);
    let mut row = reader::read(&*log.store, scope, &follow.user);
    if follow.on && !root.message.threaded {
        root.not_deleted()?;
        root.message.threaded = true;
        root.write(log.store, log.epoch);
    }
    if thread.set_following(&mut row, follow.on) {
        reader::write(log.store, scope, &follow.user, &row);
        write(log.store, log.epoch, follow.root, &thread);
    }
    let place = (&log.head.channel, log.epoch);
    let info = thread.info(&*log.store, place, follow.root, &follow.user, &row);
    Ok(Reply::Thread(info))
}
