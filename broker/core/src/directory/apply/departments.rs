//! Departments: the channel has the members that are active and internal.

use confab_protocol::codec::Text;
use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, DepartmentId, UserId};

use super::step::Step;
use super::{Part, check_name};
use crate::directory::change::StoredProperties;
use crate::directory::keys;
use crate::directory::record::{StoredDepartment, StoredUser};
use crate::directory::reply::RefusalReason;
use crate::store::Store;

impl<S: Store> Step<'_, S> {
    pub(super) fn put_department(&mut self, department: &DepartmentId, name: &Text) -> Part {
        check_name(name)?;
        let channel = ChannelId::department(department);
        let Some(mut stored) = self.view().department(department) else {
            let stored = StoredDepartment {
                name: name.clone(),
                created_at_ms: self.at_ms,
            };
            self.put(&keys::department(department), &stored);
            let properties = StoredProperties {
                name: name.clone(),
                ..StoredProperties::default()
            };
            self.create_channel(&channel, properties, self.by.cloned(), None);
            return Ok(true);
        };
        if stored.name == *name {
            return Ok(false);
        }
        stored.name = name.clone();
        self.put(&keys::department(department), &stored);
        self.change_channel(&channel, |channel| channel.properties.name = name.clone());
        Ok(true)
    }

    pub(super) fn delete_department(&mut self, department: &DepartmentId) -> bool {
        if self.view().department(department).is_none() {
            return false;
        }
        self.delete_channel(&ChannelId::department(department));
        for user in self.ends::<UserId>(&keys::department_members(department)) {
            self.delete(&keys::department_member(department, &user));
            self.delete(&keys::user_department(&user, department));
        }
        self.delete(&keys::department(department));
        true
    }

    pub(super) fn add_department_member(
        &mut self,
        department: &DepartmentId,
        user: &UserId,
    ) -> Part {
        if self.view().department(department).is_none() {
            return Err(RefusalReason::NoSuchDepartment(department.clone()));
        }
        let known = self.existing_user(user)?;
        if self.view().is_in_department(department, user) {
            return Ok(false);
        }
        if known.kind == UserKind::Client {
            return Err(RefusalReason::NeedsInternal(user.clone()));
        }
        self.put(&keys::department_member(department, user), &());
        self.put(&keys::user_department(user, department), &());
        self.settle_department_member(department, user, &known);
        Ok(true)
    }

    pub(super) fn remove_department_member(
        &mut self,
        department: &DepartmentId,
        user: &UserId,
    ) -> bool {
        if !self.view().is_in_department(department, user) {
            return false;
        }
        self.delete(&keys::department_member(department, user));
        self.delete(&keys::user_department(user, department));
        self.set_member(&ChannelId::department(department), user, None);
        true
    }

    /// Brings the channel to what one of the department's users is now.
    pub(super) fn settle_department_member(
        &mut self,
        department: &DepartmentId,
        user: &UserId,
        now: &StoredUser,
    ) {
        let role = now.is_in_general().then_some(ChannelRole::Member);
        self.set_member(&ChannelId::department(department), user, role);
    }
}
