//! The user's channels: how far each log was handed out, its summary and counts,
//! and which of them must be asked about.
//!
//! Pure; the core drives it and sends what it wants asked. A channel that lacks
//! events is *pulled*: one sync page at a time, few channels at once. A channel
//! whose summary is in doubt is *refreshed*.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use confab_protocol::message::channel::{ChannelSummary, CursorState, SyncPage};
use confab_protocol::message::event::ChannelEvent;
use confab_protocol::message::session::{ChannelHead, ChannelPosition};
use confab_protocol::{ChannelId, Epoch, Offset, Position, UserId};

use super::config::CoreConfig;
use super::counts::Counts;
use super::feed::{Delivery, Feed};
use super::io::{ClientEvent, Output};
use super::summary;

/// Most channels that were lost and are remembered, so that what was still on
/// its way does not bring them back.
const REMOVED_MAX: usize = 1_000;

/// How long to wait before asking again about what was stale or failed.
const RETRY_MS: u64 = 100;

/// The longest of such waits.
const RETRY_MS_MAX: u64 = 10_000;

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
pub(super) enum Source {
    /// The window in `Welcome`: newer than anything heard before.
    Welcome,
    /// Another part of the channel list, asked for to know of every channel.
    List,
    /// Any other answer, or a push.
    Other,
}

/// All channels of the user that the client knows.
#[derive(Debug)]
pub(super) struct Channels {
    map: BTreeMap<ChannelId, Channel>,
    removed: BTreeMap<ChannelId, Removed>,
    pulls: VecDeque<ChannelId>,
    pulling: usize,
    refreshes: VecDeque<ChannelId>,
    refreshing: usize,
    later: BTreeSet<(u64, ChannelId, Ask)>,
    held_bytes: usize,
    /// Every channel that the user had is here, so another is new to the user.
    pub(super) complete: bool,
    pub(super) congested: bool,
    /// The channel list is being read: where cursors moved meanwhile, it may be
    /// older than they are.
    pub(super) surveying: bool,
    moved: BTreeSet<ChannelId>,
    me: Option<UserId>,
    held_events_max: usize,
    held_bytes_max: usize,
    channels_max: usize,
    new_channel_events_max: u64,
}

impl Channels {
    pub(super) fn new(config: &CoreConfig) -> Self {
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
    pub(super) fn restore(&mut self, positions: BTreeMap<ChannelId, Position>, complete: bool) {
        self.complete = complete;
        for (channel, position) in positions {
            self.map.insert(channel, Channel::new(position, true));
        }
    }

    pub(super) fn set_user(&mut self, me: UserId) {
        self.me = Some(me);
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// All positions, the most recently active channels first.
    pub(super) fn positions(&self) -> Vec<ChannelPosition> {
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

    pub(super) fn position_map(&self) -> BTreeMap<ChannelId, Position> {
        self.map
            .iter()
            .map(|(id, channel)| (id.clone(), channel.feed.position()))
            .collect()
    }

    /// The summary of a channel, as far as it is known.
    pub(super) fn summary(&self, id: &ChannelId) -> Option<ChannelSummary> {
        self.map.get(id)?.summary()
    }

    /// All known summaries, newest activity first.
    pub(super) fn summaries(&self) -> Vec<ChannelSummary> {
        let mut summaries: Vec<_> = self.map.values().filter_map(Channel::summary).collect();
        summaries.sort_by(|one, other| {
            (other.last_activity_ms, &one.channel).cmp(&(one.last_activity_ms, &other.channel))
        });
        summaries
    }

    /// A live event.
    pub(super) fn live(&mut self, event: ChannelEvent, bytes: usize, out: &mut VecDeque<Output>) {
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
        channel.overtaken = channel.overtaken.filter(|told| event.offset <= *told);
        let delivery = channel.feed.live(epoch, event, bytes, open, held_max);
        self.held_bytes = self.held_bytes + channel.feed.held_bytes() - held_before;
        if self.held_bytes > self.held_bytes_max {
            self.held_bytes -= channel.feed.held_bytes();
            channel.feed.drop_held();
        }
        self.deliver(&id, delivery, out);
        self.want_pull(&id);
    }

    /// A page that a pull brought.
    pub(super) fn page(
        &mut self,
        now_ms: u64,
        id: &ChannelId,
        page: &SyncPage,
        out: &mut VecDeque<Output>,
    ) {
        let Some(channel) = self.pulled(id) else {
            return;
        };
        let before = channel.feed.position();
        let held_before = channel.feed.held_bytes();
        let delivery = channel.feed.page(page);
        let helped = channel.feed.position() != before;
        let held_bytes = channel.feed.held_bytes();
        channel.overtaken = Some(channel.feed.target());
        if helped {
            channel.attempts = 0;
        }
        self.held_bytes = self.held_bytes + held_bytes - held_before;
        self.deliver(id, delivery, out);
        if helped {
            self.want_pull(id);
        } else {
            self.pull_later(now_ms, id);
        }
    }

    /// A pull failed; `gone` when the server no longer shows the log.
    pub(super) fn pull_failed(&mut self, now_ms: u64, id: &ChannelId, gone: bool) {
        let Some(channel) = self.pulled(id) else {
            return;
        };
        if gone {
            let held_bytes = channel.feed.held_bytes();
            channel.feed.give_up();
            self.held_bytes -= held_bytes;
        } else {
            self.pull_later(now_ms, id);
        }
    }

    fn pulled(&mut self, id: &ChannelId) -> Option<&mut Channel> {
        self.pulling = self.pulling.saturating_sub(1);
        let channel = self.map.get_mut(id)?;
        channel.pull = Question::None;
        Some(channel)
    }

    fn pull_later(&mut self, now_ms: u64, id: &ChannelId) {
        let Some(channel) = self.map.get_mut(id) else {
            return;
        };
        if channel.pull == Question::None && channel.feed.is_behind() {
            channel.pull = Question::Due;
            let wait_ms = super::backoff::ceiling(RETRY_MS, RETRY_MS_MAX, channel.attempts);
            channel.attempts = channel.attempts.saturating_add(1);
            self.later.insert((now_ms + wait_ms, id.clone(), Ask::Pull));
        }
    }

    fn want_pull(&mut self, id: &ChannelId) {
        let Some(channel) = self.map.get_mut(id) else {
            return;
        };
        if channel.pull == Question::None && channel.feed.is_behind() {
            channel.pull = Question::Due;
            self.pulls.push_back(id.clone());
        }
    }

    /// The next channel to ask a sync page of, while fewer than `at_most` are.
    pub(super) fn next_pull(&mut self, at_most: usize) -> Option<ChannelPosition> {
        while self.pulling < at_most && !self.congested {
            let id = self.pulls.pop_front()?;
            let Some(channel) = self.map.get_mut(&id) else {
                continue;
            };
            if channel.pull != Question::Due {
                continue;
            }
            if !channel.feed.is_behind() {
                channel.pull = Question::None;
                continue;
            }
            channel.pull = Question::InFlight;
            self.pulling += 1;
            return Some(ChannelPosition {
                position: channel.feed.position(),
                channel: id,
            });
        }
        None
    }

    /// The next channel to ask the summary of, while fewer than `at_most` are.
    pub(super) fn next_refresh(&mut self, at_most: usize) -> Option<ChannelId> {
        while self.refreshing < at_most {
            let id = self.refreshes.pop_front()?;
            if let Some(channel) = self.map.get_mut(&id)
                && channel.refresh == Question::Due
            {
                channel.refresh = Question::InFlight;
                self.refreshing += 1;
                return Some(id);
            }
        }
        None
    }

    /// A refresh came to an end; `again` when it did not help.
    pub(super) fn refreshed(&mut self, now_ms: u64, id: &ChannelId, again: bool) {
        self.refreshing = self.refreshing.saturating_sub(1);
        let Some(channel) = self.map.get_mut(id) else {
            return;
        };
        channel.refresh = Question::None;
        if again || std::mem::take(&mut channel.moved) {
            channel.refresh = Question::Due;
            let wait_ms = super::backoff::ceiling(RETRY_MS, RETRY_MS_MAX, channel.attempts);
            channel.attempts = channel.attempts.saturating_add(1);
            self.later
                .insert((now_ms + wait_ms, id.clone(), Ask::Refresh));
        }
    }

    pub(super) fn want_refresh(&mut self, id: &ChannelId) {
        if let Some(channel) = self.map.get_mut(id)
            && channel.refresh == Question::None
        {
            channel.refresh = Question::Due;
            self.refreshes.push_back(id.clone());
        }
    }

    /// The channel list was read to its end: asks about those that were not in
    /// it, for it is read page by page while channels move in it.
    pub(super) fn survey_complete(&mut self) {
        self.complete = true;
        self.surveying = false;
        self.moved.clear();
        let left_out: Vec<ChannelId> = self
            .map
            .iter()
            .filter(|(_, channel)| !channel.surveyed)
            .map(|(id, _)| id.clone())
            .collect();
        for id in left_out {
            self.want_refresh(&id);
        }
    }

    /// Moves what waited for its time to the queues.
    pub(super) fn wake(&mut self, now_ms: u64) {
        while self
            .later
            .first()
            .is_some_and(|(at_ms, ..)| *at_ms <= now_ms)
        {
            match self.later.pop_first() {
                Some((_, id, Ask::Pull)) => self.pulls.push_back(id),
                Some((_, id, Ask::Refresh)) => self.refreshes.push_back(id),
                None => break,
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.later.first().map(|(at_ms, ..)| *at_ms)
    }

    /// The application can take events again, or cannot.
    pub(super) fn set_congested(&mut self, congested: bool, out: &mut VecDeque<Output>) {
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

    /// What the server says about a channel that the client has a position of.
    pub(super) fn head(&mut self, head: ChannelHead, out: &mut VecDeque<Output>) {
        match head.head {
            Some(position) => {
                if let Some(channel) = self.map.get_mut(&head.channel) {
                    channel.feed.head(position);
                    self.want_pull(&head.channel);
                }
            }
            None => self.remove(&head.channel, None, out),
        }
    }

    /// A summary came. Tells the application of a channel that it did not know.
    /// Answers whether it was of use: one that is older than what was heard
    /// since is not.
    pub(super) fn learn(
        &mut self,
        new: ChannelSummary,
        source: Source,
        out: &mut VecDeque<Output>,
    ) -> bool {
        let id = new.channel.clone();
        let head = Position {
            epoch: new.epoch,
            offset: new.head,
        };
        if !self.map.contains_key(&id) {
            self.begin(&new, !self.complete);
        }
        let Some(channel) = self.map.get_mut(&id) else {
            return false;
        };
        let position = channel.feed.position();
        if head.epoch < position.epoch {
            return false;
        }
        if source != Source::Other || head.epoch > position.epoch {
            channel.feed.head(head);
        }
        let stale = source != Source::Welcome
            && head.epoch == position.epoch
            && head.offset < channel.feed.target();
        if stale && channel.summary.is_some() {
            return false;
        }
        let before = channel.summary();
        channel.counts.set(new.read_state, head.offset);
        channel.summary = Some(new);
        channel.surveyed = !stale;
        if source == Source::List {
            channel.overtaken = Some(channel.feed.target());
        }
        let Some(after) = channel.summary() else {
            return false;
        };
        if !std::mem::replace(&mut channel.announced, true) {
            out.push_back(Output::Event(ClientEvent::ChannelAdded {
                summary: after,
                after: position.offset,
            }));
        } else if source != Source::Welcome && before.as_ref() != Some(&after) {
            out.push_back(Output::Event(ClientEvent::ChannelRefreshed(after)));
        }
        self.want_pull(&id);
        if stale || (source == Source::List && self.moved.contains(&id)) {
            self.want_refresh(&id);
        }
        !stale
    }

    /// A channel that the server says is new, whatever was known before.
    pub(super) fn added(&mut self, new: ChannelSummary, out: &mut VecDeque<Output>) {
        if !self.map.contains_key(&new.channel) {
            self.begin(&new, false);
        }
        self.learn(new, Source::Other, out);
    }

    /// Begins to follow a channel that is not known yet.
    fn begin(&mut self, new: &ChannelSummary, announced: bool) {
        let at = |offset| Position {
            epoch: new.epoch,
            offset,
        };
        let (start, target) = match self.removed.remove(&new.channel) {
            // It was lost and is back: it goes on where it was.
            Some(lost) if lost.position.epoch == new.epoch => {
                (lost.position, new.head.max(lost.ignored))
            }
            _ if self.is_new(new) => (at(Offset(0)), new.head),
            _ => (at(new.head), new.head),
        };
        let mut channel = Channel::new(start, announced);
        channel.feed.head(at(target));
        self.insert(new.channel.clone(), channel);
    }

    /// Whether a channel not known yet comes with its events from the first.
    fn is_new(&self, new: &ChannelSummary) -> bool {
        self.complete && new.head.0 <= self.new_channel_events_max
    }

    fn insert(&mut self, id: ChannelId, channel: Channel) {
        if self.map.len() >= self.channels_max {
            let oldest = self
                .map
                .iter()
                .min_by_key(|(_, channel)| channel.last_activity_ms())
                .map(|(id, _)| id.clone());
            if let Some(lost) = oldest.and_then(|oldest| self.map.remove(&oldest)) {
                self.held_bytes -= lost.feed.held_bytes();
                // Those left out would be taken for new ones.
                self.complete = false;
            }
        }
        self.map.insert(id, channel);
    }

    /// The user has a channel no more.
    pub(super) fn remove(
        &mut self,
        id: &ChannelId,
        epoch: Option<Epoch>,
        out: &mut VecDeque<Output>,
    ) {
        let Some(channel) = self.map.get(id) else {
            return;
        };
        let position = channel.feed.position();
        if epoch.is_some_and(|epoch| epoch < position.epoch) {
            return;
        }
        self.held_bytes -= channel.feed.held_bytes();
        self.map.remove(id);
        if self.removed.len() >= REMOVED_MAX {
            self.removed.pop_first();
        }
        let ignored = position.offset;
        self.removed
            .insert(id.clone(), Removed { position, ignored });
        out.push_back(Output::Event(ClientEvent::ChannelRemoved {
            channel: id.clone(),
        }));
    }

    /// The user's own cursor moved in a channel.
    pub(super) fn cursor(&mut self, state: &CursorState) {
        if state.thread.is_some() {
            return;
        }
        if self.surveying && self.moved.len() < self.channels_max {
            self.moved.insert(state.channel.clone());
        }
        let Some(channel) = self.map.get_mut(&state.channel) else {
            return;
        };
        let heard = channel.feed.target();
        let back = state.read_state.read < channel.counts.read_state().read;
        channel.counts.set(state.read_state, heard);
        channel.moved = channel.refresh == Question::InFlight;
        // Either the user marked it unread, or what is known is newer than this.
        if back || channel.overtaken.is_some() {
            self.want_refresh(&state.channel);
        }
    }

    /// Nothing asked will be answered; what was held back will come again.
    pub(super) fn connection_lost(&mut self) {
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
    pub(super) fn connected(&mut self) {
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
