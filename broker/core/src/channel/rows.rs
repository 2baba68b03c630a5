//! Rows: values at keys, encoded.

use std::ops::ControlFlow;

use confab_protocol::codec::{Decode, Encode, decode, encode};

use super::keys;
use crate::store::{Direction, Store, StoreMut};

/// Reads the row at `key`.
///
/// # Panics
/// When the row is not what this build writes there. Storage verifies what it
/// returns, so that is a bug, and going on would make replicas differ.
pub(super) fn read<T: Decode<()>>(store: &dyn Store, key: &[u8]) -> Option<T> {
    store.get(key).map(|bytes| parse(&bytes))
}

/// Reads a row's bytes; panics as [`read`].
pub(super) fn parse<T: Decode<()>>(bytes: &[u8]) -> T {
    decode(bytes).expect("a row is what this module wrote")
}

/// Writes the row at `key`.
pub(super) fn write<T: Encode>(store: &mut dyn StoreMut, key: &[u8], row: &T) {
    store.put(key, encode(row));
}

/// Reads up to `limit` rows whose keys start with `prefix`, from its first or
/// last on.
pub(super) fn list<R>(
    store: &dyn Store,
    prefix: &[u8],
    direction: Direction,
    limit: usize,
    read: impl FnMut(&[u8], &[u8]) -> R,
) -> Vec<R> {
    list_between(store, prefix, &keys::end_of(prefix), direction, limit, read)
}

/// Reads up to `limit` rows of the keys from `from` to `to`, exclusive.
pub(super) fn list_between<R>(
    store: &dyn Store,
    from: &[u8],
    to: &[u8],
    direction: Direction,
    limit: usize,
    mut read: impl FnMut(&[u8], &[u8]) -> R,
) -> Vec<R> {
    let mut rows = Vec::new();
    if limit == 0 {
        return rows;
    }
    store.scan(from, to, direction, &mut |key, value| {
        rows.push(read(key, value));
        if rows.len() < limit {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    rows
}
