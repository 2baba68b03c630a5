//! Random steps, and the commands that they become.
//!
//! A step names its targets by small numbers, so that many of them meet: the
//! same message, the same user, the same resend.

use confab_protocol::message::event::ChannelRole;
use confab_protocol::{ChannelId, ChannelKind, Epoch, Offset, Sequence};
use proptest::prelude::*;

use super::model::{client_id, device, emoji, user};
use crate::channel::{
    Action, Command, Cursor, Delete, Edit, Follow, MarkUnread, MoveCursor, Pin, Post, React, Show,
    StoredAttachment, StoredMentions,
};
use crate::directory::{ChannelChangeKind, MembersDelta, StoredProperties};

/// Users in the tests: few, so that they meet.
pub(super) const USERS: u8 = 4;

/// What happens, in small numbers.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Post {
        sender: u8,
        device: u8,
        sequence: u8,
        client_id: Option<u8>,
        thread: Option<u16>,
        attachment: bool,
        mentions: u8,
    },
    Edit {
        message: u16,
        same: bool,
        mentions: u8,
        if_version: Option<u8>,
    },
    Delete(u16),
    React(u8, u16, u8, bool),
    Pin(u16, bool),
    MoveCursor(u8, Option<u16>, bool, u16),
    MarkUnread(u8, Option<u16>, u16),
    Follow(u8, u16, bool),
    Members {
        added: u8,
        removed: u8,
    },
    Archive(bool),
    RepeatChange,
    StaleEpoch(u8),
}

fn target() -> impl Strategy<Value = u16> {
    any::<u16>()
}

fn some_user() -> impl Strategy<Value = u8> {
    0..USERS
}

/// Mentions in bits: users 0 to 3, then `channel` and `here`; seldom the latter.
fn mention_bits() -> impl Strategy<Value = u8> {
    prop_oneof![3 => Just(0u8), 3 => 0u8..16, 1 => 0u8..64]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let maybe_target = || prop::option::weighted(0.4, target());
    prop_oneof![
        12 => (
            some_user(),
            0u8..2,
            0u8..12,
            prop::option::weighted(0.3, 0u8..12),
            maybe_target(),
            prop::bool::weighted(0.1),
            mention_bits(),
        )
            .prop_map(
                |(sender, device, sequence, client_id, thread, attachment, mentions)| Step::Post {
                    sender, device, sequence, client_id, thread, attachment, mentions,
                }
            ),
        4 => (target(), prop::bool::weighted(0.1), mention_bits(), prop::option::weighted(0.2, 1u8..4))
            .prop_map(|(message, same, mentions, if_version)| Step::Edit {
                message, same, mentions, if_version,
            }),
        3 => target().prop_map(Step::Delete),
        4 => (some_user(), target(), 0u8..3, prop::bool::weighted(0.6))
            .prop_map(|(by, message, emoji, on)| Step::React(by, message, emoji, on)),
        2 => (target(), prop::bool::weighted(0.7)).prop_map(|(message, on)| Step::Pin(message, on)),
        4 => (some_user(), maybe_target(), any::<bool>(), target())
            .prop_map(|(user, thread, read, offset)| Step::MoveCursor(user, thread, read, offset)),
        2 => (some_user(), maybe_target(), target())
            .prop_map(|(user, thread, offset)| Step::MarkUnread(user, thread, offset)),
        1 => (some_user(), target(), any::<bool>())
            .prop_map(|(user, root, on)| Step::Follow(user, root, on)),
        1 => (0u8..16, 0u8..16).prop_map(|(added, removed)| Step::Members {
            added, removed: removed & !added,
        }),
        1 => prop::bool::weighted(0.3).prop_map(Step::Archive),
        1 => Just(Step::RepeatChange),
        1 => some_user().prop_map(Step::StaleEpoch),
    ]
}

/// Turns steps into commands; what they say is unique and so can be searched for.
pub(super) struct Writer {
    pub(super) channel: ChannelId,
    pub(super) epoch: Epoch,
    directory_index: u64,
    contents: u64,
    last_change: Option<Command>,
}

impl Writer {
    pub(super) fn new(channel: ChannelId, epoch: Epoch) -> Self {
        Self {
            channel,
            epoch,
            directory_index: 0,
            contents: 0,
            last_change: None,
        }
    }

    pub(super) fn command(&self, at_ms: u64, action: Action) -> Command {
        Command {
            channel: self.channel.clone(),
            epoch: self.epoch,
            at_ms,
            directory_index: self.directory_index,
            action,
        }
    }

    pub(super) fn change(&mut self, at_ms: u64, what: ChannelChangeKind) -> Command {
        self.directory_index += 1;
        let by = (self.directory_index.is_multiple_of(2)).then(|| user(0));
        let command = self.command(
            at_ms,
            Action::Show(Show {
                ordinal: 0,
                kind: ChannelKind::Group,
                by,
                what,
            }),
        );
        self.last_change = Some(command.clone());
        command
    }

    pub(super) fn created(&mut self, at_ms: u64) -> Command {
        let what = ChannelChangeKind::Created {
            properties: StoredProperties {
                name: "group".into(),
                ..StoredProperties::default()
            },
            members: members(0b111, 0),
        };
        self.change(at_ms, what)
    }

    fn content(&mut self) -> String {
        self.contents += 1;
        format!("content number {} of this test.", self.contents)
    }

    /// `head` maps a step's target to an offset: 0 to one past the head.
    pub(super) fn write(&mut self, step: &Step, head: u64, at_ms: u64) -> Command {
        let offset = |target: u16| Offset(u64::from(target) % (head + 2));
        let action = match step.clone() {
            Step::Post {
                sender,
                device: from,
                sequence,
                client_id: id,
                thread,
                attachment,
                mentions,
            } => Action::Post(Post {
                sender: user(sender),
                device: device(from),
                // Half of the posts carry no sequence, so they are never resends.
                sequence: Sequence(u64::from(sequence.saturating_sub(6))),
                client_message_id: id.map(client_id),
                content: self.content().into(),
                thread_root: thread.map(offset),
                attachments: attachment.then(|| self.attachment()).into_iter().collect(),
                mentions: mentions_of(mentions),
            }),
            Step::Edit {
                message,
                same,
                mentions,
                if_version,
            } => Action::Edit(Edit {
                by: user(0),
                message: offset(message),
                content: if same {
                    "same".into()
                } else {
                    self.content().into()
                },
                mentions: mentions_of(mentions),
                if_version: if_version.map(u32::from),
            }),
            Step::Delete(message) => Action::Delete(Delete {
                by: user(1),
                message: offset(message),
            }),
            Step::React(by, message, which, on) => Action::React(React {
                by: user(by),
                message: offset(message),
                emoji: emoji(which),
                on,
            }),
            Step::Pin(message, on) => Action::Pin(Pin {
                by: user(2),
                message: offset(message),
                on,
            }),
            Step::MoveCursor(whose, thread, read, to) => Action::MoveCursor(MoveCursor {
                user: user(whose),
                thread: thread.map(offset),
                cursor: if read {
                    Cursor::Read
                } else {
                    Cursor::Delivered
                },
                offset: offset(to),
            }),
            Step::MarkUnread(whose, thread, from) => Action::MarkUnread(MarkUnread {
                user: user(whose),
                thread: thread.map(offset),
                offset: offset(from),
            }),
            Step::Follow(who, root, on) => Action::Follow(Follow {
                user: user(who),
                root: offset(root),
                on,
            }),
            Step::Members { added, removed } => {
                return self.change(at_ms, ChannelChangeKind::Members(members(added, removed)));
            }
            Step::Archive(archived) => {
                let properties = StoredProperties {
                    name: "renamed".into(),
                    archived_at_ms: archived.then_some(at_ms),
                    ..StoredProperties::default()
                };
                return self.change(at_ms, ChannelChangeKind::Updated { properties });
            }
            Step::RepeatChange => {
                return self
                    .last_change
                    .clone()
                    .expect("a log begins with a change");
            }
            Step::StaleEpoch(whose) => {
                let follow = Follow {
                    user: user(whose),
                    root: Offset(3),
                    on: true,
                };
                let mut command = self.command(at_ms, Action::Follow(follow));
                command.epoch = Epoch(self.epoch.0 + 1);
                return command;
            }
        };
        self.command(at_ms, action)
    }

    fn attachment(&mut self) -> StoredAttachment {
        StoredAttachment {
            name: self.content().into(),
            media_type: "text/plain".into(),
            bytes: 7,
            url: "https://example.org/file".into(),
        }
    }
}

fn mentions_of(bits: u8) -> StoredMentions {
    let mut users: Vec<_> = (0..4).filter(|n| bits >> n & 1 == 1).map(user).collect();
    // A user who is named twice is mentioned once.
    users.extend(users.first().cloned());
    StoredMentions {
        users,
        channel: bits >> 4 & 1 == 1,
        here: bits >> 5 & 1 == 1,
    }
}

fn members(added: u8, removed: u8) -> MembersDelta {
    let of = |bits: u8| (0..4).filter(move |n| bits >> n & 1 == 1).map(user);
    MembersDelta {
        added: of(added).map(|user| (user, ChannelRole::Member)).collect(),
        removed: of(removed).collect(),
        added_count: added.count_ones(),
        removed_count: removed.count_ones(),
        member_count: 3 + added.count_ones(),
    }
}
