//! Too many, too slow, too much.

use std::sync::Arc;
use std::time::Duration;

use confab_protocol::message::channel::{Anchor, History};
use confab_protocol::message::event::Change;
use confab_protocol::message::{Push, frame_of};
use confab_protocol::{ChannelId, ErrorCode};
use tokio_util::sync::CancellationToken;

use super::super::QuicGateway;
use super::client::{Raw, Server, certify, endpoint, soon};
use super::talk::post;
use crate::limits::ConnectionConfig;
use crate::session::SessionConfig;
use crate::session::fixture::{Fixture, Wanted, hello};
use crate::session::outbox::OutboxConfig;

/// A client that asks and never reads is ended; what it cost is bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_nothing_is_ended() {
    let server = Server::with(Wanted::default(), |config| {
        config.stall_timeout = Duration::from_millis(500);
    })
    .await;
    let mut writer = server.session("bob").await;
    let long = "x".repeat(16_000);
    for number in 2..40 {
        writer.ask(number, &post(number.into(), &long)).await;
        writer.answer(number).await;
    }
    let mut greedy = server.session("ann").await;
    let page = frame_of(
        9,
        &History {
            channel: ChannelId::general(),
            thread: None,
            anchor: Anchor::Latest,
            limit: 200,
        },
    );
    // Each page is about 256 KiB; the server stops reading long before it has
    // answered them all.
    for _ in 0..2_000 {
        if greedy.send.write_all(&page).await.is_err() {
            break;
        }
    }
    assert_eq!(greedy.closed().await, ErrorCode::SlowConsumer);
    let held = server.fixture.services.outboxes.bytes();
    assert!(held < 1 << 20, "{held} bytes are held for nobody");
    server.stop().await;
}

/// What a session heard of its channel, cut where it was told that it is behind.
#[derive(Default)]
struct ChannelEvents {
    /// Offsets of the events between one `Behind` and the next.
    runs: Vec<Vec<u64>>,
    behind: u64,
    dropped: u64,
}

impl ChannelEvents {
    /// Listens until a message with this content comes.
    async fn of(client: &mut Raw, last: &str) -> Self {
        let mut heard = Self {
            runs: vec![Vec::new()],
            ..Self::default()
        };
        client
            .push(|push| {
                match push {
                    Push::Behind(behind) => {
                        heard.behind += 1;
                        heard.dropped += behind.events_dropped;
                        heard.runs.push(Vec::new());
                    }
                    Push::Event(event) => {
                        let run = heard.runs.last_mut().unwrap();
                        run.push(event.event.offset.0);
                        if let Change::MessagePosted { message } = event.event.change {
                            return (message.content.as_str() == last).then_some(());
                        }
                    }
                    _ => {}
                }
                None
            })
            .await;
        heard
    }
}

/// A session that does not keep up is told so once, keeps its connection, and
/// hears of what comes after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_falls_behind_is_told_and_goes_on() {
    let wanted = Wanted {
        session: SessionConfig {
            outbox: OutboxConfig {
                bytes_max: 256 << 10,
                ..OutboxConfig::default()
            },
            ..SessionConfig::default()
        },
        ..Wanted::default()
    };
    let server = Server::with(wanted, |_| {}).await;
    let mut slow = server.session("ann").await;
    let mut writer = server.session("bob").await;
    let long = "x".repeat(16_000);
    // More than the client's window (1.25 MB), quinn's (256 KiB) and the outbox.
    for number in 2..202 {
        writer.ask(number, &post(number.into(), &long)).await;
        writer.answer(number).await;
    }
    let after = ChannelEvents::of(&mut slow, "after");
    let (_, runs) = futures_util::join!(
        async {
            writer.ask(202, &post(202, "after")).await;
            writer.answer(202).await;
        },
        after
    );
    assert!(runs.behind >= 1 && runs.dropped > 0);
    for run in &runs.runs {
        let is_dense = run.windows(2).all(|pair| pair[1] == pair[0] + 1);
        assert!(is_dense, "no gap without Behind: {run:?}");
    }
    let delivered: usize = runs.runs.iter().map(Vec::len).sum();
    // Presence is counted among what was dropped, so there may be more.
    assert!(delivered as u64 + runs.dropped >= 201);
    let metrics = server.fixture.services.metrics.to_text();
    assert!(!metrics.contains("confab_behind_total 0"));
    server.stop().await;
}

/// Strangers beyond the limit are refused, those within it cost their slot
/// until they are timed out, and members are served all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_bounded() {
    let wanted = Wanted {
        connections: ConnectionConfig {
            unauthenticated_max: 20,
            ..ConnectionConfig::default()
        },
        ..Wanted::default()
    };
    let server = Server::with(wanted, |config| {
        config.hello_timeout = Duration::from_secs(2);
    })
    .await;
    let mut member = server.session("ann").await;
    let endpoint = endpoint(&server.certificate, &[confab_protocol::ALPN]);
    let mut strangers = Vec::new();
    let mut refused = 0;
    for _ in 0..50 {
        let connecting = endpoint.connect(server.address(), "localhost").unwrap();
        match soon(connecting).await {
            Ok(connection) => strangers.push(connection),
            Err(_) => refused += 1,
        }
    }
    assert_eq!((strangers.len(), refused), (20, 30));
    let counts = server.fixture.services.connections.counts();
    assert_eq!((counts.total, counts.unauthenticated), (21, 20));
    member.ask(2, &post(1, "busy?")).await;
    member.answer(2).await;
    for stranger in &strangers {
        soon(stranger.closed()).await;
    }
    let mut late = server.connect().await;
    late.hello(&hello("bob")).await.unwrap();
    server.stop().await;
}

/// Under a flood of handshakes an honest client still comes in, by a Retry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_lets_honest_clients_in() {
    let server = Server::with(Wanted::default(), |config| config.retry_above = 0).await;
    let mut client = server.session("ann").await;
    client.ask(2, &post(1, "in")).await;
    client.answer(2).await;
    let metrics = server.fixture.services.metrics.to_text();
    assert!(metrics.contains("confab_handshake_retries_total 1"));
    server.stop().await;
}

/// A node that restarted tells clients of before at once that their
/// connections are gone, for it keeps the key of its resets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_resets_old_connections() {
    let fixture = Fixture::start().await;
    let (certificate, mut config) = certify(fixture.dir.path().to_owned());
    let first = {
        // A runtime of its own, so that it can die without a word.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let guard = runtime.enter();
        let services = Arc::clone(&fixture.services);
        let gateway = QuicGateway::bind(config.clone(), services, CancellationToken::new());
        let gateway = gateway.unwrap();
        config.listen = gateway.handle().address();
        drop(guard);
        runtime.spawn(gateway.run());
        runtime
    };
    let client = endpoint(&certificate, &[confab_protocol::ALPN]);
    let connection = client.connect(config.listen, "localhost").unwrap();
    let connection = soon(connection).await.unwrap();
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&frame_of(1, &hello("ann"))).await.unwrap();
    first.shutdown_background();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let shutdown = CancellationToken::new();
    let services = Arc::clone(&fixture.services);
    let second = QuicGateway::bind(config, services, shutdown.clone()).unwrap();
    let second = tokio::spawn(second.run());
    send.write_all(&[0; 100]).await.unwrap();
    let reason = tokio::time::timeout(Duration::from_secs(5), connection.closed()).await;
    assert!(
        matches!(reason, Ok(quinn::ConnectionError::Reset)),
        "{reason:?}"
    );
    shutdown.cancel();
    second.await.unwrap();
    fixture.stop().await;
}
