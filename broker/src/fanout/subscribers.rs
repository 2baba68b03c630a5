//! Which sessions are subscribed to which channel of this node.
//!
//! Lock order: a channel's lock, then a session's own list.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use confab_protocol::{Epoch, UserId};
use parking_lot::Mutex;

use crate::session::outbox::Outbox;

/// Locks among which channels are spread.
const CHANNEL_LOCKS: usize = 256;

/// A session as the fan-out knows it.
pub(super) struct Session {
    user: UserId,
    outbox: Outbox,
    /// Its subscriptions; `None` once it is detached and gets no more.
    epochs: Mutex<Option<Vec<Epoch>>>,
}

impl Session {
    pub(super) fn new(user: UserId, outbox: Outbox) -> Self {
        Self {
            user,
            outbox,
            epochs: Mutex::new(Some(Vec::new())),
        }
    }

    pub(super) fn user(&self) -> &UserId {
        &self.user
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }
}

struct Subscriber {
    session: Arc<Session>,
    /// Whether the channel is on the session's screen.
    open: bool,
}

type Channels = HashMap<Epoch, Vec<Subscriber>>;

/// Every subscription of this node.
pub(super) struct Subscribers {
    channels: [Mutex<Channels>; CHANNEL_LOCKS],
    count: AtomicUsize,
}

impl Default for Subscribers {
    fn default() -> Self {
        Self {
            channels: std::array::from_fn(|_| Mutex::default()),
            count: AtomicUsize::new(0),
        }
    }
}

impl Subscribers {
    /// Subscribes a session if `is_member` says so under the channel's lock;
    /// whether it is subscribed now and was not before.
    pub(super) fn subscribe(
        &self,
        epoch: Epoch,
        session: &Arc<Session>,
        is_member: impl FnOnce() -> bool,
    ) -> bool {
        let mut channels = self.channels(epoch).lock();
        let subscribers = channels.entry(epoch).or_default();
        let known = subscribers
            .iter()
            .any(|known| Arc::ptr_eq(&known.session, session));
        let mut epochs = session.epochs.lock();
        let added = match epochs.as_mut() {
            Some(epochs) if !known && is_member() => {
                epochs.push(epoch);
                subscribers.push(Subscriber {
                    session: Arc::clone(session),
                    open: false,
                });
                self.count.fetch_add(1, Ordering::Relaxed);
                true
            }
            _ => false,
        };
        if subscribers.is_empty() {
            channels.remove(&epoch);
        }
        added
    }

    /// Ends the subscriptions to a channel that `ends` names; answers whose.
    pub(super) fn unsubscribe(
        &self,
        epoch: Epoch,
        ends: impl Fn(&Session) -> bool,
    ) -> Vec<Arc<Session>> {
        let mut channels = self.channels(epoch).lock();
        let Some(subscribers) = channels.get_mut(&epoch) else {
            return Vec::new();
        };
        let ended: Vec<_> = subscribers
            .extract_if(.., |subscriber| ends(&subscriber.session))
            .map(|subscriber| subscriber.session)
            .collect();
        for session in &ended {
            if let Some(epochs) = session.epochs.lock().as_mut() {
                epochs.retain(|known| *known != epoch);
            }
        }
        if subscribers.is_empty() {
            channels.remove(&epoch);
        }
        self.count.fetch_sub(ended.len(), Ordering::Relaxed);
        ended
    }

    /// Ends all subscriptions of a session, for good.
    pub(super) fn detach(&self, session: &Arc<Session>) {
        let epochs = session.epochs.lock().take().unwrap_or_default();
        for epoch in epochs {
            let mut channels = self.channels(epoch).lock();
            let Some(subscribers) = channels.get_mut(&epoch) else {
                continue;
            };
            let before = subscribers.len();
            subscribers.retain(|known| !Arc::ptr_eq(&known.session, session));
            self.count
                .fetch_sub(before - subscribers.len(), Ordering::Relaxed);
            if subscribers.is_empty() {
                channels.remove(&epoch);
            }
        }
    }

    /// Visits every session that is subscribed to a channel; answers how many.
    pub(super) fn for_all(&self, epoch: Epoch, mut visit: impl FnMut(&Session)) -> usize {
        let channels = self.channels(epoch).lock();
        let Some(subscribers) = channels.get(&epoch) else {
            return 0;
        };
        for subscriber in subscribers {
            visit(&subscriber.session);
        }
        subscribers.len()
    }

    /// Visits the sessions that have a channel on their screen.
    pub(super) fn for_open(&self, epoch: Epoch, mut visit: impl FnMut(&Session)) {
        let channels = self.channels(epoch).lock();
        for subscriber in channels.get(&epoch).into_iter().flatten() {
            if subscriber.open {
                visit(&subscriber.session);
            }
        }
    }

    pub(super) fn set_open(&self, epoch: Epoch, session: &Arc<Session>, open: bool) {
        let mut channels = self.channels(epoch).lock();
        for subscriber in channels.get_mut(&epoch).into_iter().flatten() {
            if Arc::ptr_eq(&subscriber.session, session) {
                subscriber.open = open;
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn channels(&self, epoch: Epoch) -> &Mutex<Channels> {
        // Epochs are handed out one by one, so they spread evenly.
        &self.channels[epoch.0 as usize % CHANNEL_LOCKS]
    }
}
