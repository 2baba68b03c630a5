//! Random commands over a handful of names, so that they often meet.

use confab_protocol::codec::Text;
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, ClientMessageId, UserId};
use proptest::prelude::*;

use super::{department, project, put_user, user};
use crate::directory::{CommandKind, CreateGroup, Provision};

pub(super) const USERS: [&str; 6] = ["a", "a-b", "b", "c", "x.1", "x@2"];
const DEPARTMENTS: [&str; 2] = ["d", "d-e"];
const PROJECTS: [&str; 2] = ["p", "p-q"];

/// What stands before the random commands, so that most of them are possible.
pub(super) fn company() -> Vec<(UserId, CommandKind)> {
    let mut changes: Vec<DirectoryChange> = USERS
        .iter()
        .enumerate()
        .map(|(place, name)| match place {
            0..4 => put_user(name, UserKind::Internal, true),
            _ => put_user(name, UserKind::Client, true),
        })
        .collect();
    for id in DEPARTMENTS.map(department) {
        let name = Text::from("one");
        changes.push(DirectoryChange::PutDepartment { id, name });
    }
    for id in PROJECTS.map(project) {
        changes.push(DirectoryChange::PutProject {
            id,
            name: Text::from("one"),
            team: vec![user("a")].into(),
            clients: vec![user("x.1")].into(),
        });
    }
    let group = |number, by: &str, members: &[&str]| {
        let group = CreateGroup {
            id: ChannelId::group(number, 0),
            name: Text::from("one"),
            topic: Text::default(),
            private: true,
            members: members.iter().map(|name| user(name)).collect(),
            client_id: None,
        };
        (user(by), CommandKind::CreateGroup(group))
    };
    vec![
        (user("a"), CommandKind::Change(changes.into())),
        group(0, "a", &["b", "x.1"]),
        group(1, "b", &["a-b", "c", "a", "x@2"]),
    ]
}

fn any_user() -> impl Strategy<Value = UserId> {
    // One more than exists, to be refused now and then.
    prop_oneof![
        20 => proptest::sample::select(&USERS[..]).prop_map(user),
        1 => Just(user("nobody")),
    ]
}

fn any_users() -> impl Strategy<Value = Vec<UserId>> {
    proptest::collection::vec(any_user(), 0..3)
}

fn any_kind() -> impl Strategy<Value = UserKind> {
    prop_oneof![2 => Just(UserKind::Internal), 1 => Just(UserKind::Client)]
}

fn any_text() -> impl Strategy<Value = Text> {
    proptest::sample::select(&["one", "two"][..]).prop_map(Text::from)
}

pub(super) fn any_group() -> impl Strategy<Value = ChannelId> {
    (0u64..3).prop_map(|number| ChannelId::group(number, 0))
}

pub(super) fn any_channel() -> impl Strategy<Value = ChannelId> {
    prop_oneof![
        6 => any_group(),
        2 => proptest::sample::select(&DEPARTMENTS[..])
            .prop_map(|id| ChannelId::department(&department(id))),
        2 => proptest::sample::select(&PROJECTS[..])
            .prop_map(|id| ChannelId::project(&project(id))),
        1 => Just(ChannelId::general()),
        1 => Just(ChannelId::dm(&user("a"), &user("b")).unwrap()),
    ]
}

pub(super) fn any_change() -> impl Strategy<Value = DirectoryChange> {
    let department = || proptest::sample::select(&DEPARTMENTS[..]).prop_map(department);
    let project = || proptest::sample::select(&PROJECTS[..]).prop_map(project);
    prop_oneof![
        8 => (any_user(), any_text(), any_kind(), proptest::bool::weighted(0.7), any::<Option<bool>>())
            .prop_map(|(id, name, kind, active, admin)| DirectoryChange::PutUser {
                id, name, kind, active, admin,
            }),
        3 => (department(), any_text())
            .prop_map(|(id, name)| DirectoryChange::PutDepartment { id, name }),
        1 => department().prop_map(|id| DirectoryChange::DeleteDepartment { id }),
        4 => (department(), any_user())
            .prop_map(|(department, user)| DirectoryChange::AddDepartmentMember { department, user }),
        2 => (department(), any_user())
            .prop_map(|(department, user)| DirectoryChange::RemoveDepartmentMember { department, user }),
        4 => (project(), any_text(), any_users(), any_users())
            .prop_map(|(id, name, team, clients)| DirectoryChange::PutProject {
                id, name, team: team.into(), clients: clients.into(),
            }),
        2 => (project(), any_user())
            .prop_map(|(project, user)| DirectoryChange::AddProjectTeam { project, user }),
        2 => (project(), any_user())
            .prop_map(|(project, user)| DirectoryChange::AddProjectClient { project, user }),
        1 => (project(), any_user())
            .prop_map(|(project, user)| DirectoryChange::RemoveProjectTeam { project, user }),
        1 => (project(), any_user())
            .prop_map(|(project, user)| DirectoryChange::RemoveProjectClient { project, user }),
        1 => project().prop_map(|id| DirectoryChange::CloseProject { id }),
        1 => (any_user(), any::<bool>())
            .prop_map(|(user, admin)| DirectoryChange::SetAdmin { user, admin }),
        1 => (any_user(), 0u64..100).prop_map(|(user, issued_before)| {
            DirectoryChange::RevokeUserTokens { user, issued_before }
        }),
        1 => (any_text(), 0u64..100).prop_map(|(token_id, expires_at)| {
            DirectoryChange::RevokeToken { token_id, expires_at }
        }),
    ]
}

fn any_role() -> impl Strategy<Value = ChannelRole> {
    proptest::sample::select(
        &[
            ChannelRole::Guest,
            ChannelRole::Member,
            ChannelRole::Admin,
            ChannelRole::Owner,
        ][..],
    )
}

fn any_claims() -> impl Strategy<Value = CommandKind> {
    let departments = proptest::collection::vec(
        proptest::sample::select(&DEPARTMENTS[..]).prop_map(department),
        0..2,
    );
    (
        any_user(),
        any_text(),
        any_kind(),
        departments,
        any::<Option<bool>>(),
    )
        .prop_map(|(user, name, kind, departments, admin)| {
            CommandKind::Provision(Provision {
                user,
                name,
                kind,
                departments,
                admin,
            })
        })
}

fn any_new_group() -> impl Strategy<Value = CommandKind> {
    let client_id = proptest::option::of(
        proptest::sample::select(&["k1", "k2"][..])
            .prop_map(|id| ClientMessageId::new(id).unwrap()),
    );
    (
        any_group(),
        any_text(),
        any::<bool>(),
        any_users(),
        client_id,
    )
        .prop_map(|(id, name, private, members, client_id)| {
            CommandKind::CreateGroup(CreateGroup {
                id,
                name,
                topic: Text::default(),
                private,
                members: members.into(),
                client_id,
            })
        })
}

fn any_update() -> impl Strategy<Value = CommandKind> {
    (
        any_channel(),
        proptest::option::of(any_text()),
        proptest::option::of(any_text()),
        proptest::option::weighted(0.2, any::<bool>()),
        any::<Option<bool>>(),
    )
        .prop_map(
            |(channel, name, topic, private, archived)| CommandKind::UpdateChannel {
                channel,
                name,
                topic,
                private,
                archived,
            },
        )
}

/// A command and who asks for it.
pub(super) fn any_command() -> impl Strategy<Value = (UserId, CommandKind)> {
    let what = prop_oneof![
        12 => proptest::collection::vec(any_change(), 1..4)
            .prop_map(|changes| CommandKind::Change(changes.into())),
        2 => any_claims(),
        3 => any_new_group(),
        2 => (any_user(), any_user()).prop_map(|(a, b)| CommandKind::OpenDm { a, b }),
        2 => any_update(),
        1 => any_channel().prop_map(|channel| CommandKind::DeleteChannel { channel }),
        1 => any_channel().prop_map(|channel| CommandKind::Join { channel }),
        2 => any_group().prop_map(|channel| CommandKind::Leave { channel }),
        3 => (any_channel(), any_users()).prop_map(|(channel, users)| CommandKind::AddMembers {
            channel,
            users: users.into(),
        }),
        3 => (any_channel(), any_users()).prop_map(|(channel, users)| {
            CommandKind::RemoveMembers { channel, users: users.into() }
        }),
        3 => (any_group(), any_user(), any_role())
            .prop_map(|(channel, user, role)| CommandKind::SetRole { channel, user, role }),
    ];
    (any_user(), what)
}
