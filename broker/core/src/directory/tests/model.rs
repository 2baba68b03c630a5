//! The directory as one would first write it: whole structures, everything
//! recounted, no indexes. It says what is refused, too.

use std::collections::{BTreeMap, BTreeSet};

use confab_protocol::codec::Text;
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, ChannelKind, ClientMessageId, UserId};

use crate::directory::{CommandKind, CreateGroup, Provision};

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Person {
    pub(super) name: Text,
    pub(super) kind: UserKind,
    pub(super) active: bool,
    pub(super) admin: bool,
    put: bool,
    admin_said: bool,
}

impl Person {
    fn works_here(&self) -> bool {
        self.active && self.kind == UserKind::Internal
    }
}

/// What a channel shows of itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shown {
    pub(super) name: Text,
    pub(super) topic: Text,
    pub(super) private: bool,
    pub(super) archived: bool,
}

#[derive(Clone, Debug)]
struct Group {
    shown: Shown,
    request: Option<(UserId, ClientMessageId)>,
    /// In no order; with the command that let them in.
    members: Vec<(UserId, ChannelRole, u64)>,
}

#[derive(Clone, Debug, Default)]
struct Department {
    shown: Shown,
    members: BTreeSet<UserId>,
}

#[derive(Clone, Debug, Default)]
struct Project {
    shown: Shown,
    begun: bool,
    team: BTreeSet<UserId>,
    clients: BTreeSet<UserId>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) people: BTreeMap<UserId, Person>,
    general: Shown,
    departments: BTreeMap<ChannelId, Department>,
    projects: BTreeMap<ChannelId, Project>,
    groups: BTreeMap<ChannelId, Group>,
    dms: BTreeSet<ChannelId>,
    clock: u64,
}

type Refused = ();

impl Model {
    pub(super) fn new() -> Self {
        let mut model = Self::default();
        model.general.name = Text::from("General");
        model
    }

    /// Every channel with what it shows and its members.
    pub(super) fn channels(&self) -> BTreeMap<ChannelId, (Shown, BTreeMap<UserId, ChannelRole>)> {
        let workers = self.people.iter().filter(|(_, person)| person.works_here());
        let general = workers
            .map(|(id, _)| (id.clone(), ChannelRole::Member))
            .collect();
        let mut all = BTreeMap::from([(ChannelId::general(), (self.general.clone(), general))]);
        for (id, department) in &self.departments {
            let members = department
                .members
                .iter()
                .filter(|user| self.people[*user].works_here());
            let members = members
                .map(|user| (user.clone(), ChannelRole::Member))
                .collect();
            all.insert(id.clone(), (department.shown.clone(), members));
        }
        for (id, project) in self.projects.iter().filter(|(_, project)| project.begun) {
            let members = project.team.union(&project.clients);
            let members = members
                .filter(|user| self.people[*user].active)
                .map(|user| (user.clone(), self.plain(user)))
                .collect();
            all.insert(id.clone(), (project.shown.clone(), members));
        }
        for (id, group) in &self.groups {
            let members = group
                .members
                .iter()
                .map(|(user, role, _)| (user.clone(), *role));
            all.insert(id.clone(), (group.shown.clone(), members.collect()));
        }
        for id in &self.dms {
            let (a, b) = id.dm_users().unwrap();
            let members = BTreeMap::from([(a, ChannelRole::Member), (b, ChannelRole::Member)]);
            all.insert(id.clone(), (Shown::default(), members));
        }
        all
    }

    fn plain(&self, user: &UserId) -> ChannelRole {
        match self.people[user].kind {
            UserKind::Internal => ChannelRole::Member,
            UserKind::Client => ChannelRole::Guest,
        }
    }

    /// Does a command as a whole or not at all.
    pub(super) fn run(&mut self, by: &UserId, what: &CommandKind) -> Result<(), Refused> {
        let mut next = self.clone();
        next.clock += 1;
        next.try_run(by, what)?;
        *self = next;
        Ok(())
    }

    fn try_run(&mut self, by: &UserId, what: &CommandKind) -> Result<(), Refused> {
        match what {
            CommandKind::Change(changes) => {
                changes.iter().try_for_each(|change| self.change(change))
            }
            CommandKind::Provision(claims) => self.provision(claims),
            CommandKind::CreateGroup(group) => self.create(by, group),
            CommandKind::OpenDm { a, b } => {
                let id = ChannelId::dm(a, b).map_err(|_| ())?;
                if !self.dms.contains(&id) {
                    self.present(a)?;
                    self.present(b)?;
                    self.dms.insert(id);
                }
                Ok(())
            }
            CommandKind::UpdateChannel {
                channel,
                name,
                topic,
                private,
                archived,
            } => {
                let kind = channel.kind();
                if kind == ChannelKind::Dm || (private.is_some() && kind != ChannelKind::Group) {
                    let asks = name.is_some()
                        || topic.is_some()
                        || private.is_some()
                        || archived.is_some();
                    return if asks || !self.dms.contains(channel) {
                        Err(())
                    } else {
                        Ok(())
                    };
                }
                let shown = self.shown(channel).ok_or(())?;
                shown.name = name.clone().unwrap_or(shown.name.clone());
                shown.topic = topic.clone().unwrap_or(shown.topic.clone());
                shown.private = private.unwrap_or(shown.private);
                shown.archived = archived.unwrap_or(shown.archived);
                Ok(())
            }
            CommandKind::DeleteChannel { channel } => {
                self.shown(channel).ok_or(())?;
                let gone = self.departments.remove(channel).is_some()
                    | self.projects.remove(channel).is_some()
                    | self.groups.remove(channel).is_some();
                if gone { Ok(()) } else { Err(()) }
            }
            CommandKind::Join { channel } => self.add(channel, std::slice::from_ref(by)),
            CommandKind::Leave { channel } => self.remove(channel, std::slice::from_ref(by)),
            CommandKind::AddMembers { channel, users } => self.add(channel, &users.to_vec()),
            CommandKind::RemoveMembers { channel, users } => self.remove(channel, &users.to_vec()),
            CommandKind::SetRole {
                channel,
                user,
                role,
            } => self.set_role(channel, user, *role),
            CommandKind::Initialize { .. } | CommandKind::ChangesPropagated { .. } => Ok(()),
        }
    }

    fn shown(&mut self, channel: &ChannelId) -> Option<&mut Shown> {
        if *channel == ChannelId::general() {
            return Some(&mut self.general);
        }
        if let Some(department) = self.departments.get_mut(channel) {
            return Some(&mut department.shown);
        }
        if let Some(project) = self.projects.get_mut(channel) {
            return project.begun.then_some(&mut project.shown);
        }
        self.groups.get_mut(channel).map(|group| &mut group.shown)
    }

    fn known(&self, user: &UserId) -> Result<&Person, Refused> {
        self.people.get(user).ok_or(())
    }

    fn present(&self, user: &UserId) -> Result<&Person, Refused> {
        self.known(user)
            .and_then(|person| if person.active { Ok(person) } else { Err(()) })
    }

    fn provision(&mut self, claims: &Provision) -> Result<(), Refused> {
        let internal = claims.kind == UserKind::Internal;
        if let Some(person) = self.people.get_mut(&claims.user) {
            if !person.put {
                person.name = claims.name.clone();
            }
            if let (false, Some(admin)) = (person.admin_said, claims.admin) {
                person.admin = admin && person.kind == UserKind::Internal;
            }
            return Ok(());
        }
        let person = Person {
            name: claims.name.clone(),
            kind: claims.kind,
            active: true,
            admin: internal && claims.admin == Some(true),
            put: false,
            admin_said: false,
        };
        self.people.insert(claims.user.clone(), person);
        for id in claims.departments.iter().filter(|_| internal) {
            let department = self
                .departments
                .entry(ChannelId::department(id))
                .or_default();
            if department.shown.name.is_empty() {
                department.shown.name = Text::from(id.as_str());
            }
            department.members.insert(claims.user.clone());
        }
        Ok(())
    }

    fn change(&mut self, change: DirectoryChange) -> Result<(), Refused> {
        match change {
            DirectoryChange::PutUser {
                id,
                name,
                kind,
                active,
                admin,
            } => {
                if kind == UserKind::Client && admin == Some(true) {
                    return Err(());
                }
                let old = self.people.get(&id);
                let person = Person {
                    name,
                    kind,
                    active,
                    admin: kind == UserKind::Internal
                        && admin.unwrap_or(old.is_some_and(|old| old.admin)),
                    put: true,
                    admin_said: admin.is_some() || old.is_some_and(|old| old.admin_said),
                };
                self.people.insert(id.clone(), person);
                self.settle_groups(&id);
            }
            DirectoryChange::SetAdmin { user, admin } => {
                let person = self.people.get_mut(&user).ok_or(())?;
                if admin && person.kind == UserKind::Client {
                    return Err(());
                }
                (person.admin, person.admin_said) = (admin, true);
            }
            DirectoryChange::PutDepartment { id, name } => {
                let id = ChannelId::department(&id);
                self.departments.entry(id).or_default().shown.name = name;
            }
            DirectoryChange::DeleteDepartment { id } => {
                self.departments.remove(&ChannelId::department(&id));
            }
            DirectoryChange::AddDepartmentMember { department, user } => {
                let client = self.known(&user)?.kind == UserKind::Client;
                let department = self
                    .departments
                    .get_mut(&ChannelId::department(&department));
                let members = &mut department.ok_or(())?.members;
                if client && !members.contains(&user) {
                    return Err(());
                }
                members.insert(user);
            }
            DirectoryChange::RemoveDepartmentMember { department, user } => {
                let department = self
                    .departments
                    .get_mut(&ChannelId::department(&department));
                department.map(|department| department.members.remove(&user));
            }
            DirectoryChange::PutProject {
                id,
                name,
                team,
                clients,
            } => {
                let id = ChannelId::project(&id);
                self.projects.entry(id.clone()).or_default().shown.name = name;
                let team: BTreeSet<UserId> = team.iter().collect();
                let clients: BTreeSet<UserId> = clients.iter().collect();
                self.project(&id, |project| {
                    (project.team, project.clients) = (team, clients)
                })?;
            }
            DirectoryChange::AddProjectTeam { project, user } => {
                self.known(&user)?;
                self.project(&ChannelId::project(&project), |project| {
                    project.team.insert(user);
                })?;
            }
            DirectoryChange::AddProjectClient { project, user } => {
                self.known(&user)?;
                self.project(&ChannelId::project(&project), |project| {
                    project.clients.insert(user);
                })?;
            }
            DirectoryChange::RemoveProjectTeam { project, user } => {
                let project = self.projects.get_mut(&ChannelId::project(&project));
                project.map(|project| project.team.remove(&user));
            }
            DirectoryChange::RemoveProjectClient { project, user } => {
                let project = self.projects.get_mut(&ChannelId::project(&project));
                project.map(|project| project.clients.remove(&user));
            }
            DirectoryChange::CloseProject { id } => {
                let project = self.projects.get_mut(&ChannelId::project(&id));
                project.ok_or(())?.shown.archived = true;
            }
            DirectoryChange::RevokeUserTokens { .. } | DirectoryChange::RevokeToken { .. } => {}
        }
        Ok(())
    }

    /// Changes a project's sides; who comes to one must be of its kind.
    fn project(
        &mut self,
        id: &ChannelId,
        change: impl FnOnce(&mut Project),
    ) -> Result<(), Refused> {
        let before = self.projects.get(id).ok_or(())?.clone();
        let mut now = before.clone();
        change(&mut now);
        for user in now.team.difference(&before.team) {
            if self.known(user)?.kind != UserKind::Internal {
                return Err(());
            }
        }
        for user in now.clients.difference(&before.clients) {
            if self.known(user)?.kind != UserKind::Client {
                return Err(());
            }
        }
        now.begun |= !now.clients.is_subset(&before.clients);
        self.projects.insert(id.clone(), now);
        Ok(())
    }

    fn create(&mut self, by: &UserId, group: &CreateGroup) -> Result<(), Refused> {
        let request = group
            .client_id
            .clone()
            .map(|client_id| (by.clone(), client_id));
        let repeated = self.groups.values().any(|group| group.request == request);
        if request.is_some() && repeated {
            return Ok(());
        }
        if self.groups.contains_key(&group.id) || self.present(by)?.kind == UserKind::Client {
            return Err(());
        }
        let shown = Shown {
            name: group.name.clone(),
            topic: group.topic.clone(),
            private: group.private,
            archived: false,
        };
        let members = vec![(by.clone(), ChannelRole::Owner, self.clock)];
        self.groups.insert(
            group.id.clone(),
            Group {
                shown,
                request,
                members,
            },
        );
        self.add(&group.id, &group.members.to_vec())
    }

    fn add(&mut self, channel: &ChannelId, users: &[UserId]) -> Result<(), Refused> {
        let clock = self.clock;
        for user in users {
            self.groups.get(channel).ok_or(())?;
            self.present(user)?;
            let role = self.plain(user);
            let members = &mut self.groups.get_mut(channel).unwrap().members;
            if members.iter().all(|(member, ..)| member != user) {
                members.push((user.clone(), role, clock));
            }
        }
        inherit(self.groups.get_mut(channel).ok_or(())?);
        Ok(())
    }

    fn remove(&mut self, channel: &ChannelId, users: &[UserId]) -> Result<(), Refused> {
        let group = self.groups.get_mut(channel).ok_or(())?;
        let before = group.members.len();
        group.members.retain(|(member, ..)| !users.contains(member));
        if group.members.len() < before {
            inherit(group);
            archive_without_owner(group);
        }
        Ok(())
    }

    fn set_role(
        &mut self,
        channel: &ChannelId,
        user: &UserId,
        role: ChannelRole,
    ) -> Result<(), Refused> {
        let group = self.groups.get_mut(channel).ok_or(())?;
        let client = self.people.get(user).ok_or(())?.kind == UserKind::Client;
        let found = group
            .members
            .iter()
            .position(|(member, ..)| member == user)
            .ok_or(())?;
        let before = group.members[found].1;
        if before == role {
            return Ok(());
        }
        if client != (role == ChannelRole::Guest) || before == ChannelRole::Owner {
            return Err(());
        }
        if role == ChannelRole::Owner {
            for member in &mut group.members {
                if member.1 == ChannelRole::Owner {
                    member.1 = ChannelRole::Admin;
                }
            }
        }
        group.members[found].1 = role;
        Ok(())
    }

    /// A user became another: what groups make of it.
    fn settle_groups(&mut self, user: &UserId) {
        let person = self.people[user].clone();
        for group in self.groups.values_mut() {
            let before = group.members.clone();
            if !person.active {
                group.members.retain(|(member, ..)| member != user);
            }
            for (_, role, _) in group
                .members
                .iter_mut()
                .filter(|(member, ..)| member == user)
            {
                match person.kind {
                    UserKind::Client => *role = ChannelRole::Guest,
                    UserKind::Internal => *role = (*role).max(ChannelRole::Member),
                }
            }
            if group.members != before {
                inherit(group);
                archive_without_owner(group);
            }
        }
    }
}

/// The oldest admin, else the oldest member, owns a group without an owner.
fn inherit(group: &mut Group) {
    if group
        .members
        .iter()
        .any(|(_, role, _)| *role == ChannelRole::Owner)
    {
        return;
    }
    for rank in [ChannelRole::Admin, ChannelRole::Member] {
        let mut heirs: Vec<_> = group
            .members
            .iter_mut()
            .filter(|(_, role, _)| *role == rank)
            .collect();
        heirs.sort_by_key(|(user, _, joined)| (*joined, user.clone()));
        if let Some(heir) = heirs.into_iter().next() {
            heir.1 = ChannelRole::Owner;
            return;
        }
    }
}

fn archive_without_owner(group: &mut Group) {
    group.shown.archived |= group
        .members
        .iter()
        .all(|(_, role, _)| *role != ChannelRole::Owner);
}
