//! The directory and the channels' logs are written one after the other: a
//! crash between the two must not leave them at odds.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use confab_client::Client;
use confab_protocol::message::Answer;
use confab_protocol::message::channel::{ChannelSummary, ListMembers, Sync};
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::event::Change;
use confab_protocol::message::session::UserKind;
use confab_protocol::{DepartmentId, Offset, Position, UserId};
use confab_tests::{Broker, Wire, seed, user, within};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const KILLS: usize = 12;
const USERS: usize = 4;
const DEPARTMENTS: usize = 6;

fn department(number: usize) -> DepartmentId {
    DepartmentId::new(&format!("d{number}")).unwrap()
}

fn some_change(random: &mut StdRng) -> DirectoryChange {
    let department = department(random.random_range(0..DEPARTMENTS));
    let user = user(&format!("u{}", random.random_range(0..USERS)));
    match random.random_range(0..8) {
        0..3 => DirectoryChange::AddDepartmentMember { department, user },
        3..5 => DirectoryChange::RemoveDepartmentMember { department, user },
        5 => DirectoryChange::DeleteDepartment { id: department },
        6 => DirectoryChange::PutUser {
            id: user,
            name: "somebody".into(),
            kind: UserKind::Internal,
            active: random.random(),
            admin: None,
        },
        _ => DirectoryChange::PutDepartment {
            id: department,
            name: format!("name {}", random.random_range(0..100)).into(),
        },
    }
}

/// Changes the directory until told to stop; what is refused, for a department
/// may be gone, and what a crash takes, is not asked for again.
async fn churn(client: Client, mut random: StdRng, stop: Arc<AtomicBool>) -> usize {
    let mut changed = 0;
    while !stop.load(Ordering::Relaxed) {
        let batch: Vec<_> = (0..random.random_range(1..4))
            .map(|_| some_change(&mut random))
            .collect();
        match client.update_directory(batch).await {
            Ok(_) => changed += 1,
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
    changed
}

/// Who is a member by what the log says, from its first event on.
async fn members_by_log(session: &mut Wire, channel: &ChannelSummary) -> (BTreeSet<UserId>, u32) {
    let (mut members, mut count, mut after) = (BTreeSet::new(), 0, Offset(0));
    loop {
        let sync = Sync {
            channel: channel.channel.clone(),
            after: Position {
                epoch: channel.epoch,
                offset: after,
            },
            limit: 200,
        };
        let Answer::SyncPage(page) = session.ask(7, &sync).await else {
            panic!("no page of {}", channel.channel);
        };
        for event in page.events.iter() {
            assert_eq!(event.offset, after.next(), "in {}", channel.channel);
            after = event.offset;
            if let Change::MembersChanged {
                added,
                removed,
                member_count,
                ..
            } = event.change
            {
                members.extend(added.iter().map(|member| member.user));
                for gone in removed.iter() {
                    assert!(members.remove(&gone), "{gone} leaves {}", channel.channel);
                }
                count = member_count;
            }
        }
        if after >= page.head {
            return (members, count);
        }
    }
}

async fn members_by_directory(session: &mut Wire, channel: &ChannelSummary) -> BTreeSet<UserId> {
    let list = ListMembers {
        channel: channel.channel.clone(),
        after: None,
        limit: 200,
    };
    let Answer::MemberPage(page) = session.ask(8, &list).await else {
        panic!("no members of {}", channel.channel);
    };
    page.members.iter().map(|known| known.member.user).collect()
}

/// The broker is killed again and again while members come and go, and users and
/// departments with them. After each start every log shows exactly the members
/// that the directory has, and can be written in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_and_directory_agree_after_kill_9() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut broker = Broker::new().await;
    let admin = broker.admin().await;
    let people = (0..USERS).map(|number| DirectoryChange::PutUser {
        id: user(&format!("u{number}")),
        name: "somebody".into(),
        kind: UserKind::Internal,
        active: true,
        admin: None,
    });
    admin.update_directory(people).await.unwrap();
    let mut changed = 0;
    for _ in 0..KILLS {
        let stop = Arc::new(AtomicBool::new(false));
        let churns: Vec<_> = (0..3)
            .map(|_| {
                let random = StdRng::seed_from_u64(random.random());
                tokio::spawn(churn(admin.clone(), random, Arc::clone(&stop)))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(100..700))).await;
        stop.store(true, Ordering::Relaxed);
        broker.kill_9();
        broker.start().await;
        for churn in churns {
            changed += churn.await.unwrap();
        }
        // Everybody may look again, and nothing else goes on.
        let back = (0..USERS).map(|number| DirectoryChange::PutUser {
            id: user(&format!("u{number}")),
            name: "somebody".into(),
            kind: UserKind::Internal,
            active: true,
            admin: None,
        });
        let back: Vec<_> = back.collect();
        // The client may take a moment to see that the broker was killed.
        within("the administrator is back", async {
            while admin.update_directory(back.clone()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
        for number in 0..USERS {
            let name = format!("u{number}");
            let client = broker.client(&name).await;
            let page = client.channel_page(None, 100).await.unwrap();
            let mut session = broker.session(&name).await;
            for channel in page.channels.iter() {
                let listed = members_by_directory(&mut session, &channel).await;
                let (logged, count) = members_by_log(&mut session, &channel).await;
                assert_eq!(logged, listed, "the members of {}", channel.channel);
                assert_eq!(count as usize, listed.len());
                client
                    .channel(channel.channel.clone())
                    .send("here")
                    .await
                    .unwrap();
            }
        }
    }
    assert!(changed > KILLS, "only {changed} changes were made");
}
