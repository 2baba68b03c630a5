//! Whatever comes in, the answer is a code and the broker lives: on a server
//! that faces the world, every byte is somebody's attempt.
#![allow(clippy::unwrap_used)]

use confab_protocol::message::channel::{Anchor, GetChannel, History, OpenDm, Post};
use confab_protocol::message::event::Mentions;
use confab_protocol::message::presence::Heartbeat;
use confab_protocol::message::session::Hello;
use confab_protocol::message::{Answer, Body, frame_of};
use confab_protocol::{DeviceId, ErrorCode, Frame, Packed, Sequence};
use confab_tests::{
    Broker, Manners, Setup, Token, Wire, general, hello, now_s, seed, user, within,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring::hmac;
use serde_json::json;

/// What the broker may grow by while it is abused, in bytes.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

fn raw(kind: u16, request: u32, body: &[u8]) -> Vec<u8> {
    let body = bytes::Bytes::copy_from_slice(body);
    let frame = Frame {
        kind,
        request,
        body,
    };
    frame.to_bytes().to_vec()
}

fn post(content: &str) -> Post {
    Post {
        channel: general(),
        sequence: Sequence(0),
        client_message_id: None,
        content: content.into(),
        thread_root: None,
        attachments: Packed::default(),
        mentions: Mentions::default(),
    }
}

async fn assert_lives(wire: &mut Wire) {
    let answer = wire.ask(999, &Heartbeat { active: false }).await;
    assert!(matches!(answer, Answer::Done(_)), "{answer:?}");
}

/// No task has panicked, and the broker serves.
async fn assert_well(broker: &Broker) {
    assert_eq!(broker.get("/readyz").await.map(|it| it.status), Some(200));
    let log = broker.log();
    assert!(!log.contains("panicked"), "{log}");
    assert_lives(&mut broker.session("whoever").await).await;
}

/// A mistake in one request is that request's alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_request_is_answered_with_its_code() {
    let broker = Broker::new().await;
    let mut wire = broker.session("u1").await;
    let good = frame_of(1, &post("hello"));
    let body = &good[10..];
    let mut trailing = body.to_vec();
    trailing.push(0);
    let mut too_long = post("x");
    too_long.content = "x".repeat(16_385).into();
    let empty = post("");
    let bad: Vec<(Vec<u8>, ErrorCode)> = vec![
        (raw(0x0fff, 2, b""), ErrorCode::UnknownKind),
        // Answers and pushes are not for clients to send.
        (raw(0x4001, 2, b""), ErrorCode::UnknownKind),
        (raw(0x8001, 2, b""), ErrorCode::UnknownKind),
        (raw(Post::KIND, 2, b""), ErrorCode::MalformedFrame),
        (
            raw(Post::KIND, 2, &body[..body.len() / 2]),
            ErrorCode::MalformedFrame,
        ),
        (raw(Post::KIND, 2, &trailing), ErrorCode::MalformedFrame),
        (raw(Post::KIND, 2, &[0xff; 200]), ErrorCode::MalformedFrame),
        // Ids with odd characters, no characters, and too many.
        (
            raw(GetChannel::KIND, 2, b"\x04a/b "),
            ErrorCode::InvalidArgument,
        ),
        (
            raw(GetChannel::KIND, 2, b"\x00"),
            ErrorCode::InvalidArgument,
        ),
        (
            raw(GetChannel::KIND, 2, b"\x0adept-../.."),
            ErrorCode::InvalidArgument,
        ),
        (
            raw(GetChannel::KIND, 2, b"\x0adept-../."),
            ErrorCode::MalformedFrame,
        ),
        (
            raw(GetChannel::KIND, 2, b"\x08dm-b-a\0\0"),
            ErrorCode::InvalidArgument,
        ),
        (
            raw(GetChannel::KIND, 2, b"\x06dm-b-a"),
            ErrorCode::InvalidArgument,
        ),
        (
            raw(GetChannel::KIND, 2, b"\x02\xff\xfe"),
            ErrorCode::InvalidArgument,
        ),
        (
            raw(OpenDm::KIND, 2, b"\x04a b\n"),
            ErrorCode::InvalidArgument,
        ),
        (
            frame_of(2, &OpenDm { user: user("u1") }).to_vec(),
            ErrorCode::InvalidArgument,
        ),
        (
            frame_of(
                2,
                &OpenDm {
                    user: user("nobody"),
                },
            )
            .to_vec(),
            ErrorCode::NotFound,
        ),
        (frame_of(2, &too_long).to_vec(), ErrorCode::TooLarge),
        (frame_of(2, &empty).to_vec(), ErrorCode::InvalidArgument),
        (
            frame_of(
                2,
                &History {
                    channel: general(),
                    thread: None,
                    anchor: Anchor::Latest,
                    limit: 201,
                },
            )
            .to_vec(),
            ErrorCode::InvalidArgument,
        ),
    ];
    for (bytes, code) in bad {
        wire.write(&bytes).await;
        let refusal = wire.refusal(2).await;
        assert_eq!(
            refusal.code(),
            code,
            "{refusal} for {:02x?}",
            &bytes[..bytes.len().min(60)]
        );
        assert!(!refusal.message.is_empty());
    }
    // A second Hello, even a right one.
    let token = broker.sign(&Token::of("u1"));
    let again = hello(&token, DeviceId::new("again").unwrap());
    wire.send(3, &again).await;
    assert_eq!(wire.refusal(3).await.code(), ErrorCode::UnexpectedHello);
    // What would lose its order on a stream of its own.
    let answer = wire.bulk(&frame_of(4, &post("beside the stream"))).await;
    assert_refused(&answer[0], ErrorCode::InvalidArgument);
    let answer = wire.bulk(&frame_of(4, &again)).await;
    assert_refused(&answer[0], ErrorCode::UnexpectedHello);
    let twice = [frame_of(4, &post("a")), frame_of(5, &post("b"))].concat();
    let answer = wire.bulk(&twice).await;
    assert_refused(&answer[0], ErrorCode::MalformedFrame);
    let answer = wire.bulk(&frame_of(4, &post("cut off"))[..12]).await;
    assert_refused(&answer[0], ErrorCode::MalformedFrame);
    // Datagrams and streams that nobody asked for.
    for datagram in [
        vec![],
        vec![0xff; 50],
        raw(Post::KIND, 1, body),
        vec![0; 1_100],
    ] {
        let _ = wire.connection.send_datagram(datagram.into());
    }
    let mut odd = wire.connection.open_uni().await.unwrap();
    let _ = odd.write_all(&[0; 1_000]).await;
    assert_lives(&mut wire).await;
    let head = wire.ask(6, &GetChannel { channel: general() }).await;
    let Answer::ChannelInfo(info) = head else {
        panic!("{head:?}");
    };
    assert_eq!(info.summary.last_message, None, "none of that was posted");
    assert_well(&broker).await;
}

fn assert_refused(frame: &Frame, code: ErrorCode) {
    match Answer::from_frame(frame).unwrap() {
        Answer::Error(error) => assert_eq!(error.code(), code, "{error}"),
        other => panic!("{other:?}"),
    }
}

/// Bytes that are no frames cannot be skipped: the connection ends, and says why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_frame_ends_the_connection() {
    let broker = Broker::new().await;
    for (bytes, finish, code) in [
        (
            &(129u32 << 10).to_le_bytes()[..],
            false,
            ErrorCode::FrameTooLarge,
        ),
        (&[0xff; 4][..], false, ErrorCode::FrameTooLarge),
        (&[3, 0, 0, 0, 1, 2, 3][..], false, ErrorCode::MalformedFrame),
        (&[0, 0, 0, 0][..], false, ErrorCode::MalformedFrame),
        (
            &[200, 0, 0, 0, 1, 2, 3][..],
            true,
            ErrorCode::MalformedFrame,
        ),
    ] {
        // With a session and without one.
        for mut wire in [broker.session("u1").await, broker.dialer().connect().await] {
            wire.write(bytes).await;
            if finish {
                wire.sending.finish().unwrap();
            }
            assert_eq!(wire.closed().await, code, "{bytes:?}");
        }
    }
    assert_well(&broker).await;
}

/// Nothing is done for who has not said a good `Hello`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_comes_before_hello() {
    let broker = Setup::new()
        .set("session.hello_timeout_ms", 1_000)
        .start()
        .await;
    let device = DeviceId::new("d").unwrap();
    let good = hello(&broker.sign(&Token::of("u1")), device);
    let mut wire = broker.dialer().connect().await;
    wire.send(7, &post("hello?")).await;
    assert_eq!(wire.refusal(7).await.code(), ErrorCode::HelloRequired);
    assert_eq!(wire.closed().await, ErrorCode::HelloRequired);
    for (min, max) in [(2, 9), (0, 0), (9, 1), (u16::MAX, u16::MAX)] {
        let mut wire = broker.dialer().connect().await;
        let odd = Hello {
            version_min: min,
            version_max: max,
            ..good.clone()
        };
        let refusal = wire.hello(&odd).await.unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::UnsupportedVersion);
        assert_eq!(wire.closed().await, ErrorCode::UnsupportedVersion);
    }
    let mut wire = broker.dialer().connect().await;
    wire.write(&raw(Hello::KIND, 1, &[0xff; 50])).await;
    assert_eq!(wire.refusal(1).await.code(), ErrorCode::MalformedFrame);
    assert_eq!(wire.closed().await, ErrorCode::MalformedFrame);
    // Further streams and datagrams are not looked at before there is a session.
    let wire = broker.dialer().connect().await;
    let _ = wire.connection.send_datagram(vec![1; 100].into());
    let further = async {
        let (mut sending, mut receiving) = wire.connection.open_bi().await.ok()?;
        let asked = frame_of(1, &GetChannel { channel: general() });
        sending.write_all(&asked).await.ok()?;
        receiving.read_to_end(1_000).await.ok()
    };
    assert_eq!(
        within("an answer or the end", further).await,
        None,
        "nothing to a stranger"
    );
    assert_eq!(wire.closed().await, ErrorCode::HelloTimeout);
    const OTHERS: [&[&[u8]]; 3] = [&[b"h3"], &[b"confab/2"], &[]];
    for alpn in OTHERS {
        let manners = Manners {
            alpn,
            ..Manners::default()
        };
        let dialled = within("the handshake", broker.dialer_with(manners).dial()).await;
        assert!(dialled.is_err(), "{alpn:?}");
    }
    assert_well(&broker).await;
}

/// Every way to forge a token that is known, and some mistakes: none lets
/// anybody in, and none says anything of the keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_tokens_let_nobody_in() {
    let broker = Broker::new().await;
    let secret = broker.secret();
    let good = Token::of("u1").sign(&secret);
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let admin = Token::of("u1").admin().unsigned();
    let public = std::fs::read(broker.data_dir().join("dev-cert.pem")).unwrap();
    let attacker = b"the attacker's own secret, as long as a real one";
    let of = || Token::of("u1");
    let invalid = [
        String::new(),
        ".".into(),
        "..".into(),
        "a.b.c".into(),
        "not a token".into(),
        "\0\0\0".into(),
        good[..good.len() - 2].into(),
        format!("{good}="),
        format!("{good}."),
        format!("{unsigned}."),
        format!("{unsigned}.{}", "A".repeat(43)),
        format!("{admin}.{signature}"),
        format!("{good}.{signature}"),
        unsigned.into(),
        "x".repeat(9_000),
        // Another algorithm than the key's, whatever it is signed with.
        format!("{}.", of().header("alg", "none").unsigned()),
        of().header("alg", "none").sign(&secret),
        of().header("alg", "NONE").sign(&secret),
        of().header("alg", "hs256").sign(&secret),
        of().header("alg", "").sign(&secret),
        of().header("alg", json!(null)).sign(&secret),
        of().header("alg", json!(["HS256"])).sign(&secret),
        of().header("alg", "HS384")
            .sign_by(hmac::HMAC_SHA384, &secret),
        of().header("alg", "HS512")
            .sign_by(hmac::HMAC_SHA512, &secret),
        of().header("alg", "RS256").sign(&secret),
        of().header("alg", "ES256").sign(&secret),
        of().header("alg", "EdDSA").sign(&secret),
        // Another key.
        of().sign(attacker),
        of().sign(b""),
        of().sign(&public),
        of().header("kid", "../../../../dev/null").sign(b""),
        of().header("kid", "' OR 1=1").sign(attacker),
        of().header("jwk", json!({"kty": "oct", "k": "YXR0YWNrZXI"}))
            .sign(attacker),
        of().header("jku", "https://attacker.example/keys")
            .sign(attacker),
        of().header("x5u", "https://attacker.example/cert")
            .sign(attacker),
        of().header("x5c", json!(["MIIB"])).sign(attacker),
        // What is critical and not understood.
        of().header("crit", json!(["exp"])).sign(&secret),
        // Claims that are missing, wrong, or not yet true.
        of().without("exp").sign(&secret),
        of().without("sub").sign(&secret),
        of().claim("exp", "tomorrow").sign(&secret),
        of().claim("exp", json!(null)).sign(&secret),
        of().claim("sub", "").sign(&secret),
        of().claim("sub", "a/b").sign(&secret),
        of().claim("sub", "a~b").sign(&secret),
        of().claim("sub", "u1\u{0}").sign(&secret),
        of().claim("sub", "ü").sign(&secret),
        of().claim("sub", "x".repeat(65)).sign(&secret),
        of().claim("sub", 7).sign(&secret),
        of().claim("sub", json!(["u1"])).sign(&secret),
        of().claim("nbf", now_s() + 600).sign(&secret),
        of().claim("iat", now_s() + 600).sign(&secret),
        of().claim("kind", "emperor").sign(&secret),
        of().claim("name", "x".repeat(201)).sign(&secret),
        of().claim("name", "a\nb").sign(&secret),
        of().claim("departments", json!(["../"])).sign(&secret),
        of().claim("departments", json!(vec!["d"; 101]))
            .sign(&secret),
        of().claim("roles", "admin").sign(&secret),
    ];
    let expired = [
        of().claim("exp", now_s() - 60).sign(&secret),
        of().claim("exp", 0).sign(&secret),
        of().claim("exp", -1).sign(&secret),
    ];
    let cases = invalid
        .into_iter()
        .map(|token| (token, ErrorCode::TokenInvalid));
    let expired = expired
        .into_iter()
        .map(|token| (token, ErrorCode::TokenExpired));
    for (token, code) in cases.chain(expired) {
        let mut wire = broker.dialer().connect().await;
        let hello = hello(&token, DeviceId::new("forger").unwrap());
        match wire.hello(&hello).await {
            Err(error) => assert_eq!(error.code(), code, "{error} for {token}"),
            Ok(_) => panic!("this token was let in: {token}"),
        }
        assert_eq!(wire.closed().await, code, "{token}");
    }
    // What only looks like a forgery is let in: such headers are not looked at.
    for token in [
        of().header("kid", "unknown").sign(&secret),
        of().header("jwk", json!({"kty": "oct", "k": "YXR0YWNrZXI"}))
            .sign(&secret),
        of().header("jku", "https://attacker.example/keys")
            .sign(&secret),
    ] {
        let mut wire = broker.dialer().connect().await;
        let hello = hello(&token, DeviceId::new("odd").unwrap());
        wire.hello(&hello).await.unwrap();
    }
    let failures = broker
        .metrics()
        .await
        .metric("confab_auth_failures_total", "");
    assert!(failures >= 60.0, "{failures}");
    assert_well(&broker).await;
}

/// Random bytes, as noise and as frames of known kinds, before and after
/// `Hello`: codes, no panic, no growth.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_is_survived() {
    let broker = Broker::new().await;
    let mut random = StdRng::seed_from_u64(seed());
    assert_well(&broker).await;
    let before = broker.resident_bytes();
    let kinds: Vec<_> = confab_protocol::message::Request::KINDS
        .iter()
        .map(|it| it.0)
        .collect();
    for round in 0..150 {
        let mut wire = if round % 3 == 0 {
            broker.dialer().connect().await
        } else {
            broker.session("u1").await
        };
        for request in 2..20 {
            let len = random.random_range(0..400);
            let mut noise: Vec<u8> = (0..len).map(|_| random.random()).collect();
            if random.random_ratio(9, 10) {
                let kind = kinds[random.random_range(0..kinds.len())];
                noise = raw(kind, request, &noise);
            }
            if wire.sending.write_all(&noise).await.is_err() {
                break;
            }
        }
        let _ = wire.sending.finish();
        while wire.said().await.is_some() {}
        within("the connection's end", wire.connection.closed()).await;
    }
    assert_well(&broker).await;
    let after = broker.resident_bytes();
    assert!(
        after < before + GROWTH_BYTES_MAX,
        "from {before} to {after} bytes"
    );
}
