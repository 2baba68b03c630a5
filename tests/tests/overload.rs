//! More than the broker can take is answered, not queued without end and not
//! dropped in silence; what it says it took, it has.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use confab_protocol::message::channel::{Anchor, Post};
use confab_protocol::message::event::Mentions;
use confab_protocol::message::{Answer, frame_of};
use confab_protocol::{ErrorCode, Offset, Packed, Sequence};
use confab_tests::{Broker, Said, Setup, Wire, general, within};
use futures_util::TryStreamExt;
use tokio::task::JoinSet;

const SENDERS: u64 = 6;
const POSTS: u64 = 1_500;

/// A broker that takes few at once and is quickly full.
async fn narrow_broker() -> Broker {
    Setup::new()
        .set("raft.proposals_queued_max", 16)
        .set("raft.batch_commands_max", 4)
        .set("raft.batches_in_flight_max", 1)
        .start()
        .await
}

/// Sends all at once; answers with what was acknowledged and how many were
/// refused.
async fn flood(mut wire: Wire, sender: u64) -> (BTreeSet<Offset>, usize) {
    let mut frames = Vec::new();
    for number in 1..=POSTS {
        let post = Post {
            channel: general(),
            sequence: Sequence(number),
            client_message_id: None,
            content: format!("{sender} {number}").into(),
            thread_root: None,
            attachments: Packed::default(),
            mentions: Mentions::default(),
        };
        frames.extend_from_slice(&frame_of(number as u32 + 1, &post));
    }
    wire.write(&frames).await;
    let (mut acknowledged, mut refused) = (BTreeSet::new(), 0);
    while acknowledged.len() + refused < POSTS as usize {
        match wire.said().await.expect("the session goes on") {
            Said::Answer(_, Answer::Posted(posted)) => {
                assert!(acknowledged.insert(posted.position.offset));
            }
            Said::Answer(_, Answer::Error(error)) => {
                assert_eq!(error.code(), ErrorCode::Overloaded, "{error}");
                assert!(error.retry_after_ms.is_some_and(|ms| ms > 0), "{error:?}");
                refused += 1;
            }
            _ => {}
        }
    }
    (acknowledged, refused)
}

/// A full queue says so; exactly what was acknowledged stands in the log, also
/// after a crash.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_answers_overloaded() {
    let mut broker = narrow_broker().await;
    let before = broker.resident_bytes();
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        let wire = broker.session(&format!("s{sender}")).await;
        senders.spawn(flood(wire, sender));
    }
    let (mut acknowledged, mut refused) = (BTreeSet::new(), 0);
    for (offsets, count) in within("the answers", senders.join_all()).await {
        acknowledged.extend(offsets);
        refused += count;
    }
    eprintln!("{} acknowledged, {refused} refused", acknowledged.len());
    assert!(refused > 0, "the queue was never full");
    assert!(!acknowledged.is_empty());
    let growth = broker.resident_bytes().saturating_sub(before);
    assert!(growth < 100 << 20, "{growth} bytes");
    let rejections = broker
        .metrics()
        .await
        .metric("confab_rejections_total", "overloaded");
    assert!(rejections >= refused as f64, "{rejections}");

    broker.kill_9();
    broker.start().await;
    let reader = broker.client("reader").await;
    let history = reader
        .channel(general())
        .history_stream(Anchor::After(Offset(0)));
    let stored: Vec<_> = within("the history", history.try_collect()).await.unwrap();
    let stored: BTreeSet<_> = stored.iter().map(|message| message.offset).collect();
    assert_eq!(stored, acknowledged);
}

/// An SDK client tries again by itself: everything arrives, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_get_through_in_the_end() {
    let broker = narrow_broker().await;
    let mut sending = JoinSet::new();
    for sender in 0..4 {
        let client = broker.client(&format!("s{sender}")).await;
        sending.spawn(async move {
            let mut sent = Vec::new();
            for number in 0..200 {
                let message = client.channel(general()).send(format!("{sender} {number}"));
                sent.push(message.enqueue().await.unwrap());
            }
            for sending in sent {
                within("an acknowledgement", sending).await.unwrap();
            }
        });
    }
    sending.join_all().await;
    let reader = broker.client("reader").await;
    let history = reader
        .channel(general())
        .history_stream(Anchor::After(Offset(0)));
    let stored: Vec<_> = within("the history", history.try_collect()).await.unwrap();
    let contents: BTreeSet<_> = stored.iter().map(|it| it.content.to_string()).collect();
    assert_eq!((stored.len(), contents.len()), (800, 800));
}
