//! Readers, and the sets of messages from which their counts are derived.
//!
//! Nothing here is a counter of unread messages: a count is what the sets say
//! after a cursor, so a delete or an edit cannot leave a phantom.

use std::collections::BTreeSet;

use confab_protocol::id::UserId;
use confab_protocol::message::channel::ReadState;
use confab_protocol::position::Offset;

use super::command::StoredMentions;
use super::head::Log;
use super::keys::{self, Scope, SetKind, SetName};
use super::record::{Messages, Reader};
use super::{rows, thread};
use crate::store::{Store, StoreMut};

/// The user's row in a scope; a new one when there is none.
pub(super) fn read(store: &dyn Store, scope: Scope, user: &UserId) -> Reader {
    rows::read(store, &keys::reader(scope, user)).unwrap_or_default()
}

pub(super) fn write(store: &mut dyn StoreMut, scope: Scope, user: &UserId, reader: &Reader) {
    rows::write(store, &keys::reader(scope, user), reader);
}

fn set(scope: Scope, kind: SetKind) -> SetName<'static> {
    SetName {
        scope,
        kind,
        user: None,
    }
}

fn user_set(scope: Scope, kind: SetKind, user: &UserId) -> SetName<'_> {
    SetName {
        scope,
        kind,
        user: Some(user),
    }
}

impl Messages {
    /// The newest live message.
    pub(super) fn last_live(&self, store: &dyn Store, scope: Scope) -> Option<Offset> {
        self.live.last(store, &set(scope, SetKind::Live))
    }

    /// Up to `limit` messages before `offset`, newest first; tombstones too.
    pub(super) fn below(
        &self,
        store: &dyn Store,
        scope: Scope,
        offset: Offset,
        limit: usize,
    ) -> Vec<Offset> {
        let name = set(scope, SetKind::All);
        self.all.below(store, &name, offset, limit)
    }

    /// Up to `limit` messages after `offset`, oldest first; tombstones too.
    pub(super) fn above(
        &self,
        store: &dyn Store,
        scope: Scope,
        offset: Offset,
        limit: usize,
    ) -> Vec<Offset> {
        let name = set(scope, SetKind::All);
        self.all.above(store, &name, offset, limit)
    }

    /// Adds a new message.
    pub(super) fn add(&mut self, store: &mut dyn StoreMut, scope: Scope, offset: Offset) {
        self.all.insert(store, &set(scope, SetKind::All), offset);
        self.live.insert(store, &set(scope, SetKind::Live), offset);
    }

    /// Makes a message a tombstone.
    pub(super) fn bury(&mut self, store: &mut dyn StoreMut, scope: Scope, offset: Offset) {
        self.live.remove(store, &set(scope, SetKind::Live), offset);
    }

    /// Says whether a message mentions everyone.
    pub(super) fn set_everyone(
        &mut self,
        store: &mut dyn StoreMut,
        scope: Scope,
        offset: Offset,
        on: bool,
    ) {
        let name = set(scope, SetKind::Everyone);
        if on {
            self.everyone.insert(store, &name, offset);
        } else {
            self.everyone.remove(store, &name, offset);
        }
    }
}

impl Reader {
    /// Adds a message that the user sent.
    pub(super) fn add_own(
        &mut self,
        store: &mut dyn StoreMut,
        scope: Scope,
        user: &UserId,
        offset: Offset,
    ) {
        let name = user_set(scope, SetKind::Own, user);
        self.own.insert(store, &name, offset);
    }

    /// Takes out a message that the user sent.
    pub(super) fn remove_own(
        &mut self,
        store: &mut dyn StoreMut,
        scope: Scope,
        user: &UserId,
        offset: Offset,
    ) {
        let name = user_set(scope, SetKind::Own, user);
        self.own.remove(store, &name, offset);
    }

    /// Says whether a message that the user sent mentions everyone.
    pub(super) fn set_own_everyone(
        &mut self,
        store: &mut dyn StoreMut,
        scope: Scope,
        user: &UserId,
        offset: Offset,
        on: bool,
    ) {
        let name = user_set(scope, SetKind::OwnEveryone, user);
        if on {
            self.own_everyone.insert(store, &name, offset);
        } else {
            self.own_everyone.remove(store, &name, offset);
        }
    }

    fn set_mentioned(
        &mut self,
        store: &mut dyn StoreMut,
        scope: Scope,
        user: &UserId,
        offset: Offset,
        on: bool,
    ) {
        let name = user_set(scope, SetKind::Mentioned, user);
        if on {
            self.mentioned.insert(store, &name, offset);
        } else {
            self.mentioned.remove(store, &name, offset);
        }
    }

    /// Moves both cursors forward, `read` no further than `delivered`; answers
    /// whether one moved.
    pub(super) fn advance(&mut self, read: Offset, delivered: Offset) -> bool {
        let before = (self.read, self.delivered);
        self.read = self.read.max(read);
        self.delivered = self.delivered.max(delivered);
        before != (self.read, self.delivered)
    }

    /// The cursors, and what is after the read cursor.
    pub(super) fn state(
        &self,
        store: &dyn Store,
        scope: Scope,
        user: &UserId,
        messages: &Messages,
    ) -> ReadState {
        let (read, delivered) = (self.read, self.delivered);
        let of_all = |kind, from: &super::offset_set::OffsetSet| {
            from.count_above(store, &set(scope, kind), read)
        };
        let of_user = |kind, from: &super::offset_set::OffsetSet| {
            from.count_above(store, &user_set(scope, kind, user), read)
        };
        let unread =
            of_all(SetKind::Live, &messages.live).saturating_sub(of_user(SetKind::Own, &self.own));
        let mentions = of_user(SetKind::Mentioned, &self.mentioned)
            + of_all(SetKind::Everyone, &messages.everyone)
                .saturating_sub(of_user(SetKind::OwnEveryone, &self.own_everyone));
        ReadState {
            read,
            delivered,
            unread: u32::try_from(unread).unwrap_or(u32::MAX),
            mentions: u32::try_from(mentions).unwrap_or(u32::MAX),
        }
    }
}

/// Whom a message calls on by id, each once, without its sender.
pub(super) fn mentioned_users<'a>(
    sender: &UserId,
    mentions: &'a StoredMentions,
) -> BTreeSet<&'a UserId> {
    mentions
        .users
        .iter()
        .filter(|user| *user != sender)
        .collect()
}

/// Who is in the set of mentions of a user: nobody when everyone is called on.
fn counted_users<'a>(sender: &UserId, mentions: &'a StoredMentions) -> BTreeSet<&'a UserId> {
    if mentions.everyone() {
        BTreeSet::new()
    } else {
        mentioned_users(sender, mentions)
    }
}

impl Log<'_> {
    /// Changes the messages of a scope: in the head, or in the thread's row.
    pub(super) fn with_messages<R>(
        &mut self,
        scope: Scope,
        change: impl FnOnce(&mut Messages, &mut dyn StoreMut) -> R,
    ) -> R {
        let Some(root) = scope.thread() else {
            let mut messages = std::mem::take(&mut self.head_mut().messages);
            let result = change(&mut messages, self.store);
            self.head.messages = messages;
            return result;
        };
        let mut thread = thread::read(&*self.store, self.epoch, root);
        let result = change(&mut thread.replies, self.store);
        thread::write(self.store, self.epoch, root, &thread);
        result
    }

    /// Changes a user's row in a scope.
    pub(super) fn with_reader<R>(
        &mut self,
        scope: Scope,
        user: &UserId,
        change: impl FnOnce(&mut Reader, &mut dyn StoreMut) -> R,
    ) -> R {
        let mut reader = read(&*self.store, scope, user);
        let result = change(&mut reader, self.store);
        write(self.store, scope, user, &reader);
        result
    }

    /// Counts a message's mentions anew after `old` became `new`.
    pub(super) fn change_mentions(
        &mut self,
        scope: Scope,
        offset: Offset,
        sender: &UserId,
        old: &StoredMentions,
        new: &StoredMentions,
    ) {
        if old.everyone() != new.everyone() {
            let on = new.everyone();
            self.with_messages(scope, |messages, store| {
                messages.set_everyone(store, scope, offset, on);
            });
            self.with_reader(scope, sender, |reader, store| {
                reader.set_own_everyone(store, scope, sender, offset, on);
            });
        }
        self.change_counted(scope, offset, sender, old, new);
    }

    /// The part of [`Self::change_mentions`] that is about users by id.
    pub(super) fn change_counted(
        &mut self,
        scope: Scope,
        offset: Offset,
        sender: &UserId,
        old: &StoredMentions,
        new: &StoredMentions,
    ) {
        let (old, new) = (counted_users(sender, old), counted_users(sender, new));
        for (users, on) in [(&old - &new, false), (&new - &old, true)] {
            for user in users {
                self.with_reader(scope, user, |reader, store| {
                    reader.set_mentioned(store, scope, user, offset, on);
                });
            }
        }
    }
}
