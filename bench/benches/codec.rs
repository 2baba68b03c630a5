//! What encoding and decoding a frame costs.

use confab_protocol::message::channel::Post;
use confab_protocol::message::event::{Change, ChannelEvent, Event, Mentions, Message};
use confab_protocol::message::{Push, Request, frame_of};
use confab_protocol::{ChannelId, Epoch, Frame, Offset, Packed, Sequence, UserId, limits};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

fn message() -> ChannelEvent {
    ChannelEvent {
        channel: ChannelId::general(),
        epoch: Epoch(1),
        event: Event {
            offset: Offset(77),
            at_ms: 1_700_000_000_000,
            change: Change::MessagePosted {
                message: Message {
                    offset: Offset(77),
                    sender: UserId::new("user-1").expect("a valid id"),
                    content: "x".repeat(128).into(),
                    thread_root: None,
                    attachments: Packed::default(),
                    mentions: Mentions::default(),
                    client_message_id: None,
                    created_at_ms: 1_700_000_000_000,
                    edited_at_ms: None,
                    deleted_at_ms: None,
                    version: 1,
                    pinned: false,
                    reply_count: 0,
                    last_reply: None,
                    reactions: Packed::default(),
                },
            },
        },
    }
}

fn codec(criterion: &mut Criterion) {
    let post = Post {
        channel: ChannelId::general(),
        sequence: Sequence(1),
        client_message_id: None,
        content: "x".repeat(128).into(),
        thread_root: None,
        attachments: Packed::default(),
        mentions: Mentions::default(),
    };
    let take = |bytes: &bytes::Bytes| {
        let mut bytes = bytes.clone();
        Frame::take_whole(&mut bytes, limits::SERVER_FRAME_BYTES_MAX)
            .expect("a whole frame")
            .expect("one frame")
    };
    criterion.bench_function("encode a post", |bench| {
        bench.iter(|| frame_of(1, black_box(&post)));
    });
    let encoded = frame_of(1, &post);
    criterion.bench_function("decode a post", |bench| {
        bench.iter(|| Request::from_frame(&take(black_box(&encoded))));
    });
    let event = message();
    criterion.bench_function("encode an event", |bench| {
        bench.iter(|| frame_of(0, black_box(&event)));
    });
    let encoded = frame_of(0, &event);
    criterion.bench_function("decode an event", |bench| {
        bench.iter(|| Push::from_frame(&take(black_box(&encoded))));
    });
}

criterion_group!(benches, codec);
criterion_main!(benches);
