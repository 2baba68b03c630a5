//! Who hears of events, and what happens when they are slow.
//!
//! Each has a bounded queue. When one fills up, the core is told to ask for no
//! more: events that are in a log wait there. A subscriber that stays full is
//! left behind, so that it does not stop the others; it is told so, and fetches
//! what it missed for itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use confab_protocol::{ChannelId, Position};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use crate::core::{ClientEvent, Core};

/// Events that wait for one subscriber. Memory is taken as they come.
const QUEUE_MAX: usize = 4_096;

/// Above this many the core is told to ask for no more. A quarter of the queue
/// is left for what is on its way.
const HIGH_WATER: usize = QUEUE_MAX / 2;

/// Below this many the core may go on.
const LOW_WATER: usize = QUEUE_MAX / 8;

/// How long a full subscriber may hold up the others.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a subscriber is told.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // most are the large one
pub(crate) enum Told {
    Event(ClientEvent),
    /// Events were left out; up to here the channels have gone on meanwhile.
    Missed {
        events: u64,
        heads: BTreeMap<ChannelId, Position>,
    },
}

/// A subscriber's side of its queue.
pub(crate) struct NewSubscriber {
    pub(crate) queue: mpsc::Receiver<Told>,
    /// Up to where the channels were told before.
    pub(crate) positions: BTreeMap<ChannelId, Position>,
    pub(crate) feedback: Feedback,
}

impl NewSubscriber {
    /// Both sides of a new queue.
    pub(crate) fn new(
        positions: BTreeMap<ChannelId, Position>,
        drained: Arc<Notify>,
    ) -> (mpsc::Sender<Told>, Self) {
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let feedback = Feedback(drained);
        let new = Self {
            queue,
            positions,
            feedback,
        };
        (sender, new)
    }
}

/// By which a subscriber says that it has room again.
#[derive(Clone, Debug)]
pub(crate) struct Feedback(Arc<Notify>);

impl Feedback {
    /// Call after each item taken, with how many are left.
    pub(crate) fn taken(&self, left: usize) {
        if left == LOW_WATER || left == 0 {
            self.0.notify_one();
        }
    }

    /// The subscriber is gone.
    pub(crate) fn gone(&self) {
        self.0.notify_one();
    }
}

struct Subscriber {
    queue: mpsc::Sender<Told>,
    missed: u64,
    /// Since when it has held up the others.
    full_since: Option<Instant>,
    /// It has held them up for too long.
    left_behind: bool,
}

impl Subscriber {
    fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }
}

/// All subscribers.
pub(super) struct Subscribers {
    all: Vec<Subscriber>,
    congested: bool,
    drained: Arc<Notify>,
}

impl Subscribers {
    pub(super) const fn new(drained: Arc<Notify>) -> Self {
        Self {
            all: Vec::new(),
            congested: false,
            drained,
        }
    }

    pub(super) fn add(
        &mut self,
        reply: oneshot::Sender<NewSubscriber>,
        positions: BTreeMap<ChannelId, Position>,
    ) {
        let (queue, new) = NewSubscriber::new(positions, self.drained.clone());
        if reply.send(new).is_ok() {
            self.insert(queue);
        }
    }

    /// Adds one whose queue exists already.
    pub(super) fn insert(&mut self, queue: mpsc::Sender<Told>) {
        self.all.push(Subscriber {
            queue,
            missed: 0,
            full_since: None,
            left_behind: false,
        });
    }

    /// Tells everybody.
    pub(super) fn tell(&mut self, event: ClientEvent, now: Instant) {
        self.all.retain(|subscriber| !subscriber.queue.is_closed());
        let Some((last, others)) = self.all.split_last_mut() else {
            return;
        };
        for subscriber in others {
            subscriber.tell(event.clone(), now);
        }
        last.tell(event, now);
    }

    /// Looks who is full and who has room again. Answers whether the core may
    /// ask for more, when that has changed.
    pub(super) fn look(&mut self, now: Instant, core: &Core) -> Option<bool> {
        let mut congested = false;
        for subscriber in &mut self.all {
            let waiting = subscriber.waiting();
            if subscriber.missed > 0 && waiting <= LOW_WATER {
                subscriber.catch_up(core);
            }
            if waiting <= LOW_WATER {
                subscriber.left_behind = false;
            }
            if waiting <= LOW_WATER || (waiting < HIGH_WATER && subscriber.full_since.is_none()) {
                subscriber.full_since = None;
                continue;
            }
            let full_since = *subscriber.full_since.get_or_insert(now);
            subscriber.left_behind |= now - full_since >= PATIENCE;
            congested |= !subscriber.left_behind && !subscriber.queue.is_closed();
        }
        (std::mem::replace(&mut self.congested, congested) != congested).then_some(congested)
    }

    /// When patience ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.all
            .iter()
            .filter(|subscriber| !subscriber.left_behind)
            .filter_map(|subscriber| subscriber.full_since)
            .map(|since| since + PATIENCE)
            .min()
    }
}

impl Subscriber {
    fn tell(&mut self, event: ClientEvent, now: Instant) {
        // Once something was left out, all is, until the gap can be told.
        if self.missed > 0 || self.queue.try_send(Told::Event(event)).is_err() {
            self.missed += 1;
            self.full_since.get_or_insert(now);
        }
    }

    /// Tells what was left out.
    fn catch_up(&mut self, core: &Core) {
        let told = Told::Missed {
            events: self.missed,
            heads: core.positions(),
        };
        if self.queue.try_send(told).is_ok() {
            self.missed = 0;
        }
    }
}
