//! Projects: the channel begins with the first client and has the active users
//! of both sides.

use std::collections::BTreeMap;

use confab_protocol::codec::Text;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, ProjectId, UserId};

use super::step::Step;
use super::users::plain_role;
use super::{Part, check_name};
use crate::directory::change::StoredProperties;
use crate::directory::keys;
use crate::directory::record::{ProjectSides, StoredProject, StoredUser};
use crate::directory::reply::RefusalReason;
use crate::store::Store;

impl<S: Store> Step<'_, S> {
    /// Creates or replaces; a closed project stays closed.
    pub(super) fn put_project(
        &mut self,
        project: &ProjectId,
        name: &Text,
        team: &[UserId],
        clients: &[UserId],
    ) -> Part {
        check_name(name)?;
        let mut changed = self.put_project_name(project, name);
        let mut sides: BTreeMap<UserId, ProjectSides> = self
            .ends::<UserId>(&keys::project_members(project))
            .into_iter()
            .map(|user| (user, ProjectSides::default()))
            .collect();
        for user in team {
            sides.entry(user.clone()).or_default().team = true;
        }
        for user in clients {
            sides.entry(user.clone()).or_default().client = true;
        }
        for (user, sides) in sides {
            changed |= self.set_sides(project, &user, sides)?;
        }
        Ok(changed)
    }

    fn put_project_name(&mut self, project: &ProjectId, name: &Text) -> bool {
        let before = self.view().project(project);
        let now = StoredProject {
            name: name.clone(),
            closed: before.as_ref().is_some_and(|before| before.closed),
            created_at_ms: before
                .as_ref()
                .map_or(self.at_ms, |before| before.created_at_ms),
        };
        if before.as_ref() == Some(&now) {
            return false;
        }
        self.put(&keys::project(project), &now);
        self.change_channel(&ChannelId::project(project), |channel| {
            channel.properties.name = name.clone();
        });
        true
    }

    pub(super) fn add_project_team(&mut self, project: &ProjectId, user: &UserId) -> Part {
        let sides = self.view().project_sides(project, user);
        self.set_sides(
            project,
            user,
            ProjectSides {
                team: true,
                ..sides
            },
        )
    }

    pub(super) fn add_project_client(&mut self, project: &ProjectId, user: &UserId) -> Part {
        let sides = self.view().project_sides(project, user);
        self.set_sides(
            project,
            user,
            ProjectSides {
                client: true,
                ..sides
            },
        )
    }

    pub(super) fn remove_project_team(&mut self, project: &ProjectId, user: &UserId) -> bool {
        let sides = self.view().project_sides(project, user);
        self.drop_side(
            project,
            user,
            ProjectSides {
                team: false,
                ..sides
            },
        )
    }

    pub(super) fn remove_project_client(&mut self, project: &ProjectId, user: &UserId) -> bool {
        let sides = self.view().project_sides(project, user);
        self.drop_side(
            project,
            user,
            ProjectSides {
                client: false,
                ..sides
            },
        )
    }

    /// Taking off is always possible; what is not there is passed over.
    fn drop_side(&mut self, project: &ProjectId, user: &UserId, sides: ProjectSides) -> bool {
        matches!(self.set_sides(project, user, sides), Ok(true))
    }

    /// Puts a user on these sides of a project. Only who comes to a side has to
    /// be of its kind: a user whose kind changed later stays where it is.
    fn set_sides(&mut self, project: &ProjectId, user: &UserId, sides: ProjectSides) -> Part {
        let Some(stored) = self.view().project(project) else {
            return Err(RefusalReason::NoSuchProject(project.clone()));
        };
        let known = self.existing_user(user)?;
        let before = self.view().project_sides(project, user);
        if before == sides {
            return Ok(false);
        }
        if sides.team && !before.team && known.kind != UserKind::Internal {
            return Err(RefusalReason::NeedsInternal(user.clone()));
        }
        if sides.client && !before.client && known.kind != UserKind::Client {
            return Err(RefusalReason::NeedsClient(user.clone()));
        }
        if sides == ProjectSides::default() {
            self.delete(&keys::project_member(project, user));
            self.delete(&keys::user_project(user, project));
        } else {
            self.put(&keys::project_member(project, user), &sides);
            self.put(&keys::user_project(user, project), &());
        }
        if sides.client {
            self.begin_project_channel(project, &stored);
        }
        self.settle_project_member(project, user, &known);
        Ok(true)
    }

    /// The project is assigned to a client: its channel exists from now on.
    fn begin_project_channel(&mut self, project: &ProjectId, stored: &StoredProject) {
        let channel = ChannelId::project(project);
        if self.view().channel(&channel).is_some() {
            return;
        }
        let properties = StoredProperties {
            name: stored.name.clone(),
            archived_at_ms: stored.closed.then_some(self.at_ms),
            ..StoredProperties::default()
        };
        self.create_channel(&channel, properties, self.by.cloned(), None);
        for user in self.ends::<UserId>(&keys::project_members(project)) {
            if let Some(known) = self.view().user(&user) {
                self.settle_project_member(project, &user, &known);
            }
        }
    }

    /// Brings the channel to what one of the project's users is now.
    pub(super) fn settle_project_member(
        &mut self,
        project: &ProjectId,
        user: &UserId,
        now: &StoredUser,
    ) {
        let is_on = self.view().project_sides(project, user) != ProjectSides::default();
        let role = (is_on && now.active).then_some(plain_role(now.kind));
        self.set_member(&ChannelId::project(project), user, role);
    }

    /// Closes a project, or opens it again; its channel is archived with it.
    pub(super) fn set_project_closed(&mut self, project: &ProjectId, closed: bool) -> Part {
        let Some(mut stored) = self.view().project(project) else {
            return Err(RefusalReason::NoSuchProject(project.clone()));
        };
        if stored.closed == closed {
            return Ok(false);
        }
        stored.closed = closed;
        self.put(&keys::project(project), &stored);
        let archived_at_ms = closed.then_some(self.at_ms);
        self.change_channel(&ChannelId::project(project), |channel| {
            channel.properties.archived_at_ms = archived_at_ms;
        });
        Ok(true)
    }

    pub(super) fn delete_project(&mut self, project: &ProjectId) -> bool {
        if self.view().project(project).is_none() {
            return false;
        }
        self.delete_channel(&ChannelId::project(project));
        for user in self.ends::<UserId>(&keys::project_members(project)) {
            self.delete(&keys::project_member(project, &user));
            self.delete(&keys::user_project(&user, project));
        }
        self.delete(&keys::project(project));
        true
    }

    /// Renames what a project channel belongs to.
    pub(super) fn rename_project(&mut self, project: &ProjectId, name: &Text) -> bool {
        self.view().project(project).is_some() && self.put_project_name(project, name)
    }
}
