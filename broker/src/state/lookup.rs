//! Reads this node's applied state: the directory, and every shard.
//!
//! Short reads, on the thread of whoever asks. Who may see the answer is the
//! asker's business.

use std::ops::ControlFlow;
use std::sync::Arc;

use confab_core::channel::query;
use confab_core::directory::{DirectoryView, StoredChannel, shard_of};
use confab_core::rights;
use confab_protocol::message::channel::{ChannelSummary, ReadState};
use confab_protocol::message::event::ChannelRole;
use confab_protocol::{ChannelId, ChannelKind, Epoch, Offset, Text, UserId};

use super::view::GroupView;
use crate::presence;

struct Inner {
    directory: GroupView,
    shards: Vec<GroupView>,
}

/// The cheap handle to all applied state of this node.
#[derive(Clone)]
pub struct Lookup(Arc<Inner>);

impl Lookup {
    /// A lookup over the directory and all shards, in their order.
    #[must_use]
    pub fn new(directory: GroupView, shards: Vec<GroupView>) -> Self {
        Self(Arc::new(Inner { directory, shards }))
    }

    /// The directory's store.
    #[must_use]
    pub fn directory_store(&self) -> &GroupView {
        &self.0.directory
    }

    /// The directory.
    #[must_use]
    pub fn directory(&self) -> DirectoryView<'_, GroupView> {
        DirectoryView::new(&self.0.directory)
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> u16 {
        u16::try_from(self.0.shards.len()).expect("there are at most 256 shards")
    }

    /// Which shard holds a channel's log.
    #[must_use]
    pub fn shard_of(&self, channel: &ChannelId) -> u16 {
        shard_of(channel, self.shards())
    }

    /// The store of the shard that holds a channel's log.
    #[must_use]
    pub fn shard(&self, channel: &ChannelId) -> &GroupView {
        &self.0.shards[usize::from(self.shard_of(channel))]
    }

    /// The store of a shard, below [`Self::shards`].
    #[must_use]
    pub fn shard_store(&self, shard: u16) -> &GroupView {
        &self.0.shards[usize::from(shard)]
    }

    /// Whether a user is a member of a channel.
    #[must_use]
    pub fn is_member(&self, channel: &ChannelId, user: &UserId) -> bool {
        self.directory().role_of(channel, user).is_some()
    }

    /// The channels of a user with their epochs.
    #[must_use]
    pub fn channels_of(&self, user: &UserId) -> Vec<(ChannelId, Epoch)> {
        let directory = self.directory();
        let mut channels = Vec::new();
        directory.visit_channels_of(user, |channel| {
            if let Some(stored) = directory.channel(channel) {
                channels.push((channel.clone(), stored.epoch));
            }
            ControlFlow::Continue(())
        });
        channels
    }

    /// The newest offset of a channel's log; 0 while it has none.
    #[must_use]
    pub fn head(&self, channel: &ChannelId, epoch: Epoch) -> Offset {
        query::channel_state(self.shard(channel), epoch).map_or(Offset(0), |state| state.head)
    }

    /// When something was last posted to a channel; 0 while it has no log.
    #[must_use]
    pub fn last_activity(&self, channel: &ChannelId, epoch: Epoch) -> u64 {
        query::channel_state(self.shard(channel), epoch).map_or(0, |state| state.last_activity_ms)
    }

    /// How far a user is in a channel.
    #[must_use]
    pub fn read_state(&self, channel: &ChannelId, epoch: Epoch, user: &UserId) -> ReadState {
        query::read_state(self.shard(channel), epoch, user).unwrap_or_default()
    }

    /// A channel as a user sees it; `None` when there is no such channel for it.
    #[must_use]
    pub fn summary(&self, channel: &ChannelId, user: &UserId) -> Option<ChannelSummary> {
        let directory = self.directory();
        let role = directory.role_of(channel, user)?;
        let stored = directory.channel(channel)?;
        let summary = self.summary_of(channel, &stored, role, user);
        // Who is still a member may see all that was read; who was removed
        // meanwhile may not, for some of it may stand after the removal.
        self.is_member(channel, user).then_some(summary)
    }

    /// As [`Self::summary`], of what the directory said already.
    #[must_use]
    pub fn summary_of(
        &self,
        channel: &ChannelId,
        stored: &StoredChannel,
        role: ChannelRole,
        user: &UserId,
    ) -> ChannelSummary {
        let state = query::channel_state_for(self.shard(channel), stored.epoch, user);
        let (head, last_activity_ms, last_message, read_state) = match state {
            Some((state, read_state)) => (
                state.head,
                state.last_activity_ms,
                state.last_message,
                read_state,
            ),
            // The log is about to begin.
            None => (Offset(0), stored.created_at_ms, None, ReadState::default()),
        };
        ChannelSummary {
            channel: channel.clone(),
            kind: stored.kind,
            epoch: stored.epoch,
            name: self.name_for(channel, stored, user),
            topic: stored.properties.topic.clone(),
            private: stored.properties.private,
            archived_at_ms: stored.properties.archived_at_ms,
            created_at_ms: stored.created_at_ms,
            role,
            member_count: stored.member_count,
            head,
            last_activity_ms,
            last_message,
            read_state,
        }
    }

    /// A channel as it is seen by who may know of it but is not in it.
    #[must_use]
    pub fn outside_summary(&self, channel: &ChannelId, stored: &StoredChannel) -> ChannelSummary {
        ChannelSummary {
            channel: channel.clone(),
            kind: stored.kind,
            epoch: stored.epoch,
            name: stored.properties.name.clone(),
            topic: stored.properties.topic.clone(),
            private: stored.properties.private,
            archived_at_ms: stored.properties.archived_at_ms,
            created_at_ms: stored.created_at_ms,
            role: ChannelRole::Guest,
            member_count: stored.member_count,
            head: Offset(0),
            last_activity_ms: stored.created_at_ms,
            last_message: None,
            read_state: ReadState::default(),
        }
    }

    /// A direct message is called as the other user is.
    fn name_for(&self, channel: &ChannelId, stored: &StoredChannel, user: &UserId) -> Text {
        if stored.kind != ChannelKind::Dm {
            return stored.properties.name.clone();
        }
        let Some((first, second)) = channel.dm_users() else {
            return Text::default();
        };
        let other = if first == *user { second } else { first };
        self.directory()
            .user(&other)
            .map_or_else(|| other.as_str().into(), |user| user.name)
    }
}

impl presence::Directory for Lookup {
    fn channels_of(&self, user: &UserId) -> Vec<ChannelId> {
        let mut channels = Vec::new();
        self.directory().visit_channels_of(user, |channel| {
            channels.push(channel.clone());
            ControlFlow::Continue(())
        });
        channels
    }

    fn members(&self, channel: &ChannelId, members_max: usize) -> Option<Vec<UserId>> {
        let directory = self.directory();
        let count = directory.channel(channel)?.member_count;
        if usize::try_from(count).is_ok_and(|count| count > members_max) {
            return None;
        }
        let page = directory.members(channel, None, members_max);
        Some(page.items.into_iter().map(|(user, _)| user).collect())
    }

    fn is_member(&self, channel: &ChannelId, user: &UserId) -> bool {
        Self::is_member(self, channel, user)
    }

    fn may_see(&self, viewer: &UserId, user: &UserId) -> bool {
        let action = rights::Action::SeePresence(user);
        rights::authorize(&self.directory(), viewer, action).is_ok()
    }
}
