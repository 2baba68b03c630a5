//! Unread messages and mentions of one channel, kept right from its events.
//!
//! Derived, not incremented, wherever the events since the read cursor were all
//! seen; else the server's last counts and what was seen after them. What can
//! be neither is said to be in doubt, and the core asks for the summary again.

use std::collections::BTreeMap;

use confab_protocol::message::channel::ReadState;
use confab_protocol::message::event::{Change, Event, Mentions, Message};
use confab_protocol::{Offset, UserId};

/// Most unread messages that are remembered one by one.
const MESSAGES_MAX: usize = 1_000;

/// How a channel stands for its user.
///
/// Invariant: every event in `seen_from..=seen_to`, the first excluded, was
/// applied; `messages` has those of them after the read cursor that count.
#[derive(Debug)]
pub(super) struct Counts {
    /// As the server last said it, knowing events up to `counted_to`.
    base: ReadState,
    counted_to: Offset,
    seen_from: Offset,
    seen_to: Offset,
    /// Live top-level messages of others, with whether they mention the user.
    messages: BTreeMap<Offset, bool>,
}

impl Counts {
    /// Nothing seen yet, from `position` on.
    pub(super) fn new(position: Offset) -> Self {
        Self {
            base: ReadState::default(),
            counted_to: Offset(0),
            seen_from: position,
            seen_to: position,
            messages: BTreeMap::new(),
        }
    }

    /// The cursors and counts now.
    pub(super) fn read_state(&self) -> ReadState {
        let read = self.base.read;
        let all_seen = self.are_derived();
        let after = if all_seen {
            read
        } else {
            read.max(self.counted_to)
        };
        let (mut unread, mut mentions) = if all_seen {
            (0, 0)
        } else {
            (self.base.unread, self.base.mentions)
        };
        for mentioned in self.messages.range(after.next()..).map(|(_, m)| *m) {
            unread += 1;
            mentions += u32::from(mentioned);
        }
        ReadState {
            unread,
            mentions,
            ..self.base
        }
    }

    /// Whether all events that count were seen, so that the server's counts do
    /// not matter.
    pub(super) fn are_derived(&self) -> bool {
        self.base.read >= self.seen_from && self.seen_to >= self.counted_to
    }

    /// The server's counts, taken when the log's newest event was `head`.
    pub(super) fn set(&mut self, state: ReadState, head: Offset) {
        self.base = state;
        self.counted_to = head;
        self.prune();
    }

    /// The next event. Answers whether the counts are in doubt now.
    pub(super) fn apply(&mut self, event: &Event, me: &UserId) -> bool {
        self.seen_to = event.offset;
        let counted = event.offset <= self.counted_to;
        match &event.change {
            Change::MessagePosted { message } => self.posted(message, counted, me),
            Change::MessageEdited {
                message, mentions, ..
            } => return self.edited(*message, mentions_user(mentions, me), counted),
            Change::MessageDeleted { message, .. } => return self.deleted(*message, counted),
            _ => {}
        }
        false
    }

    fn posted(&mut self, message: &Message, counted: bool, me: &UserId) {
        if message.thread_root.is_some() {
            return;
        }
        if message.sender != *me {
            if message.deleted_at_ms.is_some() {
                return;
            }
            self.messages
                .insert(message.offset, mentions_user(&message.mentions, me));
            if self.messages.len() > MESSAGES_MAX
                && let Some((forgotten, _)) = self.messages.pop_first()
            {
                self.seen_from = self.seen_from.max(forgotten);
            }
        } else if !counted {
            // Sending advances the sender's own cursor.
            self.base.read = self.base.read.max(message.offset);
            self.base.unread = 0;
            self.base.mentions = 0;
            self.counted_to = self.counted_to.max(message.offset);
            self.prune();
        }
    }

    fn edited(&mut self, message: Offset, mentioned: bool, counted: bool) -> bool {
        let in_base = message <= self.counted_to && message > self.base.read;
        match self.messages.get_mut(&message) {
            Some(was) => {
                if !counted && in_base && *was != mentioned {
                    self.base.mentions = if mentioned {
                        self.base.mentions.saturating_add(1)
                    } else {
                        self.base.mentions.saturating_sub(1)
                    };
                }
                *was = mentioned;
                false
            }
            None => !counted && in_base && message <= self.seen_from,
        }
    }

    fn deleted(&mut self, message: Offset, counted: bool) -> bool {
        let in_base = message <= self.counted_to && message > self.base.read;
        match self.messages.remove(&message) {
            Some(mentioned) => {
                if !counted && in_base {
                    self.base.unread = self.base.unread.saturating_sub(1);
                    self.base.mentions = self.base.mentions.saturating_sub(u32::from(mentioned));
                }
                false
            }
            // Seen as a tombstone, it may have counted when it was not one.
            None => !counted && in_base,
        }
    }

    /// Forgets what was read. A cursor that is moved back later finds less than
    /// all seen, and takes the server's counts.
    fn prune(&mut self) {
        let read = self.base.read;
        if self
            .messages
            .first_key_value()
            .is_some_and(|(at, _)| *at <= read)
        {
            self.messages = self.messages.split_off(&read.next());
        }
        self.seen_from = self.seen_from.max(read.min(self.seen_to));
    }
}

fn mentions_user(mentions: &Mentions, me: &UserId) -> bool {
    mentions.channel || mentions.here || mentions.users.iter().any(|user| user == *me)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Counts;
    use confab_protocol::message::channel::ReadState;
    use confab_protocol::message::event::{Change, Event, Mentions, Message};
    use confab_protocol::{Offset, UserId};

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn posted(offset: u64, sender: &str, here: bool) -> Event {
        Event {
            offset: Offset(offset),
            at_ms: 0,
            change: Change::MessagePosted {
                message: Message {
                    offset: Offset(offset),
                    sender: user(sender),
                    content: "x".into(),
                    thread_root: None,
                    attachments: Default::default(),
                    mentions: Mentions {
                        here,
                        ..Mentions::default()
                    },
                    client_message_id: None,
                    created_at_ms: 0,
                    edited_at_ms: None,
                    deleted_at_ms: None,
                    version: 1,
                    pinned: false,
                    reply_count: 0,
                    last_reply: None,
                    reactions: Default::default(),
                },
            },
        }
    }

    fn deleted(offset: u64, message: u64) -> Event {
        Event {
            offset: Offset(offset),
            at_ms: 0,
            change: Change::MessageDeleted {
                message: Offset(message),
                by: user("other"),
            },
        }
    }

    fn state(read: u64, unread: u32, mentions: u32) -> ReadState {
        ReadState {
            read: Offset(read),
            delivered: Offset(0),
            unread,
            mentions,
        }
    }

    fn now(counts: &Counts) -> (u32, u32) {
        let state = counts.read_state();
        (state.unread, state.mentions)
    }

    /// Events that the server's counts already include, replayed while catching
    /// up, are not counted twice.
    #[test]
    fn replayed_events_count_once() {
        let me = user("me");
        let mut counts = Counts::new(Offset(3));
        counts.set(state(2, 3, 1), Offset(5));
        assert_eq!(now(&counts), (3, 1));
        assert!(!counts.apply(&posted(4, "other", true), &me));
        assert!(!counts.apply(&posted(5, "other", false), &me));
        assert_eq!(now(&counts), (3, 1));
        counts.apply(&posted(6, "other", true), &me);
        assert_eq!(now(&counts), (4, 2));
        assert!(!counts.apply(&deleted(7, 4), &me));
        assert_eq!(now(&counts), (3, 1));
    }

    /// A message that was never seen is deleted: only the server knows whether
    /// it counted.
    #[test]
    fn the_unknown_is_in_doubt() {
        let me = user("me");
        let mut counts = Counts::new(Offset(5));
        counts.set(state(2, 3, 1), Offset(5));
        assert!(counts.apply(&deleted(6, 4), &me));
        assert!(!counts.apply(&deleted(7, 1), &me));
    }

    /// One's own message reads all before it; marking unread takes the server's
    /// counts until events are seen again.
    #[test]
    fn own_messages_read_and_cursors_go_back() {
        let me = user("me");
        let mut counts = Counts::new(Offset(0));
        for offset in 1..=3 {
            counts.apply(&posted(offset, "other", offset == 2), &me);
        }
        assert_eq!(now(&counts), (3, 1));
        counts.apply(&posted(4, "me", false), &me);
        assert_eq!(now(&counts), (0, 0));
        assert_eq!(counts.read_state().read, Offset(4));
        counts.set(state(1, 2, 1), Offset(4));
        assert_eq!(now(&counts), (2, 1));
        counts.apply(&posted(5, "other", false), &me);
        assert_eq!(now(&counts), (3, 1));
    }
}
