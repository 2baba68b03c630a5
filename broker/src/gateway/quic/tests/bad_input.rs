//! Whatever comes, the answer is a code, and only who must go goes.

use std::time::{Duration, Instant};

use confab_protocol::message::presence::Heartbeat;
use confab_protocol::message::session::{ChannelPosition, Hello};
use confab_protocol::message::{Answer, Body, frame_of};
use confab_protocol::{ChannelId, ErrorCode, Frame, Position};

use super::client::{Raw, Server, endpoint, soon};
use crate::session::fixture::{Wanted, hello, token};

async fn is_alive(client: &mut Raw) {
    client.ask(999, &Heartbeat { active: false }).await;
    assert!(matches!(client.answer(999).await, Answer::Done(_)));
}

fn raw(kind: u16, request: u32, body: &'static [u8]) -> bytes::Bytes {
    Frame {
        kind,
        request,
        body: bytes::Bytes::from_static(body),
    }
    .to_bytes()
}

/// A mistake in one request is that request's; the session goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_does_not_end_the_session() {
    let server = Server::start().await;
    let mut client = server.session("ann").await;
    client.write(&raw(0x0fff, 2, b"")).await;
    assert_eq!(client.refusal(2).await, ErrorCode::UnknownKind);
    // A post whose body ends early, and a heartbeat with a byte too many.
    client.write(&raw(0x0020, 3, b"\x0f")).await;
    assert_eq!(client.refusal(3).await, ErrorCode::MalformedFrame);
    client.write(&raw(0x0051, 4, b"\x01\x00")).await;
    assert_eq!(client.refusal(4).await, ErrorCode::MalformedFrame);
    // A channel id with an odd character: well-formed, but not allowed.
    client.write(&raw(0x0011, 5, b"\x04a/b ")).await;
    assert_eq!(client.refusal(5).await, ErrorCode::InvalidArgument);
    client.ask(6, &hello("ann")).await;
    assert_eq!(client.refusal(6).await, ErrorCode::UnexpectedHello);
    is_alive(&mut client).await;
    server.stop().await;
}

/// The error of a malformed body names the kind, for whoever wrote the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_body_names_its_kind() {
    let server = Server::start().await;
    let mut client = server.session("ann").await;
    client.write(&raw(0x0020, 3, b"\x0f")).await;
    let Answer::Error(error) = client.answer(3).await else {
        panic!("that was no post");
    };
    assert!(error.message.contains("Post (0x0020)"), "{error}");
    server.stop().await;
}

/// Bytes that are no frames end the connection: nothing after them can be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_frame_ends_the_connection() {
    let server = Server::start().await;
    let mut client = server.session("ann").await;
    client.write(&(129u32 << 10).to_le_bytes()).await;
    assert_eq!(client.closed().await, ErrorCode::FrameTooLarge);
    let mut client = server.session("ann").await;
    client.write(&[3, 0, 0, 0, 1, 2, 3]).await;
    assert_eq!(client.closed().await, ErrorCode::MalformedFrame);
    let mut client = server.session("ann").await;
    client.write(&[200, 0, 0, 0, 1, 2, 3]).await;
    client.send.finish().unwrap();
    assert_eq!(client.closed().await, ErrorCode::MalformedFrame);
    server.stop().await;
}

/// Nothing is answered before `Hello`, and a bad `Hello` says what is wrong:
/// as an answer and as the reason of the close.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_frame_is_a_good_hello() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    client.ask(7, &Heartbeat { active: false }).await;
    assert_eq!(client.refusal(7).await, ErrorCode::HelloRequired);
    assert_eq!(client.closed().await, ErrorCode::HelloRequired);

    let bad = |change: fn(&mut Hello)| {
        let mut body = hello("ann");
        change(&mut body);
        body
    };
    let future = bad(|body| (body.version_min, body.version_max) = (7, 9));
    let forged = bad(|body| body.token = format!("{}x", body.token).into());
    let old = bad(|body| body.token = token("ann", 0).into());
    let none = bad(|body| body.token = "".into());
    for (body, code) in [
        (future, ErrorCode::UnsupportedVersion),
        (forged, ErrorCode::TokenInvalid),
        (old, ErrorCode::TokenExpired),
        (none, ErrorCode::TokenInvalid),
    ] {
        let mut client = server.connect().await;
        assert_eq!(client.hello(&body).await.err(), Some(code));
        assert_eq!(client.closed().await, code);
    }
    let mut client = server.connect().await;
    client.write(&raw(Hello::KIND, 1, b"\xff\xff\xff")).await;
    assert_eq!(client.refusal(1).await, ErrorCode::MalformedFrame);
    assert_eq!(client.closed().await, ErrorCode::MalformedFrame);
    assert_eq!(server.fixture.services.registry.sessions(), 0);
    server.stop().await;
}

/// Who connects and says nothing is not waited for, with or without a stream.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_is_ended() {
    let server = Server::with(Wanted::default(), |config| {
        config.hello_timeout = Duration::from_millis(300);
    })
    .await;
    let began = Instant::now();
    let silent = server.connect().await;
    let mut slow = server.connect().await;
    slow.write(&frame_of(1, &hello("ann"))[..20]).await;
    assert_eq!(silent.closed().await, ErrorCode::HelloTimeout);
    assert_eq!(slow.closed().await, ErrorCode::HelloTimeout);
    assert!(began.elapsed() < Duration::from_secs(2));
    server.stop().await;
}

/// Another protocol, or none, does not even finish its handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_alpn_is_refused() {
    let server = Server::start().await;
    for alpn in [&[&b"h3"[..]][..], &[]] {
        let endpoint = endpoint(&server.certificate, alpn);
        let connecting = endpoint.connect(server.address(), "localhost").unwrap();
        assert!(soon(connecting).await.is_err(), "{alpn:?}");
    }
    server.stop().await;
}

/// Random bytes on the session's stream: a code, no panic, and the server goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_is_survived() {
    use rand::{Rng, SeedableRng};
    let server = Server::start().await;
    let seed: u64 = rand::rng().random();
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    for round in 0..60 {
        let mut client = server.session("ann").await;
        let len = random.random_range(1..400);
        let mut noise: Vec<u8> = (0..len).map(|_| random.random()).collect();
        if round % 2 == 0 {
            // A plausible length, so that what follows is taken for a frame.
            noise.splice(0..0, (len as u32).to_le_bytes());
        }
        client.write(&noise).await;
        let _ = client.send.finish();
        while client.said().await.is_some() {}
        let reason = soon(client.connection.closed()).await;
        assert!(
            matches!(reason, quinn::ConnectionError::ApplicationClosed(_)),
            "seed {seed}, round {round}: {reason}"
        );
    }
    is_alive(&mut server.session("ann").await).await;
    server.stop().await;
}

/// A stranger gets one stream and a small window, whatever it sends: what
/// waits for its `Hello` is bounded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_gets_little_room() {
    let server = Server::start().await;
    let client = server.connect().await;
    let more = client.connection.open_bi();
    let wait = tokio::time::timeout(Duration::from_millis(300), more);
    assert!(wait.await.is_err(), "there is one stream only");
    let mut member = server.session("ann").await;
    is_alive(&mut member).await;
    soon(member.connection.open_bi()).await.unwrap();
    server.stop().await;
}

/// The largest `Hello` that is allowed passes through the small window.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_hello_passes() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let mut body = hello("ann");
    body.positions = (0..1_000)
        .map(|number| ChannelPosition {
            channel: ChannelId::new(&format!("dept-{number:064}")).unwrap(),
            position: Position::default(),
        })
        .collect();
    let welcome = client.hello(&body).await.unwrap();
    assert_eq!(welcome.behind.len(), 1_000, "all of them are gone");
    let mut client = server.connect().await;
    body.positions = (0..1_001)
        .map(|number| ChannelPosition {
            channel: ChannelId::new(&format!("dept-{number}")).unwrap(),
            position: Position::default(),
        })
        .collect();
    assert_eq!(client.hello(&body).await.err(), Some(ErrorCode::TooLarge));
    server.stop().await;
}
