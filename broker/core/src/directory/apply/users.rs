//! Users, and everything that follows from what a user is.

use std::ops::ControlFlow;

use confab_protocol::codec::Text;
use confab_protocol::limits::NAME_BYTES_MAX;
use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, ChannelKind, DepartmentId, ProjectId, UserId};

use super::step::Step;
use super::{Part, check_name, within};
use crate::directory::command::Provision;
use crate::directory::record::{Source, StoredUser};
use crate::directory::reply::RefusalReason;
use crate::directory::view::id;
use crate::directory::{CLAIMED_DEPARTMENTS_MAX, keys};
use crate::store::Store;

impl Provision {
    /// A user known from this token only.
    fn first_seen(&self, at_ms: u64) -> StoredUser {
        StoredUser {
            name: self.display_name(),
            kind: self.kind,
            active: true,
            admin: self.kind == UserKind::Internal && self.admin == Some(true),
            name_source: Source::Token,
            admin_source: Source::Token,
            created_at_ms: at_ms,
        }
    }

    /// A known user after this token: only what the directory has not set.
    pub(in crate::directory) fn taken_over_by(&self, known: &StoredUser) -> StoredUser {
        let mut user = known.clone();
        if user.name_source == Source::Token {
            user.name = self.display_name();
        }
        if let (Source::Token, Some(admin)) = (user.admin_source, self.admin) {
            user.admin = admin && user.kind == UserKind::Internal;
        }
        user
    }

    /// A name that is allowed, whatever the token says: a person must not be
    /// locked out by a long name.
    fn display_name(&self) -> Text {
        let mut name: String = self.name.chars().filter(|c| !c.is_control()).collect();
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        match name.is_empty() {
            true => Text::from(self.user.as_str()),
            false => Text::from(name),
        }
    }
}

impl<S: Store> Step<'_, S> {
    pub(super) fn provision(&mut self, claims: &Provision) -> Part {
        within(claims.departments.len(), CLAIMED_DEPARTMENTS_MAX)?;
        let before = self.view().user(&claims.user);
        let now = match &before {
            Some(known) => claims.taken_over_by(known),
            None => claims.first_seen(self.at_ms),
        };
        let changed = self.set_user(&claims.user, before.as_ref(), &now);
        if before.is_none() && now.kind == UserKind::Internal {
            for department in &claims.departments {
                if self.view().department(department).is_none() {
                    self.put_department(department, &Text::from(department.as_str()))?;
                }
                self.add_department_member(department, &claims.user)?;
            }
        }
        Ok(changed)
    }

    pub(super) fn put_user(
        &mut self,
        user: &UserId,
        name: Text,
        kind: UserKind,
        active: bool,
        admin: Option<bool>,
    ) -> Part {
        check_name(&name)?;
        if kind == UserKind::Client && admin == Some(true) {
            return Err(RefusalReason::ClientAdmin(user.clone()));
        }
        let before = self.view().user(user);
        let admin_before = before.as_ref().is_some_and(|before| before.admin);
        let admin_source = match (admin, &before) {
            (Some(_), _) => Source::Directory,
            (None, Some(before)) => before.admin_source,
            (None, None) => Source::Token,
        };
        let now = StoredUser {
            name,
            kind,
            active,
            admin: admin.unwrap_or(admin_before) && kind == UserKind::Internal,
            name_source: Source::Directory,
            admin_source,
            created_at_ms: before
                .as_ref()
                .map_or(self.at_ms, |before| before.created_at_ms),
        };
        Ok(self.set_user(user, before.as_ref(), &now))
    }

    pub(super) fn set_admin(&mut self, user: &UserId, admin: bool) -> Part {
        let before = self.existing_user(user)?;
        if admin && before.kind == UserKind::Client {
            return Err(RefusalReason::ClientAdmin(user.clone()));
        }
        let now = StoredUser {
            admin,
            admin_source: Source::Directory,
            ..before.clone()
        };
        Ok(self.set_user(user, Some(&before), &now))
    }

    fn set_user(&mut self, user: &UserId, before: Option<&StoredUser>, now: &StoredUser) -> bool {
        if before == Some(now) {
            return false;
        }
        self.look_at(user);
        self.put(&keys::user(user), now);
        self.settle_user(user, before, now);
        true
    }

    /// Brings every channel that a user is in, or should be, to what the user
    /// is now.
    fn settle_user(&mut self, user: &UserId, before: Option<&StoredUser>, now: &StoredUser) {
        let was_in_general = before.is_some_and(StoredUser::is_in_general);
        self.set_general(user, was_in_general, now.is_in_general());
        let stands =
            before.is_none_or(|before| before.active == now.active && before.kind == now.kind);
        if stands {
            return;
        }
        for department in self.ends::<DepartmentId>(&keys::user_departments(user)) {
            self.settle_department_member(&department, user, now);
        }
        for project in self.ends::<ProjectId>(&keys::user_projects(user)) {
            self.settle_project_member(&project, user, now);
        }
        for channel in self.ends::<ChannelId>(&keys::user_channels(user)) {
            if channel.kind() == ChannelKind::Group {
                self.settle_group_member(&channel, user, now);
            }
        }
    }

    /// The ids that end the keys of a range.
    pub(super) fn ends<T: std::str::FromStr>(&self, range: &keys::Range) -> Vec<T> {
        let mut ids = Vec::new();
        self.view().walk(range, |text, _| {
            ids.push(id(text));
            ControlFlow::Continue(())
        });
        ids
    }
}

/// What a user of this kind is at least in a channel: clients are guests.
pub(super) const fn plain_role(kind: UserKind) -> ChannelRole {
    match kind {
        UserKind::Internal => ChannelRole::Member,
        UserKind::Client => ChannelRole::Guest,
    }
}
