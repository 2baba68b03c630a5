//! What the model answers to every question, recounted each time.

use confab_protocol::Offset;
use confab_protocol::id::UserId;
use confab_protocol::message::channel::{MemberCursor, MessagePreview, ReadState, ThreadInfo};
use confab_protocol::message::event::{Change, Event, Member, Message, MessageVersion, Reaction};

use super::{Model, ModelEvent, ModelMessage};
use crate::channel::StoredMentions;
use crate::directory::StoredProperties;

impl Model {
    pub(in crate::channel::tests) fn cursor(&self, root: Option<u64>, user: &UserId) -> (u64, u64) {
        let found = self.cursors.get(&(root, user.clone()));
        found.copied().unwrap_or_default()
    }

    /// Counts by going through every message.
    pub(in crate::channel::tests) fn read_state(
        &self,
        root: Option<u64>,
        user: &UserId,
    ) -> ReadState {
        let (read, delivered) = self.cursor(root, user);
        let unread: Vec<_> = self
            .messages
            .iter()
            .filter(|(offset, m)| {
                **offset > read
                    && m.post.thread_root.map(|root| root.0) == root
                    && m.deleted_at_ms.is_none()
                    && m.post.sender != *user
            })
            .collect();
        let mentions = unread.iter().filter(|(_, m)| {
            let (_, mentions, _) = m.versions.last().expect("has a version");
            mentions.channel || mentions.here || mentions.users.contains(user)
        });
        ReadState {
            read: Offset(read),
            delivered: Offset(delivered),
            unread: unread.len() as u32,
            mentions: mentions.count() as u32,
        }
    }

    fn replies(&self, root: u64) -> impl Iterator<Item = (&u64, &ModelMessage)> {
        self.messages
            .iter()
            .filter(move |(_, m)| m.post.thread_root == Some(Offset(root)))
    }

    fn live_replies(&self, root: u64) -> Vec<u64> {
        let live = self
            .replies(root)
            .filter(|(_, m)| m.deleted_at_ms.is_none());
        live.map(|(offset, _)| *offset).collect()
    }

    pub(in crate::channel::tests) fn thread_info(&self, root: u64, user: &UserId) -> ThreadInfo {
        let live = self.live_replies(root);
        ThreadInfo {
            channel: self.channel.clone(),
            root: Offset(root),
            reply_count: live.len() as u32,
            last_reply: live.last().copied().map(Offset),
            following: self.following.contains(&(root, user.clone())),
            follower_count: self.following.iter().filter(|(r, _)| *r == root).count() as u32,
            read_state: self.read_state(Some(root), user),
        }
    }

    pub(in crate::channel::tests) fn message_wire(&self, offset: u64) -> Message {
        let m = &self.messages[&offset];
        let gone = m.deleted_at_ms.is_some();
        let (content, mentions, written) = m.versions.last().expect("has a version").clone();
        let live = self.live_replies(offset);
        Message {
            offset: Offset(offset),
            sender: m.post.sender.clone(),
            content: if gone { "".into() } else { content.into() },
            thread_root: m.post.thread_root,
            attachments: if gone {
                Vec::new().into()
            } else {
                m.post.attachments.iter().map(|a| a.to_wire()).collect()
            },
            mentions: if gone {
                StoredMentions::default()
            } else {
                mentions
            }
            .to_wire(),
            client_message_id: m.post.client_message_id.clone(),
            created_at_ms: m.at_ms,
            edited_at_ms: (m.versions.len() > 1).then_some(written),
            deleted_at_ms: m.deleted_at_ms,
            version: m.versions.len() as u32,
            pinned: m.pinned_at.is_some(),
            reply_count: live.len() as u32,
            last_reply: live.last().copied().map(Offset),
            reactions: m
                .reactions
                .iter()
                .map(|(emoji, users)| Reaction {
                    emoji: emoji.clone(),
                    count: users.len() as u32,
                    users: users.iter().take(20).cloned().collect(),
                })
                .collect(),
        }
    }

    pub(in crate::channel::tests) fn versions_wire(&self, offset: u64) -> Vec<MessageVersion> {
        let m = &self.messages[&offset];
        if m.deleted_at_ms.is_some() {
            return Vec::new();
        }
        let earlier = &m.versions[..m.versions.len() - 1];
        let numbered = earlier.iter().zip(1..);
        numbered
            .map(|((content, _, at_ms), version)| MessageVersion {
                version,
                content: content.as_str().into(),
                written_at_ms: *at_ms,
            })
            .collect()
    }

    /// What a page through all of a scope shows.
    pub(in crate::channel::tests) fn history(&self, root: Option<u64>) -> Vec<Message> {
        let within = |(offset, m): &(&u64, &ModelMessage)| {
            m.post.thread_root.map(|root| root.0) == root || Some(**offset) == root
        };
        let offsets = self
            .messages
            .iter()
            .filter(within)
            .map(|(offset, _)| *offset);
        offsets.map(|offset| self.message_wire(offset)).collect()
    }

    pub(in crate::channel::tests) fn message_offsets(&self) -> Vec<u64> {
        self.messages.keys().copied().collect()
    }

    /// The first offset at or after a time.
    pub(in crate::channel::tests) fn first_at(&self, at_ms: u64) -> u64 {
        let before = self.events.iter().filter(|(at, _)| *at < at_ms);
        before.count() as u64 + 1
    }

    pub(in crate::channel::tests) fn pins(&self) -> Vec<u64> {
        let mut pins: Vec<_> = self
            .messages
            .iter()
            .filter_map(|(offset, m)| Some((m.pinned_at?, *offset)))
            .collect();
        pins.sort_by(|one, other| other.cmp(one));
        pins.into_iter().map(|(_, offset)| offset).collect()
    }

    pub(in crate::channel::tests) fn cursors_wire(&self, root: Option<u64>) -> Vec<MemberCursor> {
        self.cursors
            .iter()
            .filter(|((scope, user), (_, delivered))| {
                *scope == root && *delivered > 0 && (root.is_some() || self.members.contains(user))
            })
            .map(|((_, user), (read, delivered))| MemberCursor {
                user: user.clone(),
                read: Offset(*read),
                delivered: Offset(*delivered),
            })
            .collect()
    }

    pub(in crate::channel::tests) fn last_message(&self) -> Option<MessagePreview> {
        let (offset, m) = self
            .messages
            .iter()
            .rfind(|(_, m)| m.post.thread_root.is_none() && m.deleted_at_ms.is_none())?;
        Some(MessagePreview {
            offset: Offset(*offset),
            sender: m.post.sender.clone(),
            content: m
                .versions
                .last()?
                .0
                .chars()
                .take(200)
                .collect::<String>()
                .into(),
            created_at_ms: m.at_ms,
        })
    }

    pub(in crate::channel::tests) fn summary(&self) -> (u32, u64, &StoredProperties) {
        (self.member_count, self.activity_ms, &self.properties)
    }

    pub(in crate::channel::tests) fn event_wire(&self, offset: u64) -> Event {
        let (at_ms, event) = &self.events[offset as usize - 1];
        let change = match event {
            ModelEvent::Posted => Change::MessagePosted {
                message: self.message_wire(offset),
            },
            ModelEvent::Edited(message, by, version) => {
                let m = &self.messages[message];
                let (content, mentions, _) = m.versions[*version as usize - 1].clone();
                let gone = m.deleted_at_ms.is_some();
                Change::MessageEdited {
                    message: Offset(*message),
                    by: by.clone(),
                    content: if gone { "".into() } else { content.into() },
                    mentions: if gone {
                        StoredMentions::default()
                    } else {
                        mentions
                    }
                    .to_wire(),
                    version: *version,
                }
            }
            ModelEvent::Deleted(message, by) => Change::MessageDeleted {
                message: Offset(*message),
                by: by.clone(),
            },
            ModelEvent::Reacted(message, by, emoji, on) => {
                let (message, by, emoji) = (Offset(*message), by.clone(), emoji.clone());
                if *on {
                    Change::ReactionAdded { message, by, emoji }
                } else {
                    Change::ReactionRemoved { message, by, emoji }
                }
            }
            ModelEvent::Pinned(message, by, on) => {
                let (message, by) = (Offset(*message), by.clone());
                if *on {
                    Change::MessagePinned { message, by }
                } else {
                    Change::MessageUnpinned { message, by }
                }
            }
            ModelEvent::Members(by, delta, directory_index) => Change::MembersChanged {
                by: by.clone(),
                added: delta
                    .added
                    .iter()
                    .map(|(user, role)| Member {
                        user: user.clone(),
                        role: *role,
                    })
                    .collect(),
                removed: delta.removed.iter().cloned().collect(),
                added_count: delta.added_count,
                removed_count: delta.removed_count,
                member_count: delta.member_count,
                directory_index: *directory_index,
            },
            ModelEvent::Updated(by, properties, directory_index) => Change::ChannelUpdated {
                by: by.clone(),
                properties: properties.to_wire(),
                directory_index: *directory_index,
            },
        };
        Event {
            offset: Offset(offset),
            at_ms: *at_ms,
            change,
        }
    }
}
