//! What a post costs; to be run in release, where it prints nanoseconds.

use std::cell::Cell;

use bytes::Bytes;
use confab_protocol::{ChannelId, Epoch, Sequence};

use super::model::{device, user};
use super::steps::Writer;
use crate::channel::{Action, Post, StoredMentions, apply, query};
use crate::store::{Direction, MemoryStore, Store, StoreMut, Visit};

/// Counts what passes through.
#[derive(Default)]
struct Counting {
    inner: MemoryStore,
    gets: Cell<u32>,
    scans: Cell<u32>,
    puts: u32,
}

impl Store for Counting {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.gets.set(self.gets.get() + 1);
        self.inner.get(key)
    }

    fn scan(&self, from: &[u8], to: &[u8], direction: Direction, visit: Visit<'_>) {
        self.scans.set(self.scans.get() + 1);
        self.inner.scan(from, to, direction, visit);
    }
}

impl StoreMut for Counting {
    fn put(&mut self, key: &[u8], value: Vec<u8>) {
        self.puts += 1;
        self.inner.put(key, value);
    }

    fn delete(&mut self, key: &[u8]) {
        self.inner.delete(key);
    }
}

fn post(sequence: u64) -> Action {
    Action::Post(Post {
        sender: user((sequence % 4) as u8),
        device: device(0),
        sequence: Sequence(sequence),
        client_message_id: None,
        content: "x".repeat(128).into(),
        thread_root: None,
        attachments: Vec::new(),
        mentions: StoredMentions::default(),
    })
}

/// Posting is the hot path: its reads and writes are part of the design.
#[test]
fn a_plain_post_takes_few_reads_and_writes() {
    let mut writer = Writer::new(ChannelId::general(), Epoch(1));
    let mut store = Counting::default();
    let created = writer.created(1);
    apply(&mut store, &created);
    (store.puts, store.gets) = (0, Cell::new(0));
    for sequence in 1..=250 {
        apply(&mut store, &writer.command(1, post(sequence)));
    }
    assert_eq!(store.puts, 250 * 4, "message, resend row, sender, head");
    assert_eq!(store.gets.get(), 250 * 3, "head, resend row, sender");
    assert_eq!(store.scans.get(), 0);
}

/// A user who comes back to a million unread messages costs some dozen reads.
#[test]
#[ignore = "a measurement: cargo test --release -p confab-core cost -- --ignored --nocapture"]
fn cost_of_a_post_and_of_a_million_unread() {
    let mut writer = Writer::new(ChannelId::general(), Epoch(1));
    let mut store = Counting::default();
    let created = writer.created(1);
    apply(&mut store, &created);
    let commands: Vec<_> = (1..=1_000_000)
        .map(|sequence| writer.command(sequence, post(sequence)))
        .collect();
    #[allow(clippy::disallowed_methods, clippy::disallowed_types)] // a measurement
    let now = std::time::Instant::now;
    let started = now();
    for command in &commands {
        apply(&mut store, command);
    }
    println!("post: {} ns", started.elapsed().as_nanos() / 1_000_000);

    (store.gets, store.scans) = (Cell::new(0), Cell::new(0));
    let unread_since = now();
    let state = query::read_state(&store, Epoch(1), &user(9)).unwrap();
    println!("unread from 0: {:?}, {state:?}", unread_since.elapsed());
    let mark = crate::channel::MoveCursor {
        user: user(9),
        thread: None,
        cursor: crate::channel::Cursor::Read,
        offset: confab_protocol::Offset(300),
    };
    apply(&mut store, &writer.command(1, Action::MoveCursor(mark)));
    (store.gets, store.scans) = (Cell::new(0), Cell::new(0));
    let unread_since = now();
    let state = query::read_state(&store, Epoch(1), &user(9)).unwrap();
    println!("unread from 300: {:?}, {state:?}", unread_since.elapsed());
    println!("{} gets, {} scans", store.gets.get(), store.scans.get());
    assert_eq!(state.unread, 1_000_002 - 300);
}
