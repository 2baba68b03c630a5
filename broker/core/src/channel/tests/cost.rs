//! What a post and a count cost, in reads and writes; time is for the benches.

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

/// A user who comes back to thousands of unread messages costs a few reads,
/// however many they are.
#[test]
fn counting_what_is_unread_takes_few_reads() {
    let mut writer = Writer::new(ChannelId::general(), Epoch(1));
    let mut store = Counting::default();
    let created = writer.created(1);
    apply(&mut store, &created);
    for sequence in 1..=10_000 {
        apply(&mut store, &writer.command(sequence, post(sequence)));
    }
    let mark = crate::channel::MoveCursor {
        user: user(9),
        thread: None,
        cursor: crate::channel::Cursor::Read,
        offset: confab_protocol::Offset(300),
    };
    apply(&mut store, &writer.command(1, Action::MoveCursor(mark)));
    (store.gets, store.scans) = (Cell::new(0), Cell::new(0));
    let state = query::read_state(&store, Epoch(1), &user(9)).unwrap();
    assert_eq!(state.unread, 10_002 - 300);
    assert!(store.gets.get() <= 8, "{} gets", store.gets.get());
    assert!(store.scans.get() <= 2, "{} scans", store.scans.get());
}
