//! Streams beside the session's.

use confab_protocol::message::channel::{Anchor, History, ListChannels};
use confab_protocol::message::presence::Heartbeat;
use confab_protocol::message::{Answer, frame_of};
use confab_protocol::{ChannelId, ErrorCode};

use super::client::Server;
use super::talk::post;
use crate::session::fixture::hello;

fn history() -> History {
    History {
        channel: ChannelId::general(),
        thread: None,
        anchor: Anchor::Latest,
        limit: 10,
    }
}

/// One request, one answer, the end; many at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_requests_are_answered_on_their_streams() {
    let server = Server::start().await;
    let mut client = server.session("ann").await;
    client.ask(2, &post(1, "hello")).await;
    assert!(matches!(client.answer(2).await, Answer::Posted(_)));
    for round in 0..40 {
        let frames = client.bulk(&frame_of(round, &history())).await;
        assert_eq!((frames.len(), frames[0].request), (1, round));
        let Answer::HistoryPage(page) = Answer::from_frame(&frames[0]).unwrap() else {
            panic!("history is answered with a page");
        };
        assert_eq!(page.messages.len(), 1);
    }
    let list = ListChannels {
        after: None,
        limit: 10,
    };
    let list = frame_of(1, &list);
    let many = (0..40).map(|_| client.bulk(&list));
    for frames in futures_util::future::join_all(many).await {
        assert_eq!(frames.len(), 1);
    }
    server.stop().await;
}

/// What a bulk stream is not for is refused there, and the session goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_misused_bulk_stream_harms_only_itself() {
    let server = Server::start().await;
    let mut client = server.session("ann").await;
    let two = [frame_of(1, &history()), frame_of(2, &history())].concat();
    for (bytes, code) in [
        (
            frame_of(1, &post(1, "x")).to_vec(),
            ErrorCode::InvalidArgument,
        ),
        (
            frame_of(1, &Heartbeat { active: true }).to_vec(),
            ErrorCode::InvalidArgument,
        ),
        (
            frame_of(1, &hello("ann")).to_vec(),
            ErrorCode::UnexpectedHello,
        ),
        (two, ErrorCode::MalformedFrame),
        (vec![9, 0, 0, 0, 1], ErrorCode::MalformedFrame),
        (vec![255; 8], ErrorCode::FrameTooLarge),
    ] {
        let frames = client.bulk(&bytes).await;
        assert_eq!(frames.len(), 1, "{code}");
        let Answer::Error(error) = Answer::from_frame(&frames[0]).unwrap() else {
            panic!("{code} is expected");
        };
        assert_eq!(error.code(), code);
    }
    assert!(client.bulk(&[]).await.is_empty());
    // A stream that is of no use is stopped, not kept.
    let mut unidirectional = client.connection.open_uni().await.unwrap();
    unidirectional.write_all(b"anything").await.unwrap();
    let stopped = super::client::soon(unidirectional.stopped()).await.unwrap();
    assert_eq!(
        stopped.map(u64::from),
        Some(ErrorCode::UnknownKind.number().into())
    );
    client.ask(3, &Heartbeat { active: true }).await;
    assert!(matches!(client.answer(3).await, Answer::Done(_)));
    server.stop().await;
}
