//! How sessions end: each with its reason, told and in time.

use std::time::{Duration, Instant};

use confab_protocol::message::Push;
use confab_protocol::message::session::RefreshToken;
use confab_protocol::{ErrorCode, UserId};

use super::client::{Raw, Server};
use super::talk::post;
use crate::session::SessionConfig;
use crate::session::fixture::{Wanted, hello, token};

async fn session_closed(client: &mut Raw) -> ErrorCode {
    let code = client
        .push(|push| match push {
            Push::SessionClosed(body) => Some(body.error.code()),
            _ => None,
        })
        .await;
    assert_eq!(client.closed().await, code, "the close says the same");
    code
}

/// The client is told before its token expires, and shut out when it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_ends_its_session() {
    let wanted = Wanted {
        session: SessionConfig {
            token_warning: Duration::from_secs(1),
            ..SessionConfig::default()
        },
        ..Wanted::default()
    };
    let server = Server::with(wanted, |_| {}).await;
    let mut client = server.connect().await;
    let mut renewed = server.connect().await;
    let mut short = hello("ann");
    short.token = token("ann", 3).into();
    client.hello(&short).await.unwrap();
    renewed.hello(&short).await.unwrap();
    let expiring = |push| match push {
        Push::TokenExpiring(body) => Some(body.token_expires_at_ms),
        _ => None,
    };
    client.push(expiring).await;
    renewed.push(expiring).await;
    let refresh = RefreshToken {
        token: token("ann", 600).into(),
    };
    renewed.ask(2, &refresh).await;
    renewed.answer(2).await;
    assert_eq!(session_closed(&mut client).await, ErrorCode::TokenExpired);
    renewed.ask(3, &post(1, "still here")).await;
    renewed.answer(3).await;
    server.stop().await;
}

/// What is revoked is out within a second, whatever its client does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_ends_live_sessions_at_once() {
    let server = Server::start().await;
    let registry = &server.fixture.services.registry;
    let (mut ann, mut bob) = (server.session("ann").await, server.session("bob").await);
    let mut eve = server.session("eve").await;
    let began = Instant::now();
    registry.token_revoked("ann-3600");
    assert_eq!(session_closed(&mut ann).await, ErrorCode::TokenRevoked);
    registry.user_deactivated(&UserId::new("bob").unwrap());
    assert_eq!(session_closed(&mut bob).await, ErrorCode::UserDeactivated);
    assert!(began.elapsed() < Duration::from_secs(1));
    eve.ask(2, &post(1, "not me")).await;
    eve.answer(2).await;
    server.stop().await;
}

/// Shutting down: clients are told when to come again, what was taken is
/// answered, and nobody else gets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_answers_what_was_taken() {
    let server = Server::start().await;
    let mut client = server.session("ann").await;
    let silent = server.connect().await;
    for number in 2..50 {
        client.ask(number, &post(number.into(), "last words")).await;
    }
    client.answer(2).await;
    server.shutdown.cancel();
    let mut answered = 1;
    let code = loop {
        match client.said().await.expect("the end is told") {
            super::client::Said::Answer(..) => answered += 1,
            super::client::Said::Push(Push::GoingAway(body)) => {
                assert!(body.reconnect_after_ms <= 5_000);
            }
            super::client::Said::Push(Push::SessionClosed(body)) => break body.error.code(),
            super::client::Said::Push(_) => {}
        }
    };
    assert_eq!(code, ErrorCode::ShuttingDown);
    assert!(answered > 1, "what was taken is answered");
    assert_eq!(client.closed().await, ErrorCode::ShuttingDown);
    assert_eq!(silent.closed().await, ErrorCode::ShuttingDown);
    server.stop().await;
}

/// A client that goes takes its session with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_is_forgotten() {
    let server = Server::start().await;
    let client = server.session("ann").await;
    let mut polite = server.session("bob").await;
    client.connection.close(0u32.into(), b"bye");
    polite.send.finish().unwrap();
    polite.connection.closed().await;
    for _ in 0..200 {
        if server.fixture.services.registry.sessions() == 0 && server.handle.connections() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(server.fixture.services.registry.sessions(), 0);
    assert_eq!(server.handle.connections(), 0);
    assert_eq!(server.fixture.services.connections.counts().total, 0);
    server.stop().await;
}
