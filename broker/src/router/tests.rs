//! What the router promises while the directory is ahead of the channels' logs.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use confab_core::channel::query;
use confab_core::directory::CommandKind;
use confab_protocol::message::Answer;
use confab_protocol::message::channel::{CreateGroup, Post, RemoveMembers};
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::event::Mentions;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, DeviceId, Packed, Sequence, UserId};

use super::admission::Needs;
use super::{Actor, Router};
use crate::session::fixture::Fixture;

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn actor(id: &str) -> Actor {
    Actor {
        user: user(id),
        device: DeviceId::new("d1").unwrap(),
    }
}

async fn put_users(router: &Router, ids: impl IntoIterator<Item = String>) {
    let changes: Vec<_> = ids
        .into_iter()
        .map(|id| DirectoryChange::PutUser {
            id: user(&id),
            name: id.into(),
            kind: UserKind::Internal,
            active: true,
            admin: None,
        })
        .collect();
    let what = CommandKind::Change(Packed::from(changes));
    let done = router.change_directory(None, what, Needs::Nothing).await;
    done.unwrap();
}

fn post(channel: &ChannelId, sequence: u64) -> Post {
    Post {
        channel: channel.clone(),
        sequence: Sequence(sequence),
        client_message_id: None,
        content: "hello".into(),
        thread_root: None,
        attachments: Packed::default(),
        mentions: Mentions::default(),
    }
}

/// Two users write to each other for the first time in the same moment: the
/// one who comes second finds the channel, and must find its log too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_may_write_first() {
    let fixture = Fixture::start().await;
    let router = fixture.services.router.clone();
    put_users(&router, (0..41).map(|n| format!("u{n}"))).await;
    for other in 1..41 {
        let (one, other) = (actor("u0"), actor(&format!("u{other}")));
        let channel = ChannelId::dm(&one.user, &other.user).unwrap();
        let send = |from: Actor| {
            let (router, message) = (router.clone(), post(&channel, 1));
            tokio::spawn(async move { router.post(&from, message).await?.await })
        };
        let (first, second) = tokio::join!(send(one), send(other));
        first.unwrap().unwrap();
        second.unwrap().unwrap();
    }
    drop(router);
    fixture.stop().await;
}

/// Two administrators remove the same member: whoever finds it done already
/// is answered no sooner than the log shows it, or the fence would have a gap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removal_that_is_done_already_is_a_fence_too() {
    let fixture = Fixture::start().await;
    let router = fixture.services.router.clone();
    put_users(&router, (0..41).map(|n| format!("u{n}"))).await;
    let group = CreateGroup {
        name: "group".into(),
        topic: "".into(),
        private: true,
        members: (1..41).map(|n| user(&format!("u{n}"))).collect(),
        client_id: None,
    };
    let owner = actor("u0");
    let made = router
        .answer(
            &owner,
            confab_protocol::message::Request::CreateGroup(group),
        )
        .await;
    let Ok(Answer::ChannelInfo(made)) = made else {
        panic!("{made:?}");
    };
    let channel = made.summary.channel;
    for gone in 1..41u32 {
        let remove = |from: Actor| {
            let (router, channel) = (router.clone(), channel.clone());
            tokio::spawn(async move {
                let body = RemoveMembers {
                    channel: channel.clone(),
                    users: [user(&format!("u{gone}"))].into_iter().collect(),
                };
                let request = confab_protocol::message::Request::RemoveMembers(body);
                router.answer(&from, request).await.unwrap();
                let lookup = router.lookup();
                query::channel_state(lookup.shard(&channel), made.summary.epoch)
                    .unwrap()
                    .member_count
            })
        };
        let (one, two) = tokio::join!(remove(owner.clone()), remove(owner.clone()));
        assert_eq!((one.unwrap(), two.unwrap()), (41 - gone, 41 - gone));
    }
    drop(router);
    fixture.stop().await;
}

/// A directory that never rests still forgets what the logs have; else its
/// queue fills up, and it takes no more changes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_busy_directory_forgets_what_is_propagated() {
    let fixture = Fixture::start().await;
    let router = fixture.services.router.clone();
    put_users(&router, ["ann".to_owned()]).await;
    let waiting = |router: &Router| {
        let lookup = router.lookup();
        let shards = 0..lookup.shards();
        shards
            .map(|shard| lookup.directory().pending_count(shard))
            .sum::<u64>()
    };
    let mut least = u64::MAX;
    for number in 0..40 {
        put_users(&router, [format!("u{number}")]).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        if number > 10 {
            least = least.min(waiting(&router));
        }
    }
    assert!(least < 11, "{least} changes waited at least");
    drop(router);
    fixture.stop().await;
}

/// A summary that is read while others post counts what it says the log holds:
/// else a client would count some messages twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_summary_is_of_one_moment() {
    let fixture = Fixture::start().await;
    let router = fixture.services.router.clone();
    put_users(&router, ["ann".to_owned(), "bob".to_owned()]).await;
    let general = ChannelId::general();
    let posting = tokio::spawn({
        let (router, general) = (router.clone(), general.clone());
        async move {
            for sequence in 1..=2_000 {
                let posted = router.post(&actor("ann"), post(&general, sequence)).await;
                posted.unwrap().await.unwrap();
            }
        }
    });
    while !posting.is_finished() {
        let summary = router.lookup().summary(&general, &user("bob")).unwrap();
        let counted = summary.read_state.read.0 + u64::from(summary.read_state.unread);
        assert_eq!(counted, summary.head.0);
        tokio::task::yield_now().await;
    }
    posting.await.unwrap();
    drop(router);
    fixture.stop().await;
}
