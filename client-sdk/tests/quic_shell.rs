//! The client over real QUIC, against a small broker in this process.

#![allow(clippy::unwrap_used)]

mod broker;
mod model;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use broker::{Broker, NAME};
use confab_client::{
    Builder, Client, ClientEvent, CloseReason, ConnectError, HandshakeFault, SendError,
    Subscription, TokenError,
};
use confab_protocol::message::channel::Anchor;
use confab_protocol::message::session::{GoingAway, TokenExpiring};
use confab_protocol::{ChannelId, DeviceId, ErrorCode, Offset, Position};
use futures_util::StreamExt;
use model::channel;

fn builder(broker: &Broker) -> Builder {
    Client::builder(broker.address.to_string(), NAME)
        .ca_pem(broker.ca_pem.clone())
        .token("token")
        .device(DeviceId::new("laptop").unwrap())
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    let within = tokio::time::timeout(Duration::from_secs(20), future);
    within.await.expect("it happens within 20 s")
}

/// The next events of a channel, until `last`.
async fn offsets(events: &mut Subscription, id: &ChannelId, last: u64) -> Vec<u64> {
    let mut offsets = Vec::new();
    while offsets.last() != Some(&last) {
        match soon(events.next()).await.unwrap() {
            ClientEvent::Channel(event) if event.channel == *id => {
                offsets.push(event.event.offset.0);
            }
            _ => {}
        }
    }
    offsets
}

/// What the client did in one round: sent, heard it, read it back.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_out_and_comes_back() {
    let broker = Broker::start(2);
    let client = builder(&broker).connect().await.unwrap();
    assert_eq!(client.user().await.unwrap().id.as_str(), model::ME);
    let mut events = client.subscribe().await;
    let general = client.channel(channel(0));
    let posted = general.send("hello").thread(Offset(1)).await.unwrap();
    assert_eq!(posted.position.offset, Offset(1));
    broker.change(|server| server.say(&channel(0), "other", "hi"));
    assert_eq!(offsets(&mut events, &channel(0), 2).await, [1, 2]);
    let cached = general.cached().await.unwrap();
    assert_eq!((cached.head, cached.read_state.unread), (Offset(2), 1));
    general.mark_read(None, Offset(2)).await.unwrap();
    assert_eq!(general.cached().await.unwrap().read_state.unread, 0);
    assert_eq!(client.channels().await.len(), 2);
    general.typing(None).await;
    broker
        .until(|server| server.asked.contains(&"a datagram"))
        .await;
}

/// The connection is cut while messages fly: all are acknowledged, each stands
/// in the log once, in order, and the reader has no gap.
#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_invisible() {
    let broker = Broker::start(1);
    let client = builder(&broker).connect().await.unwrap();
    let mut events = client.subscribe().await;
    let mut sendings = Vec::new();
    for number in 0..300 {
        let send = client.channel(channel(0)).send(format!("post {number}"));
        sendings.push(send.enqueue().await.unwrap());
        if number % 50 == 25 {
            broker
                .until(|server| server.logs[&channel(0)].events.len() > number / 2)
                .await;
            broker.close(0, "");
        }
    }
    for sending in sendings {
        soon(sending).await.unwrap();
    }
    let texts: Vec<String> = broker.server().logs[&channel(0)]
        .messages()
        .map(|message| message.content.to_string())
        .collect();
    let sent: Vec<String> = (0..300).map(|number| format!("post {number}")).collect();
    assert_eq!(texts, sent);
    let heard = offsets(&mut events, &channel(0), 300).await;
    assert_eq!(heard, (1..=300).collect::<Vec<_>>());
}

/// A dropped future neither loses nor doubles its message.
#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_send_is_sent_once() {
    let broker = Broker::start(1);
    let client = builder(&broker).connect().await.unwrap();
    for _ in 0..20 {
        let send = client.channel(channel(0)).send("dropped");
        let started = tokio::time::timeout(Duration::ZERO, send.into_future()).await;
        drop(started);
    }
    soon(client.channel(channel(0)).send("last").into_future())
        .await
        .unwrap();
    assert_eq!(broker.server().logs[&channel(0)].messages().count(), 21);
}

/// A token is asked for before connecting and again before it expires; the
/// session goes on.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_refreshed_in_place() {
    let broker = Broker::start(1);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let client = Client::builder(broker.address.to_string(), NAME)
        .ca_pem(broker.ca_pem.clone())
        .token_provider(move || {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                match number {
                    0 => Err(TokenError::Retry),
                    number => Ok(format!("token-{number}")),
                }
            }
        })
        .connect()
        .await
        .unwrap();
    assert_eq!(broker.server().hellos[0].token, "token-1");
    broker.change(|server| {
        server.push(TokenExpiring {
            token_expires_at_ms: 1,
        });
    });
    broker
        .until(|server| server.asked.contains(&"RefreshToken"))
        .await;
    assert_eq!(asked.load(Ordering::SeqCst), 3);
    client.channel(channel(0)).send("still here").await.unwrap();
    // Closed for an expired token, it comes back with a new one.
    broker.close(ErrorCode::TokenExpired.number(), "expired");
    broker.until(|server| server.hellos.len() == 2).await;
    assert_eq!(broker.server().hellos[1].token, "token-3");
}

/// A server that restarts says when to come back.
#[tokio::test(flavor = "multi_thread")]
async fn going_away_is_honoured() {
    let broker = Broker::start(1);
    let client = builder(&broker).connect().await.unwrap();
    let mut events = client.subscribe().await;
    broker.change(|server| {
        server.push(GoingAway {
            reconnect_after_ms: 700,
        });
    });
    loop {
        if let ClientEvent::GoingAway { reconnect_after_ms } = soon(events.next()).await.unwrap() {
            assert_eq!(reconnect_after_ms, 700);
            break;
        }
    }
    let told = tokio::time::Instant::now();
    broker.close(ErrorCode::ShuttingDown.number(), "restarting");
    broker.until(|server| server.hellos.len() == 2).await;
    assert!(told.elapsed() >= Duration::from_millis(600));
    soon(client.online()).await.unwrap();
}

/// A close code that no retry mends ends the client with what the server said.
#[tokio::test(flavor = "multi_thread")]
async fn a_coded_close_ends_the_client() {
    let broker = Broker::start(1);
    let client = builder(&broker).connect().await.unwrap();
    let mut events = client.subscribe().await;
    broker.close(ErrorCode::TokenRevoked.number(), "ask your administrator");
    let mut last = None;
    while let Some(event) = soon(events.next()).await {
        last = Some(event);
    }
    let Some(ClientEvent::Closed(CloseReason::Refused(error))) = last else {
        panic!("not {last:?}");
    };
    assert_eq!(error.code(), ErrorCode::TokenRevoked);
    assert_eq!(error.message, "ask your administrator");
    let late = client.channel(channel(0)).send("late").await;
    assert!(matches!(
        late,
        Err(SendError::Closed(CloseReason::Refused(_)))
    ));
}

/// Whoever is not who the certificate authority says is not talked to.
#[tokio::test(flavor = "multi_thread")]
async fn connecting_fails_with_the_reason() {
    let broker = Broker::start(1);
    let other = Broker::start(1);
    let wrong_ca = builder(&broker).ca_pem(other.ca_pem.clone());
    assert!(matches!(
        wrong_ca.connect().await,
        Err(ConnectError::Closed(CloseReason::Handshake(
            HandshakeFault::Certificate(_)
        )))
    ));
    let old = Broker::with_alpn(1, b"confab/0");
    assert!(matches!(
        builder(&old).connect().await,
        Err(ConnectError::Closed(CloseReason::Handshake(
            HandshakeFault::Protocol
        )))
    ));
    let refusing = Broker::start(1);
    refusing.server().refuse_hello = Some(confab_protocol::WireError::new(
        ErrorCode::UnsupportedVersion,
        "too old",
    ));
    assert!(matches!(
        builder(&refusing).connect().await,
        Err(ConnectError::Closed(CloseReason::Refused(_)))
    ));
    assert!(matches!(
        builder(&broker).ca_pem("").connect().await,
        Err(ConnectError::Authority)
    ));
    let nobody = Client::builder("127.0.0.1:9", NAME)
        .ca_pem(broker.ca_pem.clone())
        .token("token")
        .connect_timeout(Duration::from_millis(300));
    assert!(matches!(
        nobody.connect().await,
        Err(ConnectError::TimedOut)
    ));
}

/// A subscriber that reads nothing for a while gets every event all the same,
/// and the client does not hoard them meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_subscriber_loses_nothing() {
    const EVENTS: u64 = 20_000;
    let broker = Broker::start(1);
    let client = builder(&broker).connect().await.unwrap();
    let mut slow = client.subscribe().await;
    for _ in 0..EVENTS / 100 {
        broker.change(|server| {
            for _ in 0..100 {
                server.say(&channel(0), "other", "hi");
            }
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The client answers others while one is stuck.
    soon(client.channel(channel(0)).send("me").into_future())
        .await
        .unwrap();
    let heard = offsets(&mut slow, &channel(0), EVENTS + 1).await;
    assert_eq!(heard, (1..=EVENTS + 1).collect::<Vec<_>>());
}

/// A subscriber that stands still for long does not stop the others; it is told,
/// and then gets what it missed.
#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_subscriber_stops_nobody() {
    const EVENTS: u64 = 9_000;
    let broker = Broker::start(1);
    let client = builder(&broker).connect().await.unwrap();
    let mut stuck = client.subscribe().await;
    let mut brisk = client.subscribe().await;
    broker.change(|server| {
        for _ in 0..EVENTS {
            server.say(&channel(0), "other", "hi");
        }
    });
    let all: Vec<u64> = (1..=EVENTS).collect();
    assert_eq!(offsets(&mut brisk, &channel(0), EVENTS).await, all);
    let (mut heard, mut lagged) = (Vec::new(), false);
    while heard.last() != Some(&EVENTS) {
        match soon(stuck.next()).await.unwrap() {
            ClientEvent::Channel(event) => heard.push(event.event.offset.0),
            ClientEvent::Lagged { missed } => lagged = missed > 0,
            _ => {}
        }
    }
    assert!(lagged);
    assert_eq!(heard, all);
}

/// A subscription begins wherever it is told to, and joins what happens now.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_starts_from_positions() {
    let broker = Broker::start(1);
    broker.change(|server| {
        for _ in 0..500 {
            server.say(&channel(0), "other", "before");
        }
    });
    let client = builder(&broker).connect().await.unwrap();
    let from = Position {
        epoch: client.channel(channel(0)).cached().await.unwrap().epoch,
        offset: Offset(17),
    };
    let mut events = client.subscribe_from([(channel(0), from)]).await;
    broker.change(|server| server.say(&channel(0), "other", "now"));
    let heard = offsets(&mut events, &channel(0), 501).await;
    assert_eq!(heard, (18..=501).collect::<Vec<_>>());
    assert_eq!(events.positions()[&channel(0)].offset, Offset(501));
}

/// A process that ends and starts again misses nothing and hears nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_process_goes_on() {
    let broker = Broker::start(1);
    let client = builder(&broker).connect().await.unwrap();
    client.channel(channel(0)).send("first").await.unwrap();
    let mut events = client.subscribe().await;
    broker.change(|server| server.say(&channel(0), "other", "heard"));
    assert_eq!(offsets(&mut events, &channel(0), 2).await, [2]);
    drop(events);
    let saved = client.close().await.unwrap();
    broker.change(|server| server.say(&channel(0), "other", "missed"));
    let (_client, mut events) = builder(&broker).state(saved).start_subscribed().unwrap();
    assert_eq!(offsets(&mut events, &channel(0), 3).await, [3]);
}

/// History is walked page by page, both ways.
#[tokio::test(flavor = "multi_thread")]
async fn history_is_a_stream() {
    let broker = Broker::start(1);
    broker.change(|server| {
        server.page_max = 7;
        for _ in 0..30 {
            server.say(&channel(0), "other", "x");
        }
    });
    let client = builder(&broker).connect().await.unwrap();
    let general = client.channel(channel(0));
    let offsets = |anchor| {
        let stream = general.history_stream(anchor);
        stream
            .map(|message| message.unwrap().offset.0)
            .collect::<Vec<_>>()
    };
    let newest_first: Vec<u64> = (1..=30).rev().collect();
    assert_eq!(offsets(Anchor::Latest).await, newest_first);
    let from_11: Vec<u64> = (11..=30).collect();
    assert_eq!(offsets(Anchor::After(Offset(10))).await, from_11);
    assert_eq!(
        general
            .history(Anchor::Latest, 7)
            .await
            .unwrap()
            .messages
            .len(),
        7
    );
}

/// When the last handle is dropped, the connection ends with it.
#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_client_ends_it() {
    let broker = Broker::start(1);
    let saves = Arc::new(AtomicUsize::new(0));
    let counter = saves.clone();
    let client = builder(&broker)
        .save_state(Duration::from_secs(60), move |_| {
            counter.fetch_add(1, Ordering::SeqCst);
        })
        .connect()
        .await
        .unwrap();
    let before = saves.load(Ordering::SeqCst);
    drop(client);
    for _ in 0..1_000 {
        if saves.load(Ordering::SeqCst) > before {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the state was not handed out at the end");
}
