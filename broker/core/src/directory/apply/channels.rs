//! What can happen to a channel of any kind.

use confab_protocol::codec::Text;
use confab_protocol::message::event::ChannelRole;
use confab_protocol::{ChannelId, ChannelKind, DepartmentId, ProjectId, UserId};

use super::step::Step;
use super::{Part, check_name, check_topic};
use crate::directory::change::StoredProperties;
use crate::directory::reply::{Property, RefusalReason};
use crate::store::Store;

/// What a channel follows from.
enum Belongs {
    Department(DepartmentId),
    Project(ProjectId),
    Nothing,
}

fn belongs(channel: &ChannelId) -> Belongs {
    let reason = "a ChannelId was checked when it was made";
    match channel.as_str().split_once('-') {
        Some(("dept", id)) => Belongs::Department(id.parse().expect(reason)),
        Some(("project", id)) => Belongs::Project(id.parse().expect(reason)),
        _ => Belongs::Nothing,
    }
}

impl<S: Store> Step<'_, S> {
    pub(super) fn open_dm(
        &mut self,
        one: &UserId,
        other: &UserId,
    ) -> Result<(ChannelId, bool), RefusalReason> {
        let channel = ChannelId::dm(one, other).map_err(|_| RefusalReason::DmWithSelf)?;
        if self.view().channel(&channel).is_some() {
            return Ok((channel, false));
        }
        self.active_user(one)?;
        self.active_user(other)?;
        self.create_channel(
            &channel,
            StoredProperties::default(),
            self.by.cloned(),
            None,
        );
        for user in [one, other] {
            self.set_member(&channel, user, Some(ChannelRole::Member));
        }
        Ok((channel, true))
    }

    pub(super) fn update_channel(
        &mut self,
        channel: &ChannelId,
        name: Option<&Text>,
        topic: Option<&Text>,
        private: Option<bool>,
        archived: Option<bool>,
    ) -> Part {
        let kind = self.existing_channel(channel)?.kind;
        let asked = [
            (Property::Name, name.is_some(), kind != ChannelKind::Dm),
            (Property::Topic, topic.is_some(), kind != ChannelKind::Dm),
            (
                Property::Private,
                private.is_some(),
                kind == ChannelKind::Group,
            ),
            (
                Property::Archived,
                archived.is_some(),
                kind != ChannelKind::Dm,
            ),
        ];
        for (property, is_asked, exists) in asked {
            if is_asked && !exists {
                return Err(RefusalReason::NoSuchProperty(property));
            }
        }
        let mut changed = false;
        if let Some(name) = name {
            changed |= self.rename(channel, name)?;
        }
        if let Some(topic) = topic {
            check_topic(topic)?;
        }
        if let Some(archived) = archived {
            changed |= self.set_archived(channel, archived)?;
        }
        changed |= self.change_channel(channel, |stored| {
            if let Some(topic) = topic {
                stored.properties.topic = topic.clone();
            }
            if let Some(private) = private {
                stored.properties.private = private;
            }
        });
        Ok(changed)
    }

    /// A department's or project's channel has the name of what it belongs to.
    fn rename(&mut self, channel: &ChannelId, name: &Text) -> Part {
        check_name(name)?;
        match belongs(channel) {
            Belongs::Department(department) => self.put_department(&department, name),
            Belongs::Project(project) => Ok(self.rename_project(&project, name)),
            Belongs::Nothing => Ok(self.change_channel(channel, |stored| {
                stored.properties.name = name.clone();
            })),
        }
    }

    fn set_archived(&mut self, channel: &ChannelId, archived: bool) -> Part {
        if let Belongs::Project(project) = belongs(channel) {
            return self.set_project_closed(&project, archived);
        }
        let at_ms = self.at_ms;
        Ok(self.change_channel(channel, |stored| {
            if stored.properties.archived_at_ms.is_some() != archived {
                stored.properties.archived_at_ms = archived.then_some(at_ms);
            }
        }))
    }

    /// Deletes a channel, and the department or project that it belongs to; so
    /// no department is ever without its channel.
    pub(super) fn delete_with_owner(&mut self, channel: &ChannelId) -> Part {
        self.existing_channel(channel)?;
        match (channel.kind(), belongs(channel)) {
            (_, Belongs::Department(department)) => Ok(self.delete_department(&department)),
            (_, Belongs::Project(project)) => Ok(self.delete_project(&project)),
            (ChannelKind::Group, Belongs::Nothing) => Ok(self.delete_channel(channel)),
            _ => Err(RefusalReason::CannotDelete),
        }
    }
}
