//! Sessions over a real node, without a transport.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use confab_protocol::message::presence::Heartbeat;
use confab_protocol::message::{Body, frame_of};
use confab_protocol::{ErrorCode, Frame, WireError};
use tokio::time::timeout;

use super::fixture::{Fixture, Wanted, hello};
use super::outbox::{Next, OutboxConfig};
use super::{Ended, FrameSource, Opened, Peer, Session, SessionConfig};
use crate::ops::Gateway;

/// Gives as many heartbeats as are wanted, then nothing.
struct Heartbeats {
    left: usize,
    taken: Arc<AtomicUsize>,
}

impl Heartbeats {
    fn new(left: usize) -> Self {
        Self {
            left,
            taken: Arc::default(),
        }
    }
}

impl FrameSource for Heartbeats {
    async fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        if self.left == 0 {
            return std::future::pending().await;
        }
        self.left -= 1;
        self.taken.fetch_add(1, Ordering::Relaxed);
        let mut bytes = frame_of(7, &Heartbeat { active: false });
        let frame = Frame::take_whole(&mut bytes, 100).unwrap().unwrap();
        assert_eq!(frame.kind, Heartbeat::KIND);
        Ok(Some(frame))
    }
}

/// A source that ends, or whose bytes are no frames.
struct Broken(Option<WireError>);

impl FrameSource for Broken {
    async fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        self.0.take().map_or(Ok(None), Err)
    }
}

async fn fixture(session: SessionConfig) -> Fixture {
    Fixture::with(Wanted {
        session,
        ..Wanted::default()
    })
    .await
}

async fn open(fixture: &Fixture, is_watched: bool) -> Opened {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut guard = fixture.services.connections.open(address).unwrap();
    let peer = Peer {
        gateway: Gateway::WebSocket,
        address,
        is_watched,
    };
    Session::open(&fixture.services, peer, &mut guard, hello("ann"))
        .await
        .unwrap()
}

const SHORT: SessionConfig = SessionConfig {
    silence_timeout: Duration::from_millis(300),
    ..SessionConfig::DEFAULT
};

/// On a transport that does not notice a dead peer, the session does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silence_ends_a_session_that_nobody_watches() {
    let fixture = fixture(SHORT).await;
    let mut opened = open(&fixture, false).await;
    let mut silent = Heartbeats::new(1);
    let ended = opened.session.run(&mut silent);
    let ended = timeout(Duration::from_secs(5), ended).await;
    assert_eq!(ended, Ok(Ended::Closing));
    let reason = opened.session.requests().outbox().closing().unwrap();
    assert_eq!(reason.code(), ErrorCode::SlowConsumer);
    drop(opened);
    fixture.stop().await;
}

/// A pong is as good as a frame, and a transport that watches needs neither.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signs_of_life_keep_a_session() {
    let fixture = fixture(SHORT).await;
    let mut opened = open(&fixture, false).await;
    let requests = opened.session.requests().clone();
    let ponging = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(100)).await;
            requests.heard();
        }
    });
    let mut silent = Heartbeats::new(0);
    let run = opened.session.run(&mut silent);
    assert!(timeout(Duration::from_millis(900), run).await.is_err());
    ponging.abort();
    let _ = ponging.await;
    let mut watched = open(&fixture, true).await;
    let run = watched.session.run(&mut silent);
    assert!(timeout(Duration::from_millis(900), run).await.is_err());
    drop((opened, watched));
    fixture.stop().await;
}

/// Who asks without taking the answers is not read any further, and is read
/// again once it takes them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_answers_stop_the_reading() {
    let fixture = fixture(SessionConfig {
        outbox: OutboxConfig {
            answers_max: 100,
            ..OutboxConfig::DEFAULT
        },
        ..SessionConfig::DEFAULT
    })
    .await;
    let Opened {
        mut session,
        mut outbox,
        ..
    } = open(&fixture, true).await;
    let mut source = Heartbeats::new(1_000);
    let taken = Arc::clone(&source.taken);
    let running = tokio::spawn(async move { session.run(&mut source).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(taken.load(Ordering::Relaxed), 100);
    let mut answers = 0;
    let mut batch = Vec::new();
    while answers < 1_000 {
        batch.clear();
        assert_eq!(outbox.next_batch(&mut batch).await, Next::Write);
        answers += batch.iter().filter(|frame| frame[6..8] == [7, 0]).count();
    }
    assert_eq!(taken.load(Ordering::Relaxed), 1_000);
    running.abort();
    let _ = running.await;
    drop(outbox);
    fixture.stop().await;
}

/// A peer that goes ends its session quietly, one that breaks the format is
/// told why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_ends_ends_the_session() {
    let fixture = fixture(SessionConfig::DEFAULT).await;
    let mut opened = open(&fixture, true).await;
    assert_eq!(opened.session.run(&mut Broken(None)).await, Ended::PeerGone);
    let error = WireError::new(ErrorCode::FrameTooLarge, "too large");
    let mut broken = Broken(Some(error.clone()));
    assert_eq!(opened.session.run(&mut broken).await, Ended::Closing);
    let outbox = opened.session.requests().outbox();
    assert_eq!(outbox.closing(), Some(error));
    drop(opened);
    fixture.stop().await;
}
