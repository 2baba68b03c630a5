//! Fan-out: what was applied goes to the sessions that may see it.
//!
//! A shard's state machine calls [`Fanout::deliver`] for what each of its
//! commands made, in log order, on its apply task: apply is deliver. An event is
//! encoded once and shared by all outboxes.
//!
//! A removal is a fence: in the place of its `MembersChanged` event the removed
//! users' sessions lose the channel, under the channel's lock, so nothing after
//! it reaches them. Whoever subscribes looks the membership up under the same
//! lock, and the directory is never older than the event (the shard's state
//! machine waits for it), so neither side can slip past the other.
//!
//! Not here: presence and typing, which have watchers of their own.

mod subscribers;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use bytes::Bytes;
use confab_core::channel::Output;
use confab_protocol::message::channel::CursorState;
use confab_protocol::message::event::{Change, ChannelEvent, Event};
use confab_protocol::message::presence::Receipt;
use confab_protocol::message::session::{ChannelAdded, ChannelRemoved};
use confab_protocol::message::{CursorMoved, frame_of};
use confab_protocol::{ChannelId, Epoch, Offset, UserId};
use parking_lot::Mutex;

use crate::ops::Metrics;
use crate::session::outbox::Outbox;
use crate::state::Lookup;
use subscribers::{Session, Subscribers};

/// Locks among which users are spread.
const USER_LOCKS: usize = 64;

/// Members up to which a cursor's move is told to the other members.
pub const RECEIPT_MEMBERS_MAX: u32 = 100;

struct Inner {
    lookup: Lookup,
    metrics: Metrics,
    subscribers: Subscribers,
    users: [Mutex<HashMap<UserId, Vec<Arc<Session>>>>; USER_LOCKS],
    hasher: RandomState,
}

/// The cheap handle; sessions attach, state machines deliver.
#[derive(Clone)]
pub struct Fanout(Arc<Inner>);

/// A session's place in the fan-out; dropping it takes the session out.
pub struct Attachment {
    fanout: Fanout,
    session: Arc<Session>,
}

impl Fanout {
    /// A fan-out that looks memberships up in `lookup`.
    #[must_use]
    pub fn new(lookup: Lookup, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            lookup,
            metrics,
            subscribers: Subscribers::default(),
            users: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
        }))
    }

    /// Subscribes a session to all channels of its user: live events go into
    /// `outbox` from now on. Attach before reading heads for `Welcome`, so that
    /// nothing falls between.
    #[must_use]
    pub fn attach(&self, user: &UserId, outbox: Outbox) -> Attachment {
        let session = Arc::new(Session::new(user.clone(), outbox));
        // First known by its user, so that an event that adds the user to a
        // channel from now on finds the session; then the channels of before.
        self.users(user)
            .lock()
            .entry(user.clone())
            .or_default()
            .push(Arc::clone(&session));
        for (channel, epoch) in self.0.lookup.channels_of(user) {
            self.0
                .subscribers
                .subscribe(epoch, &session, || self.0.lookup.is_member(&channel, user));
        }
        Attachment {
            fanout: self.clone(),
            session,
        }
    }

    /// Hands on what one command made.
    pub fn deliver(&self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Event {
                    channel,
                    epoch,
                    event,
                } => self.event(channel, epoch, event),
                Output::Cursor {
                    channel,
                    epoch,
                    user,
                    thread,
                    read_state,
                    member_count,
                    at_ms,
                } => {
                    if member_count <= RECEIPT_MEMBERS_MAX {
                        let receipt = Receipt {
                            channel: channel.clone(),
                            thread,
                            user: user.clone(),
                            read: read_state.read,
                            delivered: read_state.delivered,
                            at_ms,
                        };
                        let frame = frame_of(0, &receipt);
                        self.0.subscribers.for_open(epoch, |session| {
                            if *session.user() != user {
                                session.outbox().ephemeral(frame.clone());
                            }
                        });
                    }
                    let moved = CursorMoved(CursorState {
                        channel,
                        thread,
                        read_state,
                    });
                    self.to_user(&user, &frame_of(0, &moved));
                }
                Output::Gone { channel, epoch } => self.gone(&channel, epoch),
            }
        }
    }

    /// How many subscriptions of sessions to channels there are.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.0.subscribers.len()
    }

    fn event(&self, channel: ChannelId, epoch: Epoch, event: Event) {
        if let Change::MembersChanged { .. } = &event.change {
            self.members_changed(&channel, epoch, &event);
        }
        let at_ms = event.at_ms;
        // Encoded once, and only if somebody listens.
        let mut frame: Option<Bytes> = None;
        let mut body = Some(ChannelEvent {
            channel,
            epoch,
            event,
        });
        let receivers = self.0.subscribers.for_all(epoch, |session| {
            let frame = frame.get_or_insert_with(|| {
                let body = body.take().expect("the body is taken once");
                frame_of(0, &body)
            });
            session.outbox().event(frame.clone());
        });
        if receivers > 0 {
            self.0.metrics.delivered(receivers as u64, at_ms);
        }
    }

    /// Ends the subscriptions of those who went, begins those of who came.
    fn members_changed(&self, channel: &ChannelId, epoch: Epoch, event: &Event) {
        let Change::MembersChanged {
            added,
            removed,
            added_count,
            removed_count,
            ..
        } = &event.change
        else {
            return;
        };
        let complete = removed.len() == *removed_count as usize;
        let lost = if complete {
            let gone = removed.to_vec();
            self.0
                .subscribers
                .unsubscribe(epoch, |session| gone.contains(session.user()))
        } else {
            // The event lists only the first; the directory knows all.
            self.0.subscribers.unsubscribe(epoch, |session| {
                !self.0.lookup.is_member(channel, session.user())
            })
        };
        let removed_frame = frame_of(
            0,
            &ChannelRemoved {
                channel: channel.clone(),
                epoch,
                last_offset: event.offset,
            },
        );
        for session in lost {
            session.outbox().event(removed_frame.clone());
        }
        if added.len() == *added_count as usize {
            for member in added.iter() {
                let sessions = self.sessions_of(&member.user);
                self.begin(channel, epoch, event.offset, &sessions);
            }
        } else {
            let sessions: Vec<_> = self
                .0
                .users
                .iter()
                .flat_map(|users| users.lock().values().flatten().cloned().collect::<Vec<_>>())
                .collect();
            self.begin(channel, epoch, event.offset, &sessions);
        }
    }

    /// Subscribes sessions whose users have just got the channel, and tells them.
    fn begin(&self, channel: &ChannelId, epoch: Epoch, at: Offset, sessions: &[Arc<Session>]) {
        for session in sessions {
            let is_new = self.0.subscribers.subscribe(epoch, session, || {
                self.0.lookup.is_member(channel, session.user())
            });
            if !is_new {
                continue;
            }
            let Some(mut summary) = self.0.lookup.summary(channel, session.user()) else {
                continue;
            };
            // What the session has is all before this event; of a channel that
            // has just begun, nothing.
            summary.head = Offset(if at.0 <= 2 { 0 } else { at.0 - 1 });
            session
                .outbox()
                .event(frame_of(0, &ChannelAdded { summary }));
        }
    }

    fn gone(&self, channel: &ChannelId, epoch: Epoch) {
        let last_offset = self.0.lookup.head(channel, epoch);
        let frame = frame_of(
            0,
            &ChannelRemoved {
                channel: channel.clone(),
                epoch,
                last_offset,
            },
        );
        for session in self.0.subscribers.unsubscribe(epoch, |_| true) {
            session.outbox().event(frame.clone());
        }
    }

    fn to_user(&self, user: &UserId, frame: &Bytes) {
        for session in self.sessions_of(user) {
            session.outbox().event(frame.clone());
        }
    }

    fn sessions_of(&self, user: &UserId) -> Vec<Arc<Session>> {
        self.users(user)
            .lock()
            .get(user)
            .cloned()
            .unwrap_or_default()
    }

    fn users(&self, user: &UserId) -> &Mutex<HashMap<UserId, Vec<Arc<Session>>>> {
        // The remainder is below USER_LOCKS, whatever the hash.
        &self.0.users[self.0.hasher.hash_one(user) as usize % USER_LOCKS]
    }
}

impl Attachment {
    /// The channel is on the session's screen: receipts for it are wanted.
    pub fn open(&self, epoch: Epoch) {
        self.set_open(epoch, true);
    }

    /// The channel is no longer on the session's screen.
    pub fn close(&self, epoch: Epoch) {
        self.set_open(epoch, false);
    }

    fn set_open(&self, epoch: Epoch, open: bool) {
        self.fanout
            .0
            .subscribers
            .set_open(epoch, &self.session, open);
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        let user = self.session.user();
        let mut users = self.fanout.users(user).lock();
        if let Some(sessions) = users.get_mut(user) {
            sessions.retain(|session| !Arc::ptr_eq(session, &self.session));
            if sessions.is_empty() {
                users.remove(user);
            }
        }
        drop(users);
        self.fanout.0.subscribers.detach(&self.session);
    }
}
