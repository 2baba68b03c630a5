//! Reactions: one user, one emoji, once.
//!
//! A message's row of reactions holds counts and first users, which is what is
//! shown; who reacted stands in rows of its own, by user and in order.

use confab_protocol::id::UserId;
use confab_protocol::limits::REACTION_EMOJI_MAX;
use confab_protocol::message::event::Change;
use confab_protocol::position::{Epoch, Offset};

use super::command::React;
use super::head::Log;
use super::record::{EmojiCount, Reactions, StoredChange};
use super::reply::{Refusal, Reply};
use super::{keys, message, rows};
use crate::store::{Direction, Store};

/// How many users are shown for an emoji.
const FIRST_USERS_MAX: usize = 20;

/// A message's reactions; empty when it has none.
pub(super) fn read(store: &dyn Store, epoch: Epoch, message: Offset) -> Reactions {
    rows::read(store, &keys::reactions(epoch, message)).unwrap_or_default()
}

/// Puts an emoji on a message or takes it off.
pub(super) fn react(log: &mut Log<'_>, react: &React) -> Result<Reply, Refusal> {
    let mut placed = message::read(&*log.store, log.epoch, react.message)?;
    placed.not_deleted()?;
    let version = placed.message.version;
    let mut reactions = read(&*log.store, log.epoch, react.message);
    let changed = if react.on {
        add(log, react, &mut reactions)?
    } else {
        remove(log, react, &mut reactions)
    };
    if !changed {
        return Ok(log.changed(version));
    }
    rows::write(
        log.store,
        &keys::reactions(log.epoch, react.message),
        &reactions,
    );
    append(log, react);
    if !placed.message.reacted {
        placed.message.reacted = true;
        placed.write(log.store, log.epoch);
    }
    Ok(log.changed(version))
}

fn append(log: &mut Log<'_>, react: &React) {
    let (message, by, emoji) = (react.message, react.by.clone(), react.emoji.clone());
    let (stored, wire) = if react.on {
        (
            StoredChange::ReactionAdded {
                message,
                by: by.clone(),
                emoji: emoji.clone(),
            },
            Change::ReactionAdded { message, by, emoji },
        )
    } else {
        (
            StoredChange::ReactionRemoved {
                message,
                by: by.clone(),
                emoji: emoji.clone(),
            },
            Change::ReactionRemoved { message, by, emoji },
        )
    };
    log.append(stored, wire);
}

fn add(log: &mut Log<'_>, react: &React, reactions: &mut Reactions) -> Result<bool, Refusal> {
    let known = reactions.emoji.iter().position(|e| e.emoji == react.emoji);
    if let Some(place) = known {
        let number = reactions.emoji[place].number;
        let key = keys::reaction_user(log.epoch, react.message, number, &react.by);
        if log.store.get(&key).is_some() {
            return Ok(false);
        }
    }
    log.not_archived()?;
    if known.is_none() {
        if reactions.emoji.len() >= REACTION_EMOJI_MAX {
            return Err(Refusal::TooManyReactions);
        }
        reactions.emoji.push(EmojiCount {
            emoji: react.emoji.clone(),
            number: reactions.next_number,
            count: 0,
            first: Vec::new(),
        });
        reactions.next_number += 1;
    }
    let place = known.unwrap_or(reactions.emoji.len() - 1);
    let order = reactions.next_order;
    reactions.next_order += 1;
    let entry = &mut reactions.emoji[place];
    entry.count += 1;
    if entry.first.len() < FIRST_USERS_MAX {
        entry.first.push(react.by.clone());
    }
    let (epoch, message, number) = (log.epoch, react.message, entry.number);
    let by_user = keys::reaction_user(epoch, message, number, &react.by);
    rows::write(log.store, &by_user, &order);
    let by_order = keys::reaction_order(epoch, message, number, order);
    rows::write(log.store, &by_order, &react.by);
    Ok(true)
}

fn remove(log: &mut Log<'_>, react: &React, reactions: &mut Reactions) -> bool {
    let Some(place) = reactions.emoji.iter().position(|e| e.emoji == react.emoji) else {
        return false;
    };
    let (epoch, message) = (log.epoch, react.message);
    let entry = &mut reactions.emoji[place];
    let by_user = keys::reaction_user(epoch, message, entry.number, &react.by);
    let Some(order) = rows::read::<u64>(&*log.store, &by_user) else {
        return false;
    };
    log.store.delete(&by_user);
    log.store
        .delete(&keys::reaction_order(epoch, message, entry.number, order));
    entry.count -= 1;
    if entry.count == 0 {
        reactions.emoji.remove(place);
    } else if entry.first.contains(&react.by) {
        entry.first = first_users(&*log.store, epoch, message, entry.number);
    }
    true
}

fn first_users(store: &dyn Store, epoch: Epoch, message: Offset, number: u64) -> Vec<UserId> {
    rows::list_between(
        store,
        &keys::reaction_order(epoch, message, number, 0),
        &keys::reaction_order(epoch, message, number, u64::MAX),
        Direction::Forward,
        FIRST_USERS_MAX,
        |_, value| rows::parse(value),
    )
}
