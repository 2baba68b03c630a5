//! The user's channels: how far each log was handed out, its summary and counts,
//! and which of them must be asked about.
//!
//! Pure; the core drives it and sends what it wants asked. A channel that lacks
//! events is *pulled*: one sync page at a time, few channels at once. A channel
//! whose summary is in doubt is *refreshed*.

mod questions;
mod roster;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use confab_protocol::message::channel::ChannelSummary;
use confab_protocol::message::event::ChannelEvent;
use confab_protocol::message::session::ChannelPosition;
use confab_protocol::{ChannelId, Offset, Position, UserId};

use super::config::CoreConfig;
use super::counts::Counts;
use super::feed::{Delivery, Feed};
use super::io::{ClientEvent, Output};
use super::summary;

/// How a question about a channel stands.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Question {
    #[default]
    None,
    /// In a queue, or waiting for its time.
    Due,
    InFlight,
}

#[derive(Debug)]
struct Channel {
    feed: Feed,
    counts: Counts,
    summary: Option<ChannelSummary>,
    /// The application knows of it.
    announced: bool,
    /// Its summary was heard since connecting.
    surveyed: bool,
    /// Bulk answers, which overtake what is pushed, told of events up to here.
    overtaken: Option<Offset>,
    /// The cursor moved while its summary was asked for.
    moved: bool,
    pull: Question,
    refresh: Question,
    attempts: u32,
}

impl Channel {
    fn new(position: Position, announced: bool) -> Self {
        Self {
            feed: Feed::new(position),
            counts: Counts::new(position.offset),
            summary: None,
            announced,
            surveyed: false,
            overtaken: None,
            moved: false,
            pull: Question::None,
            refresh: Question::None,
            attempts: 0,
        }
    }

    fn summary(&self) -> Option<ChannelSummary> {
        let mut summary = self.summary.clone()?;
        summary.read_state = self.counts.read_state();
        Some(summary)
    }

    fn last_activity_ms(&self) -> u64 {
        self.summary
            .as_ref()
            .map_or(0, |summary| summary.last_activity_ms)
    }
}

/// What is asked about a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
enum Ask {
    Pull,
    Refresh,
}

/// A channel that was lost: up to where it was heard, and the newest event that
/// came for it since.
#[derive(Clone, Copy, Debug)]
struct Removed {
    position: Position,
    ignored: Offset,
}

/// Where a summary comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::core) enum Source {
    /// The window in `Welcome`: newer than anything heard before.
    Welcome,
    /// Another part of the channel list, asked for to know of every channel.
    List,
    /// Any other answer, or a push.
    Other,
}

/// All channels of the user that the client knows.
#[derive(Debug)]
pub(in crate::core) struct Channels {
    map: BTreeMap<ChannelId, Channel>,
    removed: BTreeMap<ChannelId, Removed>,
    pulls: VecDeque<ChannelId>,
    pulling: usize,
    refreshes: VecDeque<ChannelId>,
    refreshing: usize,
    later: BTreeSet<(u64, ChannelId, Ask)>,
    held_bytes: usize,
    /// Every channel that the user had is here, so another is new to the user.
    pub(in crate::core) complete: bool,
    pub(in crate::core) congested: bool,
    /// The channel list is being read: where cursors moved meanwhile, it may be
    /// older than they are.
    pub(in crate::core) surveying: bool,
    moved: BTreeSet<ChannelId>,
    me: Option<UserId>,
    held_events_max: usize,
    held_bytes_max: usize,
    channels_max: usize,
    new_channel_events_max: u64,
}

impl Channels {
    pub(in crate::core) fn new(config: &CoreConfig) -> Self {
        Self {
            map: BTreeMap::new(),
            removed: BTreeMap::new(),
            pulls: VecDeque::new(),
            pulling: 0,
            refreshes: VecDeque::new(),
            refreshing: 0,
            later: BTreeSet::new(),
            held_bytes: 0,
            complete: false,
            congested: false,
            surveying: false,
            moved: BTreeSet::new(),
            me: None,
            held_events_max: config.held_events_max,
            held_bytes_max: config.held_bytes_max,
            channels_max: config.channels_tracked_max.max(1_000) * 2,
            new_channel_events_max: config.new_channel_events_max,
        }
    }

    /// Puts in what an earlier process had.
    pub(in crate::core) fn restore(
        &mut self,
        positions: BTreeMap<ChannelId, Position>,
        complete: bool,
    ) {
        self.complete = complete;
        for (channel, position) in positions {
            self.map.insert(channel, Channel::new(position, true));
        }
    }

    pub(in crate::core) fn set_user(&mut self, me: UserId) {
        self.me = Some(me);
    }

    pub(in crate::core) fn len(&self) -> usize {
        self.map.len()
    }

    /// All positions, the most recently active channels first.
    pub(in crate::core) fn positions(&self) -> Vec<ChannelPosition> {
        let mut channels: Vec<_> = self.map.iter().collect();
        channels.sort_by_key(|(_, channel)| std::cmp::Reverse(channel.last_activity_ms()));
        channels
            .into_iter()
            .map(|(id, channel)| ChannelPosition {
                channel: id.clone(),
                position: channel.feed.position(),
            })
            .collect()
    }

    pub(in crate::core) fn position_map(&self) -> BTreeMap<ChannelId, Position> {
        self.map
            .iter()
            .map(|(id, channel)| (id.clone(), channel.feed.position()))
            .collect()
    }

    /// The summary of a channel, as far as it is known.
    pub(in crate::core) fn summary(&self, id: &ChannelId) -> Option<ChannelSummary> {
        self.map.get(id)?.summary()
    }

    /// All known summaries, newest activity first.
    pub(in crate::core) fn summaries(&self) -> Vec<ChannelSummary> {
        let mut summaries: Vec<_> = self.map.values().filter_map(Channel::summary).collect();
        summaries.sort_by(|one, other| {
            (other.last_activity_ms, &one.channel).cmp(&(one.last_activity_ms, &other.channel))
        });
        summaries
    }

    /// A live event.
    pub(in crate::core) fn live(
        &mut self,
        event: ChannelEvent,
        bytes: usize,
        out: &mut VecDeque<Output>,
    ) {
        let ChannelEvent {
            channel: id,
            epoch,
            event,
        } = event;
        if let Some(lost) = self.removed.get_mut(&id) {
            if epoch <= lost.position.epoch {
                lost.ignored = lost.ignored.max(event.offset);
                return;
            }
            self.removed.remove(&id);
        }
        if !self.map.contains_key(&id) {
            // Known by its events first: whoever heard of every channel before
            // has missed none of them.
            let fresh = self.complete && event.offset.0 <= self.new_channel_events_max;
            let before = if fresh {
                0
            } else {
                event.offset.0.saturating_sub(1)
            };
            let position = Position {
                epoch,
                offset: Offset(before),
            };
            self.insert(id.clone(), Channel::new(position, false));
            self.want_refresh(&id);
        }
        let open = !self.congested;
        let held_max = self.held_events_max;
        let Some(channel) = self.map.get_mut(&id) else {
            return;
        };
        let held_before = channel.feed.held_bytes();
        if epoch >= channel.feed.position().epoch {
            channel.overtaken = channel.overtaken.filter(|told| event.offset <= *told);
        }
        let delivery = channel.feed.live(epoch, event, bytes, open, held_max);
        self.held_bytes = self.held_bytes + channel.feed.held_bytes() - held_before;
        if self.held_bytes > self.held_bytes_max {
            self.held_bytes -= channel.feed.held_bytes();
            channel.feed.drop_held();
        }
        self.deliver(&id, delivery, out);
        self.want_pull(&id);
    }

    /// The application can take events again, or cannot.
    pub(in crate::core) fn set_congested(&mut self, congested: bool, out: &mut VecDeque<Output>) {
        self.congested = congested;
        if congested {
            return;
        }
        let held: Vec<ChannelId> = self
            .map
            .iter()
            .filter(|(_, channel)| channel.feed.held_bytes() > 0)
            .map(|(id, _)| id.clone())
            .collect();
        for id in held {
            if let Some(channel) = self.map.get_mut(&id) {
                let held_before = channel.feed.held_bytes();
                let mut delivery = Delivery::default();
                channel.feed.release(&mut delivery);
                self.held_bytes = self.held_bytes + channel.feed.held_bytes() - held_before;
                self.deliver(&id, delivery, out);
            }
        }
    }

    /// Nothing asked will be answered; what was held back will come again.
    pub(in crate::core) fn connection_lost(&mut self) {
        self.pulls.clear();
        self.refreshes.clear();
        self.later.clear();
        self.moved.clear();
        self.surveying = false;
        (self.pulling, self.refreshing, self.held_bytes) = (0, 0, 0);
        for channel in self.map.values_mut() {
            channel.feed.drop_held();
            channel.surveyed = false;
            channel.overtaken = None;
            channel.moved = false;
            channel.pull = Question::None;
            channel.refresh = Question::None;
            channel.attempts = 0;
        }
    }

    /// The session is open: all that lacks something is due.
    pub(in crate::core) fn connected(&mut self) {
        let behind: Vec<ChannelId> = self
            .map
            .iter()
            .filter(|(_, channel)| channel.feed.is_behind())
            .map(|(id, _)| id.clone())
            .collect();
        for id in behind {
            self.want_pull(&id);
        }
    }

    fn deliver(&mut self, id: &ChannelId, delivery: Delivery, out: &mut VecDeque<Output>) {
        let Some(channel) = self.map.get_mut(id) else {
            return;
        };
        let mut doubt = false;
        if let Some(epoch) = delivery.reset {
            channel.counts = Counts::new(Offset(0));
            if let Some(summary) = &mut channel.summary {
                (summary.epoch, summary.head) = (epoch, Offset(0));
                summary.last_message = None;
            }
            doubt = true;
            out.push_back(Output::Event(ClientEvent::Reset {
                channel: id.clone(),
                epoch,
            }));
        }
        let epoch = channel.feed.position().epoch;
        for event in delivery.events {
            if let Some(me) = &self.me {
                doubt |= channel.counts.apply(&event, me);
                if let Some(summary) = &mut channel.summary {
                    doubt |= summary::apply(summary, &event, me);
                }
            }
            out.push_back(Output::Event(ClientEvent::Channel(ChannelEvent {
                channel: id.clone(),
                epoch,
                event,
            })));
        }
        if doubt {
            self.want_refresh(id);
        }
    }
}
