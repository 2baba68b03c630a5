//! Messages that are not acknowledged yet: in order, resent, bounded.
//!
//! Pure. A message keeps its sequence and its `client_message_id` through every
//! resend, so the server recognises it. Messages of one channel go out in the
//! order in which they came; when the server refuses one for now, those behind
//! it that have not left wait for it, and it is tried alone.

use std::collections::{BTreeMap, BTreeSet};

use confab_protocol::message::channel::Post;
use confab_protocol::message::frame_of;
use confab_protocol::{ChannelId, Sequence};

use super::error::SendError;
use super::io::Ticket;

/// Most bytes that are ever kept: what a saved state can hold.
const BYTES_MAX: usize = 6 << 20;

/// What one message takes beside its text, in memory.
const OVERHEAD_BYTES: usize = 128;

/// One message on its way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) post: Post,
    pub(super) ticket: Option<Ticket>,
    /// Whether it was sent at least once, perhaps on an earlier connection.
    pub(super) sent: bool,
    in_flight: bool,
    bytes: usize,
    give_up_ms: u64,
}

/// A channel whose messages the server does not take just now.
#[derive(Debug)]
struct Blocked {
    until_ms: u64,
    attempts: u32,
    /// One message is out to see whether the channel takes them again.
    probing: bool,
}

/// The queue of unacknowledged messages.
///
/// Invariant: `ready` has exactly those not in flight; `give_up_ms` grows with
/// the sequence.
#[derive(Debug)]
pub(super) struct Outbox {
    posts: BTreeMap<Sequence, Pending>,
    ready: BTreeSet<Sequence>,
    blocked: BTreeMap<ChannelId, Blocked>,
    next_sequence: Sequence,
    bytes: usize,
    posts_max: usize,
    bytes_max: usize,
    timeout_ms: u64,
}

impl Outbox {
    pub(super) fn new(posts_max: usize, bytes_max: usize, timeout_ms: u64) -> Self {
        Self {
            posts: BTreeMap::new(),
            ready: BTreeSet::new(),
            blocked: BTreeMap::new(),
            next_sequence: Sequence(1),
            bytes: 0,
            posts_max,
            bytes_max: bytes_max.min(BYTES_MAX),
            timeout_ms,
        }
    }

    /// Numbers from here on; never goes back.
    pub(super) fn start_at(&mut self, sequence: Sequence) {
        self.next_sequence = self.next_sequence.max(sequence);
    }

    pub(super) const fn next_sequence(&self) -> Sequence {
        self.next_sequence
    }

    pub(super) fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.posts.len() - self.ready.len()
    }

    pub(super) fn posts(&self) -> impl Iterator<Item = &Post> {
        self.posts.values().map(|pending| &pending.post)
    }

    /// Takes a new message and numbers it.
    pub(super) fn push(
        &mut self,
        now_ms: u64,
        ticket: Option<Ticket>,
        mut post: Post,
        frame_bytes_max: usize,
    ) -> Result<(), SendError> {
        post.sequence = self.next_sequence;
        let bytes = frame_of(u32::MAX, &post).len();
        if bytes > frame_bytes_max {
            return Err(SendError::TooLarge {
                bytes,
                bytes_max: frame_bytes_max,
            });
        }
        let bytes = bytes + OVERHEAD_BYTES;
        if self.posts.len() >= self.posts_max || self.bytes + bytes > self.bytes_max {
            return Err(SendError::QueueFull);
        }
        self.next_sequence = self.next_sequence.next();
        self.insert(now_ms, ticket, post, bytes, false);
        Ok(())
    }

    /// Takes back a message of an earlier process, with the number it had.
    pub(super) fn restore(&mut self, now_ms: u64, post: Post) {
        self.start_at(post.sequence.next());
        let bytes = frame_of(u32::MAX, &post).len() + OVERHEAD_BYTES;
        self.insert(now_ms, None, post, bytes, true);
    }

    fn insert(
        &mut self,
        now_ms: u64,
        ticket: Option<Ticket>,
        post: Post,
        bytes: usize,
        sent: bool,
    ) {
        let sequence = post.sequence;
        self.bytes += bytes;
        self.ready.insert(sequence);
        let pending = Pending {
            post,
            ticket,
            sent,
            in_flight: false,
            bytes,
            give_up_ms: now_ms.saturating_add(self.timeout_ms),
        };
        self.posts.insert(sequence, pending);
    }

    /// The next message that may go out now.
    pub(super) fn next(&self, now_ms: u64) -> Option<Sequence> {
        if self.blocked.is_empty() {
            return self.ready.first().copied();
        }
        let may_go = |sequence: &&Sequence| {
            let channel = &self.posts[*sequence].post.channel;
            self.blocked
                .get(channel)
                .is_none_or(|blocked| !blocked.probing && blocked.until_ms <= now_ms)
        };
        self.ready.iter().find(may_go).copied()
    }

    /// Marks a message as on its way and gives it out to be sent.
    pub(super) fn take(&mut self, sequence: Sequence) -> Option<&Post> {
        let pending = self.posts.get_mut(&sequence)?;
        self.ready.remove(&sequence);
        pending.in_flight = true;
        pending.sent = true;
        if let Some(blocked) = self.blocked.get_mut(&pending.post.channel) {
            blocked.probing = true;
        }
        Some(&pending.post)
    }

    /// The message is done with, for better or worse.
    pub(super) fn settle(&mut self, sequence: Sequence) -> Option<Pending> {
        let pending = self.posts.remove(&sequence)?;
        self.ready.remove(&sequence);
        self.bytes -= pending.bytes;
        self.blocked.remove(&pending.post.channel);
        Some(pending)
    }

    /// How often the channel of a message has refused in a row.
    pub(super) fn attempts(&self, sequence: Sequence) -> u32 {
        self.posts
            .get(&sequence)
            .and_then(|pending| self.blocked.get(&pending.post.channel))
            .map_or(0, |blocked| blocked.attempts)
    }

    /// The server did not take the message for now.
    pub(super) fn retry_at(&mut self, sequence: Sequence, until_ms: u64) {
        let Some(pending) = self.posts.get_mut(&sequence) else {
            return;
        };
        pending.in_flight = false;
        self.ready.insert(sequence);
        let blocked = self
            .blocked
            .entry(pending.post.channel.clone())
            .or_insert(Blocked {
                until_ms,
                attempts: 0,
                probing: false,
            });
        blocked.until_ms = blocked.until_ms.max(until_ms);
        blocked.attempts = blocked.attempts.saturating_add(1);
        blocked.probing = false;
    }

    /// Everything that was on its way must be sent again.
    pub(super) fn connection_lost(&mut self) {
        for (sequence, pending) in &mut self.posts {
            if std::mem::take(&mut pending.in_flight) {
                self.ready.insert(*sequence);
            }
        }
        for blocked in self.blocked.values_mut() {
            blocked.probing = false;
        }
    }

    /// Takes out the first message whose time is over.
    pub(super) fn expire(&mut self, now_ms: u64) -> Option<Pending> {
        let (sequence, first) = self.posts.first_key_value()?;
        let sequence = *sequence;
        if first.give_up_ms > now_ms {
            return None;
        }
        self.settle(sequence)
    }

    /// Takes out the first message, whatever its state.
    pub(super) fn pop(&mut self) -> Option<Pending> {
        let sequence = *self.posts.first_key_value()?.0;
        self.settle(sequence)
    }

    /// When something is to be done next.
    pub(super) fn deadline(&self, now_ms: u64) -> Option<u64> {
        let give_up = self
            .posts
            .first_key_value()
            .map(|(_, first)| first.give_up_ms);
        let unblock = self
            .blocked
            .values()
            .filter(|blocked| !blocked.probing && blocked.until_ms > now_ms)
            .map(|blocked| blocked.until_ms)
            .min();
        give_up.into_iter().chain(unblock).min()
    }
}
