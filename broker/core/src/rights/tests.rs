//! The whole table against a grid that was written by hand.

#![allow(clippy::unwrap_used)]

mod document;

use confab_protocol::codec::{Packed, Text};
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, ChannelKind, ErrorCode, UserId};

use super::{Action, ChannelAction, Standing, authorize, authorize_in, decide};
use crate::directory::{Command, CommandKind, CreateGroup, DirectoryView, apply};
use crate::store::MemoryStore;

const ACTIONS: [ChannelAction; 25] = [
    ChannelAction::See,
    ChannelAction::Read,
    ChannelAction::Post,
    ChannelAction::Type,
    ChannelAction::EditMessage { own: true },
    ChannelAction::EditMessage { own: false },
    ChannelAction::DeleteMessage { own: true },
    ChannelAction::DeleteMessage { own: false },
    ChannelAction::React,
    ChannelAction::Pin,
    ChannelAction::MentionChannel,
    ChannelAction::MarkRead,
    ChannelAction::InviteMembers,
    ChannelAction::RemoveMember {
        role: ChannelRole::Guest,
    },
    ChannelAction::RemoveMember {
        role: ChannelRole::Member,
    },
    ChannelAction::RemoveMember {
        role: ChannelRole::Admin,
    },
    ChannelAction::RemoveMember {
        role: ChannelRole::Owner,
    },
    ChannelAction::SetRole,
    ChannelAction::Rename,
    ChannelAction::SetPrivate,
    ChannelAction::Archive,
    ChannelAction::Unarchive,
    ChannelAction::Delete,
    ChannelAction::Join,
    ChannelAction::Leave,
];

/// One row for each of [`ACTIONS`]; in it one word for each of [`KINDS`]; in
/// that one sign for each who: a stranger, a guest, a member, a channel's admin,
/// its owner, a server administrator outside, one who is a member.
///
/// `+` may, `-` is forbidden, `?` gets `NotFound`. Last, whether it stays
/// possible in an archived channel.
#[rustfmt::skip]
const ROWS: [(&str, [&str; 6], bool); 25] = [
    //                     dm         department project    general    private    open group
    //                     sgmaoAM    sgmaoAM    sgmaoAM    sgmaoAM    sgmaoAM    sgmaoAM     archived
    ("See",              ["?++++?+", "?++++++", "?++++++", "?++++++", "?++++++", "+++++++"], true),
    ("Read",             ["?++++?+", "?++++-+", "?++++-+", "?++++-+", "?++++-+", "-++++-+"], true),
    ("Post",             ["?++++?+", "?++++-+", "?++++-+", "?++++-+", "?++++-+", "-++++-+"], false),
    ("Type",             ["?++++?+", "?++++-+", "?++++-+", "?++++-+", "?++++-+", "-++++-+"], false),
    ("Edit own",         ["?++++?+", "?++++-+", "?++++-+", "?++++-+", "?++++-+", "-++++-+"], false),
    ("Edit other's",     ["?----?-", "?------", "?------", "?------", "?------", "-------"], false),
    ("Delete own",       ["?++++?+", "?++++-+", "?++++-+", "?++++-+", "?++++-+", "-++++-+"], true),
    ("Delete other's",   ["?----?-", "?--++-+", "?--++-+", "?--++-+", "?--++-+", "---++-+"], true),
    ("React",            ["?++++?+", "?++++-+", "?++++-+", "?++++-+", "?++++-+", "-++++-+"], false),
    ("Pin",              ["?-+++?+", "?-+++-+", "?-+++-+", "?-+++-+", "?-+++-+", "--+++-+"], false),
    ("MentionChannel",   ["?-+++?+", "?-+++-+", "?-+++-+", "?-+++-+", "?-+++-+", "--+++-+"], false),
    ("MarkRead",         ["?++++?+", "?++++-+", "?++++-+", "?++++-+", "?++++-+", "-++++-+"], true),
    ("InviteMembers",    ["?----?-", "?------", "?------", "?------", "?-+++++", "--+++++"], false),
    ("Remove guest",     ["?----?-", "?------", "?------", "?------", "?--++++", "---++++"], true),
    ("Remove member",    ["?----?-", "?------", "?------", "?------", "?--++++", "---++++"], true),
    ("Remove admin",     ["?----?-", "?------", "?------", "?------", "?---+++", "----+++"], true),
    ("Remove owner",     ["?----?-", "?------", "?------", "?------", "?---+++", "----+++"], true),
    ("SetRole",          ["?----?-", "?------", "?------", "?------", "?---+++", "----+++"], false),
    ("Rename",           ["?----?-", "?--++++", "?--++++", "?--++++", "?--++++", "---++++"], false),
    ("SetPrivate",       ["?----?-", "?------", "?------", "?------", "?--++++", "---++++"], false),
    ("Archive",          ["?----?-", "?--++++", "?--++++", "?--++++", "?--++++", "---++++"], true),
    ("Unarchive",        ["?----?-", "?--++++", "?--++++", "?--++++", "?--++++", "---++++"], true),
    ("Delete",           ["?----?-", "?---+++", "?---+++", "?------", "?---+++", "----+++"], true),
    ("Join",             ["?----?-", "?------", "?------", "?------", "?++++-+", "+++++++"], false),
    ("Leave",            ["?----?-", "?------", "?------", "?------", "?++++-+", "-++++-+"], true),
];

const KINDS: [(ChannelKind, bool); 6] = [
    (ChannelKind::Dm, false),
    (ChannelKind::Department, false),
    (ChannelKind::Project, false),
    (ChannelKind::General, false),
    (ChannelKind::Group, false),
    (ChannelKind::Group, true),
];

/// The columns of the grid: role, administrator of the server.
const WHO: [(Option<ChannelRole>, bool); 7] = [
    (None, false),
    (Some(ChannelRole::Guest), false),
    (Some(ChannelRole::Member), false),
    (Some(ChannelRole::Admin), false),
    (Some(ChannelRole::Owner), false),
    (None, true),
    (Some(ChannelRole::Member), true),
];

fn user(kind: UserKind, admin: bool) -> crate::directory::StoredUser {
    crate::directory::StoredUser {
        name: Text::from("x"),
        kind,
        active: true,
        admin,
        name_source: crate::directory::Source::Directory,
        admin_source: crate::directory::Source::Directory,
        created_at_ms: 0,
    }
}

fn channel(kind: ChannelKind, open: bool) -> crate::directory::StoredChannel {
    crate::directory::StoredChannel {
        epoch: confab_protocol::Epoch(1),
        kind,
        properties: crate::directory::StoredProperties {
            private: kind == ChannelKind::Group && !open,
            ..Default::default()
        },
        created_at_ms: 0,
        created_by: None,
        client_id: None,
        owner: None,
        member_count: 0,
    }
}

/// Every right is either in the grid or nobody has it.
#[test]
fn the_table_is_the_grid() {
    for (action, (name, words, kept)) in ACTIONS.into_iter().zip(ROWS) {
        for ((kind, open), word) in KINDS.into_iter().zip(words) {
            assert_eq!(word.len(), WHO.len(), "{name} {kind:?}");
            for ((role, admin), sign) in WHO.into_iter().zip(word.chars()) {
                let stored = channel(kind, open);
                let standing = Standing::of(&user(UserKind::Internal, admin), &stored, role);
                let live = decide(standing, kind, false, action).map_err(|denied| denied.code);
                let archived = decide(standing, kind, true, action).map_err(|denied| denied.code);
                let (expected, expected_archived) = match (sign, kept) {
                    ('+', true) => (Ok(()), Ok(())),
                    ('+', false) => (Ok(()), Err(ErrorCode::ChannelArchived)),
                    ('-', _) => (Err(ErrorCode::Forbidden), Err(ErrorCode::Forbidden)),
                    ('?', _) => (Err(ErrorCode::NotFound), Err(ErrorCode::NotFound)),
                    _ => unreachable!("the grid has no other signs"),
                };
                let case = format!("{name} in {kind:?} open {open} as {role:?} admin {admin}");
                assert_eq!(live, expected, "{case}");
                assert_eq!(archived, expected_archived, "{case}, archived");
            }
        }
    }
}

/// A client that is not a member gets `NotFound` for everything, also in an
/// open group.
#[test]
fn a_client_never_learns_of_a_channel_it_is_not_in() {
    for action in ACTIONS {
        for (kind, open) in KINDS {
            let stored = channel(kind, open);
            let standing = Standing::of(&user(UserKind::Client, false), &stored, None);
            for archived in [false, true] {
                let denied = decide(standing, kind, archived, action).unwrap_err();
                assert_eq!(denied.code, ErrorCode::NotFound, "{action:?} {kind:?}");
            }
        }
    }
}

fn id(text: &str) -> UserId {
    UserId::new(text).unwrap()
}

fn put_user(name: &str, kind: UserKind, active: bool, admin: bool) -> DirectoryChange {
    DirectoryChange::PutUser {
        id: id(name),
        name: Text::from(name),
        kind,
        active,
        admin: Some(admin),
    }
}

fn group() -> ChannelId {
    ChannelId::group(1_000, 7)
}

/// `root` administers, `ann` and `bob` are internal, `gone` is deactivated,
/// `carl`, `cleo` and `cid` are clients; `ann` and `carl` share a private
/// group, `bob` and `cleo` a project; `cid` is in nothing.
fn company() -> MemoryStore {
    let mut store = MemoryStore::new();
    let project = confab_protocol::ProjectId::new("p").unwrap();
    let changes: Packed<DirectoryChange> = vec![
        put_user("root", UserKind::Internal, true, true),
        put_user("ann", UserKind::Internal, true, false),
        put_user("bob", UserKind::Internal, true, false),
        put_user("gone", UserKind::Internal, false, false),
        put_user("carl", UserKind::Client, true, false),
        put_user("cleo", UserKind::Client, true, false),
        put_user("cid", UserKind::Client, true, false),
        DirectoryChange::PutProject {
            id: project,
            name: Text::from("P"),
            team: vec![id("bob")].into(),
            clients: vec![id("cleo")].into(),
        },
    ]
    .into();
    let commands = [
        (None, CommandKind::Initialize { shards: 4 }),
        (None, CommandKind::Change(changes)),
        (
            Some(id("ann")),
            CommandKind::CreateGroup(CreateGroup {
                id: group(),
                name: Text::from("g"),
                topic: Text::default(),
                private: true,
                members: vec![id("carl")].into(),
                client_id: None,
            }),
        ),
    ];
    for (index, (by, what)) in (1..).zip(commands) {
        let command = Command { at_ms: 1, by, what };
        apply(&mut store, index, &command).outcome.unwrap();
    }
    store
}

/// Who may act at all, and on whom.
#[test]
fn people_see_and_address_whom_they_may() {
    let store = company();
    let view = DirectoryView::new(&store);
    let code = |actor: &str, action: Action<'_>| {
        authorize(&view, &id(actor), action)
            .map(|_| ())
            .map_err(|denied| denied.code)
    };
    let dm = |actor: &str, other: &str| code(actor, Action::OpenDm(&id(other)));
    let see = |actor: &str, other: &str| code(actor, Action::SeeUser(&id(other)));

    assert_eq!(dm("ann", "bob"), Ok(()));
    assert_eq!(dm("ann", "cid"), Ok(()));
    assert_eq!(dm("ann", "ann"), Err(ErrorCode::InvalidArgument));
    assert_eq!(dm("ann", "nobody"), Err(ErrorCode::NotFound));
    assert_eq!(dm("ann", "gone"), Err(ErrorCode::Forbidden));
    assert_eq!(dm("gone", "ann"), Err(ErrorCode::UserDeactivated));
    assert_eq!(dm("nobody", "ann"), Err(ErrorCode::Forbidden));
    assert_eq!(dm("carl", "ann"), Ok(()));
    assert_eq!(dm("carl", "bob"), Err(ErrorCode::NotFound));
    assert_eq!(dm("cleo", "bob"), Ok(()));
    assert_eq!(dm("cid", "ann"), Err(ErrorCode::NotFound));

    assert_eq!(see("ann", "cid"), Ok(()));
    assert_eq!(see("ann", "nobody"), Err(ErrorCode::NotFound));
    assert_eq!(see("cid", "cid"), Ok(()));
    assert_eq!(see("cid", "ann"), Err(ErrorCode::NotFound));
    assert_eq!(see("carl", "ann"), Ok(()));
    assert_eq!(see("carl", "bob"), Err(ErrorCode::NotFound));
    assert_eq!(code("cleo", Action::SeePresence(&id("bob"))), Ok(()));

    assert_eq!(code("ann", Action::CreateGroup), Ok(()));
    assert_eq!(code("carl", Action::CreateGroup), Err(ErrorCode::Forbidden));
    assert_eq!(code("root", Action::ManageDirectory), Ok(()));
    assert_eq!(
        code("ann", Action::ManageDirectory),
        Err(ErrorCode::Forbidden)
    );
}

/// A dm that an internal user opened can be answered by a client who shares
/// nothing else.
#[test]
fn a_client_answers_where_it_was_addressed() {
    let mut store = company();
    let command = Command {
        at_ms: 2,
        by: Some(id("ann")),
        what: CommandKind::OpenDm {
            a: id("ann"),
            b: id("cid"),
        },
    };
    apply(&mut store, 9, &command).outcome.unwrap();
    let view = DirectoryView::new(&store);
    let channel = ChannelId::dm(&id("ann"), &id("cid")).unwrap();
    assert!(authorize(&view, &id("cid"), Action::OpenDm(&id("ann"))).is_ok());
    assert!(authorize_in(&view, &id("cid"), &channel, ChannelAction::Post).is_ok());
    assert!(authorize(&view, &id("cid"), Action::SeeUser(&id("ann"))).is_ok());
    assert!(authorize(&view, &id("cid"), Action::OpenDm(&id("bob"))).is_err());
    let root = authorize_in(&view, &id("root"), &channel, ChannelAction::See);
    assert_eq!(root.unwrap_err().code, ErrorCode::NotFound);
}

/// An administrator can manage a private group without reading it.
#[test]
fn administrators_manage_what_they_cannot_read() {
    let store = company();
    let view = DirectoryView::new(&store);
    let code = |actor: &str, action| {
        authorize_in(&view, &id(actor), &group(), action)
            .map(|done| done.role)
            .map_err(|denied| denied.code)
    };
    assert_eq!(code("root", ChannelAction::Read), Err(ErrorCode::Forbidden));
    assert_eq!(code("root", ChannelAction::Archive), Ok(None));
    assert_eq!(code("bob", ChannelAction::Read), Err(ErrorCode::NotFound));
    assert_eq!(
        code("carl", ChannelAction::Read),
        Ok(Some(ChannelRole::Guest))
    );
    assert_eq!(
        code("ann", ChannelAction::Delete),
        Ok(Some(ChannelRole::Owner))
    );
    let general = ChannelId::general();
    let role = authorize_in(&view, &id("root"), &general, ChannelAction::Pin);
    assert_eq!(role.unwrap().role, Some(ChannelRole::Admin));
}
