//! Which channels the user has, as the server says it in lists, answers and pushes.

use std::collections::VecDeque;

use confab_protocol::message::channel::{ChannelSummary, CursorState};
use confab_protocol::message::session::ChannelHead;
use confab_protocol::{ChannelId, Epoch, Offset, Position};

use super::{Channel, Channels, Question, Removed, Source};
use crate::core::io::{ClientEvent, Output};

/// Most channels that were lost and are remembered, so that what was still on
/// its way does not bring them back.
const REMOVED_MAX: usize = 1_000;

impl Channels {
    /// What the server says about a channel that the client has a position of.
    pub(in crate::core) fn head(&mut self, head: ChannelHead, out: &mut VecDeque<Output>) {
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
    pub(in crate::core) fn learn(
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
    pub(in crate::core) fn added(&mut self, new: ChannelSummary, out: &mut VecDeque<Output>) {
        if !self.map.contains_key(&new.channel) {
            self.begin(&new, false);
        }
        self.learn(new, Source::Other, out);
    }

    /// Begins to follow a channel that is not known yet.
    pub(super) fn begin(&mut self, new: &ChannelSummary, announced: bool) {
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
    pub(super) fn is_new(&self, new: &ChannelSummary) -> bool {
        self.complete && new.head.0 <= self.new_channel_events_max
    }

    pub(super) fn insert(&mut self, id: ChannelId, channel: Channel) {
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
    pub(in crate::core) fn remove(
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
    pub(in crate::core) fn cursor(&mut self, state: &CursorState) {
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

    /// The channel list was read to its end: asks about those that were not in
    /// it, for it is read page by page while channels move in it.
    pub(in crate::core) fn survey_complete(&mut self) {
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
}
