//! Users, departments and projects.

use std::ops::ControlFlow;

use confab_protocol::message::session::UserKind;
use confab_protocol::{DepartmentId, ProjectId, UserId};

use super::{DirectoryView, Page, id, read};
use crate::directory::command::Provision;
use crate::directory::keys;
use crate::directory::record::{ProjectSides, StoredDepartment, StoredProject, StoredUser};
use crate::store::Store;

impl<S: Store> DirectoryView<'_, S> {
    /// A user.
    #[must_use]
    pub fn user(&self, user: &UserId) -> Option<StoredUser> {
        self.record(&keys::user(user))
    }

    /// Users in order of their ids, those whose id or name begins with
    /// `prefix`, whatever the case. With a prefix it reads on until the page is
    /// full, in the worst case through all users.
    #[must_use]
    pub fn users(
        &self,
        prefix: &str,
        after: Option<&UserId>,
        limit: usize,
    ) -> Page<(UserId, StoredUser)> {
        let range = keys::users().after(after.map(UserId::as_str));
        self.page(&range, limit, |text, value| {
            let user: StoredUser = read(value);
            let wanted = begins_with(text, prefix) || begins_with(&user.name, prefix);
            wanted.then(|| (id(text), user))
        })
    }

    /// Whether a user is an active administrator of the server.
    #[must_use]
    pub fn is_admin(&self, user: &UserId) -> bool {
        self.user(user)
            .is_some_and(|user| user.active && user.admin)
    }

    /// Whether a token says something new, so that it has to be proposed.
    #[must_use]
    pub fn needs_provisioning(&self, claims: &Provision) -> bool {
        match self.user(&claims.user) {
            None => true,
            Some(known) => claims.taken_over_by(&known) != known,
        }
    }

    /// A department.
    #[must_use]
    pub fn department(&self, department: &DepartmentId) -> Option<StoredDepartment> {
        self.record(&keys::department(department))
    }

    /// All departments in order of their ids.
    #[must_use]
    pub fn departments(
        &self,
        after: Option<&DepartmentId>,
        limit: usize,
    ) -> Page<(DepartmentId, StoredDepartment)> {
        let range = keys::departments().after(after.map(DepartmentId::as_str));
        self.page(&range, limit, |text, value| Some((id(text), read(value))))
    }

    /// Whether a user is put into a department; also while the user is
    /// deactivated or a client, and so not in its channel.
    #[must_use]
    pub fn is_in_department(&self, department: &DepartmentId, user: &UserId) -> bool {
        self.holds(&keys::department_member(department, user))
    }

    /// Who is put into a department, in order of their ids.
    #[must_use]
    pub fn department_members(
        &self,
        department: &DepartmentId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Page<UserId> {
        let range = keys::department_members(department).after(after.map(UserId::as_str));
        self.page(&range, limit, |text, _| Some(id(text)))
    }

    /// The departments a user is put into.
    #[must_use]
    pub fn departments_of(
        &self,
        user: &UserId,
        after: Option<&DepartmentId>,
        limit: usize,
    ) -> Page<DepartmentId> {
        let range = keys::user_departments(user).after(after.map(DepartmentId::as_str));
        self.page(&range, limit, |text, _| Some(id(text)))
    }

    /// A project.
    #[must_use]
    pub fn project(&self, project: &ProjectId) -> Option<StoredProject> {
        self.record(&keys::project(project))
    }

    /// All projects in order of their ids.
    #[must_use]
    pub fn projects(
        &self,
        after: Option<&ProjectId>,
        limit: usize,
    ) -> Page<(ProjectId, StoredProject)> {
        let range = keys::projects().after(after.map(ProjectId::as_str));
        self.page(&range, limit, |text, value| Some((id(text), read(value))))
    }

    /// On which sides of a project a user is put.
    #[must_use]
    pub fn project_sides(&self, project: &ProjectId, user: &UserId) -> ProjectSides {
        self.record(&keys::project_member(project, user))
            .unwrap_or_default()
    }

    /// Who is put on which sides of a project, in order of their ids.
    #[must_use]
    pub fn project_members(
        &self,
        project: &ProjectId,
        after: Option<&UserId>,
        limit: usize,
    ) -> Page<(UserId, ProjectSides)> {
        let range = keys::project_members(project).after(after.map(UserId::as_str));
        self.page(&range, limit, |text, value| Some((id(text), read(value))))
    }

    /// The projects a user is put on.
    #[must_use]
    pub fn projects_of(
        &self,
        user: &UserId,
        after: Option<&ProjectId>,
        limit: usize,
    ) -> Page<ProjectId> {
        let range = keys::user_projects(user).after(after.map(ProjectId::as_str));
        self.page(&range, limit, |text, _| Some(id(text)))
    }

    /// The users that `viewer` may see, in order of their ids: an internal user
    /// sees everybody, a client those it shares a channel with.
    #[must_use]
    pub fn users_seen_by(
        &self,
        viewer: &UserId,
        prefix: &str,
        after: Option<&UserId>,
        limit: usize,
    ) -> Page<(UserId, StoredUser)> {
        let Some(known) = self.user(viewer) else {
            return Page {
                items: Vec::new(),
                more: false,
            };
        };
        if known.kind == UserKind::Internal {
            return self.users(prefix, after, limit);
        }
        // The smallest ids so far, one more than the page holds.
        let mut found = std::collections::BTreeMap::new();
        self.visit_channels_of(viewer, |channel| {
            self.visit_members(channel, after, |user, _| {
                let beyond = found.len() > limit
                    && found.last_key_value().is_some_and(|(last, _)| last < user);
                if beyond {
                    return ControlFlow::Break(());
                }
                if !found.contains_key(user)
                    && let Some(face) = self.user(user)
                    && (begins_with(user.as_str(), prefix) || begins_with(&face.name, prefix))
                {
                    found.insert(user.clone(), face);
                    if found.len() > limit + 1 {
                        found.pop_last();
                    }
                }
                ControlFlow::Continue(())
            });
            ControlFlow::Continue(())
        });
        let more = found.len() > limit;
        Page {
            items: found.into_iter().take(limit).collect(),
            more,
        }
    }
}

/// Whether a text begins with another, whatever the case.
fn begins_with(text: &str, prefix: &str) -> bool {
    let mut folded = text.chars().flat_map(char::to_lowercase);
    prefix
        .chars()
        .flat_map(char::to_lowercase)
        .all(|wanted| folded.next() == Some(wanted))
}
