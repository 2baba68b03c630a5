//! The channel list: what is in it, in which order, and what is next.

use confab_protocol::message::channel::{ChannelSummary, ChannelTotals};
use confab_protocol::{ChannelId, ChannelKind, UserId};

use crate::sanitise;

/// The user's channels, newest activity first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Channels {
    list: Vec<ChannelSummary>,
    totals: ChannelTotals,
}

impl Channels {
    pub(crate) fn set(&mut self, mut list: Vec<ChannelSummary>, totals: ChannelTotals) {
        list.sort_by(|one, other| {
            let activity = other.last_activity_ms.cmp(&one.last_activity_ms);
            activity.then_with(|| one.channel.cmp(&other.channel))
        });
        self.list = list;
        self.totals = totals;
    }

    /// Adds or replaces one that was just learnt of.
    pub(crate) fn put(&mut self, summary: ChannelSummary) {
        let mut list = std::mem::take(&mut self.list);
        list.retain(|known| known.channel != summary.channel);
        list.push(summary);
        self.set(list, self.totals);
    }

    pub(crate) fn remove(&mut self, channel: &ChannelId) {
        self.list.retain(|known| known.channel != *channel);
    }

    pub(crate) fn list(&self) -> &[ChannelSummary] {
        &self.list
    }

    pub(crate) const fn totals(&self) -> ChannelTotals {
        self.totals
    }

    pub(crate) fn get(&self, channel: &ChannelId) -> Option<&ChannelSummary> {
        self.list.iter().find(|known| known.channel == *channel)
    }

    /// The one `steps` further down the list, around its ends.
    pub(crate) fn step(&self, from: Option<&ChannelId>, steps: isize) -> Option<&ChannelId> {
        let length = isize::try_from(self.list.len()).unwrap_or(isize::MAX);
        if length == 0 {
            return None;
        }
        let at = from.and_then(|from| self.list.iter().position(|known| known.channel == *from));
        let at = at.map_or(-1, |at| isize::try_from(at).unwrap_or(0));
        let next = (at + steps).rem_euclid(length);
        let next = usize::try_from(next).unwrap_or(0);
        self.list.get(next).map(|summary| &summary.channel)
    }

    /// The next one with something unread: mentions and direct messages first.
    pub(crate) fn next_unread(&self, except: Option<&ChannelId>) -> Option<&ChannelId> {
        let is_candidate = |summary: &&ChannelSummary| {
            summary.read_state.unread > 0 && Some(&summary.channel) != except
        };
        let calls = |summary: &&ChannelSummary| {
            summary.read_state.mentions > 0 || summary.kind == ChannelKind::Dm
        };
        let mut unread = self.list.iter().filter(is_candidate);
        let first = unread.clone().find(calls);
        first.or_else(|| unread.next()).map(|one| &one.channel)
    }

    /// The other users of direct messages, at most so many.
    pub(crate) fn dm_peers(&self, me: &UserId, max: usize) -> Vec<UserId> {
        self.list
            .iter()
            .filter_map(|summary| dm_peer(&summary.channel, me))
            .take(max)
            .collect()
    }
}

/// The other user of direct messages.
pub(crate) fn dm_peer(channel: &ChannelId, me: &UserId) -> Option<UserId> {
    let (one, other) = channel.dm_users()?;
    Some(if one == *me { other } else { one })
}

/// A channel's name as it is shown.
pub(crate) fn shown_name(summary: &ChannelSummary) -> String {
    let name = sanitise::one_line(&summary.name);
    match name.trim() {
        "" => summary.channel.to_string(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Channels;
    use crate::chat::model::tests::summary;
    use confab_protocol::message::channel::ChannelTotals;

    fn listed() -> Channels {
        let mut channels = Channels::default();
        let mut dm = summary("dm-u1-u2", 10, 1);
        dm.read_state.unread = 1;
        let mut busy = summary("dept-sales", 30, 5);
        busy.read_state.unread = 4;
        let list = vec![dm, summary("general-company", 20, 3), busy];
        channels.set(list, ChannelTotals::default());
        channels
    }

    #[test]
    fn the_newest_activity_comes_first() {
        let channels = listed();
        let order: Vec<&str> = channels
            .list()
            .iter()
            .map(|one| one.channel.as_str())
            .collect();
        assert_eq!(order, ["dept-sales", "general-company", "dm-u1-u2"]);
    }

    #[test]
    fn stepping_goes_around() {
        let channels = listed();
        let first = channels.step(None, 1).cloned();
        assert_eq!(first.as_ref().map(|id| id.as_str()), Some("dept-sales"));
        let last = channels.step(first.as_ref(), -1).cloned();
        assert_eq!(last.as_ref().map(|id| id.as_str()), Some("dm-u1-u2"));
        assert_eq!(channels.step(last.as_ref(), 1), first.as_ref());
        assert_eq!(Channels::default().step(None, 1), None);
    }

    /// Who writes to me directly waits for me.
    #[test]
    fn direct_messages_are_looked_at_first() {
        let channels = listed();
        let next = channels.next_unread(None).cloned();
        assert_eq!(next.as_ref().map(|id| id.as_str()), Some("dm-u1-u2"));
        let next = channels.next_unread(next.as_ref());
        assert_eq!(next.map(|id| id.as_str()), Some("dept-sales"));
    }
}
