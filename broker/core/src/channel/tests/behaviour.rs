//! Single behaviours: limits, pages, and what the model does not reach.

use confab_protocol::codec::{decode, encode};
use confab_protocol::limits::{CONTENT_BYTES_MAX, PAGE_BYTES_SOFT_MAX, SERVER_FRAME_BYTES_MAX};
use confab_protocol::message::channel::Anchor;
use confab_protocol::{ChannelId, Epoch, Offset, Position, Sequence};

use super::model::{device, emoji, user};
use super::steps::Writer;
use crate::channel::{
    Action, Delete, EDITS_MAX, Edit, PINS_MAX, Pin, Post, React, Refusal, Reply, StoredMentions,
    apply, query,
};
use crate::store::MemoryStore;

const EPOCH: Epoch = Epoch(3);

struct Channel {
    store: MemoryStore,
    writer: Writer,
}

impl Channel {
    fn new() -> Self {
        let mut writer = Writer::new(ChannelId::general(), EPOCH);
        let mut store = MemoryStore::new();
        let created = writer.created(1);
        apply(&mut store, &created);
        Self { store, writer }
    }

    fn act(&mut self, action: Action) -> Reply {
        let command = self.writer.command(5, action);
        apply(&mut self.store, &command).reply
    }

    fn post(&mut self, content: &str) -> Offset {
        match self.act(Action::Post(plain(content))) {
            Reply::Posted { position, .. } => position.offset,
            other => panic!("{other:?}"),
        }
    }
}

fn plain(content: &str) -> Post {
    Post {
        sender: user(0),
        device: device(0),
        sequence: Sequence(0),
        client_message_id: None,
        content: content.into(),
        thread_root: None,
        attachments: Vec::new(),
        mentions: StoredMentions::default(),
    }
}

/// A resend months later, on a message deleted since, with other content: the
/// first answer, or the client would post it twice.
#[test]
fn a_resend_gets_the_first_answer_for_ever() {
    let mut channel = Channel::new();
    let mut post = plain("once");
    post.sequence = Sequence(4);
    let first = channel.act(Action::Post(post.clone()));
    let Reply::Posted {
        position,
        created_at_ms,
        duplicate: false,
    } = first
    else {
        panic!("{first:?}")
    };
    channel.act(Action::Delete(Delete {
        by: user(0),
        message: position.offset,
    }));
    post.content = "twice".into();
    let again = channel.act(Action::Post(post));
    assert_eq!(
        again,
        Reply::Posted {
            position,
            created_at_ms,
            duplicate: true
        }
    );
}

#[test]
fn limits_are_refused_not_exceeded() {
    let mut channel = Channel::new();
    let message = channel.post("x");
    for version in 0..EDITS_MAX {
        let content = format!("edit {version}").into();
        let edit = Edit {
            by: user(0),
            message,
            content,
            mentions: StoredMentions::default(),
            if_version: None,
        };
        assert!(matches!(
            channel.act(Action::Edit(edit)),
            Reply::Changed { .. }
        ));
    }
    let edit = Edit {
        by: user(0),
        message,
        content: "more".into(),
        mentions: StoredMentions::default(),
        if_version: None,
    };
    assert_eq!(
        channel.act(Action::Edit(edit)),
        Reply::Refused(Refusal::TooManyEdits)
    );
    assert_eq!(
        query::message(&channel.store, EPOCH, message, true)
            .unwrap()
            .versions
            .len(),
        99
    );

    for number in 0..51 {
        let react = React {
            by: user(0),
            message,
            emoji: emoji(number),
            on: true,
        };
        let reply = channel.act(Action::React(react));
        assert_eq!(
            reply == Reply::Refused(Refusal::TooManyReactions),
            number == 50
        );
    }
    for number in 0..=PINS_MAX {
        let message = channel.post("pinned");
        let reply = channel.act(Action::Pin(Pin {
            by: user(0),
            message,
            on: true,
        }));
        assert_eq!(
            reply == Reply::Refused(Refusal::TooManyPins),
            number == PINS_MAX
        );
    }
    let long = "x".repeat(CONTENT_BYTES_MAX + 1);
    assert_eq!(
        channel.act(Action::Post(plain(&long))),
        Reply::Refused(Refusal::TooLarge)
    );
}

/// The 21st user moves up when one of the first 20 takes the reaction back.
#[test]
fn first_users_are_in_order() {
    let mut channel = Channel::new();
    let message = channel.post("x");
    for by in 0..25 {
        channel.act(Action::React(React {
            by: user(by),
            message,
            emoji: emoji(0),
            on: true,
        }));
    }
    channel.act(Action::React(React {
        by: user(3),
        message,
        emoji: emoji(0),
        on: false,
    }));
    let shown = query::message(&channel.store, EPOCH, message, false)
        .unwrap()
        .message;
    let reaction = shown.reactions.iter().next().unwrap();
    assert_eq!(reaction.count, 24);
    let expected: Vec<_> = (0..21).filter(|by| *by != 3).map(user).collect();
    assert_eq!(reaction.users.to_vec(), expected);
}

/// A page must fit a frame whatever the messages hold, and always go on.
#[test]
fn pages_of_long_messages_fit_a_frame() {
    let mut channel = Channel::new();
    for _ in 0..20 {
        let message = channel.post(&"é".repeat(CONTENT_BYTES_MAX / 2));
        channel.act(Action::Pin(Pin {
            by: user(0),
            message,
            on: true,
        }));
    }
    let page = query::history(&channel.store, EPOCH, None, Anchor::Latest, 200).unwrap();
    let bytes = encode(&page).len();
    assert!(
        bytes > PAGE_BYTES_SOFT_MAX && bytes < SERVER_FRAME_BYTES_MAX,
        "{bytes}"
    );
    let mut seen = page.messages.len();
    let mut before = page.next_before;
    while let Some(offset) = before {
        let page =
            query::history(&channel.store, EPOCH, None, Anchor::Before(offset), 200).unwrap();
        seen += page.messages.len();
        before = page.next_before;
    }
    assert_eq!(seen, 20);
    let after = Position {
        epoch: EPOCH,
        offset: Offset(0),
    };
    let page = query::sync(&channel.store, EPOCH, after, 200).unwrap();
    assert!(encode(&page).len() < SERVER_FRAME_BYTES_MAX);
    assert!(encode(&query::pins(&channel.store, EPOCH).unwrap()).len() < SERVER_FRAME_BYTES_MAX);
    let state = query::channel_state(&channel.store, EPOCH).unwrap();
    assert_eq!(state.last_message.unwrap().content.chars().count(), 200);
}

/// A position of an earlier life of the channel starts from its first event.
#[test]
fn another_epoch_starts_from_the_first_event() {
    let mut channel = Channel::new();
    channel.post("x");
    let old = Position {
        epoch: Epoch(2),
        offset: Offset(900),
    };
    let page = query::sync(&channel.store, EPOCH, old, 0).unwrap();
    assert_eq!(page.epoch, EPOCH);
    assert_eq!(
        page.events.iter().map(|e| e.offset.0).collect::<Vec<_>>(),
        [1, 2, 3]
    );
}

/// Whatever a decodable command holds, it is answered.
#[test]
fn extreme_numbers_are_answered() {
    let mut channel = Channel::new();
    for offset in [0, 1, u64::MAX].map(Offset) {
        for action in [
            Action::Delete(Delete {
                by: user(0),
                message: offset,
            }),
            Action::Pin(Pin {
                by: user(0),
                message: offset,
                on: true,
            }),
            Action::MarkUnread(crate::channel::MarkUnread {
                user: user(0),
                thread: None,
                offset,
            }),
            Action::MoveCursor(crate::channel::MoveCursor {
                user: user(0),
                thread: Some(offset),
                cursor: crate::channel::Cursor::Read,
                offset,
            }),
            Action::Purge { rows_max: 0 },
        ] {
            channel.act(action);
        }
        for anchor in [
            Anchor::Before(offset),
            Anchor::After(offset),
            Anchor::AtTime(offset.0),
        ] {
            assert!(query::history(&channel.store, EPOCH, None, anchor, u16::MAX).is_ok());
        }
        let position = Position {
            epoch: EPOCH,
            offset,
        };
        assert!(query::sync(&channel.store, EPOCH, position, 1).is_ok());
    }
    let mut posted = channel
        .writer
        .command(u64::MAX, Action::Post(plain("late")));
    apply(&mut channel.store, &posted);
    posted.at_ms = 0;
    let reply = apply(&mut channel.store, &posted).reply;
    assert!(matches!(
        reply,
        Reply::Posted {
            created_at_ms: u64::MAX,
            ..
        }
    ));
    for epoch in [0, u64::MAX].map(Epoch) {
        posted.epoch = epoch;
        assert_eq!(
            apply(&mut channel.store, &posted).reply,
            Reply::Refused(Refusal::ChannelGone)
        );
    }
}

/// Every refusal crosses the Raft layer and has a sentence for a person.
#[test]
fn refusals_come_back() {
    let message = Offset(4);
    for refusal in [
        Refusal::ChannelGone,
        Refusal::NoSuchMessage { message },
        Refusal::MessageDeleted { message },
        Refusal::ChannelArchived,
        Refusal::VersionConflict { version: 2 },
        Refusal::RootIsReply { root: message },
        Refusal::TooManyEdits,
        Refusal::TooManyReactions,
        Refusal::TooManyPins,
        Refusal::TooLarge,
        Refusal::NotDeleted,
    ] {
        assert_eq!(decode::<Refusal>(&encode(&refusal)).unwrap(), refusal);
        let wire = confab_protocol::error::WireError::from(refusal);
        assert_eq!(wire.code(), refusal.code());
        assert!(wire.message.len() > 10);
    }
}
