//! Random commands; after every one the shard and the model must agree.

use confab_protocol::codec::{decode, encode};
use confab_protocol::message::channel::{Anchor, HistoryPage};
use confab_protocol::message::event::{Event, Message};
use confab_protocol::{ChannelId, Epoch, Offset, Position, UserId};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::model::{Model, user};
use super::steps::{Step, USERS, Writer, step};
use super::{contains, raw_bytes};
use crate::channel::query;
use crate::channel::{Action, Applied, Command, Output, Refusal, Reply, apply};
use crate::directory::ChannelChangeKind;
use crate::store::MemoryStore;

const EPOCH: Epoch = Epoch(7);

struct Harness {
    store: MemoryStore,
    /// Fed the same commands through their encoding.
    replica: MemoryStore,
    model: Model,
    writer: Writer,
}

impl Harness {
    fn new() -> Self {
        let channel = ChannelId::group(1_700_000_000_000, 1);
        let mut harness = Self {
            store: MemoryStore::new(),
            replica: MemoryStore::new(),
            model: Model::new(channel.clone(), EPOCH),
            writer: Writer::new(channel, EPOCH),
        };
        let created = harness.writer.created(1_000);
        harness.apply(&created);
        harness
    }

    fn step(&mut self, step: &Step, at_ms: u64) {
        let command = self.writer.write(step, self.model.head(), at_ms);
        self.apply(&command);
    }

    /// Applies a command everywhere and checks reply and outputs.
    fn apply(&mut self, command: &Command) {
        let head_before = self.model.head();
        let before = self.store.clone();
        let applied = apply(&mut self.store, command);
        let expected = self.model.apply(command);
        assert_eq!(applied.reply, expected, "{command:?}");
        if matches!(applied.reply, Reply::Refused(_)) {
            assert!(self.store == before, "a refusal changes nothing");
        }
        self.check_outputs(&applied, command, head_before);

        let read_back: Command = decode(&encode(command)).unwrap();
        assert_eq!(read_back, *command);
        assert_eq!(apply(&mut self.replica, &read_back), applied);
        assert!(self.replica == self.store, "equal logs make equal stores");
        assert_eq!(
            decode::<Reply>(&encode(&applied.reply)).unwrap(),
            applied.reply
        );
    }

    fn check_outputs(&self, applied: &Applied, command: &Command, head_before: u64) {
        let mut events = Vec::new();
        for output in &applied.outputs {
            match output {
                Output::Event {
                    channel,
                    epoch,
                    event,
                } => {
                    assert_eq!((channel, *epoch), (&self.model.channel, EPOCH));
                    events.push(event.clone());
                }
                Output::Cursor {
                    user,
                    thread,
                    read_state,
                    ..
                } => {
                    let state = self.model.read_state(thread.map(|root| root.0), user);
                    assert_eq!(*read_state, state);
                    assert!(matches!(
                        command.action,
                        Action::MoveCursor(_) | Action::MarkUnread(_)
                    ));
                }
                Output::Gone { .. } => assert!(self.model.deleted),
            }
        }
        let expected: Vec<Event> = (head_before + 1..=self.model.head())
            .map(|offset| self.model.event_wire(offset))
            .collect();
        assert_eq!(
            events, expected,
            "every event is put out once, as it was stored"
        );
    }

    fn check_everything(&self) {
        self.check_counts();
        self.check_threads();
        self.check_state();
        self.check_messages();
        self.check_erased();
        self.check_sync(0, 7);
        for root in self.scopes() {
            self.check_history(root, 3);
            self.check_cursors(root);
        }
    }

    fn scopes(&self) -> Vec<Option<u64>> {
        let roots = self.model.roots().into_iter().map(Some);
        std::iter::once(None).chain(roots).collect()
    }

    fn users(&self) -> impl Iterator<Item = UserId> + use<> {
        (0..USERS).map(user)
    }

    fn check_counts(&self) {
        for user in self.users() {
            let state = query::read_state(&self.store, EPOCH, &user).unwrap();
            assert_eq!(state, self.model.read_state(None, &user), "{user}");
        }
    }

    fn check_threads(&self) {
        for root in self.model.roots() {
            for user in self.users() {
                let info = query::thread_info(&self.store, EPOCH, Offset(root), &user).unwrap();
                assert_eq!(info, self.model.thread_info(root, &user));
            }
        }
    }

    fn check_state(&self) {
        let state = query::channel_state(&self.store, EPOCH).unwrap();
        let (member_count, activity_ms, properties) = self.model.summary();
        assert_eq!(state.head, Offset(self.model.head()));
        assert_eq!(state.last_message, self.model.last_message());
        assert_eq!(state.member_count, member_count);
        assert_eq!(state.last_activity_ms, activity_ms);
        assert_eq!(state.properties, *properties);
        assert!(!state.deleted);
        let pins = query::pins(&self.store, EPOCH).unwrap().messages;
        let expected: Vec<_> = self
            .model
            .pins()
            .iter()
            .map(|o| self.model.message_wire(*o))
            .collect();
        assert_eq!(pins.to_vec(), expected);
    }

    fn check_messages(&self) {
        let messages = self.model.message_offsets();
        for offset in 0..=self.model.head() + 1 {
            let found = query::message(&self.store, EPOCH, Offset(offset), true);
            if messages.contains(&offset) {
                let found = found.unwrap();
                assert_eq!(found.message, self.model.message_wire(offset));
                assert_eq!(found.versions.to_vec(), self.model.versions_wire(offset));
            } else {
                let message = Offset(offset);
                assert_eq!(found, Err(Refusal::NoSuchMessage { message }));
            }
        }
    }

    /// Content that was deleted is in no row, in no form.
    fn check_erased(&self) {
        let raw = raw_bytes(&self.store);
        for content in self.model.erased() {
            // "same" is what many messages are edited to.
            assert!(
                content == "same" || !contains(&raw, content.as_bytes()),
                "{content}"
            );
        }
    }

    fn check_cursors(&self, root: Option<u64>) {
        let mut all = Vec::new();
        loop {
            let after = all
                .last()
                .map(|c: &confab_protocol::message::channel::MemberCursor| c.user.clone());
            let page =
                query::cursors(&self.store, EPOCH, root.map(Offset), after.as_ref(), 2).unwrap();
            all.extend(page.cursors.iter());
            if !page.more {
                break;
            }
            assert_eq!(page.cursors.len(), 2);
        }
        assert_eq!(all, self.model.cursors_wire(root));
    }

    /// From any position the events come dense and as the model has them.
    fn check_sync(&self, after: u64, limit: u16) {
        let mut events: Vec<Event> = Vec::new();
        let mut at = after;
        loop {
            let position = Position {
                epoch: EPOCH,
                offset: Offset(at),
            };
            let page = query::sync(&self.store, EPOCH, position, limit).unwrap();
            assert_eq!(page.head, Offset(self.model.head()));
            let Some(last) = page.events.iter().last() else {
                break;
            };
            assert!(page.events.len() <= usize::from(limit));
            at = last.offset.0;
            events.extend(page.events.iter());
        }
        let expected: Vec<Event> = (after + 1..=self.model.head())
            .map(|offset| self.model.event_wire(offset))
            .collect();
        assert_eq!(events, expected);
        assert!(events.is_sorted_by_key(|event| event.at_ms));
    }

    fn page(&self, root: Option<u64>, anchor: Anchor, limit: u16) -> HistoryPage {
        query::history(&self.store, EPOCH, root.map(Offset), anchor, limit).unwrap()
    }

    /// Pages put together in either direction are the whole history.
    fn check_history(&self, root: Option<u64>, limit: u16) {
        let expected = self.model.history(root);
        let mut backward: Vec<Message> = Vec::new();
        let mut anchor = Some(Anchor::Latest);
        while let Some(from) = anchor {
            let page = self.page(root, from, limit);
            assert_eq!(
                page.next_after,
                backward
                    .first()
                    .and(page.messages.iter().last().map(|m| m.offset))
            );
            backward.splice(0..0, page.messages.iter());
            anchor = page.next_before.map(Anchor::Before);
        }
        assert_eq!(backward, expected);

        let mut forward: Vec<Message> = Vec::new();
        let mut anchor = Some(Anchor::After(Offset(0)));
        while let Some(from) = anchor {
            let page = self.page(root, from, limit);
            forward.extend(page.messages.iter());
            anchor = page.next_after.map(Anchor::After);
        }
        assert_eq!(forward, expected);
    }

    /// Pages from anywhere, also from where nothing stands.
    fn check_history_at(&self, root: Option<u64>, at: u64, at_ms: u64) {
        let all = self.model.history(root);
        let offsets =
            |page: &HistoryPage| page.messages.iter().map(|m| m.offset.0).collect::<Vec<_>>();
        let all_offsets: Vec<u64> = all.iter().map(|m| m.offset.0).collect();

        let before: Vec<u64> = all_offsets.iter().copied().filter(|o| *o < at).collect();
        let after: Vec<u64> = all_offsets.iter().copied().filter(|o| *o > at).collect();
        let page = self.page(root, Anchor::Before(Offset(at)), 4);
        assert_eq!(offsets(&page), before[before.len().saturating_sub(4)..]);
        assert_eq!(page.next_before.is_some(), before.len() > 4);
        assert_eq!(
            page.next_after.is_some(),
            all_offsets.iter().any(|o| *o >= at)
        );
        let page = self.page(root, Anchor::After(Offset(at)), 4);
        assert_eq!(offsets(&page), after[..after.len().min(4)]);
        assert_eq!(page.next_after.is_some(), after.len() > 4);
        assert_eq!(
            page.next_before.is_some(),
            all_offsets.iter().any(|o| *o <= at)
        );

        let first = self.model.first_at(at_ms);
        let since: Vec<u64> = all_offsets
            .iter()
            .copied()
            .filter(|o| *o >= first)
            .collect();
        let page = self.page(root, Anchor::AtTime(at_ms), 4);
        assert_eq!(offsets(&page), since[..since.len().min(4)]);
    }

    /// A deleted channel answers nothing, is purged in steps, and stays away.
    fn check_deletion(&mut self, rows_max: u32) {
        let purge = self.writer.command(0, Action::Purge { rows_max });
        let refused = apply(&mut self.store, &purge).reply;
        assert_eq!(refused, Reply::Refused(Refusal::NotDeleted));
        let delete = self.writer.change(9, ChannelChangeKind::Deleted);
        self.apply(&delete);
        assert_eq!(
            query::read_state(&self.store, EPOCH, &user(0)),
            Err(Refusal::ChannelGone)
        );
        assert!(query::channel_state(&self.store, EPOCH).unwrap().deleted);
        let pending = vec![(self.model.channel.clone(), EPOCH)];
        assert_eq!(query::pending_purges(&self.store, 10), pending);
        loop {
            match apply(&mut self.store, &purge).reply {
                Reply::Purged { rows, more } => {
                    assert!(rows <= rows_max);
                    if !more {
                        break;
                    }
                    assert_eq!(rows, rows_max);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(query::pending_purges(&self.store, 10), vec![]);
        assert!(!contains(&raw_bytes(&self.store), b"content number"));
        let purged = self.store.clone();
        let created = self.writer.created(9);
        let mut repeated = created.clone();
        repeated.directory_index = 1;
        assert!(apply(&mut self.store, &repeated).outputs.is_empty());
        let refused = apply(&mut self.store, &created).reply;
        assert_eq!(refused, Reply::Refused(Refusal::ChannelGone));
        assert!(self.store == purged);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// The promises about order, counts, resends and erasure, after every step.
    #[test]
    fn the_shard_agrees_with_the_model(
        steps in prop::collection::vec((step(), 0u64..4_000), 1..50),
        probe in any::<u16>(),
        rows_max in 1u32..40,
    ) {
        let mut harness = Harness::new();
        for (step, at_ms) in &steps {
            harness.step(step, *at_ms);
            harness.check_everything();
            let at = u64::from(probe) % (harness.model.head() + 3);
            for root in harness.scopes() {
                harness.check_history_at(root, at, *at_ms);
            }
        }
        for after in 0..=harness.model.head() + 1 {
            harness.check_sync(after, 200);
        }
        harness.check_deletion(rows_max);
    }
}

/// Blocks and spans have edges: a log of thousands of events crosses them.
#[test]
fn a_long_log_agrees_with_the_model() {
    let mut harness = Harness::new();
    let mut runner = TestRunner::deterministic();
    let steps = step();
    for round in 0..3_600u64 {
        let mut next = steps.new_tree(&mut runner).unwrap().current();
        // The archived channel would take nothing more, and resends add nothing.
        match &mut next {
            Step::Archive(archived) => *archived = false,
            Step::Post {
                sequence,
                client_id,
                ..
            } => (*sequence, *client_id) = (0, None),
            _ => {}
        }
        harness.step(&next, round * 10);
        if round % 150 == 0 {
            harness.check_counts();
            harness.check_threads();
            harness.check_state();
        }
    }
    assert!(harness.model.head() > 1_500);
    harness.check_everything();
    for at in [1, 255, 256, 257, 511, 512, 1_024] {
        harness.check_history_at(None, at, at * 10);
        harness.check_sync(at, 50);
    }
    harness.check_deletion(500);
}
