//! Purging a deleted channel in bounded steps.
//!
//! What stays is the head, emptied: by it a change that the directory repeats
//! is still recognised, and cannot bring the channel back.

use confab_protocol::position::Epoch;

use super::command::Command;
use super::record::{ChannelHead, Messages};
use super::reply::{Refusal, Reply};
use super::{head, keys, rows};
use crate::store::{Direction, Store, StoreMut};

/// Most rows that one command removes: what an entry may cost.
const ROWS_MAX: u32 = 10_000;

/// Removes up to `rows_max` rows.
pub(super) fn purge(
    store: &mut dyn StoreMut,
    command: &Command,
    rows_max: u32,
) -> Result<Reply, Refusal> {
    let epoch = command.epoch;
    let head = head::read(&*store, epoch)
        .filter(|head| head.channel == command.channel)
        .ok_or(Refusal::ChannelGone)?;
    if !head.deleted {
        return Err(Refusal::NotDeleted);
    }
    let rows_max = rows_max.clamp(1, ROWS_MAX);
    let mut doomed = oldest(&*store, epoch, rows_max as usize + 1);
    let more = doomed.len() > rows_max as usize;
    doomed.truncate(rows_max as usize);
    for key in &doomed {
        store.delete(key);
    }
    if !more {
        finish(store, epoch, head);
    }
    Ok(Reply::Purged {
        // At most `ROWS_MAX`, so it fits.
        rows: doomed.len() as u32,
        more,
    })
}

fn oldest(store: &dyn Store, epoch: Epoch, limit: usize) -> Vec<Vec<u8>> {
    let head_key = keys::head(epoch);
    // The head is the first row of its channel; going round it costs one more.
    let mut found = rows::list(
        store,
        &keys::whole(epoch),
        Direction::Forward,
        limit + 1,
        |key, _| key.to_vec(),
    );
    found.retain(|key| *key != head_key);
    found.truncate(limit);
    found
}

fn finish(store: &mut dyn StoreMut, epoch: Epoch, mut head: ChannelHead) {
    head.messages = Messages::default();
    rows::write(store, &keys::head(epoch), &head);
    store.delete(&keys::purging(epoch));
}
