#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use bytes::Bytes;
use confab_protocol::message::Push;
use confab_protocol::message::session::Behind;
use confab_protocol::{ErrorCode, Frame, WireError};

use crate::ops::Metrics;

use super::{Awaited, Next, Outbox, OutboxConfig, OutboxMeter, OutboxReader, Signal, outbox};

const CONFIG: OutboxConfig = OutboxConfig {
    bytes_max: 1_000,
    answers_max: 10,
    answer_bytes_max: 1_000,
    batch_frames_max: 4,
    batch_bytes_max: 600,
};

fn pair() -> (Outbox, OutboxReader, OutboxMeter) {
    let meter = OutboxMeter::new(Metrics::new());
    let (outbox, reader) = outbox(CONFIG, meter.clone());
    (outbox, reader, meter)
}

fn frame(byte: u8, len: usize) -> Bytes {
    Bytes::from(vec![byte; len])
}

/// A waker that counts.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What one poll gives: the batch, or `None` when the reader has to wait.
fn poll(reader: &mut OutboxReader, waker: &Waker) -> Option<(Next, Vec<Bytes>)> {
    let mut batch = Vec::new();
    match reader.poll_batch(&Context::from_waker(waker), &mut batch) {
        std::task::Poll::Ready(next) => Some((next, batch)),
        std::task::Poll::Pending => None,
    }
}

fn drain(reader: &mut OutboxReader) -> Vec<Bytes> {
    let mut all = Vec::new();
    while let Some((Next::Write, batch)) = poll(reader, Waker::noop()) {
        all.extend(batch);
    }
    all
}

fn push(bytes: &Bytes) -> Push {
    let frame = Frame::take_whole(&mut bytes.clone(), 1 << 20)
        .unwrap()
        .unwrap();
    Push::from_frame(&frame).unwrap()
}

/// Frames of all classes come out in the order in which they went in: an event
/// never overtakes the answer that the client needs to make sense of it.
#[test]
fn order_is_kept_across_classes() {
    let (outbox, mut reader, _) = pair();
    outbox.event(frame(1, 10));
    outbox.answer(frame(2, 10));
    outbox.ephemeral(frame(3, 10));
    outbox.notice(frame(4, 10));
    let order: Vec<u8> = drain(&mut reader).iter().map(|frame| frame[0]).collect();
    assert_eq!(order, [1, 2, 3, 4]);
}

/// One write takes what has gathered, up to the limits of a batch.
#[test]
fn batches_are_bounded_in_frames_and_bytes() {
    let (outbox, mut reader, _) = pair();
    for _ in 0..5 {
        outbox.event(frame(1, 10));
    }
    let sizes = |reader: &mut OutboxReader| poll(reader, Waker::noop()).unwrap().1.len();
    assert_eq!((sizes(&mut reader), sizes(&mut reader)), (4, 1));
    for _ in 0..3 {
        outbox.event(frame(1, 300));
    }
    assert_eq!((sizes(&mut reader), sizes(&mut reader)), (2, 1));
}

/// A sender pays for a wake-up only when the reader waits.
#[test]
fn only_a_waiting_reader_is_woken() {
    let (outbox, mut reader, _) = pair();
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    outbox.event(frame(1, 10));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
    assert!(poll(&mut reader, &waker).is_some());
    assert!(poll(&mut reader, &waker).is_none());
    outbox.event(frame(1, 10));
    outbox.event(frame(1, 10));
    assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
    assert_eq!(poll(&mut reader, &waker).unwrap().1.len(), 2);
}

/// Typing gives way to messages before any message is lost.
#[test]
fn ephemeral_frames_give_way_first() {
    let (outbox, mut reader, _) = pair();
    outbox.ephemeral(frame(1, 300));
    outbox.event(frame(2, 300));
    outbox.ephemeral(frame(1, 300));
    outbox.ephemeral(frame(3, 300));
    assert_eq!(outbox.bytes(), 900, "the last one found no room");
    outbox.event(frame(4, 300));
    let left: Vec<u8> = drain(&mut reader).iter().map(|frame| frame[0]).collect();
    assert_eq!(left, [2, 4]);
}

/// A session that fell behind sees no gap: all events go together, later ones
/// are counted until it is told, and events go on behind that frame.
#[test]
fn overflow_drops_all_events_and_says_so_once() {
    let (outbox, mut reader, _) = pair();
    outbox.answer(frame(9, 100));
    for _ in 0..3 {
        outbox.event(frame(1, 300));
    }
    outbox.event(frame(1, 300));
    outbox.event(frame(1, 1));
    assert_eq!(outbox.bytes(), 100, "answers stay");
    let (next, batch) = poll(&mut reader, Waker::noop()).unwrap();
    assert_eq!(next, Next::Write);
    assert_eq!(batch[0], frame(9, 100));
    assert_eq!(push(&batch[1]), Push::Behind(Behind { events_dropped: 5 }));
    outbox.event(frame(2, 300));
    assert_eq!(drain(&mut reader), [frame(2, 300)]);
}

/// Answers are kept however full the outbox is; whoever asks has to wait.
#[tokio::test(start_paused = true)]
async fn answers_are_never_dropped_and_push_back() {
    let (outbox, mut reader, _) = pair();
    for _ in 0..30 {
        outbox.answer(frame(1, 100));
    }
    assert_eq!(outbox.bytes(), 3_000);
    assert!(!outbox.has_answer_room());
    let waiting = signal(&outbox, ROOM);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert_eq!(drain(&mut reader).len(), 30);
    assert_eq!(waiting.await.unwrap(), Signal::Room);
    outbox.answer(frame(1, 999));
    assert!(outbox.has_answer_room());
    outbox.answer(frame(1, 1));
    assert!(!outbox.has_answer_room(), "bytes count as well");
}

const ROOM: Awaited = Awaited {
    room: true,
    drain: true,
};

const END: Awaited = Awaited {
    room: false,
    drain: false,
};

fn signal(outbox: &Outbox, awaited: Awaited) -> tokio::task::JoinHandle<Signal> {
    let outbox = outbox.clone();
    tokio::spawn(async move { outbox.signal(awaited).await })
}

/// The reading half learns that the server goes away, and that somebody closed
/// its session, while it waits for a frame that never comes.
#[tokio::test(start_paused = true)]
async fn the_reading_half_is_told() {
    let (outbox, _reader, _) = pair();
    let waiting = signal(
        &outbox,
        Awaited {
            room: false,
            ..ROOM
        },
    );
    tokio::task::yield_now().await;
    outbox.drain();
    assert_eq!(waiting.await.unwrap(), Signal::Drain);
    let waiting = signal(&outbox, END);
    tokio::task::yield_now().await;
    assert!(
        !waiting.is_finished(),
        "a drain that is known is not told again"
    );
    outbox.close(WireError::new(ErrorCode::ShuttingDown, "bye"));
    assert_eq!(waiting.await.unwrap(), Signal::Closing);
}

/// The last word is written after what was queued, and nothing follows it.
#[test]
fn closing_drains_and_then_ends() {
    let (outbox, mut reader, _) = pair();
    outbox.event(frame(1, 10));
    outbox.close(WireError::new(ErrorCode::TokenRevoked, "revoked"));
    outbox.close(WireError::new(ErrorCode::Internal, "a second reason"));
    outbox.event(frame(2, 10));
    outbox.answer(frame(3, 10));
    let (_, batch) = poll(&mut reader, Waker::noop()).unwrap();
    assert_eq!(batch.len(), 2);
    let Push::SessionClosed(closed) = push(&batch[1]) else {
        panic!("the last frame says why the session ends");
    };
    assert_eq!(closed.error.code(), ErrorCode::TokenRevoked);
    let (next, batch) = poll(&mut reader, Waker::noop()).unwrap();
    assert!(batch.is_empty());
    assert_eq!(next, Next::End(closed.error));
}

/// The meter follows what waits, in steps, and forgets outboxes that are gone.
#[test]
fn the_meter_follows_and_forgets() {
    let meter = OutboxMeter::new(Metrics::new());
    let (outbox, mut reader) = outbox(OutboxConfig::default(), meter.clone());
    outbox.event(frame(1, 100));
    assert_eq!(meter.bytes(), 0, "small change is not counted");
    outbox.event(frame(1, 8_000));
    assert_eq!(meter.bytes(), 8_100);
    drain(&mut reader);
    assert_eq!(meter.bytes(), 0);
    outbox.event(frame(1, 8_000));
    drop(reader);
    assert_eq!(meter.bytes(), 0);
    outbox.event(frame(1, 8_000));
    assert_eq!(
        (meter.bytes(), outbox.bytes()),
        (0, 0),
        "nobody will read it"
    );
}

/// Many threads fill one outbox while it is read: every event is either
/// delivered or counted as dropped.
#[test]
fn concurrent_senders_lose_nothing_uncounted() {
    let (outbox, mut reader, meter) = pair();
    let senders: Vec<_> = (0..4)
        .map(|_| {
            let outbox = outbox.clone();
            std::thread::spawn(move || {
                for _ in 0..2_000 {
                    outbox.event(frame(0, 50));
                }
            })
        })
        .collect();
    let (mut delivered, mut dropped) = (0, 0);
    let mut count = |reader: &mut OutboxReader| {
        for bytes in drain(reader) {
            if bytes[LEN_OF_KIND] == 0 && bytes.len() == 50 {
                delivered += 1;
            } else if let Push::Behind(behind) = push(&bytes) {
                dropped += behind.events_dropped;
            }
        }
    };
    while senders.iter().any(|sender| !sender.is_finished()) {
        count(&mut reader);
    }
    for sender in senders {
        sender.join().unwrap();
    }
    count(&mut reader);
    assert_eq!(delivered + dropped, 8_000);
    assert_eq!(meter.bytes(), 0);
}

/// Where a frame's kind stands; no push has kind 0.
const LEN_OF_KIND: usize = 4;
