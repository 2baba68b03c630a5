//! The company's directory is the source of most channels: what changes there
//! shows at once, to everybody concerned and to nobody else.
#![allow(clippy::unwrap_used)]

use confab_client::{Client, ClientEvent, RequestError};
use confab_protocol::message::channel::Anchor;
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::event::Change;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, ChannelKind, DepartmentId, ErrorCode, Packed, ProjectId, UserId};
use confab_tests::{Broker, Token, Witness, general, user};

fn put_user(id: &str, kind: UserKind) -> DirectoryChange {
    DirectoryChange::PutUser {
        id: user(id),
        name: format!("User {id}").into(),
        kind,
        active: true,
        admin: None,
    }
}

fn department(id: &str) -> DepartmentId {
    DepartmentId::new(id).unwrap()
}

fn project(id: &str) -> ProjectId {
    ProjectId::new(id).unwrap()
}

fn users<const N: usize>(ids: [&str; N]) -> Packed<UserId> {
    ids.into_iter().map(user).collect()
}

async fn change(admin: &Client, changes: impl IntoIterator<Item = DirectoryChange>) {
    admin.update_directory(changes).await.unwrap();
}

/// Waits until the user has a channel.
async fn gets(hears: &Witness, from: usize, channel: &ChannelId) {
    hears
        .after(from, &format!("{channel} appears"), |event| match event {
            ClientEvent::ChannelAdded { summary, .. } => {
                (summary.channel == *channel).then_some(())
            }
            _ => None,
        })
        .await;
}

/// Waits until the user has a channel no more.
async fn loses(hears: &Witness, from: usize, channel: &ChannelId) {
    hears
        .after(
            from,
            &format!("{channel} disappears"),
            |event| match event {
                ClientEvent::ChannelRemoved { channel: lost } => (lost == channel).then_some(()),
                _ => None,
            },
        )
        .await;
}

async fn has(client: &Client, channel: &ChannelId) -> bool {
    let page = client.channel_page(None, 200).await.unwrap();
    page.channels
        .iter()
        .any(|summary| summary.channel == *channel)
}

/// A department's channel is there as soon as the department is, for its
/// members, and goes with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_departments_channel_follows_its_members() {
    let broker = Broker::new().await;
    let (admin, u1, u2) = (
        broker.admin().await,
        broker.client("u1").await,
        broker.client("u2").await,
    );
    let (hears1, hears2) = (Witness::of(&u1).await, Witness::of(&u2).await);
    let sales = ChannelId::department(&department("sales"));
    let put = DirectoryChange::PutDepartment {
        id: department("sales"),
        name: "Sales".into(),
    };
    let add = |id| DirectoryChange::AddDepartmentMember {
        department: department("sales"),
        user: user(id),
    };
    change(&admin, [put, add("u1")]).await;
    gets(&hears1, 0, &sales).await;
    let summary = u1.channel(sales.clone()).summary().await.unwrap();
    assert_eq!(
        (&*summary.name, summary.kind),
        ("Sales", ChannelKind::Department)
    );
    assert_eq!(summary.member_count, 1);
    u1.channel(sales.clone()).send("first").await.unwrap();
    assert!(!has(&u2, &sales).await);

    change(&admin, [add("u2")]).await;
    gets(&hears2, 0, &sales).await;
    let page = u2
        .channel(sales.clone())
        .history(Anchor::Latest, 0)
        .await
        .unwrap();
    assert_eq!(&*page.messages.iter().next().unwrap().content, "first");
    u2.channel(sales.clone()).send("second").await.unwrap();
    hears1.reads(&sales, "second").await;

    let renamed = DirectoryChange::PutDepartment {
        id: department("sales"),
        name: "Sales and Service".into(),
    };
    change(&admin, [renamed]).await;
    hears1
        .hears("the new name", |event| match event {
            ClientEvent::Channel(event) => match &event.event.change {
                Change::ChannelUpdated { properties, .. } => {
                    (&*properties.name == "Sales and Service").then_some(())
                }
                _ => None,
            },
            _ => None,
        })
        .await;

    let remove = DirectoryChange::RemoveDepartmentMember {
        department: department("sales"),
        user: user("u2"),
    };
    change(&admin, [remove]).await;
    loses(&hears2, 0, &sales).await;
    u1.channel(sales.clone()).send("without u2").await.unwrap();
    assert!(!has(&u2, &sales).await);
    assert_not_found(&u2.channel(sales.clone()).summary().await);

    let delete = DirectoryChange::DeleteDepartment {
        id: department("sales"),
    };
    change(&admin, [delete]).await;
    loses(&hears1, 0, &sales).await;
    assert_not_found(&u1.channel(sales.clone()).history(Anchor::Latest, 0).await);
    assert!(
        hears2
            .messages(&sales)
            .iter()
            .all(|message| message.2 != "without u2")
    );

    // A department of the same name begins a new life, without the old messages.
    let put = DirectoryChange::PutDepartment {
        id: department("sales"),
        name: "Sales".into(),
    };
    let from = hears1.now();
    change(&admin, [put, add("u1")]).await;
    gets(&hears1, from, &sales).await;
    let again = u1.channel(sales.clone()).summary().await.unwrap();
    assert!(again.epoch > summary.epoch);
    let page = u1.channel(sales).history(Anchor::Latest, 0).await.unwrap();
    assert!(page.messages.is_empty());
}

/// A project's channel begins with its first client, and is the only place
/// where clients and the company meet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projects_channel_begins_with_its_client() {
    let broker = Broker::new().await;
    let (admin, u1) = (broker.admin().await, broker.client("u1").await);
    let c1 = broker.client_with(&Token::of("c1").client()).await;
    let c2 = broker.client_with(&Token::of("c2").client()).await;
    let (hears1, hears_c1) = (Witness::of(&u1).await, Witness::of(&c1).await);
    let hears_c2 = Witness::of(&c2).await;
    let spring = ChannelId::project(&project("spring"));
    let put = |clients| DirectoryChange::PutProject {
        id: project("spring"),
        name: "Spring campaign".into(),
        team: users(["u1"]),
        clients,
    };
    change(&admin, [put(users([]))]).await;
    assert!(
        !has(&u1, &spring).await,
        "there is no channel without a client"
    );

    change(&admin, [put(users(["c1"]))]).await;
    gets(&hears1, 0, &spring).await;
    gets(&hears_c1, 0, &spring).await;
    c1.channel(spring.clone())
        .send("hello, company")
        .await
        .unwrap();
    hears1.reads(&spring, "hello, company").await;
    u1.channel(spring.clone())
        .send("hello, client")
        .await
        .unwrap();
    hears_c1.reads(&spring, "hello, client").await;
    // A client sees who is in its project, and nobody else.
    let seen = c1.list_users(None, "", 100).await.unwrap();
    let seen: Vec<_> = seen.users.iter().map(|it| it.id.to_string()).collect();
    assert!(
        seen.contains(&"u1".to_owned()) && !seen.contains(&"c2".to_owned()),
        "{seen:?}"
    );

    // Reassigned: the old client is out, the new one in.
    change(&admin, [put(users(["c2"]))]).await;
    loses(&hears_c1, 0, &spring).await;
    gets(&hears_c2, 0, &spring).await;
    u1.channel(spring.clone())
        .send("hello, other client")
        .await
        .unwrap();
    hears_c2.reads(&spring, "hello, other client").await;
    assert_not_found(&c1.channel(spring.clone()).history(Anchor::Latest, 0).await);

    change(
        &admin,
        [DirectoryChange::CloseProject {
            id: project("spring"),
        }],
    )
    .await;
    let closed = u1.channel(spring.clone()).summary().await.unwrap();
    assert!(closed.archived_at_ms.is_some());
    match u1.channel(spring.clone()).send("too late").await {
        Err(confab_client::SendError::Refused(error)) => {
            assert_eq!(error.code(), ErrorCode::ChannelArchived);
        }
        other => panic!("{other:?}"),
    }
    let page = u1.channel(spring).history(Anchor::Latest, 0).await.unwrap();
    assert_eq!(page.messages.len(), 3, "what was said stays readable");
    assert_eq!(hears_c1.log(&general()), []);
}

/// A thousand users come and go: each channel says so in one event, not in a
/// thousand, and every one of them has the channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bulk_change_is_one_event_a_channel() {
    let broker = Broker::new().await;
    let (admin, u1) = (broker.admin().await, broker.client("u1").await);
    let hears = Witness::of(&u1).await;
    let all = ChannelId::department(&department("all"));
    let put = DirectoryChange::PutDepartment {
        id: department("all"),
        name: "All".into(),
    };
    let join = |id: &str| DirectoryChange::AddDepartmentMember {
        department: department("all"),
        user: user(id),
    };
    change(&admin, [put, join("u1")]).await;
    gets(&hears, 0, &all).await;
    let head = |channel: ChannelId| {
        let u1 = u1.clone();
        async move { u1.channel(channel).summary().await.unwrap() }
    };
    let (general_before, all_before) = (head(general()).await, head(all.clone()).await);
    let ids: Vec<_> = (0..450).map(|number| format!("bulk{number}")).collect();
    let came = ids.iter().map(|id| put_user(id, UserKind::Internal));
    let joined = ids.iter().map(|id| join(id));
    change(&admin, came.chain(joined)).await;

    let (general_after, all_after) = (head(general()).await, head(all.clone()).await);
    assert_eq!(general_after.head.0, general_before.head.0 + 1);
    assert_eq!(all_after.head.0, all_before.head.0 + 1);
    assert_eq!(all_after.member_count, all_before.member_count + 450);
    hears.reaches(&all, all_after.head).await;
    let event = hears.dense_log(&all).pop().unwrap();
    match event.change {
        Change::MembersChanged {
            added,
            added_count,
            member_count,
            ..
        } => {
            assert_eq!((added.len(), added_count), (100, 450));
            assert_eq!(member_count, 451);
        }
        other => panic!("{other:?}"),
    }
    // Also those whom the event does not list have the channel, at once.
    let last = broker.client("bulk449").await;
    let hears_last = Witness::of(&last).await;
    assert!(has(&last, &all).await);
    u1.channel(all.clone())
        .send("welcome, all of you")
        .await
        .unwrap();
    hears_last.reads(&all, "welcome, all of you").await;

    let left = ids
        .iter()
        .map(|id| DirectoryChange::RemoveDepartmentMember {
            department: department("all"),
            user: user(id),
        });
    change(&admin, left).await;
    loses(&hears_last, 0, &all).await;
    let after = head(all.clone()).await;
    assert_eq!(
        (after.head.0, after.member_count),
        (all_after.head.0 + 2, 1)
    );
}

/// An import can be repeated, is done whole or not at all, and says which
/// change is at fault.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_idempotent_and_whole() {
    let broker = Broker::new().await;
    let (admin, u1) = (broker.admin().await, broker.client("u1").await);
    let changes = || {
        [
            put_user("u2", UserKind::Internal),
            put_user("c1", UserKind::Client),
            DirectoryChange::PutDepartment {
                id: department("d"),
                name: "D".into(),
            },
            DirectoryChange::AddDepartmentMember {
                department: department("d"),
                user: user("u2"),
            },
        ]
    };
    let first = admin.update_directory(changes()).await.unwrap();
    assert_eq!(first.changed, 4);
    let again = admin.update_directory(changes()).await.unwrap();
    assert_eq!(again.changed, 0);
    let before = u1.channel(general()).summary().await.unwrap().head;

    let faulty = [
        put_user("u3", UserKind::Internal),
        DirectoryChange::AddDepartmentMember {
            department: department("nowhere"),
            user: user("u2"),
        },
    ];
    match admin.update_directory(faulty).await {
        Err(RequestError::Refused(error)) => {
            assert_eq!(error.code(), ErrorCode::NotFound);
            assert!(error.message.starts_with("change 1"), "{error}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        admin.users([user("u3")]).await.unwrap(),
        [],
        "nothing of it was done"
    );
    assert_eq!(u1.channel(general()).summary().await.unwrap().head, before);

    // A client of the company belongs to no department, and nobody who is not
    // an administrator changes anything.
    let odd = DirectoryChange::AddDepartmentMember {
        department: department("d"),
        user: user("c1"),
    };
    assert!(admin.update_directory([odd]).await.is_err());
    match u1.update_directory(changes()).await {
        Err(RequestError::Refused(error)) => assert_eq!(error.code(), ErrorCode::Forbidden),
        other => panic!("{other:?}"),
    }
}

/// What a token says of its user counts when the user first comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_provisions_its_user() {
    let broker = Broker::new().await;
    let admin = broker.admin().await;
    let put = DirectoryChange::PutDepartment {
        id: department("d"),
        name: "D".into(),
    };
    change(&admin, [put]).await;
    let hears = Witness::of(&admin).await;
    let departments = serde_json::json!(["d"]);
    let token = Token::of("new")
        .name("Nina New")
        .claim("departments", departments);
    let new = broker.client_with(&token).await;
    let profile = new.user().await.unwrap();
    assert_eq!(
        (&*profile.name, profile.kind, profile.admin),
        ("Nina New", UserKind::Internal, false)
    );
    let dept = ChannelId::department(&department("d"));
    assert!(has(&new, &general()).await && has(&new, &dept).await);
    hears
        .hears("the newcomer", |event| match event {
            ClientEvent::Channel(event) => match &event.event.change {
                Change::MembersChanged { added, .. } => {
                    added.iter().any(|it| it.user == user("new")).then_some(())
                }
                _ => None,
            },
            _ => None,
        })
        .await;
}

fn assert_not_found<T: std::fmt::Debug>(result: &Result<T, RequestError>) {
    match result {
        Err(RequestError::Refused(error)) => assert_eq!(error.code(), ErrorCode::NotFound),
        other => panic!("{other:?}"),
    }
}
