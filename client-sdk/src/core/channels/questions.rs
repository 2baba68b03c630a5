//! What must be asked about channels: pages of those that lack events, summaries
//! of those in doubt; few at once, and again later when it did not help.

use std::collections::VecDeque;

use confab_protocol::ChannelId;
use confab_protocol::message::channel::SyncPage;
use confab_protocol::message::session::ChannelPosition;

use super::{Ask, Channel, Channels, Question};
use crate::core::backoff::ceiling;
use crate::core::io::Output;

/// How long to wait before asking again about what was stale or failed.
const RETRY_MS: u64 = 100;

/// The longest of such waits.
const RETRY_MS_MAX: u64 = 10_000;

impl Channels {
    /// A page that a pull brought.
    pub(in crate::core) fn page(
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
    pub(in crate::core) fn pull_failed(&mut self, now_ms: u64, id: &ChannelId, gone: bool) {
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

    pub(super) fn pulled(&mut self, id: &ChannelId) -> Option<&mut Channel> {
        self.pulling = self.pulling.saturating_sub(1);
        let channel = self.map.get_mut(id)?;
        channel.pull = Question::None;
        Some(channel)
    }

    pub(super) fn pull_later(&mut self, now_ms: u64, id: &ChannelId) {
        let Some(channel) = self.map.get_mut(id) else {
            return;
        };
        if channel.pull == Question::None && channel.feed.is_behind() {
            channel.pull = Question::Due;
            let wait_ms = ceiling(RETRY_MS, RETRY_MS_MAX, channel.attempts);
            channel.attempts = channel.attempts.saturating_add(1);
            self.later.insert((now_ms + wait_ms, id.clone(), Ask::Pull));
        }
    }

    pub(super) fn want_pull(&mut self, id: &ChannelId) {
        let Some(channel) = self.map.get_mut(id) else {
            return;
        };
        if channel.pull == Question::None && channel.feed.is_behind() {
            channel.pull = Question::Due;
            self.pulls.push_back(id.clone());
        }
    }

    /// The next channel to ask a sync page of, while fewer than `at_most` are.
    pub(in crate::core) fn next_pull(&mut self, at_most: usize) -> Option<ChannelPosition> {
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
    pub(in crate::core) fn next_refresh(&mut self, at_most: usize) -> Option<ChannelId> {
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
    pub(in crate::core) fn refreshed(&mut self, now_ms: u64, id: &ChannelId, again: bool) {
        self.refreshing = self.refreshing.saturating_sub(1);
        let Some(channel) = self.map.get_mut(id) else {
            return;
        };
        channel.refresh = Question::None;
        if again || std::mem::take(&mut channel.moved) {
            channel.refresh = Question::Due;
            let wait_ms = ceiling(RETRY_MS, RETRY_MS_MAX, channel.attempts);
            channel.attempts = channel.attempts.saturating_add(1);
            self.later
                .insert((now_ms + wait_ms, id.clone(), Ask::Refresh));
        }
    }

    pub(in crate::core) fn want_refresh(&mut self, id: &ChannelId) {
        if let Some(channel) = self.map.get_mut(id)
            && channel.refresh == Question::None
        {
            channel.refresh = Question::Due;
            self.refreshes.push_back(id.clone());
        }
    }

    /// Moves what waited for its time to the queues.
    pub(in crate::core) fn wake(&mut self, now_ms: u64) {
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

    pub(in crate::core) fn deadline(&self) -> Option<u64> {
        self.later.first().map(|(at_ms, ..)| *at_ms)
    }
}
