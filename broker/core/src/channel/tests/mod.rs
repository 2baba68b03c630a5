//! The shard against a naive model, and single behaviours.
#![allow(clippy::unwrap_used)]

mod against_model;
mod behaviour;
mod cost;
mod model;
mod steps;

use crate::store::{Direction, MemoryStore, Store};

/// Every byte that the store holds, keys and values.
fn raw_bytes(store: &MemoryStore) -> Vec<u8> {
    let mut raw = Vec::new();
    store.scan(&[], &[0xff; 10], Direction::Forward, &mut |key, value| {
        raw.extend_from_slice(key);
        raw.extend_from_slice(value);
        std::ops::ControlFlow::Continue(())
    });
    raw
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}
