//! Channels and who is in them.

use std::ops::ControlFlow;

use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, ChannelKind, Epoch, UserId};

use super::{DirectoryView, Page, id, read};
use crate::directory::keys;
use crate::directory::record::{StoredChannel, StoredMember, StoredUser};
use crate::store::Store;

impl<S: Store> DirectoryView<'_, S> {
    /// A channel that exists.
    #[must_use]
    pub fn channel(&self, channel: &ChannelId) -> Option<StoredChannel> {
        self.record(&keys::channel(channel))
    }

    /// The channel that lives this epoch.
    #[must_use]
    pub fn channel_by_epoch(&self, epoch: Epoch) -> Option<ChannelId> {
        self.record(&keys::epoch(epoch))
    }

    /// All channels in order of their ids, for administrators and for repair.
    #[must_use]
    pub fn channels(
        &self,
        after: Option<&ChannelId>,
        limit: usize,
    ) -> Page<(ChannelId, StoredChannel)> {
        let range = keys::channels().after(after.map(ChannelId::as_str));
        self.page(&range, limit, |text, value| Some((id(text), read(value))))
    }

    /// The group that a user's request with this id made, while it exists.
    #[must_use]
    pub fn group_of_request(
        &self,
        user: &UserId,
        client_id: &confab_protocol::ClientMessageId,
    ) -> Option<ChannelId> {
        self.record(&keys::group_request(user, client_id))
    }

    /// A user's role as a member of a channel; `None` for who is not in it.
    ///
    /// General's members are a rule, all others are rows. A deactivated user is
    /// in no channel but its direct messages.
    #[must_use]
    pub fn role_of(&self, channel: &ChannelId, user: &UserId) -> Option<ChannelRole> {
        if *channel != ChannelId::general() {
            return self.member(channel, user).map(|member| member.role);
        }
        let is_in = self.user(user).is_some_and(|user| user.is_in_general());
        (is_in && self.channel(channel).is_some()).then_some(ChannelRole::Member)
    }

    /// As [`Self::role_of`], for a user that has been read already.
    pub(crate) fn role_of_known(
        &self,
        channel: &ChannelId,
        user: &UserId,
        known: &StoredUser,
    ) -> Option<ChannelRole> {
        if *channel == ChannelId::general() {
            return known.is_in_general().then_some(ChannelRole::Member);
        }
        self.member(channel, user).map(|member| member.role)
    }

    pub(in crate::directory) fn member(
        &self,
        channel: &ChannelId,
        user: &UserId,
    ) -> Option<StoredMember> {
        self.record(&keys::member(channel, user))
    }

    /// How many members a channel has; 0 when it does not exist.
    #[must_use]
    pub fn member_count(&self, channel: &ChannelId) -> u32 {
        self.channel(channel)
            .map_or(0, |channel| channel.member_count)
    }

    /// A page of a channel's members in order of their ids.
    #[must_use]
    pub fn members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Page<(UserId, ChannelRole)> {
        let mut page = Page {
            items: Vec::new(),
            more: false,
        };
        self.visit_members(channel, after, |user, role| {
            if page.items.len() == limit {
                page.more = true;
                return ControlFlow::Break(());
            }
            page.items.push((user.clone(), role));
            ControlFlow::Continue(())
        });
        page
    }

    /// Walks a channel's members in order of their ids, after `after`.
    ///
    /// For general this walks all users and passes over clients and who is
    /// deactivated.
    pub fn visit_members(
        &self,
        channel: &ChannelId,
        after: Option<&UserId>,
        mut visit: impl FnMut(&UserId, ChannelRole) -> ControlFlow<()>,
    ) {
        let after = after.map(UserId::as_str);
        if *channel != ChannelId::general() {
            self.walk(&keys::members(channel).after(after), |text, value| {
                visit(&id(text), read::<StoredMember>(value).role)
            });
        } else if self.channel(channel).is_some() {
            self.walk(&keys::users().after(after), |text, value| {
                if read::<StoredUser>(value).is_in_general() {
                    visit(&id(text), ChannelRole::Member)
                } else {
                    ControlFlow::Continue(())
                }
            });
        }
    }

    /// A page of the channels a user is in, in order of their ids.
    #[must_use]
    pub fn channels_of(
        &self,
        user: &UserId,
        after: Option<&ChannelId>,
        limit: usize,
    ) -> Page<ChannelId> {
        let mut page = Page {
            items: Vec::new(),
            more: false,
        };
        self.visit_channels_after(user, after, |channel| {
            if page.items.len() == limit {
                page.more = true;
                return ControlFlow::Break(());
            }
            page.items.push(channel.clone());
            ControlFlow::Continue(())
        });
        page
    }

    /// Walks the channels a user is in, in order of their ids.
    pub fn visit_channels_of(
        &self,
        user: &UserId,
        visit: impl FnMut(&ChannelId) -> ControlFlow<()>,
    ) {
        self.visit_channels_after(user, None, visit);
    }

    fn visit_channels_after(
        &self,
        user: &UserId,
        after: Option<&ChannelId>,
        mut visit: impl FnMut(&ChannelId) -> ControlFlow<()>,
    ) {
        let general = ChannelId::general();
        let is_ahead = after.is_none_or(|after| *after < general);
        let mut general = (is_ahead && self.role_of(&general, user).is_some()).then_some(general);
        let mut ended = false;
        let range = keys::user_channels(user).after(after.map(ChannelId::as_str));
        self.walk(&range, |text, _| {
            let channel: ChannelId = id(text);
            // General has no row; it stands where its id sorts.
            let flow = match general.take_if(|general| *general < channel) {
                Some(general) if visit(&general).is_break() => ControlFlow::Break(()),
                _ => visit(&channel),
            };
            ended = flow.is_break();
            flow
        });
        if let (false, Some(general)) = (ended, general) {
            let _ = visit(&general);
        }
    }

    /// Whether two different users are in a channel together, direct messages
    /// and general included.
    #[must_use]
    pub fn shares_channel(&self, one: &UserId, other: &UserId) -> bool {
        let (Some(first), Some(second)) = (self.user(one), self.user(other)) else {
            return false;
        };
        if first.is_in_general() && second.is_in_general() {
            return true;
        }
        // A client is in few channels, so its list is the one to walk.
        if first.kind == UserKind::Client {
            self.shares_row(one, other, |_| true)
        } else {
            self.shares_row(other, one, |_| true)
        }
    }

    /// Whether two users are in a channel together that is no direct message.
    pub(crate) fn shares_place(&self, one: &UserId, other: &UserId) -> bool {
        self.shares_row(one, other, |channel| channel.kind() != ChannelKind::Dm)
    }

    fn shares_row(
        &self,
        one: &UserId,
        other: &UserId,
        counts: impl Fn(&ChannelId) -> bool,
    ) -> bool {
        let mut shared = false;
        self.walk(&keys::user_channels(one), |text, _| {
            let channel: ChannelId = id(text);
            if counts(&channel) && self.member(&channel, other).is_some() {
                shared = true;
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        shared
    }
}
