//! Who comes in numbers, or takes nothing, costs the broker a bounded amount and
//! the others nothing.
#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use confab_protocol::message::channel::Sync;
use confab_protocol::message::presence::Heartbeat;
use confab_protocol::message::session::{ChannelPosition, Resume};
use confab_protocol::message::{Answer, Push, frame_of};
use confab_protocol::{DeviceId, ErrorCode, Offset, Position};
use confab_tests::{
    Broker, Manners, Said, Setup, Token, Wire, WireDialer, Witness, general, hello, within,
};
use quinn::ConnectionError;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const STRANGERS: usize = 10_000;

/// Strangers that try to stand at the door at once: more than their addresses
/// may have there, so that they always have all that they can get.
const AT_ONCE: usize = 900;

/// The addresses that they come from.
const HOSTS: std::ops::RangeInclusive<u8> = 2..=6;

/// What strangers may cost, in bytes: 640 of them are let stand at the door, each
/// with the remains of a handshake and quinn's state of a connection, in a build
/// that is not optimised.
const STRANGERS_BYTES_MAX: u64 = 100 << 20;

/// Comes, says nothing, and is sent away; answers with how often it was refused
/// before it was let in.
async fn be_a_stranger(dialer: &WireDialer) -> usize {
    for refused in 0.. {
        match dialer.dial().await {
            Ok(connection) => {
                match connection.closed().await {
                    ConnectionError::ApplicationClosed(close) => {
                        let number = u16::try_from(close.error_code.into_inner()).unwrap();
                        let code = ErrorCode::from_number(number);
                        // Or its time was over before the broker had seen its
                        // handshake's end.
                        let is_expected =
                            matches!(code, ErrorCode::HelloTimeout | ErrorCode::Unknown(0));
                        assert!(is_expected, "closed with {code}");
                    }
                    // The same, said before the handshake's end.
                    ConnectionError::ConnectionClosed(_)
                    | ConnectionError::TimedOut
                    | ConnectionError::Reset => {}
                    other => panic!("{other}"),
                }
                return refused;
            }
            Err(ConnectionError::ConnectionClosed(_) | ConnectionError::TimedOut) => {
                sleep(Duration::from_millis(100)).await;
            }
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!("it goes on until it is let in")
}

/// Ten thousand connections that never say who they are: each is sent away,
/// memory stays bounded, and those who do say who they are notice nothing, even
/// if they come while all that is going on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_cost_little_and_go() {
    let broker = Setup::new()
        .set("session.hello_timeout_ms", 1_000)
        .start()
        .await;
    let u1 = broker.client("u1").await;
    u1.channel(general()).send("before").await.unwrap();
    let before = broker.resident_bytes();
    let dialers: Vec<_> = HOSTS
        .map(|host| {
            let from = Ipv4Addr::new(127, 0, 0, host);
            Arc::new(broker.dialer_with(Manners {
                from,
                ..Manners::default()
            }))
        })
        .collect();
    let at_once = Arc::new(Semaphore::new(AT_ONCE));
    let mut strangers = JoinSet::new();
    let began = Instant::now();
    let coming = async {
        for number in 0..STRANGERS {
            let place = Arc::clone(&at_once).acquire_owned().await.unwrap();
            let dialer = Arc::clone(&dialers[number % dialers.len()]);
            strangers.spawn(async move {
                let refused = be_a_stranger(&dialer).await;
                drop(place);
                refused
            });
        }
    };
    let mut greatest = before;
    let mut slowest = Duration::ZERO;
    let mut newcomers = 0;
    let living = async {
        for number in 0u32.. {
            let asked = Instant::now();
            u1.channel(general())
                .send(format!("{number}"))
                .await
                .unwrap();
            if number % 10 == 0 {
                let newcomer = broker.client(&format!("newcomer{newcomers}")).await;
                newcomer.channel(general()).send("hello").await.unwrap();
                newcomers += 1;
            }
            slowest = slowest.max(asked.elapsed());
            greatest = greatest.max(broker.resident_bytes());
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        done = timeout(Duration::from_secs(180), coming) => done.unwrap(),
        () = living => unreachable!("it goes on until all have come"),
    }
    let refused = within("the last strangers' end", strangers.join_all()).await;
    eprintln!(
        "{STRANGERS} strangers and {} refusals in {:?}; {} KiB grew to {} KiB; \
         of {newcomers} newcomers and those who were there the slowest waited {slowest:?}",
        refused.iter().sum::<usize>(),
        began.elapsed(),
        before >> 10,
        greatest >> 10,
    );
    assert!(
        refused.iter().any(|refused| *refused > 0),
        "the door was never full"
    );
    let growth = greatest - before;
    assert!(growth < STRANGERS_BYTES_MAX, "grew by {growth} bytes");
    assert!(newcomers > 5, "{newcomers}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(!broker.log().contains("panicked"));
    u1.channel(general()).send("after").await.unwrap();
}

/// Where there is no room, newcomers are refused at once; who is in stays in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_house_refuses() {
    let broker = Setup::new()
        .set("limits.connections_max", 40)
        .set("limits.connections_per_user_max", 3)
        .start()
        .await;
    let u1 = broker.client("u1").await;
    // Of one user, no more than three.
    let mut sessions = Vec::new();
    let mut refusals = Vec::new();
    for number in 0..5 {
        let mut wire = broker.dialer().connect().await;
        let device = DeviceId::new(&format!("d{number}")).unwrap();
        match wire
            .hello(&hello(&broker.sign(&Token::of("u2")), device))
            .await
        {
            Ok(_) => sessions.push(wire),
            Err(error) => refusals.push(error),
        }
    }
    assert_eq!(sessions.len(), 3);
    for error in &refusals {
        assert_eq!(error.code(), ErrorCode::TooManySessions);
        assert!(error.retry_after_ms.is_some(), "{error}");
    }
    // In all, no more than forty.
    let dialer = broker.dialer();
    let mut connected = Vec::new();
    let mut refused = 0;
    for _ in 0..60 {
        match within("a handshake", dialer.dial()).await {
            Ok(connection) => connected.push(connection),
            Err(ConnectionError::ConnectionClosed(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(
        connected.len() <= 36 && refused >= 24,
        "{} and {refused}",
        connected.len()
    );
    u1.channel(general()).send("still here").await.unwrap();
    for wire in &mut sessions {
        let answer = wire.ask(2, &Heartbeat { active: true }).await;
        assert!(matches!(answer, Answer::Done(_)));
    }
    // Room that is given back can be had again.
    for connection in connected {
        connection.close(0u32.into(), b"");
    }
    broker.client("u3").await;
}

/// A session that takes no more than 4 KiB that it has not read.
async fn stuck(broker: &Broker, name: &str) -> Wire {
    let manners = Manners {
        window_bytes: Some(4_096),
        ..Manners::default()
    };
    let mut wire = broker.dialer_with(manners).connect().await;
    let device = DeviceId::new(name).unwrap();
    wire.hello(&hello(&broker.sign(&Token::of(name)), device))
        .await
        .unwrap();
    wire
}

/// 8 MiB of messages, far more than an outbox holds.
async fn much_is_said(broker: &Broker) -> Offset {
    let u1 = broker.client("u1").await;
    let content = "x".repeat(4_096);
    let mut sent = Vec::new();
    for _ in 0..2_048 {
        sent.push(
            u1.channel(general())
                .send(content.as_str())
                .enqueue()
                .await
                .unwrap(),
        );
        if sent.len() == 256 {
            for sending in sent.drain(..) {
                within("an acknowledgement", sending).await.unwrap();
            }
        }
    }
    u1.channel(general()).summary().await.unwrap().head
}

/// Who reads too slowly is told that it is behind, keeps its session, and finds
/// everything in the log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_falls_behind_catches_up_from_the_log() {
    let broker = Setup::new()
        .set("session.slow_consumer_timeout_ms", 60_000)
        .start()
        .await;
    let mut wire = stuck(&broker, "slow").await;
    let head = much_is_said(&broker).await;
    let mut at: Option<Position> = None;
    let dropped = loop {
        match wire.said().await.expect("the session goes on") {
            Said::Push(Push::Event(event)) => {
                let (epoch, offset) = (event.epoch, event.event.offset);
                if let Some(before) = at {
                    assert_eq!(offset, before.offset.next(), "no gap before one is told of");
                }
                at = Some(Position { epoch, offset });
            }
            Said::Push(Push::Behind(behind)) => break behind.events_dropped,
            _ => {}
        }
    };
    assert!(dropped > 0);
    let mut position = at.expect("the first events came");
    let positions = [ChannelPosition {
        channel: general(),
        position,
    }];
    let resume = Resume {
        positions: positions.into_iter().collect(),
    };
    let Answer::Resumed(resumed) = wire.ask(2, &resume).await else {
        panic!("an answer of another kind");
    };
    let behind = resumed.behind.iter().next().unwrap().head.unwrap();
    assert!(behind.offset >= head);
    while position.offset < behind.offset {
        let sync = Sync {
            channel: general(),
            after: position,
            limit: 0,
        };
        let Answer::SyncPage(page) = wire.ask(3, &sync).await else {
            panic!("an answer of another kind");
        };
        for event in page.events.iter() {
            assert_eq!(event.offset, position.offset.next());
            position.offset = event.offset;
        }
    }
    // Live events join where the log ended.
    broker
        .client("u1")
        .await
        .channel(general())
        .send("live")
        .await
        .unwrap();
    loop {
        let Some(said) = wire.said().await else {
            panic!("the session goes on");
        };
        if let Said::Push(Push::Event(event)) = said
            && event.event.offset > position.offset
        {
            assert_eq!(event.event.offset, position.offset.next());
            break;
        }
    }
    assert!(broker.metrics().await.metric("confab_behind_total", "") >= 1.0);
}

/// Who reads nothing at all is closed, and meanwhile costs no more than an
/// outbox, however much is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_nothing_is_closed() {
    const READERS: usize = 30;
    let broker = Setup::new()
        .set("session.slow_consumer_timeout_ms", 2_000)
        .start()
        .await;
    let mut readers = Vec::new();
    for number in 0..READERS {
        readers.push(stuck(&broker, &format!("stuck{number}")).await);
    }
    let reading = broker.client("reads").await;
    let hears = Witness::of(&reading).await;
    let before = broker.resident_bytes();
    let head = much_is_said(&broker).await;
    let growth = broker.resident_bytes().saturating_sub(before);
    hears.reaches(&general(), head).await;
    for wire in readers {
        assert_eq!(wire.closed().await, ErrorCode::SlowConsumer);
    }
    let slow = broker
        .metrics()
        .await
        .metric("confab_slow_consumers_total", "");
    assert!(slow >= READERS as f64, "{slow}");
    // Frames are shared, so thirty outboxes hold the same; the rest are the
    // messages themselves in the log's and the state's caches.
    assert!(growth < 160 << 20, "{growth} bytes");
    assert_eq!(
        broker.metrics().await.metric("confab_outbox_bytes", ""),
        0.0
    );
}

/// As shipped: over a rate the answer says when to come back, and then it works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_rate_the_answer_says_when_to_retry() {
    let broker = Setup::as_shipped().start().await;
    let mut wire = broker.session("u1").await;
    let post = confab_protocol::message::channel::Post {
        channel: general(),
        sequence: confab_protocol::Sequence(0),
        client_message_id: None,
        content: "again".into(),
        thread_root: None,
        attachments: Default::default(),
        mentions: Default::default(),
    };
    // Twenty at once are fine, thirty are not.
    for request in 2..32 {
        wire.send(request, &post).await;
    }
    let (mut posted, mut refused) = (0, Vec::new());
    while posted + refused.len() < 30 {
        match wire.said().await.expect("the session goes on") {
            Said::Answer(_, Answer::Posted(_)) => posted += 1,
            Said::Answer(_, Answer::Error(error)) => refused.push(error),
            _ => {}
        }
    }
    assert!((20..30).contains(&posted), "{posted}");
    for error in &refused {
        assert_eq!(error.code(), ErrorCode::RateLimited);
        assert!(
            error
                .retry_after_ms
                .is_some_and(|ms| (1..=2_000).contains(&ms)),
            "{error:?}"
        );
    }
    let wait = refused
        .iter()
        .filter_map(|error| error.retry_after_ms)
        .max()
        .unwrap();
    sleep(Duration::from_millis(u64::from(wait))).await;
    assert!(matches!(wire.ask(40, &post).await, Answer::Posted(_)));

    // The SDK waits by itself: all of its messages arrive, at the rate allowed.
    let u2 = broker.client("u2").await;
    let began = Instant::now();
    let mut sent = Vec::new();
    for number in 0..40 {
        sent.push(
            u2.channel(general())
                .send(format!("{number}"))
                .enqueue()
                .await
                .unwrap(),
        );
    }
    for sending in sent {
        within("a slow post", sending).await.unwrap();
    }
    assert!(
        began.elapsed() > Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );

    // Requests of any kind.
    let mut frames = Vec::new();
    for request in 100..500 {
        frames.extend_from_slice(&frame_of(request, &Heartbeat { active: true }));
    }
    wire.write(&frames).await;
    let (mut done, mut refused) = (0, Vec::new());
    while done + refused.len() < 400 {
        match wire.said().await.expect("the session goes on") {
            Said::Answer(_, Answer::Done(_)) => done += 1,
            Said::Answer(_, Answer::Error(error)) => refused.push(error),
            _ => {}
        }
    }
    assert!(done >= 150 && !refused.is_empty(), "{done}");
    for error in refused {
        assert_eq!(error.code(), ErrorCode::RateLimited);
        assert!(error.retry_after_ms.is_some_and(|ms| ms > 0));
    }

    // Logins from one address: twenty at once.
    let mut refused = Vec::new();
    for number in 0..30 {
        let mut wire = broker.dialer().connect().await;
        let device = DeviceId::new(&format!("d{number}")).unwrap();
        if let Err(error) = wire
            .hello(&hello(&broker.sign(&Token::of("u3")), device))
            .await
        {
            refused.push(error);
        }
    }
    assert!(!refused.is_empty());
    for error in refused {
        assert_eq!(error.code(), ErrorCode::RateLimited, "{error}");
        assert!(error.retry_after_ms.is_some_and(|ms| ms > 0));
    }
    assert!(
        broker
            .metrics()
            .await
            .metric("confab_rate_limited_total", "")
            > 10.0
    );
    // The SDK comes back when it is told to.
    broker.client("u4").await;
}
