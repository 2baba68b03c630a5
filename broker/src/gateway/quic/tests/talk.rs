//! What a well-behaved client does.

use bytes::Bytes;
use confab_protocol::message::channel::Post;
use confab_protocol::message::event::{Change, Mentions};
use confab_protocol::message::presence::{Heartbeat, OpenChannel, Typing};
use confab_protocol::message::session::RefreshToken;
use confab_protocol::message::{Answer, Push, frame_of};
use confab_protocol::{ChannelId, ErrorCode, Packed, Sequence};

use super::client::{Raw, Server};
use crate::limits::{Rate, RateConfig};
use crate::session::fixture::{Wanted, hello, token};

pub(super) fn post(sequence: u64, content: &str) -> Post {
    Post {
        channel: ChannelId::general(),
        sequence: Sequence(sequence),
        client_message_id: None,
        content: content.into(),
        thread_root: None,
        attachments: Packed::default(),
        mentions: Mentions::default(),
    }
}

async fn next_message(client: &mut Raw) -> String {
    client
        .push(|push| match push {
            Push::Event(event) => match event.event.change {
                Change::MessagePosted { message } => Some(message.content.into_string()),
                _ => None,
            },
            _ => None,
        })
        .await
}

/// The whole way around: what one posts, the other's session receives, in the
/// order in which it was sent, and every post is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_arrive_in_order() {
    let server = Server::start().await;
    let mut ann = server.session("ann").await;
    let mut bob = server.session("bob").await;
    let mut burst = Vec::new();
    for number in 0..200u32 {
        let body = post(number.into(), &number.to_string());
        burst.extend_from_slice(&frame_of(100 + number, &body));
    }
    ann.write(&burst).await;
    let mut last = 0;
    for number in 0..200 {
        let Answer::Posted(posted) = ann.answer(100 + number).await else {
            panic!("post {number} is not acknowledged");
        };
        assert!(posted.position.offset.0 > last, "offsets grow");
        last = posted.position.offset.0;
    }
    for number in 0..200 {
        assert_eq!(next_message(&mut bob).await, number.to_string());
    }
    server.stop().await;
}

/// `Welcome` says what a client must know, and the session's number is its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn welcome_says_how_things_stand() {
    let server = Server::start().await;
    let mut client = server.connect().await;
    let welcome = client.hello(&hello("ann")).await.unwrap();
    assert_eq!(welcome.version, 1);
    assert_eq!(welcome.user.id.as_str(), "ann");
    assert_eq!(welcome.limits.heartbeat_interval_ms, 25_000);
    assert_eq!(welcome.limits.frame_bytes_max, 128 << 10);
    let channels = welcome.channels.channels.to_vec();
    assert_eq!(
        channels.len(),
        1,
        "an internal user has the general channel"
    );
    assert_eq!(channels[0].channel, ChannelId::general());
    let mut other = server.connect().await;
    let second = other.hello(&hello("ann")).await.unwrap();
    assert_ne!(welcome.session, second.session);
    assert_eq!(server.fixture.services.registry.sessions(), 2);
    server.stop().await;
}

/// Typing goes to sessions that have the channel open, by datagram too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_by_datagram_reaches_who_looks() {
    let server = Server::start().await;
    let ann = server.session("ann").await;
    let mut bob = server.session("bob").await;
    let channel = ChannelId::general();
    let open = OpenChannel {
        channel: channel.clone(),
    };
    bob.ask(2, &open).await;
    assert!(matches!(bob.answer(2).await, Answer::Presences(_)));
    let typing = frame_of(
        0,
        &Typing {
            channel,
            thread: None,
            on: true,
        },
    );
    // Junk first: a datagram that is no frame, or no typing, harms nobody.
    for junk in [&b"junk"[..], &[0; 1_000], &[255; 20]] {
        let junk = Bytes::copy_from_slice(junk);
        ann.connection.send_datagram(junk).unwrap();
    }
    ann.connection.send_datagram(typing).unwrap();
    let typist = bob
        .push(|push| match push {
            Push::Typing(typing) => Some(typing.user),
            _ => None,
        })
        .await;
    assert_eq!(typist.as_str(), "ann");
    server.stop().await;
}

/// A token is replaced in place, for the same user only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_refreshed_in_place() {
    let server = Server::start().await;
    let mut client = server.session("ann").await;
    let refresh = |user: &str, ttl_s| RefreshToken {
        token: token(user, ttl_s).into(),
    };
    client.ask(2, &refresh("ann", 7_200)).await;
    assert!(matches!(client.answer(2).await, Answer::Refreshed(_)));
    client.ask(3, &refresh("bob", 7_200)).await;
    assert_eq!(client.refusal(3).await, ErrorCode::TokenInvalid);
    let garbage = RefreshToken {
        token: "garbage".into(),
    };
    client.ask(4, &garbage).await;
    assert_eq!(client.refusal(4).await, ErrorCode::TokenInvalid);
    client.ask(5, &Heartbeat { active: true }).await;
    assert!(matches!(client.answer(5).await, Answer::Done(_)));
    server.stop().await;
}

/// Over the limit the answer says when to come again, and nothing is lost:
/// the same message goes through later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_fast_is_answered_with_a_time() {
    let wanted = Wanted {
        rates: RateConfig {
            user_messages: Rate::new(1, 2),
            ..Wanted::default().rates
        },
        ..Wanted::default()
    };
    let server = Server::with(wanted, |_| {}).await;
    let mut first = server.session("ann").await;
    let mut client = server.session("ann").await;
    for number in 2..4 {
        first.ask(number, &post(number.into(), "hi")).await;
        assert!(matches!(first.answer(number).await, Answer::Posted(_)));
    }
    client.ask(4, &post(4, "hi")).await;
    let Answer::Error(error) = client.answer(4).await else {
        panic!("the limit is per user, whatever the session");
    };
    assert_eq!(error.code(), ErrorCode::RateLimited);
    let wait_ms = error.retry_after_ms.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(wait_ms.into())).await;
    client.ask(5, &post(4, "hi")).await;
    assert!(matches!(client.answer(5).await, Answer::Posted(_)));
    server.stop().await;
}
