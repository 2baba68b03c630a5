#![allow(clippy::unwrap_used)]
//! The model driven by inputs alone, as the loop drives it.

use confab_client::{ClientEvent, DownReason};
use confab_protocol::message::channel::{
    Anchor, ChannelSummary, ChannelTotals, HistoryPage, Posted, ReadState,
};
use confab_protocol::message::event::{
    Change, ChannelEvent, ChannelRole, Event, Mentions, Message,
};
use confab_protocol::message::presence::{Receipt, TypingChanged};
use confab_protocol::message::session::{UserKind, UserProfile};
use confab_protocol::{ChannelId, Emoji, Epoch, Offset, Packed, Position, UserId};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::Model;
use super::conversation::Wanted;
use super::effect::{Effect, Input, Outcome, Place};
use super::entry::Sending;
use super::message::ShownMessage;
use super::overlay::Overlay;
use crate::chat::layout::scroll::Scroll;
use crate::chat::layout::text_of;
use crate::stamp::Clock;

/// 2026-03-04 08:14 UTC.
pub(crate) const NOW_MS: u64 = 1_772_612_040_000;

pub(crate) fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub(crate) fn channel(id: &str) -> ChannelId {
    ChannelId::new(id).unwrap()
}

pub(crate) fn summary(id: &str, last_activity_ms: u64, head: u64) -> ChannelSummary {
    let id = channel(id);
    ChannelSummary {
        kind: id.kind(),
        epoch: Epoch(1),
        name: id.as_str().into(),
        topic: "".into(),
        private: false,
        archived_at_ms: None,
        created_at_ms: 0,
        role: ChannelRole::Member,
        member_count: 3,
        head: Offset(head),
        last_activity_ms,
        last_message: None,
        read_state: ReadState::default(),
        channel: id,
    }
}

pub(crate) fn wire_message(offset: u64, sender: &str, content: &str) -> Message {
    Message {
        offset: Offset(offset),
        sender: user(sender),
        content: content.into(),
        thread_root: None,
        attachments: Packed::default(),
        mentions: Mentions::default(),
        client_message_id: None,
        created_at_ms: NOW_MS + offset * 1_000,
        edited_at_ms: None,
        deleted_at_ms: None,
        version: 1,
        pinned: false,
        reply_count: 0,
        last_reply: None,
        reactions: Packed::default(),
    }
}

pub(crate) fn message(offset: u64, sender: &str, content: &str) -> ShownMessage {
    ShownMessage::new(&wire_message(offset, sender, content), Offset(offset))
}

pub(crate) fn event(id: &str, offset: u64, change: Change) -> Input {
    Input::Event(ClientEvent::Channel(ChannelEvent {
        channel: channel(id),
        epoch: Epoch(1),
        event: Event {
            offset: Offset(offset),
            at_ms: NOW_MS,
            change,
        },
    }))
}

pub(crate) fn posted(id: &str, offset: u64, sender: &str, content: &str) -> Input {
    let message = wire_message(offset, sender, content);
    event(id, offset, Change::MessagePosted { message })
}

pub(crate) fn page(
    id: &str,
    messages: Vec<Message>,
    before: Option<u64>,
    head: u64,
) -> HistoryPage {
    HistoryPage {
        channel: channel(id),
        epoch: Epoch(1),
        messages: messages.into(),
        next_before: before.map(Offset),
        next_after: None,
        head: Offset(head),
    }
}

pub(crate) fn key(code: KeyCode) -> Input {
    Input::Key(KeyEvent::new(code, KeyModifiers::NONE))
}

pub(crate) fn with(modifiers: KeyModifiers, code: KeyCode) -> Input {
    Input::Key(KeyEvent::new(code, modifiers))
}

const GENERAL: &str = "general-company";

/// A model with what the loop gives it, and the network that answers it.
pub(crate) struct Driven {
    pub(crate) model: Model,
    pub(crate) effects: Vec<Effect>,
}

impl Driven {
    /// Connected as u1, whose channels are these.
    pub(crate) fn with_channels(channels: Vec<ChannelSummary>) -> Self {
        let mut driven = Self {
            model: Model::new(Clock::utc(), None),
            effects: Vec::new(),
        };
        driven.give(Input::Size(80, 24));
        driven.give(Input::Now(NOW_MS));
        let profile = UserProfile {
            id: user("u1"),
            name: "Uma One".into(),
            kind: UserKind::Internal,
            active: true,
            admin: false,
        };
        driven.give(Input::Event(ClientEvent::Connected {
            session: 1,
            user: profile,
        }));
        driven.give(Input::Channels(channels, ChannelTotals::default()));
        driven
    }

    /// In general-company, which holds these messages.
    pub(crate) fn in_general(messages: Vec<Message>) -> Self {
        let head = messages.last().map_or(0, |message| message.offset.0);
        let mut driven = Self::with_channels(vec![summary(GENERAL, 1, head)]);
        driven.answer_history(page(GENERAL, messages, None, head));
        driven.effects.clear();
        driven
    }

    pub(crate) fn give(&mut self, input: Input) {
        self.model.handle(input);
        self.effects.extend(self.model.take_effects());
    }

    pub(crate) fn write(&mut self, text: &str) {
        for c in text.chars() {
            self.give(key(KeyCode::Char(c)));
        }
    }

    pub(crate) fn enter(&mut self, text: &str) {
        self.write(text);
        self.give(key(KeyCode::Enter));
    }

    fn wanted(&self) -> (Place, Wanted) {
        let wanted = self.effects.iter().rev().find_map(|effect| match effect {
            Effect::History(place, wanted) => Some((place.clone(), *wanted)),
            _ => None,
        });
        wanted.expect("a page was asked for")
    }

    pub(crate) fn answer_history(&mut self, page: HistoryPage) {
        let (place, wanted) = self.wanted();
        self.give(Input::Outcome(Outcome::History(place, wanted, Ok(page))));
    }

    fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// A second goes by, in which the server hears what was read.
    fn wait(&mut self) {
        let here = self.model.here().cloned().unwrap();
        self.give(Input::Outcome(Outcome::Marked(here, true)));
        self.give(Input::Now(self.model.now_ms() + 1_000));
    }

    /// The texts of the rows on the screen.
    pub(crate) fn rows(&self) -> Vec<String> {
        let height = usize::from(self.model.areas().messages.height);
        let Some(scene) = self.model.scene() else {
            return Vec::new();
        };
        let rows = scene.window(self.model.scroll(), height);
        rows.iter().map(|row| text_of(&row.line)).collect()
    }

    fn shows(&self, text: &str) -> bool {
        self.rows().iter().any(|row| row.contains(text))
    }
}

fn many(count: u64) -> Vec<Message> {
    (1..=count)
        .map(|offset| wire_message(offset, "u2", &format!("message {offset}.")))
        .collect()
}

#[test]
fn the_newest_channel_is_opened_and_read() {
    let mut driven =
        Driven::with_channels(vec![summary("dept-sales", 1, 2), summary(GENERAL, 9, 3)]);
    assert_eq!(driven.model.here(), Some(&Place::channel(channel(GENERAL))));
    assert!(driven.effects.contains(&Effect::Open(channel(GENERAL))));
    driven.answer_history(page(GENERAL, vec![wire_message(3, "u2", "hello")], None, 3));
    let here = Place::channel(channel(GENERAL));
    assert!(driven.effects.contains(&Effect::MarkRead(here, Offset(3))));
    assert!(driven.shows("hello"));
}

/// A message that is on nobody's screen must not be counted as read.
#[test]
fn what_is_not_seen_is_not_read() {
    let is_read = |effect: &Effect| matches!(effect, Effect::MarkRead(..));
    let mut driven = Driven::in_general(many(100));
    driven.wait();
    driven.give(Input::Focus(false));
    driven.give(posted(GENERAL, 101, "u2", "unseen"));
    assert!(!driven.effects.iter().any(is_read));
    driven.give(Input::Focus(true));
    assert!(driven.effects.iter().any(is_read));
    driven.wait();
    driven.take();
    driven.give(key(KeyCode::PageUp));
    driven.give(posted(GENERAL, 102, "u2", "below"));
    assert!(!driven.effects.iter().any(is_read), "scrolled away");
    driven.give(with(KeyModifiers::CONTROL, KeyCode::End));
    assert!(driven.effects.iter().any(is_read));
    driven.wait();
    driven.take();
    driven.wait();
    assert!(!driven.effects.iter().any(is_read), "told once");
}

/// A burst of messages is one thing to tell the server, not a thousand.
#[test]
fn a_burst_is_read_at_once() {
    let mut driven = Driven::in_general(many(1));
    driven.wait();
    driven.take();
    for offset in 2..1_000 {
        driven.give(posted(GENERAL, offset, "u2", "burst"));
    }
    let marks = |driven: &mut Driven| {
        let effects = driven.take();
        let marks = effects.into_iter().filter_map(|effect| match effect {
            Effect::MarkRead(_, offset) => Some(offset),
            _ => None,
        });
        marks.collect::<Vec<_>>()
    };
    assert_eq!(marks(&mut driven), [Offset(2)]);
    driven.wait();
    assert_eq!(marks(&mut driven), [Offset(999)]);
    // What did not arrive is told again.
    let here = Place::channel(channel(GENERAL));
    driven.give(Input::Outcome(Outcome::Marked(here, false)));
    driven.give(Input::Now(NOW_MS + 60_000));
    assert_eq!(marks(&mut driven), [Offset(999)]);
}

#[test]
fn a_message_is_sent_and_shown_once() {
    let mut driven = Driven::in_general(many(3));
    driven.enter("hi there");
    let sent = driven.take();
    let Some(Effect::Send { local, content, .. }) = sent
        .iter()
        .find(|effect| matches!(effect, Effect::Send { .. }))
    else {
        panic!("{sent:?}");
    };
    assert_eq!(content, "hi there");
    assert!(driven.model.editor().is_empty());
    assert!(driven.shows("hi there") && driven.shows("sending"));
    let acknowledged = Outcome::Sent(
        Place::channel(channel(GENERAL)),
        *local,
        Ok(Posted {
            position: Position {
                epoch: Epoch(1),
                offset: Offset(4),
            },
            created_at_ms: NOW_MS,
            duplicate: false,
        }),
    );
    // The event may come before the acknowledgement, or after it.
    let mut other = Driven::in_general(many(3));
    other.enter("hi there");
    other.give(posted(GENERAL, 4, "u1", "hi there"));
    assert!(!other.shows("sending"));
    other.give(Input::Outcome(acknowledged.clone()));
    driven.give(Input::Outcome(acknowledged));
    driven.give(posted(GENERAL, 4, "u1", "hi there"));
    for driven in [driven, other] {
        let shown = driven.rows().join("\n");
        assert_eq!(shown.matches("hi there").count(), 1, "{shown}");
        assert!(!shown.contains("sending"));
    }
}

/// Somebody else who writes the same must not make our message look sent.
#[test]
fn the_same_words_of_another_are_another_message() {
    let mut driven = Driven::in_general(many(1));
    driven.enter("yes");
    driven.give(posted(GENERAL, 2, "u2", "yes"));
    assert!(driven.shows("sending"));
}

#[test]
fn what_could_not_be_sent_can_be_sent_again() {
    let mut driven = Driven::in_general(many(1));
    driven.enter("too long");
    let place = Place::channel(channel(GENERAL));
    driven.give(Input::Outcome(Outcome::Sent(
        place,
        1,
        Err("no\x1b room".into()),
    )));
    assert!(driven.shows("not sent: no\u{fffd} room"));
    driven.take();
    driven.enter("/retry");
    let resent = driven
        .take()
        .into_iter()
        .any(|effect| matches!(effect, Effect::Send { content, .. } if content == "too long"));
    assert!(resent);
    let conversation = driven.model.conversation().unwrap();
    assert_eq!(conversation.pending().len(), 1);
    assert_eq!(conversation.pending()[0].sending, Sending::UnderWay);
}

/// Events that come while the first page is on its way must not be lost, and
/// those that it holds must not count twice.
#[test]
fn events_and_pages_join_without_gap() {
    let mut driven = Driven::with_channels(vec![summary(GENERAL, 9, 2)]);
    let emoji = Emoji::new("👍").unwrap();
    let reaction = |offset| {
        event(
            GENERAL,
            offset,
            Change::ReactionAdded {
                message: Offset(2),
                by: user("u3"),
                emoji: emoji.clone(),
            },
        )
    };
    driven.give(reaction(3));
    driven.give(posted(GENERAL, 4, "u2", "late"));
    let mut two = wire_message(2, "u2", "two");
    two.reactions = vec![confab_protocol::message::event::Reaction {
        emoji: emoji.clone(),
        count: 1,
        users: vec![user("u3")].into(),
    }]
    .into();
    driven.answer_history(page(
        GENERAL,
        vec![wire_message(1, "u2", "one"), two],
        None,
        3,
    ));
    assert!(driven.shows("late"));
    assert!(driven.shows("👍 1"), "{:?}", driven.rows());
    driven.give(reaction(5));
    assert!(driven.shows("👍 2"));
}

#[test]
fn edits_deletions_and_reactions_are_shown() {
    let mut driven = Driven::in_general(many(3));
    driven.give(event(
        GENERAL,
        4,
        Change::MessageEdited {
            message: Offset(3),
            by: user("u2"),
            content: "changed".into(),
            mentions: Mentions::default(),
            version: 2,
        },
    ));
    assert!(driven.shows("changed (edited)"));
    driven.give(event(
        GENERAL,
        5,
        Change::MessageDeleted {
            message: Offset(3),
            by: user("u2"),
        },
    ));
    assert!(driven.shows("this message was deleted") && !driven.shows("changed"));
}

#[test]
fn replies_are_counted_at_their_root() {
    let mut driven = Driven::in_general(many(2));
    let mut reply = wire_message(3, "u2", "a reply");
    reply.thread_root = Some(Offset(1));
    driven.give(event(GENERAL, 3, Change::MessagePosted { message: reply }));
    assert!(driven.shows("↳ 1 reply") && !driven.shows("a reply"));
    let deleted = |offset, message| {
        event(
            GENERAL,
            offset,
            Change::MessageDeleted {
                message: Offset(message),
                by: user("u2"),
            },
        )
    };
    driven.give(deleted(4, 3));
    assert!(!driven.shows("↳"));
    // A reply from before we listened: its root has to be looked at.
    let mut driven = Driven::in_general(vec![
        wire_message(1, "u2", "root"),
        wire_message(9, "u2", "nine"),
    ]);
    driven.give(deleted(10, 5));
    assert!(
        driven
            .effects
            .contains(&Effect::Message(channel(GENERAL), Offset(5)))
    );
    let mut tombstone = wire_message(5, "u2", "");
    tombstone.thread_root = Some(Offset(1));
    driven.give(Input::Outcome(Outcome::Message(
        channel(GENERAL),
        tombstone,
    )));
    assert!(
        driven
            .effects
            .contains(&Effect::Message(channel(GENERAL), Offset(1)))
    );
    let mut root = wire_message(1, "u2", "root");
    root.reply_count = 3;
    driven.give(Input::Outcome(Outcome::Message(channel(GENERAL), root)));
    assert!(driven.shows("↳ 3 replies"));
}

#[test]
fn a_thread_is_a_place_of_its_own() {
    let mut driven = Driven::in_general(many(3));
    driven.give(key(KeyCode::Up));
    assert_eq!(driven.model.selected(), Some(Offset(3)));
    driven.give(key(KeyCode::Up));
    driven.give(key(KeyCode::Enter));
    let thread = Place {
        channel: channel(GENERAL),
        thread: Some(Offset(2)),
    };
    assert_eq!(driven.model.here(), Some(&thread));
    driven.answer_history(page(
        GENERAL,
        vec![wire_message(2, "u2", "message 2.")],
        None,
        3,
    ));
    driven.take();
    driven.enter("in the thread");
    assert!(
        driven
            .take()
            .iter()
            .any(|effect| matches!(effect, Effect::Send { place, .. } if *place == thread))
    );
    let mut reply = wire_message(4, "u1", "in the thread");
    reply.thread_root = Some(Offset(2));
    driven.give(event(GENERAL, 4, Change::MessagePosted { message: reply }));
    assert!(driven.shows("in the thread") && !driven.shows("sending"));
    driven.give(key(KeyCode::Esc));
    assert_eq!(driven.model.here(), Some(&Place::channel(channel(GENERAL))));
    assert!(driven.shows("↳ 1 reply"));
}

/// What one reads must not move when something is added below or above.
#[test]
fn scrolling_holds_its_place() {
    let mut driven = Driven::with_channels(vec![summary(GENERAL, 9, 300)]);
    let messages = (201..=300)
        .map(|offset| wire_message(offset, "u2", &format!("message {offset}.")))
        .collect();
    driven.answer_history(page(GENERAL, messages, Some(201), 300));
    driven.take();
    for _ in 0..3 {
        driven.give(key(KeyCode::PageUp));
    }
    let before = driven.rows();
    driven.give(posted(GENERAL, 301, "u2", "new"));
    assert_eq!(driven.rows(), before);
    for _ in 0..10 {
        driven.give(key(KeyCode::PageUp));
    }
    assert!(driven.shows("message 201."));
    let (_, wanted) = driven.wanted();
    assert_eq!(wanted.anchor, Anchor::Before(Offset(201)));
    let asked = driven.take();
    let pages = asked
        .iter()
        .filter(|effect| matches!(effect, Effect::History(..)));
    assert_eq!(pages.count(), 1, "a page is asked for once");
    let bottom = driven.rows().last().cloned();
    driven.effects = asked;
    let older = (101..=200)
        .map(|offset| wire_message(offset, "u2", &format!("message {offset}.")))
        .collect();
    driven.answer_history(page(GENERAL, older, Some(101), 301));
    assert_eq!(driven.rows().last().cloned(), bottom);
    driven.give(key(KeyCode::PageUp));
    assert!(driven.shows("message 199."));
    driven.give(with(KeyModifiers::CONTROL, KeyCode::End));
    assert!(driven.shows("new"));
    assert_eq!(driven.model.scroll(), Scroll::Latest);
}

/// A history without end must not fill the memory; what was dropped at the far
/// end comes back when it is wanted.
#[test]
fn a_long_history_is_bounded() {
    let mut driven = Driven::with_channels(vec![summary(GENERAL, 9, 10_000)]);
    let stretch = |from: u64, to: u64| {
        (from..=to)
            .map(|offset| wire_message(offset, "u2", &format!("message {offset}.")))
            .collect()
    };
    let mut first = 9_901;
    driven.answer_history(page(GENERAL, stretch(first, 10_000), Some(first), 10_000));
    for _ in 0..40 {
        driven.take();
        while driven
            .effects
            .iter()
            .all(|effect| !matches!(effect, Effect::History(..)))
        {
            driven.give(key(KeyCode::PageUp));
        }
        driven.answer_history(page(
            GENERAL,
            stretch(first - 100, first - 1),
            Some(first - 100),
            10_000,
        ));
        first -= 100;
    }
    let kept = driven.model.conversation().unwrap().entries().len();
    assert!(kept <= 2_000, "{kept}");
    driven.take();
    driven.give(posted(GENERAL, 10_001, "u2", "newest"));
    assert!(!driven.model.conversation().unwrap().has_end());
    driven.give(with(KeyModifiers::CONTROL, KeyCode::End));
    let (_, wanted) = driven.wanted();
    assert_eq!(wanted.anchor, Anchor::Latest);
    driven.answer_history(page(GENERAL, stretch(9_902, 10_001), Some(9_902), 10_001));
    assert!(driven.shows("message 10001."));
}

#[test]
fn new_messages_have_a_line_above_them() {
    let mut unread = summary(GENERAL, 9, 5);
    unread.read_state.read = Offset(3);
    unread.read_state.unread = 2;
    let mut driven = Driven::with_channels(vec![unread]);
    driven.answer_history(page(GENERAL, many(5), None, 5));
    let rows = driven.rows();
    let line = rows.iter().position(|row| row.contains("new messages"));
    let fourth = rows.iter().position(|row| row.contains("message 4."));
    assert!(line.unwrap() < fourth.unwrap());
    assert!(
        line.unwrap()
            > rows
                .iter()
                .position(|row| row.contains("message 3."))
                .unwrap()
    );
    driven.enter("answered");
    assert!(!driven.shows("new messages"));
}

#[test]
fn days_and_senders_have_headings() {
    let mut messages = many(2);
    messages[1].created_at_ms += 86_400_000;
    let driven = Driven::in_general(messages);
    let rows = driven.rows();
    assert!(
        rows.iter()
            .any(|row| row.contains("Wednesday, 4 March 2026"))
    );
    assert!(
        rows.iter()
            .any(|row| row.contains("Thursday, 5 March 2026"))
    );
    let driven = Driven::in_general(many(3));
    let headings = driven
        .rows()
        .iter()
        .filter(|row| row.starts_with("u2"))
        .count();
    assert_eq!(headings, 1, "one heading for messages that follow at once");
}

#[test]
fn receipts_say_who_has_seen_our_newest_message() {
    let mut messages = many(1);
    messages.push(wire_message(2, "u1", "mine"));
    let mut driven = Driven::in_general(messages);
    let receipt = |read| {
        Input::Event(ClientEvent::Receipt(Receipt {
            channel: channel(GENERAL),
            thread: None,
            user: user("u2"),
            read: Offset(read),
            delivered: Offset(read),
            at_ms: NOW_MS,
        }))
    };
    driven.give(receipt(1));
    assert!(!driven.shows("seen by"));
    driven.give(receipt(2));
    assert!(driven.shows("seen by u2"));
    driven.give(receipt(1));
    assert!(driven.shows("seen by u2"), "cursors do not go back");
}

#[test]
fn typing_is_told_and_heard() {
    let mut driven = Driven::in_general(many(1));
    let here = Place::channel(channel(GENERAL));
    driven.write("h");
    assert!(driven.effects.contains(&Effect::Typing(here.clone())));
    driven.give(key(KeyCode::Backspace));
    assert!(driven.effects.contains(&Effect::StopTyping(here)));
    driven.take();
    driven.write("/dm u2");
    assert!(
        !driven
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::Typing(_)))
    );
    let typing = |on| {
        Input::Event(ClientEvent::Typing(TypingChanged {
            channel: channel(GENERAL),
            thread: None,
            user: user("u2"),
            name: "Uma Two".into(),
            on,
        }))
    };
    let text = |driven: &Driven| driven.model.people().typing_text(&channel(GENERAL), None);
    driven.give(typing(true));
    assert_eq!(text(&driven), "Uma Two is typing…");
    driven.give(posted(GENERAL, 2, "u2", "done"));
    assert_eq!(text(&driven), "", "who has posted types no more");
}

#[test]
fn only_own_messages_are_edited() {
    let mut driven = Driven::in_general(vec![
        wire_message(1, "u1", "mine"),
        wire_message(2, "u2", "theirs"),
    ]);
    driven.enter("/edit");
    assert_eq!(driven.model.editor().text(), "mine");
    driven.write(" too");
    driven.give(key(KeyCode::Enter));
    let edit = driven.take().into_iter().find_map(|effect| match effect {
        Effect::Edit {
            message,
            content,
            version,
            ..
        } => Some((message, content, version)),
        _ => None,
    });
    assert_eq!(edit, Some((Offset(1), "mine too".into(), 1)));
    driven.give(key(KeyCode::Up));
    driven.give(key(KeyCode::Char('e')));
    assert!(driven.model.said().unwrap().is_problem);
    assert!(driven.model.editing().is_none());
}

/// Deleting cannot be undone, so it is asked for.
#[test]
fn deleting_asks_first() {
    let mut driven = Driven::in_general(vec![wire_message(1, "u1", "mine")]);
    driven.enter("/delete");
    assert!(matches!(
        driven.model.overlay(),
        Some(Overlay::Confirm { .. })
    ));
    driven.give(key(KeyCode::Char('n')));
    assert!(driven.model.overlay().is_none());
    let is_delete = |effect: &Effect| matches!(effect, Effect::Delete(..));
    assert!(!driven.effects.iter().any(is_delete));
    driven.enter("/delete");
    driven.give(key(KeyCode::Char('y')));
    assert!(driven.effects.iter().any(is_delete));
}

#[test]
fn a_reaction_is_put_on_and_taken_off() {
    let mut driven = Driven::in_general(many(1));
    let react = |driven: &mut Driven| {
        driven.enter("/react 👍");
        driven.take().into_iter().find_map(|effect| match effect {
            Effect::React { message, on, .. } => Some((message, on)),
            _ => None,
        })
    };
    assert_eq!(react(&mut driven), Some((Offset(1), true)));
    let added = Change::ReactionAdded {
        message: Offset(1),
        by: user("u1"),
        emoji: Emoji::new("👍").unwrap(),
    };
    driven.give(event(GENERAL, 2, added));
    assert_eq!(react(&mut driven), Some((Offset(1), false)));
}

#[test]
fn users_are_completed_and_mentioned() {
    let mut driven = Driven::in_general(many(1));
    let profile = |id: &str, name: &str| UserProfile {
        id: user(id),
        name: name.into(),
        kind: UserKind::Internal,
        active: true,
        admin: false,
    };
    driven.write("ask @bob");
    assert!(driven.effects.contains(&Effect::FindUsers("bob".into())));
    let found = vec![profile("u7", "Bob Jones"), profile("bobby", "Robert")];
    driven.give(Input::Outcome(Outcome::Profiles(found)));
    driven.give(key(KeyCode::Tab));
    assert_eq!(driven.model.editor().text(), "ask @bobby ");
    driven.give(key(KeyCode::Tab));
    assert_eq!(driven.model.editor().text(), "ask @u7 ");
    driven.enter("now, @nobody");
    let mentioned = driven.take().into_iter().find_map(|effect| match effect {
        Effect::Send { mentioned, .. } => Some(mentioned.users),
        _ => None,
    });
    assert_eq!(mentioned, Some(vec![user("u7")]));
    driven.write("/me");
    driven.give(key(KeyCode::Tab));
    assert_eq!(driven.model.editor().text(), "/members ");
}

#[test]
fn drafts_stay_where_they_were_written() {
    let mut driven =
        Driven::with_channels(vec![summary(GENERAL, 9, 1), summary("dept-sales", 1, 1)]);
    driven.write("half a");
    driven.give(with(KeyModifiers::ALT, KeyCode::Down));
    assert!(driven.model.editor().is_empty());
    assert_eq!(
        driven.model.here(),
        Some(&Place::channel(channel("dept-sales")))
    );
    assert!(driven.effects.contains(&Effect::Close(channel(GENERAL))));
    driven.give(with(KeyModifiers::ALT, KeyCode::Up));
    assert_eq!(driven.model.editor().text(), "half a");
}

#[test]
fn the_switcher_goes_to_people_too() {
    let mut driven =
        Driven::with_channels(vec![summary(GENERAL, 9, 1), summary("dept-sales", 1, 1)]);
    driven.give(with(KeyModifiers::CONTROL, KeyCode::Char('k')));
    driven.write("sal");
    driven.give(key(KeyCode::Enter));
    assert_eq!(
        driven.model.here(),
        Some(&Place::channel(channel("dept-sales")))
    );
    driven.give(with(KeyModifiers::CONTROL, KeyCode::Char('k')));
    driven.write("bob");
    let bob = UserProfile {
        id: user("u7"),
        name: "Bob".into(),
        kind: UserKind::Internal,
        active: true,
        admin: false,
    };
    driven.give(Input::Outcome(Outcome::Profiles(vec![bob])));
    driven.give(key(KeyCode::Enter));
    assert!(driven.effects.contains(&Effect::OpenDm(user("u7"))));
    let dm = summary("dm-u1-u7", 10, 0);
    driven.give(Input::Outcome(Outcome::Entered(dm)));
    assert_eq!(
        driven.model.here(),
        Some(&Place::channel(channel("dm-u1-u7")))
    );
}

/// What made a message unread must not be undone by its being on the screen.
#[test]
fn unread_by_hand_stays_unread() {
    let mut driven = Driven::in_general(many(3));
    driven.wait();
    driven.give(key(KeyCode::Up));
    driven.give(key(KeyCode::Char('u')));
    assert!(
        driven
            .effects
            .contains(&Effect::MarkUnread(channel(GENERAL), Offset(3)))
    );
    driven.take();
    let mut back = summary(GENERAL, 9, 3);
    back.read_state.read = Offset(2);
    back.read_state.unread = 1;
    driven.give(Input::Channels(vec![back], ChannelTotals::default()));
    assert!(
        !driven
            .effects
            .iter()
            .any(|effect| matches!(effect, Effect::MarkRead(..)))
    );
    assert!(driven.shows("new messages"));
}

#[test]
fn the_link_counts_down() {
    let mut driven = Driven::in_general(many(1));
    driven.give(Input::Event(ClientEvent::Disconnected {
        reason: DownReason::Lost,
        retry_in_ms: 4_000,
    }));
    let text = |driven: &Driven| driven.model.link().text(driven.model.now_ms());
    assert_eq!(
        text(&driven),
        "not connected, next try in 4 s: the connection was lost"
    );
    driven.give(Input::Now(NOW_MS + 3_500));
    assert_eq!(
        text(&driven),
        "not connected, next try in 1 s: the connection was lost"
    );
}

#[test]
fn a_lost_channel_is_left() {
    let mut driven = Driven::with_channels(vec![
        summary("group-1-abcdefg2", 9, 1),
        summary(GENERAL, 1, 1),
    ]);
    driven.give(Input::Event(ClientEvent::ChannelRemoved {
        channel: channel("group-1-abcdefg2"),
    }));
    assert_eq!(driven.model.here(), Some(&Place::channel(channel(GENERAL))));
    let opened = Effect::Open(channel(GENERAL));
    assert!(driven.effects.contains(&opened));
}

#[test]
fn members_that_come_and_go_are_told() {
    let mut driven = Driven::in_general(many(1));
    let members = |by: Option<&str>, added: &[&str], removed: &[&str]| Change::MembersChanged {
        by: by.map(user),
        added: added
            .iter()
            .map(|id| confab_protocol::message::event::Member {
                user: user(id),
                role: ChannelRole::Member,
            })
            .collect(),
        removed: removed.iter().map(|id| user(id)).collect(),
        added_count: u32::try_from(added.len()).unwrap(),
        removed_count: u32::try_from(removed.len()).unwrap(),
        member_count: 3,
        directory_index: 1,
    };
    driven.give(event(GENERAL, 2, members(None, &["u8"], &[])));
    assert!(driven.shows("u8 came in"));
    driven.give(event(GENERAL, 3, members(Some("u2"), &["u9"], &[])));
    assert!(driven.shows("u2 brought in u9"));
    driven.give(event(GENERAL, 4, members(Some("u9"), &[], &["u9"])));
    assert!(driven.shows("u9 left"));
}

/// Keys in any order, at any size, must not panic; nor may anything that a
/// server can send.
#[test]
fn any_keys_at_any_size_are_survived() {
    use rand::{Rng, SeedableRng};
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut random = rand::rngs::SmallRng::seed_from_u64(seed);
    let mut driven = Driven::in_general(many(120));
    let codes = [
        KeyCode::Up,
        KeyCode::Down,
        KeyCode::PageUp,
        KeyCode::PageDown,
        KeyCode::Left,
        KeyCode::Right,
        KeyCode::Home,
        KeyCode::End,
        KeyCode::Enter,
        KeyCode::Tab,
        KeyCode::BackTab,
        KeyCode::Esc,
        KeyCode::Backspace,
        KeyCode::Delete,
        KeyCode::F(1),
        KeyCode::Char('a'),
        KeyCode::Char('@'),
        KeyCode::Char('/'),
        KeyCode::Char('é'),
        KeyCode::Char('東'),
        KeyCode::Char('\u{301}'),
        KeyCode::Char('y'),
        KeyCode::Char('k'),
        KeyCode::Char('u'),
        KeyCode::Char('e'),
        KeyCode::Char('r'),
        KeyCode::Char('t'),
    ];
    let modifiers = [
        KeyModifiers::NONE,
        KeyModifiers::NONE,
        KeyModifiers::CONTROL,
        KeyModifiers::ALT,
    ];
    for step in 0..4_000 {
        match random.random_range(0..20) {
            0 => driven.give(Input::Size(
                random.random_range(0..120),
                random.random_range(0..40),
            )),
            1 => driven.give(posted(GENERAL, 200 + step, "u2", "x\ny")),
            2 => driven.give(Input::Paste("a\n@b /c\x1b".into())),
            3 => driven.give(event(
                GENERAL,
                200 + step,
                Change::MessageDeleted {
                    message: Offset(random.random_range(0..300)),
                    by: user("u2"),
                },
            )),
            _ => {
                let code = codes[random.random_range(0..codes.len())];
                driven.give(with(modifiers[random.random_range(0..4)], code));
            }
        }
        if step % 50 == 0 {
            driven.rows();
            for effect in driven.take() {
                if let Effect::History(place, wanted) = effect {
                    let answer = page(GENERAL, many(30), None, 30);
                    driven.give(Input::Outcome(Outcome::History(place, wanted, Ok(answer))));
                }
            }
        }
    }
}
