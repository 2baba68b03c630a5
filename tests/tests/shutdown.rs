//! A restart is nobody's loss: clients are told, what was taken is answered,
//! whoever watches sees where the broker stands.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use confab_client::ClientEvent;
use confab_protocol::message::channel::{Anchor, Post, Posted};
use confab_protocol::message::event::Mentions;
use confab_protocol::message::{Answer, Push, frame_of};
use confab_protocol::{DeviceId, ErrorCode, Offset, Packed, Sequence};
use confab_tests::{
    Broker, Manners, Reply, Said, Setup, Token, Witness, eventually, general, hello, within,
};
use futures_util::TryStreamExt;
use tokio::time::Instant;

fn post(number: u64, content: &str) -> Post {
    Post {
        channel: general(),
        sequence: Sequence(number),
        client_message_id: None,
        content: content.into(),
        thread_root: None,
        attachments: Packed::default(),
        mentions: Mentions::default(),
    }
}

/// SIGTERM in the middle of the traffic: whatever the broker took, it answers;
/// what it did not take is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_taken_is_answered() {
    let mut broker = Broker::new().await;
    for round in 0..3 {
        let mut wire = broker.session("u1").await;
        let base = round * 10_000;
        let mut frames = Vec::new();
        for number in 1..=400 {
            let content = format!("{round}: {number}");
            frames.extend_from_slice(&frame_of(number as u32, &post(base + number, &content)));
        }
        wire.write(&frames).await;
        tokio::time::sleep(Duration::from_millis(3 * round)).await;
        broker.ask_to_end();
        let mut answered: BTreeSet<Offset> = BTreeSet::new();
        let (mut hint, mut last_word) = (None, None);
        while let Some(said) = wire.said().await {
            match said {
                Said::Answer(_, Answer::Posted(Posted { position, .. })) => {
                    assert!(answered.insert(position.offset));
                }
                Said::Answer(_, other) => panic!("{other:?}"),
                Said::Push(Push::GoingAway(going)) => hint = Some(going.reconnect_after_ms),
                Said::Push(Push::SessionClosed(closed)) => last_word = Some(closed.error),
                Said::Push(_) => {}
            }
        }
        assert_eq!(wire.closed().await, ErrorCode::ShuttingDown);
        // 200 ms is what the tests' brokers spread their clients over.
        assert!(hint.is_some_and(|after_ms| after_ms <= 200), "{hint:?}");
        assert_eq!(
            last_word.map(|error| error.code()),
            Some(ErrorCode::ShuttingDown)
        );
        let status = broker.ended().await;
        assert_eq!(status.code(), Some(0));
        broker.start().await;
        let u1 = broker.client("u1").await;
        let history = u1
            .channel(general())
            .history_stream(Anchor::After(Offset(0)));
        let stored: Vec<_> = within("the history", history.try_collect()).await.unwrap();
        let prefix = format!("{round}: ");
        let stored = stored.iter().filter(|it| it.content.starts_with(&prefix));
        let stored: BTreeSet<_> = stored.map(|it| it.offset).collect();
        assert_eq!(
            stored, answered,
            "round {round}: what stands is what was answered"
        );
    }
}

/// An SDK client sees a restart as a short pause: it is told, comes back by
/// itself, and everything it sends arrives once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_come_back_by_themselves() {
    let mut broker = Broker::new().await;
    let (u1, u2) = (broker.client("u1").await, broker.client("u2").await);
    let (hears1, hears2) = (Witness::of(&u1).await, Witness::of(&u2).await);
    let mut sent = Vec::new();
    for round in 0..3 {
        for number in 0..50 {
            let content = format!("{round}: {number}");
            let sending = u1
                .channel(general())
                .send(content.as_str())
                .enqueue()
                .await
                .unwrap();
            sent.push((content, sending));
        }
        let from = hears2.now();
        broker.stop().await;
        hears2
            .after(from, "the announcement", |event| {
                matches!(event, ClientEvent::GoingAway { .. }).then_some(())
            })
            .await;
        broker.start().await;
        hears2
            .after(from, "the next session", |event| {
                matches!(event, ClientEvent::Connected { .. }).then_some(())
            })
            .await;
    }
    let mut wanted = Vec::new();
    for (content, sending) in sent {
        let posted = within("an acknowledgement", sending).await.unwrap();
        wanted.push((posted.position.offset, "u1".to_owned(), content));
    }
    for witness in [&hears1, &hears2] {
        witness.reaches(&general(), wanted.last().unwrap().0).await;
        assert_eq!(witness.messages(&general()), wanted);
    }
}

/// An orchestrator must neither send traffic to a broker that does not serve
/// nor restart one that is busy recovering.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_follows_start_and_end() {
    let mut broker = Broker::new().await;
    assert_eq!(status(broker.get("/livez").await), Some(200));
    let ready = broker.get("/readyz").await.unwrap();
    assert_eq!(ready.status, 200);
    let lines = broker.get("/readyz?verbose").await.unwrap();
    assert!(lines.body.contains("[+]storage"), "{lines:?}");

    // Something to recover, so that recovery can be seen.
    let u1 = broker.client("u1").await;
    let mut sent = Vec::new();
    for number in 0..3_000 {
        let message = u1.channel(general()).send(format!("message {number}"));
        sent.push(message.enqueue().await.unwrap());
    }
    for sending in sent {
        within("an acknowledgement", sending).await.unwrap();
    }
    let mut recovery = None;
    // A machine that is busy may let us look only when all is over.
    for _ in 0..10 {
        broker.kill_9();
        broker.spawn();
        recovery = recovery.or(first_reason(&broker).await);
        broker.ready().await;
        if recovery.is_some() {
            break;
        }
    }
    let reason = recovery.expect("the broker says that it recovers");
    assert!(reason.body.contains("recovery"), "{reason:?}");
    assert!(reason.body.contains("reason"), "{reason:?}");
    eventually("u1 is back", || async { u1.online().await.ok() }).await;
}

fn status(reply: Option<Reply>) -> Option<u16> {
    reply.map(|reply| reply.status)
}

/// What the broker first says of its readiness, while it is not ready.
async fn first_reason(broker: &Broker) -> Option<Reply> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        if let Some(reply) = broker.get("/readyz").await {
            assert_eq!(status(broker.get("/livez").await), Some(200), "it lives");
            return (reply.status == 503).then_some(reply);
        }
    }
    panic!("the ops port does not answer");
}

/// A client that does not read cannot hold a restart up for ever, and while it
/// does, no traffic is sent here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_seen_and_ends() {
    let mut broker = Setup::new()
        .set("server.drain_timeout_ms", 2_000)
        .start()
        .await;
    let manners = Manners {
        window_bytes: Some(4_096),
        ..Manners::default()
    };
    let mut stuck = broker.dialer_with(manners).connect().await;
    let device = DeviceId::new("stuck").unwrap();
    stuck
        .hello(&hello(&broker.sign(&Token::of("stuck")), device))
        .await
        .unwrap();
    let u1 = broker.client("u1").await;
    for _ in 0..20 {
        u1.channel(general()).send("x".repeat(2_000)).await.unwrap();
    }
    drop(u1);
    let asked = Instant::now();
    broker.ask_to_end();
    let mut draining = None;
    while !broker.has_ended() {
        if let Some(reply) = broker.get("/readyz").await
            && reply.status == 503
        {
            assert_eq!(status(broker.get("/livez").await), Some(200), "it lives");
            draining = Some(reply);
            break;
        }
    }
    let draining = draining.expect("the broker says that it drains");
    assert!(draining.body.contains("drain"), "{draining:?}");
    let status = broker.ended().await;
    assert_eq!(status.code(), Some(0));
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}");
}

/// Starting and stopping over and over leaves everything as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_change_nothing() {
    let mut broker = Broker::new().await;
    let mut wanted = Vec::new();
    for round in 0..5 {
        let u1 = broker.client("u1").await;
        let content = format!("round {round}");
        let posted = u1.channel(general()).send(content.as_str()).await.unwrap();
        wanted.push((posted.position.offset, content));
        let page = u1
            .channel(general())
            .history(Anchor::Latest, 200)
            .await
            .unwrap();
        let page: Vec<_> = page
            .messages
            .iter()
            .map(|it| (it.offset, it.content.to_string()))
            .collect();
        assert_eq!(page, wanted);
        let head = page.last().unwrap().0;
        assert_eq!(u1.channel(general()).summary().await.unwrap().head, head);
        broker.stop().await;
        broker.start().await;
    }
    let offsets: Vec<_> = wanted.iter().map(|(offset, _)| offset.0).collect();
    let first = offsets[0];
    assert_eq!(
        offsets,
        (first..first + 5).collect::<Vec<_>>(),
        "a restart posts nothing"
    );
}
