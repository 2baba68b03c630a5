//! Who is shut out is out within a second, and who is not stays in: a token
//! that leaked, a user who left, a token that ran out.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use confab_client::{Client, ClientEvent, CloseReason, ConnectError};
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::session::{RefreshToken, UserKind};
use confab_protocol::message::{Answer, Push};
use confab_protocol::{DeviceId, ErrorCode};
use confab_tests::{Broker, Setup, Token, Wire, Witness, general, hello, now_s, user, within};
use tokio::time::Instant;

/// What the promise says, and no more.
const SOON: Duration = Duration::from_secs(1);

async fn session(broker: &Broker, token: &Token, device: &str) -> Wire {
    let mut wire = broker.dialer().connect().await;
    let device = DeviceId::new(device).unwrap();
    wire.hello(&hello(&broker.sign(token), device))
        .await
        .unwrap();
    wire
}

/// The code with which a token is not let in.
async fn refused(broker: &Broker, token: &Token) -> ErrorCode {
    let mut wire = broker.dialer().connect().await;
    let device = DeviceId::new("refused").unwrap();
    let refusal = wire
        .hello(&hello(&broker.sign(token), device))
        .await
        .unwrap_err();
    assert_eq!(
        wire.closed().await,
        refusal.code(),
        "the close says the same"
    );
    refusal.code()
}

/// Waits for the session to be told and closed; answers with the code.
async fn ended(wire: &mut Wire) -> ErrorCode {
    let told = wire
        .push(|push| match push {
            Push::SessionClosed(closed) => Some(closed.error),
            _ => None,
        })
        .await;
    assert!(!told.message.is_empty());
    assert_eq!(wire.closed().await, told.code());
    told.code()
}

/// Makes changes; answers with when they were asked for.
async fn change(admin: &Client, changes: impl IntoIterator<Item = DirectoryChange>) -> Instant {
    let asked = Instant::now();
    admin.update_directory(changes).await.unwrap();
    asked
}

async fn assert_lives(wire: &mut Wire, request: u32) {
    let heartbeat = confab_protocol::message::presence::Heartbeat { active: true };
    assert!(matches!(
        wire.ask(request, &heartbeat).await,
        Answer::Done(_)
    ));
}

/// One token of a user leaks: it is shut out, the user's other one is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_ends_its_sessions() {
    let mut broker = Broker::new().await;
    let admin = broker.admin().await;
    let leaked = Token::of("u1").claim("jti", "leaked");
    let kept = Token::of("u1").claim("jti", "kept");
    let mut shut = [
        session(&broker, &leaked, "one").await,
        session(&broker, &leaked, "two").await,
    ];
    let mut open = session(&broker, &kept, "three").await;
    let revoke = DirectoryChange::RevokeToken {
        token_id: "leaked".into(),
        expires_at: now_s() + 3_600,
    };
    let asked = change(&admin, [revoke]).await;
    for wire in &mut shut {
        assert_eq!(ended(wire).await, ErrorCode::TokenRevoked);
    }
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    assert_eq!(refused(&broker, &leaked).await, ErrorCode::TokenRevoked);
    assert_lives(&mut open, 2).await;
    // A session cannot slip back by refreshing to the revoked token.
    let token = broker.sign(&leaked).into();
    open.send(3, &RefreshToken { token }).await;
    assert_eq!(ended(&mut open).await, ErrorCode::TokenRevoked);
    // It stays so after a crash.
    broker.kill_9();
    broker.start().await;
    assert_eq!(refused(&broker, &leaked).await, ErrorCode::TokenRevoked);
    session(&broker, &kept, "three").await;
}

/// A user loses a laptop: all tokens of before are shut out, the next is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_tokens_of_a_user_can_be_revoked() {
    let broker = Broker::new().await;
    let admin = broker.admin().await;
    let now = now_s();
    let old = Token::of("u1").claim("iat", now - 60);
    let undated = Token::of("u1").without("iat");
    let mut shut = [
        session(&broker, &old, "one").await,
        session(&broker, &undated, "two").await,
    ];
    let mut other = session(&broker, &Token::of("u2"), "three").await;
    let revoke = DirectoryChange::RevokeUserTokens {
        user: user("u1"),
        issued_before: now - 30,
    };
    let asked = change(&admin, [revoke]).await;
    for wire in &mut shut {
        assert_eq!(ended(wire).await, ErrorCode::TokenRevoked);
    }
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    assert_eq!(refused(&broker, &old).await, ErrorCode::TokenRevoked);
    assert_eq!(refused(&broker, &undated).await, ErrorCode::TokenRevoked);
    session(&broker, &Token::of("u1"), "one").await;
    assert_lives(&mut other, 2).await;
}

/// Somebody leaves the company: out at once, out of every channel, and back in
/// when it was a mistake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deactivated_user_is_out() {
    let broker = Broker::new().await;
    let admin = broker.admin().await;
    let mut wire = session(&broker, &Token::of("u1"), "one").await;
    let sdk = broker.client("u1").await;
    let stays = broker.client("u2").await;
    let hears = Witness::of(&stays).await;
    let put = |active| DirectoryChange::PutUser {
        id: user("u1"),
        name: "Uma One".into(),
        kind: UserKind::Internal,
        active,
        admin: None,
    };
    let asked = change(&admin, [put(false)]).await;
    assert_eq!(ended(&mut wire).await, ErrorCode::UserDeactivated);
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    let closed = Witness::of(&sdk).await;
    // The client may have ended before it was listened to.
    if let Err(reason) = within("the client's end", sdk.online()).await {
        assert_deactivated(&reason);
    } else {
        let reason = closed
            .hears("the client's end", |event| match event {
                ClientEvent::Closed(reason) => Some(reason.clone()),
                _ => None,
            })
            .await;
        assert_deactivated(&reason);
    }
    assert_eq!(
        refused(&broker, &Token::of("u1")).await,
        ErrorCode::UserDeactivated
    );
    let members = stays.channel(general()).members(None, 100).await.unwrap();
    assert!(
        members
            .members
            .iter()
            .all(|it| it.member.user != user("u1"))
    );
    assert!(stays.open_dm(user("u1")).await.is_err());
    hears
        .hears("the member's removal", |event| match event {
            ClientEvent::Channel(event) => match &event.event.change {
                confab_protocol::message::event::Change::MembersChanged { removed, .. } => {
                    removed.iter().any(|it| it == user("u1")).then_some(())
                }
                _ => None,
            },
            _ => None,
        })
        .await;
    change(&admin, [put(true)]).await;
    let back = broker.client("u1").await;
    back.channel(general()).send("back again").await.unwrap();
    hears.reads(&general(), "back again").await;
}

fn assert_deactivated(reason: &CloseReason) {
    match reason {
        CloseReason::Refused(error) => assert_eq!(error.code(), ErrorCode::UserDeactivated),
        other => panic!("{other}"),
    }
}

/// A token that runs out ends its session at its end, not before and not long
/// after, and the client is told in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_expires() {
    let broker = Setup::new()
        .set("auth.leeway_s", 0)
        .set("session.token_warning_ms", 1_500)
        .start()
        .await;
    let expires_at = now_s() + 4;
    let token = Token::of("u1").claim("exp", expires_at);
    let mut wire = session(&broker, &token, "one").await;
    let told = wire
        .push(|push| match push {
            Push::TokenExpiring(told) => Some(told.token_expires_at_ms),
            _ => None,
        })
        .await;
    assert_eq!(told, expires_at * 1_000);
    let left = until_ms(expires_at);
    assert!((500..=1_600).contains(&left), "told {left} ms ahead");
    assert_eq!(ended(&mut wire).await, ErrorCode::TokenExpired);
    let late = -until_ms(expires_at);
    assert!(
        (-50..1_000).contains(&late),
        "closed {late} ms after the end"
    );
    assert_eq!(refused(&broker, &token).await, ErrorCode::TokenExpired);
    // An SDK client without a provider says why it ended.
    let token = Token::of("u1").ttl_s(0);
    match broker.builder_with(&token).connect().await {
        Err(ConnectError::Closed(CloseReason::Refused(error))) => {
            assert_eq!(error.code(), ErrorCode::TokenExpired);
        }
        other => panic!("{other:?}"),
    }
}

/// Milliseconds until a time, below 0 after it.
fn until_ms(unix_s: u64) -> i64 {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(unix_s * 1_000).unwrap() - i64::try_from(now.as_millis()).unwrap()
}

/// As shipped, the warning comes 30 s ahead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_told_thirty_seconds_ahead() {
    let broker = Setup::as_shipped().start().await;
    let expires_at = now_s() + 32;
    let token = Token::of("u1").claim("exp", expires_at);
    let mut wire = session(&broker, &token, "one").await;
    wire.push(|push| matches!(push, Push::TokenExpiring(_)).then_some(()))
        .await;
    let left = until_ms(expires_at);
    assert!((29_000..=30_100).contains(&left), "told {left} ms ahead");
}

/// A refreshed session lives as long as its new token; another user's token, or
/// one that is no good, changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refreshed_session_goes_on() {
    let broker = Setup::new().set("auth.leeway_s", 0).start().await;
    let mut wire = session(&broker, &Token::of("u1").ttl_s(3), "one").await;
    let refresh = |token: String| RefreshToken {
        token: token.into(),
    };
    let others = refresh(broker.sign(&Token::of("u2")));
    wire.send(2, &others).await;
    assert_eq!(wire.refusal(2).await.code(), ErrorCode::TokenInvalid);
    let forged = refresh(Token::of("u1").sign(b"not the secret, but as long as it"));
    wire.send(3, &forged).await;
    assert_eq!(wire.refusal(3).await.code(), ErrorCode::TokenInvalid);
    let new = Token::of("u1").ttl_s(5);
    let Answer::Refreshed(refreshed) = wire.ask(4, &refresh(broker.sign(&new))).await else {
        panic!("the token was to be taken");
    };
    let left = refreshed.token_expires_at_ms / 1_000 - now_s();
    assert!((4..=5).contains(&left), "{left}");
    tokio::time::sleep(Duration::from_millis(3_300)).await;
    assert_lives(&mut wire, 5).await;
    assert_eq!(ended(&mut wire).await, ErrorCode::TokenExpired);
}

/// Only who administers the server may shut somebody out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_administrators_revoke() {
    let broker = Broker::new().await;
    let (u1, mut wire) = (broker.client("u1").await, broker.session("u2").await);
    let revoke = DirectoryChange::RevokeUserTokens {
        user: user("u2"),
        issued_before: now_s() + 60,
    };
    match u1.update_directory([revoke]).await {
        Err(confab_client::RequestError::Refused(error)) => {
            assert_eq!(error.code(), ErrorCode::Forbidden);
        }
        other => panic!("{other:?}"),
    }
    assert_lives(&mut wire, 2).await;
}
