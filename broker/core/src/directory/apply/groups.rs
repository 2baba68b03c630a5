//! Groups: an explicit list of members, one of whom owns the group.

use std::ops::ControlFlow;

use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, ChannelKind, UserId};

use super::step::Step;
use super::users::plain_role;
use super::{Part, check_name, check_topic, listed};
use crate::directory::change::StoredProperties;
use crate::directory::command::CreateGroup;
use crate::directory::keys;
use crate::directory::record::{StoredChannel, StoredMember, StoredUser};
use crate::directory::reply::RefusalReason;
use crate::directory::view::{id, read};
use crate::store::Store;

impl<S: Store> Step<'_, S> {
    pub(super) fn create_group(
        &mut self,
        group: &CreateGroup,
    ) -> Result<(ChannelId, bool), RefusalReason> {
        let creator = self.asker()?;
        if let Some(client_id) = &group.client_id
            && let Some(made) = self.view().group_of_request(&creator, client_id)
        {
            return Ok((made, false));
        }
        if group.id.kind() != ChannelKind::Group {
            return Err(RefusalReason::NotAGroup);
        }
        if self.view().channel(&group.id).is_some() {
            return Err(RefusalReason::GroupIdTaken);
        }
        check_name(&group.name)?;
        check_topic(&group.topic)?;
        if self.active_user(&creator)?.kind == UserKind::Client {
            return Err(RefusalReason::NeedsInternal(creator));
        }
        let properties = StoredProperties {
            name: group.name.clone(),
            topic: group.topic.clone(),
            private: group.private,
            archived_at_ms: None,
        };
        let client_id = group.client_id.clone();
        if let Some(client_id) = &client_id {
            self.put(&keys::group_request(&creator, client_id), &group.id);
        }
        self.create_channel(&group.id, properties, Some(creator.clone()), client_id);
        self.set_member(&group.id, &creator, Some(ChannelRole::Owner));
        for user in listed(&group.members)? {
            self.add_member(&group.id, &user)?;
        }
        Ok((group.id.clone(), true))
    }

    pub(super) fn join(&mut self, channel: &ChannelId) -> Part {
        let user = self.asker()?;
        self.add_members(channel, &[user])
    }

    pub(super) fn leave(&mut self, channel: &ChannelId) -> Part {
        let user = self.asker()?;
        self.remove_members(channel, &[user])
    }

    pub(super) fn add_members(&mut self, channel: &ChannelId, users: &[UserId]) -> Part {
        self.group(channel)?;
        let mut changed = false;
        for user in users {
            changed |= self.add_member(channel, user)?;
        }
        self.find_owner(channel);
        Ok(changed)
    }

    pub(super) fn remove_members(&mut self, channel: &ChannelId, users: &[UserId]) -> Part {
        self.group(channel)?;
        let mut changed = false;
        for user in users {
            changed |= self.set_member(channel, user, None);
        }
        if changed {
            self.settle_owner(channel);
        }
        Ok(changed)
    }

    pub(super) fn set_role(
        &mut self,
        channel: &ChannelId,
        user: &UserId,
        role: ChannelRole,
    ) -> Part {
        let group = self.group(channel)?;
        let known = self.existing_user(user)?;
        let Some(member) = self.view().member(channel, user) else {
            return Err(RefusalReason::NotMember(user.clone()));
        };
        if member.role == role {
            return Ok(false);
        }
        if (known.kind == UserKind::Client) != (role == ChannelRole::Guest) {
            return Err(RefusalReason::WrongRole(user.clone()));
        }
        match (member.role, role, group.owner) {
            (ChannelRole::Owner, _, _) => return Err(RefusalReason::OwnerStays(user.clone())),
            (_, ChannelRole::Owner, Some(owner)) => {
                self.set_member(channel, &owner, Some(ChannelRole::Admin));
            }
            _ => {}
        }
        Ok(self.set_member(channel, user, Some(role)))
    }

    /// Brings a member of a group to what the user is now.
    pub(super) fn settle_group_member(
        &mut self,
        channel: &ChannelId,
        user: &UserId,
        now: &StoredUser,
    ) {
        let Some(member) = self.view().member(channel, user) else {
            return;
        };
        let is_guest = member.role == ChannelRole::Guest;
        let role = match (now.active, now.kind) {
            (false, _) => None,
            (true, UserKind::Client) => Some(ChannelRole::Guest),
            (true, UserKind::Internal) if is_guest => Some(ChannelRole::Member),
            (true, UserKind::Internal) => Some(member.role),
        };
        if self.set_member(channel, user, role) {
            self.settle_owner(channel);
        }
    }

    fn asker(&self) -> Result<UserId, RefusalReason> {
        self.by.cloned().ok_or(RefusalReason::NobodyAsks)
    }

    fn group(&self, channel: &ChannelId) -> Result<StoredChannel, RefusalReason> {
        let stored = self.existing_channel(channel)?;
        match stored.kind {
            ChannelKind::Group => Ok(stored),
            _ => Err(RefusalReason::MembersDerived),
        }
    }

    fn add_member(&mut self, channel: &ChannelId, user: &UserId) -> Part {
        let known = self.active_user(user)?;
        if self.view().member(channel, user).is_some() {
            return Ok(false);
        }
        Ok(self.set_member(channel, user, Some(plain_role(known.kind))))
    }

    /// Makes the oldest admin, else the oldest member, the owner of a group
    /// that has none.
    fn find_owner(&mut self, channel: &ChannelId) {
        let without_owner = self
            .view()
            .channel(channel)
            .is_some_and(|group| group.owner.is_none());
        if !without_owner {
            return;
        }
        // Walked in order of their ids, which decides between equals.
        let mut heir: Option<(UserId, StoredMember)> = None;
        self.view().walk(&keys::members(channel), |text, value| {
            let member: StoredMember = read(value);
            let comes_first = heir.as_ref().is_none_or(|(_, heir)| {
                member.role > heir.role || (member.role == heir.role && member.joined < heir.joined)
            });
            if member.role != ChannelRole::Guest && comes_first {
                heir = Some((id(text), member));
            }
            ControlFlow::Continue(())
        });
        if let Some((heir, _)) = heir {
            self.set_member(channel, &heir, Some(ChannelRole::Owner));
        }
    }

    /// After members went: finds an owner; where nobody is left who could be
    /// one, the group is archived.
    fn settle_owner(&mut self, channel: &ChannelId) {
        self.find_owner(channel);
        let at_ms = self.at_ms;
        self.change_channel(channel, |group| {
            if group.owner.is_none() && group.properties.archived_at_ms.is_none() {
                group.properties.archived_at_ms = Some(at_ms);
            }
        });
    }
}
