//! What applying a post to a channel costs, in memory.

use confab_core::channel::{Action, Command, Post, Show, StoredMentions, apply};
use confab_core::directory::{ChannelChangeKind, MembersDelta, StoredProperties};
use confab_core::store::MemoryStore;
use confab_protocol::{ChannelId, ChannelKind, DeviceId, Epoch, Sequence, UserId};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

const USERS: u64 = 50;

fn command(action: Action) -> Command {
    Command {
        channel: ChannelId::general(),
        epoch: Epoch(1),
        at_ms: 1_700_000_000_000,
        directory_index: 1,
        action,
    }
}

fn post(number: u64) -> Command {
    command(Action::Post(Post {
        sender: UserId::new(&format!("user-{}", number % USERS)).expect("a valid id"),
        device: DeviceId::new("laptop").expect("a valid id"),
        sequence: Sequence(number),
        client_message_id: None,
        content: "x".repeat(128).into(),
        thread_root: None,
        attachments: Vec::new(),
        mentions: StoredMentions::default(),
    }))
}

fn posts(criterion: &mut Criterion) {
    let mut store = MemoryStore::new();
    let created = command(Action::Show(Show {
        ordinal: 0,
        kind: ChannelKind::General,
        by: None,
        what: ChannelChangeKind::Created {
            properties: StoredProperties::default(),
            members: MembersDelta::default(),
        },
    }));
    apply(&mut store, &created);
    let mut number = 0;
    criterion.bench_function("apply a post", |bench| {
        bench.iter_batched(
            || {
                number += 1;
                post(number)
            },
            |command| apply(&mut store, &command),
            BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, posts);
criterion_main!(benches);
