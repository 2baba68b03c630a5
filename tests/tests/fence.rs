//! A removal is a fence: who was taken out of a channel learns nothing that
//! came after, on no door, however fast everything else goes on.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use confab_client::{Client, ClientEvent, RequestError};
use confab_protocol::message::channel::{Anchor, History, Sync};
use confab_protocol::message::presence::OpenChannel;
use confab_protocol::message::{Answer, Push, frame_of};
use confab_protocol::{ChannelId, Emoji, ErrorCode, Offset, Position};
use confab_tests::{Broker, Said, Setup, Wire, Witness, general, user, within};
use tokio::task::JoinHandle;

/// Posts as fast as it goes until stopped.
struct Poster {
    stop: Arc<AtomicBool>,
    last: Arc<AtomicU64>,
    posting: JoinHandle<()>,
}

impl Poster {
    fn start(client: Client, channel: ChannelId) -> Self {
        let (stop, last) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (stopped, posted) = (Arc::clone(&stop), Arc::clone(&last));
        let posting = tokio::spawn(async move {
            let handle = client.channel(channel);
            for number in 0u32.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                handle.typing(None).await;
                let message = handle.send(format!("secret {number}")).await.unwrap();
                posted.store(message.position.offset.0, Ordering::SeqCst);
            }
        });
        Self {
            stop,
            last,
            posting,
        }
    }

    fn last(&self) -> Offset {
        Offset(self.last.load(Ordering::SeqCst))
    }

    /// Waits until so many more events stand in the channel.
    async fn goes_on(&self, by: u64) {
        let goal = self.last().0 + by;
        let going = async {
            while self.last().0 < goal {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within("the posting goes on", going).await;
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        within("the last post", self.posting).await.unwrap();
    }
}

/// Reads the session stream until nothing comes for a while; answers with the
/// greatest offset of the channel's events, and fails on typing in it.
async fn drain(wire: &mut Wire, channel: &ChannelId) -> Offset {
    let mut greatest = Offset(0);
    loop {
        let quiet = Duration::from_millis(300);
        let Ok(said) = tokio::time::timeout(quiet, wire.said()).await else {
            return greatest;
        };
        match said.expect("the session goes on") {
            Said::Push(Push::Event(event)) if event.channel == *channel => {
                greatest = greatest.max(event.event.offset);
            }
            Said::Push(Push::ChannelRemoved(removed)) => assert_eq!(removed.channel, *channel),
            _ => {}
        }
    }
}

/// A session that is open hears the removal and then nothing of the channel, and
/// what it may ask is refused as if the channel did not exist.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_session_gets_nothing_after_the_removal() {
    let broker = Broker::new().await;
    let owner = broker.client("owner").await;
    let poster = broker.client("poster").await;
    let mut wire = broker.session("removed").await;
    let removed = broker.client("removed").await;
    let hears = Witness::of(&removed).await;
    let from = hears.now();
    let members = [user("poster"), user("removed")];
    let group = owner
        .create_group("Inner", "", true, members, None)
        .await
        .unwrap()
        .channel;
    wire.ask(
        2,
        &OpenChannel {
            channel: group.clone(),
        },
    )
    .await;
    removed.channel(group.clone()).open().await.unwrap();

    let poster = Poster::start(poster, group.clone());
    poster.goes_on(30).await;
    let update = owner
        .channel(group.clone())
        .remove_members([user("removed")])
        .await;
    let fence = update.unwrap().position.offset;
    // What is asked once the removal is acknowledged is refused at once.
    assert_shut_out(&removed, &group, fence).await;
    poster.goes_on(50).await;
    assert_shut_out(&removed, &group, poster.last()).await;

    let last = drain(&mut wire, &group).await;
    assert!(
        last <= fence,
        "offset {last} came after the removal at {fence}"
    );
    hears
        .hears("the removal", |event| match event {
            ClientEvent::ChannelRemoved { channel } => (*channel == group).then_some(()),
            _ => None,
        })
        .await;
    assert!(hears.log(&group).iter().all(|event| event.offset <= fence));
    let told = hears.heard().split_off(from);
    // Typing that was on its way may stand before the removal, not behind it.
    let is_removal = |event: &ClientEvent| matches!(event, ClientEvent::ChannelRemoved { .. });
    let after = told.into_iter().skip_while(|event| !is_removal(event));
    let late = after.into_iter().find(|event| match event {
        ClientEvent::Typing(typing) => typing.channel == group,
        ClientEvent::Receipt(receipt) => receipt.channel == group,
        _ => false,
    });
    assert_eq!(late, None, "that came after the removal");
    let known = removed.channels().await;
    assert!(known.iter().all(|summary| summary.channel != group));
    poster.stop().await;
}

/// Nothing of the channel can be read, asked or done.
async fn assert_shut_out(client: &Client, group: &ChannelId, offset: Offset) {
    let channel = client.channel(group.clone());
    assert_not_found(&channel.summary().await);
    assert_not_found(&channel.history(Anchor::Latest, 10).await);
    assert_not_found(&channel.history(Anchor::After(Offset(0)), 10).await);
    assert_not_found(&channel.message(offset, true).await);
    assert_not_found(&channel.message(Offset(3), true).await);
    assert_not_found(&channel.members(None, 10).await);
    assert_not_found(&channel.cursors(None, 10).await);
    assert_not_found(&channel.pins().await);
    assert_not_found(&channel.open().await);
    assert_not_found(&channel.mark_read(None, offset).await);
    assert_not_found(&channel.react(offset, Emoji::new("👍").unwrap(), true).await);
    assert_not_found(&channel.delete(Offset(3)).await);
    let after = Position::default();
    let sync = Sync {
        channel: group.clone(),
        after,
        limit: 0,
    };
    assert_not_found(&client.request(sync).await);
    assert!(channel.send("still here?").await.is_err());
}

fn assert_not_found<T: std::fmt::Debug>(result: &Result<T, RequestError>) {
    match result {
        Err(RequestError::Refused(error)) => assert_eq!(error.code(), ErrorCode::NotFound),
        other => panic!("{other:?}"),
    }
}

/// A page that is read while the removal happens ends before it: between the
/// look at the rights and the reading, the world must not move on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_reaches_past_the_removal() {
    let broker = Broker::new().await;
    let (owner, poster) = (broker.client("owner").await, broker.client("poster").await);
    broker.client("removed").await;
    let members = [user("poster"), user("removed")];
    let group = owner
        .create_group("Inner", "", true, members, None)
        .await
        .unwrap();
    let (group, epoch) = (group.channel, group.epoch);
    let poster = Poster::start(poster, group.clone());
    let handle = owner.channel(group.clone());
    for round in 0..20 {
        poster.goes_on(3).await;
        // A page of the newest events, and one of the newest messages, again and
        // again on streams of their own.
        let fence = Arc::new(AtomicU64::new(u64::MAX));
        let reading: Vec<_> = (0..2)
            .map(|kind| {
                let dialer = broker.dialer();
                let token = broker.sign(&confab_tests::Token::of("removed"));
                let (group, from) = (group.clone(), poster.last());
                let fence = Arc::clone(&fence);
                tokio::spawn(async move {
                    let device = confab_protocol::DeviceId::new(&format!("reader-{kind}"));
                    let mut wire = dialer.connect().await;
                    let hello = confab_tests::hello(&token, device.unwrap());
                    wire.hello(&hello).await.unwrap();
                    let after = Position {
                        epoch,
                        offset: from,
                    };
                    let request = if kind == 0 {
                        let channel = group.clone();
                        frame_of(
                            2,
                            &Sync {
                                channel,
                                after,
                                limit: 200,
                            },
                        )
                    } else {
                        let anchor = Anchor::Latest;
                        let channel = group.clone();
                        frame_of(
                            2,
                            &History {
                                channel,
                                thread: None,
                                anchor,
                                limit: 10,
                            },
                        )
                    };
                    read_until_refused(&wire, &request, &fence).await
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(40)).await;
        let update = handle.remove_members([user("removed")]).await.unwrap();
        fence.store(update.position.offset.0, Ordering::SeqCst);
        for task in reading {
            let greatest = within("the refusal", task).await.unwrap();
            let fence = update.position.offset;
            assert!(
                greatest <= fence,
                "round {round}: a page held offset {greatest}, after the removal at {fence}"
            );
        }
        handle.add_members([user("removed")]).await.unwrap();
    }
    poster.stop().await;
}

/// Reads until it is refused; answers with the greatest offset that it got.
async fn read_until_refused(wire: &Wire, request: &[u8], fence: &AtomicU64) -> Offset {
    let mut greatest = Offset(0);
    loop {
        let acknowledged = fence.load(Ordering::SeqCst) != u64::MAX;
        let frames = wire.bulk(request).await;
        match Answer::from_frame(&frames[0]).unwrap() {
            Answer::SyncPage(page) => {
                let last = page.events.iter().last().map(|event| event.offset);
                greatest = greatest.max(last.unwrap_or_default());
            }
            Answer::HistoryPage(page) => {
                let last = page.messages.iter().last().map(|message| message.offset);
                greatest = greatest.max(last.unwrap_or_default());
            }
            Answer::Error(error) => {
                assert_eq!(error.code(), ErrorCode::NotFound);
                return greatest;
            }
            other => panic!("{other:?}"),
        }
        assert!(
            !acknowledged,
            "a page came after the removal was acknowledged"
        );
    }
}

/// Who is added again goes on as if nothing had been: with all that is there now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_added_again_gets_on() {
    let broker = Broker::new().await;
    let owner = broker.client("owner").await;
    let member = broker.client("member").await;
    let hears = Witness::of(&member).await;
    let members = [user("member")];
    let group = owner
        .create_group("G", "", true, members.clone(), None)
        .await
        .unwrap()
        .channel;
    let handle = owner.channel(group.clone());
    for round in 0..5 {
        let (before, during) = (format!("before {round}"), format!("during {round}"));
        handle.send(before.as_str()).await.unwrap();
        hears.reads(&group, &before).await;
        handle.remove_members(members.clone()).await.unwrap();
        handle.send(during.as_str()).await.unwrap();
        let from = hears.now();
        handle.add_members(members.clone()).await.unwrap();
        hears
            .after(from, "the channel again", |event| match event {
                ClientEvent::ChannelAdded { summary, .. } => {
                    (summary.channel == group).then_some(())
                }
                _ => None,
            })
            .await;
        let page = member
            .channel(group.clone())
            .history(Anchor::Latest, 1)
            .await
            .unwrap();
        assert_eq!(
            page.messages.iter().next().unwrap().content.to_string(),
            during
        );
    }
    member
        .channel(group.clone())
        .send("here I am")
        .await
        .unwrap();
    hears.reads(&group, "here I am").await;
}

/// The same for who loses a channel otherwise: by leaving it, by its deletion,
/// by being deactivated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_and_deletion_are_fences_too() {
    let broker = Setup::new().start().await;
    let owner = broker.client("owner").await;
    let members = [user("leaver")];
    let leaver = broker.client("leaver").await;
    let hears = Witness::of(&leaver).await;
    for by_deletion in [false, true] {
        let group = owner
            .create_group("G", "", true, members.clone(), None)
            .await;
        let group = group.unwrap().channel;
        let handle = owner.channel(group.clone());
        handle.send("hello").await.unwrap();
        hears.reads(&group, "hello").await;
        if by_deletion {
            handle.delete_channel().await.unwrap();
        } else {
            leaver.channel(group.clone()).leave().await.unwrap();
            handle.send("about who left").await.unwrap();
        }
        assert_shut_out(&leaver, &group, Offset(3)).await;
        hears
            .hears("the loss", |event| match event {
                ClientEvent::ChannelRemoved { channel } => (*channel == group).then_some(()),
                _ => None,
            })
            .await;
        let contents: Vec<_> = hears.messages(&group).into_iter().map(|it| it.2).collect();
        assert_eq!(contents, ["hello"]);
    }
    // The rest of what the leaver has is untouched.
    leaver
        .channel(general())
        .send("still in the company")
        .await
        .unwrap();
}
