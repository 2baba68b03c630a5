//! The rules one by one, where the model does not reach or a reader wants to see.

use confab_protocol::codec::{Text, encode};
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, ClientMessageId, ErrorCode, UserId};

use super::{Directory, department, project, put_user, user};
use crate::directory::{
    ChannelChangeKind, CommandKind, CreateGroup, PENDING_CHANGES_MAX, RefusalReason, ReplyKind,
    apply, keys, shard_of,
};
use crate::store::{MemoryStore, StoreMut};

fn put_department(id: &str) -> DirectoryChange {
    DirectoryChange::PutDepartment {
        id: department(id),
        name: Text::from(id),
    }
}

fn add(id: &str, name: &str) -> DirectoryChange {
    DirectoryChange::AddDepartmentMember {
        department: department(id),
        user: user(name),
    }
}

fn put_project(id: &str, team: &[&str], clients: &[&str]) -> DirectoryChange {
    DirectoryChange::PutProject {
        id: project(id),
        name: Text::from(id),
        team: team.iter().map(|name| user(name)).collect(),
        clients: clients.iter().map(|name| user(name)).collect(),
    }
}

fn create_group(number: u64, members: &[&str], client_id: Option<&str>) -> CommandKind {
    CommandKind::CreateGroup(CreateGroup {
        id: ChannelId::group(number, 0),
        name: Text::from("group"),
        topic: Text::default(),
        private: true,
        members: members.iter().map(|name| user(name)).collect(),
        client_id: client_id.map(|id| ClientMessageId::new(id).unwrap()),
    })
}

pub(super) fn staffed() -> Directory {
    let mut directory = Directory::new();
    directory
        .change(vec![
            put_user("ann", UserKind::Internal, true),
            put_user("bob", UserKind::Internal, true),
            put_user("eve", UserKind::Internal, true),
            put_user("carl", UserKind::Client, true),
        ])
        .unwrap();
    directory
}

/// Nothing is possible before the number of shards is known, and that number
/// can never change.
#[test]
fn a_directory_is_initialised_once() {
    let mut store = MemoryStore::new();
    let mut run = |index, what| {
        let command = super::Command {
            at_ms: 1,
            by: None,
            what,
        };
        apply(&mut store, index, &command)
            .outcome
            .map_err(|refusal| refusal.reason)
    };
    let first = run(1, CommandKind::Change(vec![put_department("d")].into()));
    assert_eq!(first, Err(RefusalReason::NotInitialized));
    for shards in [0, 257] {
        let refused = run(2, CommandKind::Initialize { shards });
        assert_eq!(refused, Err(RefusalReason::BadShards));
    }
    let reply = run(3, CommandKind::Initialize { shards: 4 }).unwrap();
    assert_eq!(reply.what, ReplyKind::Done { changed: 1 });
    assert_eq!(reply.channel_changes, 1);
    let again = run(4, CommandKind::Initialize { shards: 4 }).unwrap();
    assert_eq!(
        (again.what, again.channel_changes),
        (ReplyKind::Done { changed: 0 }, 0)
    );
    let other = run(5, CommandKind::Initialize { shards: 8 });
    assert_eq!(other, Err(RefusalReason::OtherShards(4)));
}

/// An import that is wrong in one place changes nothing and says where.
#[test]
fn a_batch_is_done_as_a_whole_or_not_at_all() {
    let mut directory = staffed();
    let before = directory.store.clone();
    let refusal = directory
        .change(vec![put_department("d"), add("d", "ann"), add("d", "carl")])
        .unwrap_err();
    assert_eq!(refusal.place, Some(2));
    assert_eq!(refusal.reason, RefusalReason::NeedsInternal(user("carl")));
    assert!(refusal.to_wire().message.starts_with("change 2: user carl"));
    assert_eq!(refusal.code(), ErrorCode::InvalidArgument);
    assert!(directory.store == before);
    let too_many = vec![put_department("d"); 1_001];
    assert_eq!(
        directory.change(too_many).unwrap_err().code(),
        ErrorCode::TooLarge
    );
}

/// One event a channel, however many came and went.
#[test]
fn a_bulk_change_is_one_change_of_a_channel() {
    let mut directory = staffed();
    let users: Vec<String> = (0..150).map(|number| format!("u{number:03}")).collect();
    let mut changes = vec![put_department("d")];
    for name in &users {
        changes.push(put_user(name, UserKind::Internal, true));
        changes.push(add("d", name));
    }
    directory.change(changes).unwrap();
    let queued = directory.queued();
    assert_eq!(queued.len(), 2, "the department's channel and general");
    let ordinals: Vec<u32> = queued.iter().map(|change| change.ordinal).collect();
    assert!(
        ordinals.contains(&0) && ordinals.contains(&1),
        "{ordinals:?}"
    );
    for change in queued {
        let delta = match change.what {
            ChannelChangeKind::Created { members, .. } => {
                assert_eq!(members.member_count, 150);
                members
            }
            ChannelChangeKind::Members(members) => {
                assert_eq!(members.member_count, 153);
                members
            }
            other => panic!("{other:?}"),
        };
        assert_eq!((delta.added.len(), delta.added_count), (150, 150));
        assert_eq!(delta.added[99].0, user("u099"));
    }
}

/// A department that is deleted and made again in one step is another channel:
/// its log begins anew, with all its members in it.
#[test]
fn a_channel_can_die_and_begin_again_in_one_step() {
    let mut directory = staffed();
    directory
        .change(vec![put_department("d"), add("d", "ann"), add("d", "bob")])
        .unwrap();
    let channel = ChannelId::department(&department("d"));
    let first = directory.view().channel(&channel).unwrap().epoch;
    directory
        .change(vec![
            DirectoryChange::RemoveDepartmentMember {
                department: department("d"),
                user: user("ann"),
            },
            DirectoryChange::DeleteDepartment {
                id: department("d"),
            },
            put_department("d"),
            add("d", "ann"),
        ])
        .unwrap();
    let second = directory.view().channel(&channel).unwrap().epoch;
    assert!(second > first);
    assert_eq!(directory.view().channel_by_epoch(first), None);
    let queued = directory.queued();
    assert_eq!(
        (&queued[0].what, queued[0].epoch),
        (&ChannelChangeKind::Deleted, first)
    );
    let ChannelChangeKind::Created { members, .. } = &queued[1].what else {
        panic!("{queued:?}");
    };
    assert_eq!(members.added, vec![(user("ann"), ChannelRole::Member)]);
    assert_eq!(queued[1].epoch, second);
    assert_eq!(directory.members(&channel), ["ann Member"]);
}

/// The channel of a project waits for a client and outlives its last one.
#[test]
fn a_project_channel_begins_with_the_first_client() {
    let mut directory = staffed();
    let channel = ChannelId::project(&project("p"));
    directory
        .change(vec![put_project("p", &["ann"], &[])])
        .unwrap();
    assert!(directory.view().channel(&channel).is_none());
    directory
        .change(vec![put_project("p", &["ann"], &["carl"])])
        .unwrap();
    assert_eq!(directory.members(&channel), ["ann Member", "carl Guest"]);
    directory
        .change(vec![put_project("p", &["bob"], &[])])
        .unwrap();
    assert_eq!(directory.members(&channel), ["bob Member"]);
    directory
        .change(vec![DirectoryChange::CloseProject { id: project("p") }])
        .unwrap();
    let archived = |directory: &Directory| {
        let stored = directory.view().channel(&channel).unwrap();
        stored.properties.archived_at_ms.is_some()
    };
    assert!(archived(&directory));
    // The CRM sends the same project again: it stays closed.
    let reply = directory
        .change(vec![put_project("p", &["bob"], &[])])
        .unwrap();
    assert_eq!(reply.channel_changes, 0);
    assert!(archived(&directory));
}

/// A project that was closed before anybody was assigned begins archived.
#[test]
fn a_closed_project_begins_archived() {
    let mut directory = staffed();
    directory
        .change(vec![
            put_project("p", &["ann"], &[]),
            DirectoryChange::CloseProject { id: project("p") },
            put_project("p", &["ann"], &["carl"]),
        ])
        .unwrap();
    let channel = ChannelId::project(&project("p"));
    let stored = directory.view().channel(&channel).unwrap();
    assert!(stored.properties.archived_at_ms.is_some());
    let open = CommandKind::UpdateChannel {
        channel: channel.clone(),
        name: Some(Text::from("Better")),
        topic: None,
        private: None,
        archived: Some(false),
    };
    directory.run(Some("ann"), open).unwrap();
    let known = directory.view().project(&project("p")).unwrap();
    assert!(!known.closed, "the project is open with its channel");
    assert_eq!(known.name, Text::from("Better"));
}

/// Deactivation takes a user out of everything but direct messages, and hands
/// its groups on; what follows from the directory comes back with the user.
#[test]
fn a_deactivated_user_leaves_every_channel() {
    let mut directory = staffed();
    directory
        .change(vec![
            put_department("d"),
            add("d", "ann"),
            put_project("p", &["ann"], &["carl"]),
        ])
        .unwrap();
    directory
        .run(Some("ann"), create_group(1, &["bob", "eve", "carl"], None))
        .unwrap();
    let dm = CommandKind::OpenDm {
        a: user("ann"),
        b: user("bob"),
    };
    directory.run(Some("ann"), dm).unwrap();
    let gone = directory.apply(
        None,
        CommandKind::Change(vec![put_user("ann", UserKind::Internal, false)].into()),
    );
    assert_eq!(gone.effects.users, [user("ann")]);
    assert_eq!(
        gone.effects.members.len(),
        5,
        "four channels and a new owner"
    );
    let view = directory.view();
    let channels = view.channels_of(&user("ann"), None, 10).items;
    let dm = ChannelId::dm(&user("ann"), &user("bob")).unwrap();
    assert_eq!(channels, vec![dm]);
    let group = directory.members(&ChannelId::group(1, 0));
    assert_eq!(group, ["bob Owner", "carl Guest", "eve Member"]);
    directory
        .change(vec![put_user("ann", UserKind::Internal, true)])
        .unwrap();
    let names: Vec<String> = directory
        .view()
        .channels_of(&user("ann"), None, 10)
        .items
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        ["dept-d", "dm-ann-bob", "general-company", "project-p"]
    );
}

/// The oldest admin inherits before the oldest member; guests never do.
#[test]
fn a_group_is_inherited_by_the_oldest() {
    let mut directory = staffed();
    let group = ChannelId::group(1, 0);
    directory
        .run(Some("bob"), create_group(1, &["carl"], None))
        .unwrap();
    for name in ["eve", "ann"] {
        let users = vec![user(name)].into();
        let add = CommandKind::AddMembers {
            channel: group.clone(),
            users,
        };
        directory.run(Some("bob"), add).unwrap();
    }
    let leave = |directory: &mut Directory, name: &str| {
        let leave = CommandKind::Leave {
            channel: group.clone(),
        };
        directory.run(Some(name), leave).unwrap();
        directory.members(&group)
    };
    let admin = CommandKind::SetRole {
        channel: group.clone(),
        user: user("ann"),
        role: ChannelRole::Admin,
    };
    directory.run(Some("bob"), admin).unwrap();
    assert_eq!(
        leave(&mut directory, "bob"),
        ["ann Owner", "carl Guest", "eve Member"]
    );
    assert_eq!(leave(&mut directory, "ann"), ["carl Guest", "eve Owner"]);
    assert_eq!(leave(&mut directory, "eve"), ["carl Guest"]);
    let stored = directory.view().channel(&group).unwrap();
    assert!(stored.properties.archived_at_ms.is_some());
}

/// There is one owner: naming another hands the group over.
#[test]
fn roles_keep_to_the_rules() {
    let mut directory = staffed();
    let group = ChannelId::group(1, 0);
    directory
        .run(Some("ann"), create_group(1, &["bob", "carl"], None))
        .unwrap();
    let mut set = |name: &str, role| {
        let what = CommandKind::SetRole {
            channel: group.clone(),
            user: user(name),
            role,
        };
        directory
            .run(Some("ann"), what)
            .map_err(|refusal| refusal.reason)
    };
    let refused = set("ann", ChannelRole::Member);
    assert_eq!(refused, Err(RefusalReason::OwnerStays(user("ann"))));
    let refused = set("carl", ChannelRole::Member);
    assert_eq!(refused, Err(RefusalReason::WrongRole(user("carl"))));
    let refused = set("bob", ChannelRole::Guest);
    assert_eq!(refused, Err(RefusalReason::WrongRole(user("bob"))));
    let refused = set("eve", ChannelRole::Admin);
    assert_eq!(refused, Err(RefusalReason::NotMember(user("eve"))));
    set("bob", ChannelRole::Owner).unwrap();
    assert_eq!(
        directory.members(&group),
        ["ann Admin", "bob Owner", "carl Guest"]
    );
}

/// A lost answer makes the client ask again: there is one group. When it was
/// deleted meanwhile, the request is a new one.
#[test]
fn a_repeated_request_finds_its_group() {
    let mut directory = staffed();
    let made = directory
        .run(Some("ann"), create_group(1, &[], Some("k")))
        .unwrap();
    let again = directory
        .run(Some("ann"), create_group(2, &[], Some("k")))
        .unwrap();
    let channel_of = |what: &ReplyKind| match what {
        ReplyKind::Channel {
            channel, changed, ..
        } => (channel.clone(), *changed),
        other => panic!("{other:?}"),
    };
    assert_eq!(channel_of(&made.what), (ChannelId::group(1, 0), true));
    assert_eq!(channel_of(&again.what), (ChannelId::group(1, 0), false));
    assert_eq!(again.channel_changes, 0);
    let other = directory
        .run(Some("bob"), create_group(3, &[], Some("k")))
        .unwrap();
    assert_eq!(channel_of(&other.what), (ChannelId::group(3, 0), true));
    let channel = ChannelId::group(1, 0);
    directory
        .run(Some("ann"), CommandKind::DeleteChannel { channel })
        .unwrap();
    let new = directory
        .run(Some("ann"), create_group(4, &[], Some("k")))
        .unwrap();
    assert_eq!(channel_of(&new.what), (ChannelId::group(4, 0), true));
    let taken = directory
        .run(Some("ann"), create_group(4, &[], None))
        .unwrap_err();
    assert_eq!(taken.reason, RefusalReason::GroupIdTaken);
}

/// A shard that takes nothing must not fill the directory without end; what
/// changes no channel goes on.
#[test]
fn a_full_queue_refuses_more() {
    let mut directory = staffed();
    let shard = shard_of(&ChannelId::general(), 4);
    directory
        .store
        .put(&keys::pending_count(shard), encode(&PENDING_CHANGES_MAX));
    let before = directory.store.clone();
    let refusal = directory
        .change(vec![put_user("new", UserKind::Internal, true)])
        .unwrap_err();
    assert_eq!(refusal.reason, RefusalReason::Backlog(shard));
    assert!(refusal.to_wire().retry_after_ms.is_some());
    assert!(directory.store == before);
    directory
        .change(vec![DirectoryChange::RevokeUserTokens {
            user: user("ann"),
            issued_before: 1,
        }])
        .unwrap();
}

/// What general, departments and direct messages do not have is refused.
#[test]
fn derived_channels_are_not_lists() {
    let mut directory = staffed();
    directory.change(vec![put_department("d")]).unwrap();
    let channel = ChannelId::department(&department("d"));
    let join = directory.run(
        Some("ann"),
        CommandKind::Join {
            channel: channel.clone(),
        },
    );
    assert_eq!(join.unwrap_err().reason, RefusalReason::MembersDerived);
    let general = ChannelId::general();
    let delete = directory.run(Some("ann"), CommandKind::DeleteChannel { channel: general });
    assert_eq!(delete.unwrap_err().reason, RefusalReason::CannotDelete);
    let private = CommandKind::UpdateChannel {
        channel: channel.clone(),
        name: None,
        topic: None,
        private: Some(true),
        archived: None,
    };
    let private = directory.run(Some("ann"), private).unwrap_err();
    assert_eq!(private.code(), ErrorCode::InvalidArgument);
    let delete = CommandKind::DeleteChannel { channel };
    directory.run(Some("ann"), delete).unwrap();
    assert!(directory.view().department(&department("d")).is_none());
    let nobody = directory.run(None, create_group(1, &[], None)).unwrap_err();
    assert_eq!(nobody.reason, RefusalReason::NobodyAsks);
}

/// People find each other by id or name, in pages, whatever the case; clients
/// only those they share a channel with.
#[test]
fn users_are_found_by_what_they_are_called() {
    let mut directory = staffed();
    let named = |id: &str, name: &str| DirectoryChange::PutUser {
        id: user(id),
        name: Text::from(name),
        kind: UserKind::Internal,
        active: true,
        admin: None,
    };
    directory
        .change(vec![
            named("u1", "Éva Ann"),
            named("u2", "anna"),
            put_project("p", &["u2", "bob"], &["carl"]),
        ])
        .unwrap();
    let ids = |page: crate::directory::Page<(UserId, crate::directory::StoredUser)>| {
        let ids: Vec<String> = page.items.iter().map(|(id, _)| id.to_string()).collect();
        (ids.join(" "), page.more)
    };
    let view = directory.view();
    assert_eq!(ids(view.users("AN", None, 10)), ("ann u2".into(), false));
    assert_eq!(ids(view.users("éVA", None, 10)), ("u1".into(), false));
    assert_eq!(ids(view.users("", None, 2)), ("ann bob".into(), true));
    assert_eq!(
        ids(view.users("", Some(&user("bob")), 10)),
        ("carl eve u1 u2".into(), false)
    );
    let seen = |prefix, after: Option<&UserId>, limit| {
        ids(view.users_seen_by(&user("carl"), prefix, after, limit))
    };
    assert_eq!(seen("", None, 10), ("bob carl u2".into(), false));
    assert_eq!(seen("", None, 2), ("bob carl".into(), true));
    assert_eq!(seen("", Some(&user("carl")), 2), ("u2".into(), false));
    assert_eq!(seen("ann", None, 10), ("u2".into(), false));
    let staff = ids(view.users_seen_by(&user("ann"), "", None, 10));
    assert_eq!(staff, ("ann bob carl eve u1 u2".into(), false));
}
