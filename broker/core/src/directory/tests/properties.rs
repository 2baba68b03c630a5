//! Whatever commands come, the rules hold after every one of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use confab_protocol::codec::{decode, encode};
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::event::ChannelRole;
use confab_protocol::{ChannelId, ChannelKind, Epoch, UserId};
use proptest::prelude::*;

use super::commands::{USERS, any_command, company};
use super::model::{Model, Shown};
use super::user;
use crate::directory::{
    ChannelChange, ChannelChangeKind, Command, CommandKind, DirectoryView, MembersDelta, Refusal,
    Reply, StoredProperties, apply,
};
use crate::store::MemoryStore;

/// A channel's log as a reader would add it up from the queued changes.
#[derive(Debug, Default, PartialEq)]
struct Log {
    epoch: Epoch,
    shown: Shown,
    members: BTreeMap<UserId, ChannelRole>,
}

/// All logs, and how far each shard's queue has been read.
#[derive(Default)]
struct Logs {
    logs: BTreeMap<ChannelId, Log>,
    read: BTreeMap<u16, (u64, u32)>,
    last: BTreeMap<ChannelId, (u64, u32)>,
    epochs: BTreeSet<Epoch>,
}

fn shown(properties: &StoredProperties) -> Shown {
    Shown {
        name: properties.name.clone(),
        topic: properties.topic.clone(),
        private: properties.private,
        archived: properties.archived_at_ms.is_some(),
    }
}

impl Logs {
    /// Reads what is new, two changes at a time; answers how many there were.
    fn read_on(&mut self, view: DirectoryView<'_, MemoryStore>, shards: u16) -> u32 {
        let mut found = 0;
        for shard in 0..shards {
            loop {
                let page = view.pending_changes(shard, self.read.get(&shard).copied(), 2);
                for change in &page.items {
                    assert_eq!(super::super::shard_of(&change.channel, shards), shard);
                    self.read
                        .insert(shard, (change.directory_index, change.ordinal));
                    self.append(change);
                    found += 1;
                }
                if !page.more {
                    break;
                }
            }
        }
        found
    }

    fn append(&mut self, change: &ChannelChange) {
        let place = (change.directory_index, change.ordinal);
        let last = self.last.insert(change.channel.clone(), place);
        assert!(last < Some(place), "changes of a channel only grow");
        match &change.what {
            ChannelChangeKind::Created {
                properties,
                members,
            } => {
                assert!(self.epochs.insert(change.epoch), "an epoch is used once");
                let mut log = Log {
                    epoch: change.epoch,
                    shown: shown(properties),
                    members: BTreeMap::new(),
                };
                assert_eq!(members.removed_count, 0);
                log.add_up(members);
                assert!(self.logs.insert(change.channel.clone(), log).is_none());
            }
            ChannelChangeKind::Updated { properties } => {
                let log = self.logs.get_mut(&change.channel).unwrap();
                assert_eq!(log.epoch, change.epoch);
                assert_ne!(log.shown, shown(properties), "an update changes something");
                log.shown = shown(properties);
            }
            ChannelChangeKind::Members(members) => {
                let log = self.logs.get_mut(&change.channel).unwrap();
                assert_eq!(log.epoch, change.epoch);
                assert!(!members.is_empty());
                log.add_up(members);
            }
            ChannelChangeKind::Deleted => {
                let log = self.logs.remove(&change.channel).unwrap();
                assert_eq!(log.epoch, change.epoch);
            }
        }
    }
}

impl Log {
    fn add_up(&mut self, delta: &MembersDelta) {
        assert_eq!(delta.added.len(), delta.added_count as usize);
        assert_eq!(delta.removed.len(), delta.removed_count as usize);
        for (user, role) in &delta.added {
            assert_ne!(self.members.insert(user.clone(), *role), Some(*role));
        }
        for user in &delta.removed {
            assert!(self.members.remove(user).is_some());
        }
        assert_eq!(self.members.len(), delta.member_count as usize);
    }
}

/// Every query agrees with the model.
fn check(view: DirectoryView<'_, MemoryStore>, model: &Model, logs: &Logs) {
    let expected = model.channels();
    let found = view.channels(None, 1_000).items;
    assert_eq!(found.len(), expected.len());
    for (id, stored) in &found {
        let (expected_shown, members) = &expected[id];
        assert_eq!(shown(&stored.properties), *expected_shown, "{id}");
        assert_eq!(stored.member_count as usize, members.len(), "{id}");
        assert_eq!(paged_members(view, id), *members, "{id}");
        assert_eq!(view.channel_by_epoch(stored.epoch).as_ref(), Some(id));
        let owner = members
            .iter()
            .find(|(_, role)| **role == ChannelRole::Owner);
        assert_eq!(stored.owner.as_ref(), owner.map(|(user, _)| user), "{id}");
        let ownable = members.values().any(|role| *role > ChannelRole::Guest);
        assert_eq!(owner.is_some(), ownable && id.kind() == ChannelKind::Group);
        let log = &logs.logs[id];
        assert_eq!(log.epoch, stored.epoch);
        assert_eq!(log.members, *members, "{id} as its log tells");
        assert_eq!(log.shown, *expected_shown);
    }
    assert_eq!(logs.logs.len(), expected.len());
    for one in USERS.map(user) {
        let channels: Vec<ChannelId> = expected
            .iter()
            .filter(|(_, (_, members))| members.contains_key(&one))
            .map(|(id, _)| id.clone())
            .collect();
        assert_eq!(paged_channels(view, &one), channels, "{one}");
        for other in USERS.map(user).iter().filter(|other| **other != one) {
            let shared = expected
                .values()
                .any(|(_, members)| members.contains_key(&one) && members.contains_key(other));
            assert_eq!(view.shares_channel(&one, other), shared, "{one} {other}");
        }
        for (id, (_, members)) in &expected {
            assert_eq!(view.role_of(id, &one), members.get(&one).copied());
        }
        let person = model.people.get(&one);
        let known = view.user(&one);
        assert_eq!(known.is_some(), person.is_some());
        if let (Some(known), Some(person)) = (known, person) {
            assert_eq!(
                (known.name, known.kind, known.active, known.admin),
                (
                    person.name.clone(),
                    person.kind,
                    person.active,
                    person.admin
                )
            );
        }
    }
}

fn paged_members(
    view: DirectoryView<'_, MemoryStore>,
    channel: &ChannelId,
) -> BTreeMap<UserId, ChannelRole> {
    let mut all = BTreeMap::new();
    let mut after = None;
    loop {
        let page = view.members(channel, after.as_ref(), 2);
        assert!(
            page.items
                .iter()
                .all(|(user, _)| after.as_ref() < Some(user))
        );
        after = page.items.last().map(|(user, _)| user.clone());
        all.extend(page.items);
        if !page.more {
            return all;
        }
    }
}

fn paged_channels(view: DirectoryView<'_, MemoryStore>, user: &UserId) -> Vec<ChannelId> {
    let mut all = Vec::new();
    loop {
        let page = view.channels_of(user, all.last(), 2);
        all.extend(page.items);
        if !page.more {
            break;
        }
    }
    let mut walked = Vec::new();
    view.visit_channels_of(user, |channel| {
        walked.push(channel.clone());
        ControlFlow::Continue(())
    });
    assert_eq!(all, walked);
    all
}

/// Whether doing a command twice must be the same as doing it once: a batch
/// that deletes what it puts again makes a new channel each time.
fn is_idempotent(what: &CommandKind) -> bool {
    match what {
        CommandKind::Change(changes) => !changes
            .iter()
            .any(|change| matches!(change, DirectoryChange::DeleteDepartment { .. })),
        _ => true,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Membership, indexes, counts and logs never drift from what the rules
    /// say; refusals change nothing; repetitions change nothing.
    #[test]
    fn the_rules_hold_after_every_command(
        commands in proptest::collection::vec((any_command(), any::<bool>()), 1..40),
        shards in 1u16..4,
    ) {
        let mut store = MemoryStore::new();
        let mut replica = MemoryStore::new();
        let mut model = Model::new();
        let mut logs = Logs::default();
        let mut index = 0;
        let mut run = |store: &mut MemoryStore, by: &UserId, what: &CommandKind, same_index: bool| {
            // Several commands may come in one entry of the log.
            index += u64::from(!same_index || index == 0);
            let command = Command { at_ms: index * 10, by: Some(by.clone()), what: what.clone() };
            let command: Command = decode(&encode(&command)).unwrap();
            let applied = apply(store, index, &command);
            assert_eq!(apply(&mut replica, index, &command), applied);
            let outcome = applied.outcome;
            let travelled: Result<Reply, Refusal> = decode(&encode(&outcome)).unwrap();
            assert_eq!(travelled, outcome);
            assert!(*store == replica, "equal logs give equal stores");
            (outcome, applied.effects)
        };
        let nobody = user("nobody");
        run(&mut store, &nobody, &CommandKind::Initialize { shards }, false).0.unwrap();
        logs.read_on(DirectoryView::new(&store), shards);
        let company = company().into_iter().map(|command| (command, false));
        for ((by, what), same_index) in company.chain(commands) {
            let before = store.clone();
            let (outcome, effects) = run(&mut store, &by, &what, same_index);
            let expected = model.run(&by, &what);
            prop_assert_eq!(outcome.is_ok(), expected.is_ok(), "{:?} {:?}", what, outcome);
            let new = logs.read_on(DirectoryView::new(&store), shards);
            prop_assert_eq!(new as usize, effects.changes.len());
            match &outcome {
                Ok(reply) => prop_assert_eq!(reply.channel_changes, new),
                Err(_) => prop_assert!(store == before, "a refusal changes nothing"),
            }
            check(DirectoryView::new(&store), &model, &logs);
            if is_idempotent(&what) {
                run(&mut store, &by, &what, false).0.ok();
                let again = logs.read_on(DirectoryView::new(&store), shards);
                prop_assert_eq!(again, 0, "{:?} again", what);
                check(DirectoryView::new(&store), &model, &logs);
            }
            if same_index {
                for (shard, (through_index, _)) in logs.read.clone() {
                    let done = CommandKind::ChangesPropagated { shard, through_index };
                    run(&mut store, &nobody, &done, false).0.unwrap();
                    let view = DirectoryView::new(&store);
                    prop_assert_eq!(view.pending_count(shard), 0);
                    prop_assert!(view.pending_changes(shard, None, 1).items.is_empty());
                }
                prop_assert!(DirectoryView::new(&store).is_propagated(u64::MAX));
            }
        }
    }

    /// Whatever decodes can be applied, also what no door would let through.
    #[test]
    fn damaged_commands_do_not_panic(
        (by, what) in any_command(),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        index in any::<u64>(),
        at_ms in any::<u64>(),
    ) {
        let mut store = MemoryStore::new();
        let initialize = CommandKind::Initialize { shards: 2 };
        let commands = std::iter::once((by.clone(), initialize)).chain(company());
        for (place, (by, what)) in (1..).zip(commands) {
            let command = Command { at_ms, by: Some(by), what };
            apply(&mut store, place, &command).outcome.unwrap();
        }
        let mut bytes = encode(&Command { at_ms, by: Some(by), what });
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(command) = decode::<Command>(&bytes) {
            let before = store.clone();
            let applied = apply(&mut store, index, &command);
            prop_assert!(applied.outcome.is_ok() || store == before);
        }
    }
}
