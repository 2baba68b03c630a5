//! One channel's events in order: dense, once, whatever comes twice, late or not.
//!
//! Pure. The session core has one for each channel and asks for sync pages when
//! a feed says that something is missing; a subscription that starts from
//! positions of its own has them too. Not here: when a page is asked for.

use std::collections::BTreeMap;

use confab_protocol::message::channel::SyncPage;
use confab_protocol::message::event::Event;
use confab_protocol::{Epoch, Offset, Position};

/// What a feed hands out.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// The log began anew, before these events.
    pub(crate) reset: Option<Epoch>,
    /// The next events.
    pub(crate) events: Vec<Event>,
}

/// How far a channel's log was handed out, and what is known to come.
///
/// Invariant: every event up to `position` was handed out once; `held` has only
/// events of its epoch after its offset; `target` is at least its offset.
#[derive(Debug)]
pub(crate) struct Feed {
    position: Position,
    target: Offset,
    /// The head of the log in a later epoch, once it is known to exist.
    next_life: Option<Position>,
    held: BTreeMap<Offset, (Event, usize)>,
    held_bytes: usize,
}

impl Feed {
    pub(crate) fn new(position: Position) -> Self {
        Self {
            position,
            target: position.offset,
            next_life: None,
            held: BTreeMap::new(),
            held_bytes: 0,
        }
    }

    /// The last event that was handed out.
    pub(crate) const fn position(&self) -> Position {
        self.position
    }

    /// The newest event that is known to exist in this epoch.
    pub(crate) const fn target(&self) -> Offset {
        self.target
    }

    pub(crate) const fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Whether a page must be asked for.
    pub(crate) fn is_behind(&self) -> bool {
        self.next_life.is_some() || self.target > self.position.offset
    }

    /// A live event. It is handed out if it is the next and `open`, else held
    /// back, at most `held_max` of them.
    pub(crate) fn live(
        &mut self,
        epoch: Epoch,
        event: Event,
        bytes: usize,
        open: bool,
        held_max: usize,
    ) -> Delivery {
        let mut delivery = Delivery::default();
        if epoch < self.position.epoch {
            return delivery;
        }
        if epoch > self.position.epoch {
            self.reset(epoch, &mut delivery);
        }
        if event.offset <= self.position.offset {
            return delivery;
        }
        self.target = self.target.max(event.offset);
        if open && event.offset == self.position.offset.next() {
            self.hand_out(event, &mut delivery);
            self.release(&mut delivery);
        } else if self.held.len() < held_max {
            self.held_bytes += bytes;
            if let Some((_, twice)) = self.held.insert(event.offset, (event, bytes)) {
                self.held_bytes -= twice;
            }
        } else {
            self.drop_held();
        }
        delivery
    }

    /// A page asked for. Answers with what it brings; nothing when it does not
    /// help, as one from a node that lags behind.
    pub(crate) fn page(&mut self, page: &SyncPage) -> Delivery {
        let mut delivery = Delivery::default();
        if page.epoch < self.position.epoch {
            return delivery;
        }
        if page.epoch > self.position.epoch {
            self.reset(page.epoch, &mut delivery);
        }
        self.target = self.target.max(page.head);
        for event in page.events.iter() {
            if event.offset == self.position.offset.next() {
                self.hand_out(event, &mut delivery);
            }
        }
        self.release(&mut delivery);
        delivery
    }

    /// The log's head, as the server says.
    pub(crate) fn head(&mut self, head: Position) {
        if head.epoch > self.position.epoch {
            self.next_life = self.next_life.max(Some(head));
        } else if head.epoch == self.position.epoch {
            self.target = self.target.max(head.offset);
        }
    }

    /// Hands out what was held back and is next.
    pub(crate) fn release(&mut self, delivery: &mut Delivery) {
        while let Some(entry) = self.held.first_entry() {
            if *entry.key() > self.position.offset.next() {
                break;
            }
            let (offset, (event, bytes)) = entry.remove_entry();
            self.held_bytes -= bytes;
            if offset == self.position.offset.next() {
                self.hand_out(event, delivery);
            }
        }
    }

    /// Forgets what is held back; the log still has it.
    pub(crate) fn drop_held(&mut self) {
        self.held.clear();
        self.held_bytes = 0;
    }

    /// Gives up on what is missing: the server no longer shows the log.
    pub(crate) fn give_up(&mut self) {
        self.drop_held();
        self.next_life = None;
        self.target = self.position.offset;
    }

    fn hand_out(&mut self, event: Event, delivery: &mut Delivery) {
        self.position.offset = event.offset;
        self.target = self.target.max(event.offset);
        delivery.events.push(event);
    }

    fn reset(&mut self, epoch: Epoch, delivery: &mut Delivery) {
        self.drop_held();
        self.position = Position {
            epoch,
            offset: Offset(0),
        };
        self.target = match self.next_life.take_if(|head| head.epoch <= epoch) {
            Some(head) if head.epoch == epoch => head.offset,
            _ => Offset(0),
        };
        delivery.reset = Some(epoch);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Delivery, Feed};
    use confab_protocol::message::channel::SyncPage;
    use confab_protocol::message::event::{Change, Event};
    use confab_protocol::{ChannelId, Epoch, Offset, Position, UserId};
    use proptest::prelude::*;

    fn event(offset: u64) -> Event {
        Event {
            offset: Offset(offset),
            at_ms: offset,
            change: Change::MessageDeleted {
                message: Offset(1),
                by: UserId::new("u").unwrap(),
            },
        }
    }

    fn feed(offset: u64) -> Feed {
        Feed::new(Position {
            epoch: Epoch(1),
            offset: Offset(offset),
        })
    }

    fn page(epoch: u64, after: u64, count: u64, head: u64) -> SyncPage {
        SyncPage {
            channel: ChannelId::general(),
            epoch: Epoch(epoch),
            events: (after + 1..=(after + count).min(head)).map(event).collect(),
            head: Offset(head),
        }
    }

    fn offsets(delivery: &Delivery) -> Vec<u64> {
        delivery.events.iter().map(|event| event.offset.0).collect()
    }

    /// Live traffic that overtakes the back-fill waits for it and joins it
    /// without a gap and without a duplicate.
    #[test]
    fn live_events_join_the_back_fill() {
        let mut feed = feed(2);
        assert_eq!(offsets(&feed.live(Epoch(1), event(6), 1, true, 9)), []);
        assert!(feed.is_behind());
        assert_eq!(offsets(&feed.page(&page(1, 2, 2, 6))), [3, 4]);
        assert_eq!(offsets(&feed.live(Epoch(1), event(7), 1, true, 9)), []);
        assert_eq!(offsets(&feed.page(&page(1, 4, 2, 6))), [5, 6, 7]);
        assert!(!feed.is_behind());
        assert_eq!(offsets(&feed.live(Epoch(1), event(7), 1, true, 9)), []);
        assert_eq!(feed.held_bytes(), 0);
    }

    /// A new life of the log starts from its first event and says so.
    #[test]
    fn a_new_epoch_resets() {
        let mut feed = feed(5);
        let delivery = feed.live(Epoch(2), event(2), 1, true, 9);
        assert_eq!(delivery.reset, Some(Epoch(2)));
        assert_eq!(offsets(&feed.page(&page(2, 0, 9, 2))), [1, 2]);
        assert_eq!(offsets(&feed.live(Epoch(1), event(6), 1, true, 9)), []);
    }

    proptest! {
        /// Whatever order, duplicates, congestion and page sizes: dense and once.
        #[test]
        fn delivery_is_dense(steps in prop::collection::vec((0u8..4, 1u64..40, any::<bool>()), 1..200)) {
            let mut feed = feed(0);
            let (mut seen, mut head) = (0, 0);
            for (what, number, open) in steps {
                let delivery = match what {
                    0 | 1 => {
                        let offset = if what == 0 { head + 1 } else { number };
                        head = head.max(offset);
                        feed.live(Epoch(1), event(offset), 3, open, 8)
                    }
                    2 => feed.page(&page(1, seen, number % 7, head)),
                    _ => {
                        let mut delivery = Delivery::default();
                        feed.release(&mut delivery);
                        delivery
                    }
                };
                for offset in offsets(&delivery) {
                    seen += 1;
                    prop_assert_eq!(offset, seen);
                }
                prop_assert_eq!(feed.held_bytes(), feed.held.len() * 3);
                prop_assert!(feed.held.len() <= 8);
                prop_assert_eq!(feed.is_behind(), seen < head);
            }
        }
    }
}
