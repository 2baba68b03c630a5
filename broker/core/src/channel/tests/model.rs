//! A channel as plainly as it can be told: whole structures in lists, and
//! everything recounted on every question. Written to be obviously right.

mod answers;

use std::collections::{BTreeMap, BTreeSet};

use confab_protocol::{
    ChannelId, ClientMessageId, DeviceId, Emoji, Epoch, Offset, Position, Sequence, UserId,
};

use crate::channel::{
    Action, Command, Cursor, Delete, EDITS_MAX, Edit, Follow, MarkUnread, MoveCursor, PINS_MAX,
    Pin, Post, React, Refusal, Reply, Show, StoredMentions,
};
use crate::directory::{ChannelChangeKind, MembersDelta, StoredProperties};

/// One message with all that ever happened to it.
struct ModelMessage {
    post: Post,
    at_ms: u64,
    /// Contents in order, the newest last.
    versions: Vec<(String, StoredMentions, u64)>,
    deleted_at_ms: Option<u64>,
    reactions: Vec<(Emoji, Vec<UserId>)>,
    /// The event that pinned it.
    pinned_at: Option<u64>,
}

enum ModelEvent {
    Posted,
    Edited(u64, UserId, u32),
    Deleted(u64, UserId),
    Reacted(u64, UserId, Emoji, bool),
    Pinned(u64, UserId, bool),
    Members(Option<UserId>, MembersDelta, u64),
    Updated(Option<UserId>, StoredProperties, u64),
}

/// Top level (`None`) or a thread, and a user.
type ReaderKey = (Option<u64>, UserId);

/// The model of one life of a channel.
pub(super) struct Model {
    pub(super) channel: ChannelId,
    pub(super) epoch: Epoch,
    events: Vec<(u64, ModelEvent)>,
    messages: BTreeMap<u64, ModelMessage>,
    cursors: BTreeMap<ReaderKey, (u64, u64)>,
    following: BTreeSet<(u64, UserId)>,
    /// Roots that had a reply or a follower at any time.
    threads: BTreeSet<u64>,
    members: BTreeSet<UserId>,
    member_count: u32,
    properties: StoredProperties,
    shown: (u64, u32),
    activity_ms: u64,
    pub(super) deleted: bool,
}

impl Model {
    pub(super) fn new(channel: ChannelId, epoch: Epoch) -> Self {
        Self {
            channel,
            epoch,
            events: Vec::new(),
            messages: BTreeMap::new(),
            cursors: BTreeMap::new(),
            following: BTreeSet::new(),
            threads: BTreeSet::new(),
            members: BTreeSet::new(),
            member_count: 0,
            properties: StoredProperties::default(),
            shown: (0, 0),
            activity_ms: 0,
            deleted: false,
        }
    }

    pub(super) fn head(&self) -> u64 {
        self.events.len() as u64
    }

    pub(super) fn roots(&self) -> Vec<u64> {
        let is_root = |(_, m): &(&u64, &ModelMessage)| m.post.thread_root.is_none();
        self.messages
            .iter()
            .filter(is_root)
            .map(|(o, _)| *o)
            .collect()
    }

    /// Contents that were erased: they may be nowhere.
    pub(super) fn erased(&self) -> impl Iterator<Item = &str> {
        self.messages
            .values()
            .filter(|m| m.deleted_at_ms.is_some())
            .flat_map(|m| m.versions.iter().map(|(content, ..)| content.as_str()))
    }

    pub(super) fn apply(&mut self, command: &Command) -> Reply {
        self.try_apply(command).unwrap_or_else(Reply::Refused)
    }

    fn try_apply(&mut self, command: &Command) -> Result<Reply, Refusal> {
        if let Action::Show(show) = &command.action {
            return self.show(command, show);
        }
        if self.deleted || command.epoch != self.epoch || self.events.is_empty() {
            return Err(Refusal::ChannelGone);
        }
        let at_ms = self
            .events
            .last()
            .map_or(0, |(at, _)| *at)
            .max(command.at_ms);
        match &command.action {
            Action::Post(post) => self.post(post, at_ms),
            Action::Edit(edit) => self.edit(edit, at_ms),
            Action::Delete(delete) => self.delete(delete, at_ms),
            Action::React(react) => self.react(react, at_ms),
            Action::Pin(pin) => self.pin(pin, at_ms),
            Action::MoveCursor(cursor) => self.move_cursor(cursor),
            Action::MarkUnread(unread) => self.mark_unread(unread),
            Action::Follow(follow) => self.follow(follow),
            Action::Show(_) | Action::Purge { .. } => unreachable!("not sent to the model"),
        }
    }

    fn position(&self, offset: u64) -> Position {
        Position {
            epoch: self.epoch,
            offset: Offset(offset),
        }
    }

    fn changed(&self, message: u64) -> Reply {
        Reply::Changed {
            position: self.position(self.head()),
            version: self.messages[&message].versions.len() as u32,
        }
    }

    fn message(&self, offset: Offset) -> Result<&ModelMessage, Refusal> {
        let found = self.messages.get(&offset.0);
        found.ok_or(Refusal::NoSuchMessage { message: offset })
    }

    fn live(&self, offset: Offset) -> Result<&ModelMessage, Refusal> {
        let message = self.message(offset)?;
        match message.deleted_at_ms {
            Some(_) => Err(Refusal::MessageDeleted { message: offset }),
            None => Ok(message),
        }
    }

    fn root(&self, offset: Offset) -> Result<&ModelMessage, Refusal> {
        let message = self.message(offset)?;
        match message.post.thread_root {
            Some(root) => Err(Refusal::RootIsReply { root }),
            None => Ok(message),
        }
    }

    fn open(&self) -> Result<(), Refusal> {
        match self.properties.archived_at_ms {
            Some(_) => Err(Refusal::ChannelArchived),
            None => Ok(()),
        }
    }

    fn post(&mut self, post: &Post, at_ms: u64) -> Result<Reply, Refusal> {
        let by_sequence = self.messages.iter().find(|(_, m)| {
            post.sequence != Sequence(0)
                && (&m.post.sender, &m.post.device, m.post.sequence)
                    == (&post.sender, &post.device, post.sequence)
        });
        let by_client_id = self.messages.iter().find(|(_, m)| {
            post.client_message_id.is_some()
                && m.post.sender == post.sender
                && m.post.client_message_id == post.client_message_id
        });
        if let Some((offset, first)) = by_sequence.or(by_client_id) {
            return Ok(Reply::Posted {
                position: self.position(*offset),
                created_at_ms: first.at_ms,
                duplicate: true,
            });
        }
        self.open()?;
        let root = post.thread_root.map(|root| root.0);
        if let Some(root) = root {
            self.root(Offset(root))?;
            if !self.threads.contains(&root) {
                self.live(Offset(root))?;
            }
            let started = self
                .messages
                .values()
                .any(|m| m.post.thread_root == post.thread_root);
            if !started {
                let first = &self.messages[&root];
                let (_, mentions, _) = first.versions.last().expect("has a version");
                let mut users = vec![first.post.sender.clone()];
                if first.deleted_at_ms.is_none() {
                    users.extend(mentions.users.clone());
                }
                self.following
                    .extend(users.into_iter().map(|user| (root, user)));
            }
            self.threads.insert(root);
            self.following.insert((root, post.sender.clone()));
            let called = post.mentions.users.iter().cloned();
            self.following.extend(called.map(|user| (root, user)));
        } else {
            self.members.insert(post.sender.clone());
        }
        self.events.push((at_ms, ModelEvent::Posted));
        let offset = self.head();
        self.activity_ms = at_ms;
        self.messages.insert(
            offset,
            ModelMessage {
                post: post.clone(),
                at_ms,
                versions: vec![(post.content.to_string(), post.mentions.clone(), at_ms)],
                deleted_at_ms: None,
                reactions: Vec::new(),
                pinned_at: None,
            },
        );
        self.cursors
            .insert((root, post.sender.clone()), (offset, offset));
        Ok(Reply::Posted {
            position: self.position(offset),
            created_at_ms: at_ms,
            duplicate: false,
        })
    }

    fn edit(&mut self, edit: &Edit, at_ms: u64) -> Result<Reply, Refusal> {
        let message = self.live(edit.message)?;
        let version = message.versions.len() as u32;
        let (content, mentions, _) = message.versions.last().expect("has a version");
        let before = mentions.clone();
        if content.as_str() == edit.content.as_str() && before == edit.mentions {
            return Ok(self.changed(edit.message.0));
        }
        self.open()?;
        if edit.if_version.is_some() && edit.if_version != Some(version) {
            return Err(Refusal::VersionConflict { version });
        }
        if version == EDITS_MAX + 1 {
            return Err(Refusal::TooManyEdits);
        }
        let sender = message.post.sender.clone();
        let root = message
            .post
            .thread_root
            .map_or(edit.message.0, |root| root.0);
        if self.threads.contains(&root) {
            for user in &edit.mentions.users {
                if *user != sender && !before.users.contains(user) {
                    self.following.insert((root, user.clone()));
                }
            }
        }
        let entry = (edit.content.to_string(), edit.mentions.clone(), at_ms);
        self.messages
            .get_mut(&edit.message.0)
            .expect("found")
            .versions
            .push(entry);
        let event = ModelEvent::Edited(edit.message.0, edit.by.clone(), version + 1);
        self.events.push((at_ms, event));
        Ok(self.changed(edit.message.0))
    }

    fn delete(&mut self, delete: &Delete, at_ms: u64) -> Result<Reply, Refusal> {
        self.message(delete.message)?;
        let message = self.messages.get_mut(&delete.message.0).expect("found");
        if message.deleted_at_ms.is_none() {
            message.deleted_at_ms = Some(at_ms);
            message.reactions.clear();
            message.pinned_at = None;
            let event = ModelEvent::Deleted(delete.message.0, delete.by.clone());
            self.events.push((at_ms, event));
        }
        Ok(self.changed(delete.message.0))
    }

    fn react(&mut self, react: &React, at_ms: u64) -> Result<Reply, Refusal> {
        let message = self.live(react.message)?;
        let users = message
            .reactions
            .iter()
            .find(|(emoji, _)| *emoji == react.emoji);
        let there = users.is_some_and(|(_, users)| users.contains(&react.by));
        if there == react.on {
            return Ok(self.changed(react.message.0));
        }
        if react.on {
            self.open()?;
            if users.is_none() && message.reactions.len() == 50 {
                return Err(Refusal::TooManyReactions);
            }
        }
        let reactions = &mut self
            .messages
            .get_mut(&react.message.0)
            .expect("found")
            .reactions;
        if react.on {
            match reactions
                .iter_mut()
                .find(|(emoji, _)| *emoji == react.emoji)
            {
                Some((_, users)) => users.push(react.by.clone()),
                None => reactions.push((react.emoji.clone(), vec![react.by.clone()])),
            }
        } else {
            for (_, users) in reactions
                .iter_mut()
                .filter(|(emoji, _)| *emoji == react.emoji)
            {
                users.retain(|user| *user != react.by);
            }
            reactions.retain(|(_, users)| !users.is_empty());
        }
        let (by, emoji) = (react.by.clone(), react.emoji.clone());
        let event = ModelEvent::Reacted(react.message.0, by, emoji, react.on);
        self.events.push((at_ms, event));
        Ok(self.changed(react.message.0))
    }

    fn pin(&mut self, pin: &Pin, at_ms: u64) -> Result<Reply, Refusal> {
        let message = self.live(pin.message)?;
        if message.pinned_at.is_some() != pin.on {
            if pin.on {
                self.open()?;
                if self.pins().len() == PINS_MAX {
                    return Err(Refusal::TooManyPins);
                }
            }
            let event = ModelEvent::Pinned(pin.message.0, pin.by.clone(), pin.on);
            self.events.push((at_ms, event));
            let head = self.head();
            let message = self.messages.get_mut(&pin.message.0).expect("found");
            message.pinned_at = pin.on.then_some(head);
        }
        Ok(self.changed(pin.message.0))
    }

    fn move_cursor(&mut self, command: &MoveCursor) -> Result<Reply, Refusal> {
        if let Some(root) = command.thread {
            self.root(root)?;
        }
        let root = command.thread.map(|root| root.0);
        let offset = command.offset.0.min(self.head());
        let (read, delivered) = self.cursor(root, &command.user);
        let after = match command.cursor {
            Cursor::Read => (read.max(offset), delivered.max(offset)),
            Cursor::Delivered => (read, delivered.max(offset)),
        };
        self.set_cursor(root, &command.user, (read, delivered), after);
        Ok(self.cursor_reply(root, &command.user))
    }

    fn mark_unread(&mut self, command: &MarkUnread) -> Result<Reply, Refusal> {
        if let Some(root) = command.thread {
            self.root(root)?;
        }
        let root = command.thread.map(|root| root.0);
        let (read, delivered) = self.cursor(root, &command.user);
        let after = (read.min(command.offset.0.saturating_sub(1)), delivered);
        self.set_cursor(root, &command.user, (read, delivered), after);
        Ok(self.cursor_reply(root, &command.user))
    }

    fn set_cursor(
        &mut self,
        root: Option<u64>,
        user: &UserId,
        before: (u64, u64),
        after: (u64, u64),
    ) {
        if before != after {
            self.cursors.insert((root, user.clone()), after);
            if root.is_none() {
                self.members.insert(user.clone());
            }
        }
    }

    fn cursor_reply(&self, root: Option<u64>, user: &UserId) -> Reply {
        Reply::Cursor {
            thread: root.map(Offset),
            read_state: self.read_state(root, user),
        }
    }

    fn follow(&mut self, follow: &Follow) -> Result<Reply, Refusal> {
        self.root(follow.root)?;
        let root = follow.root.0;
        if follow.on {
            if !self.threads.contains(&root) {
                self.live(follow.root)?;
            }
            self.threads.insert(root);
            self.following.insert((root, follow.user.clone()));
        } else {
            self.following.remove(&(root, follow.user.clone()));
        }
        Ok(Reply::Thread(self.thread_info(root, &follow.user)))
    }

    fn show(&mut self, command: &Command, show: &Show) -> Result<Reply, Refusal> {
        let created = matches!(show.what, ChannelChangeKind::Created { .. });
        if command.epoch != self.epoch || (self.events.is_empty() && !created) {
            return Err(Refusal::ChannelGone);
        }
        let number = (command.directory_index, show.ordinal);
        if number > self.shown {
            if self.deleted {
                return Err(Refusal::ChannelGone);
            }
            self.shown = number;
            let at_ms = self
                .events
                .last()
                .map_or(0, |(at, _)| *at)
                .max(command.at_ms);
            let (by, index) = (show.by.clone(), command.directory_index);
            match &show.what {
                ChannelChangeKind::Created {
                    properties,
                    members,
                } => {
                    self.activity_ms = command.at_ms;
                    self.update(properties, at_ms, by.clone(), index);
                    self.change_members(members, at_ms, by, index);
                }
                ChannelChangeKind::Updated { properties } => {
                    self.update(properties, at_ms, by, index);
                }
                ChannelChangeKind::Members(delta) => {
                    self.change_members(delta, at_ms, by, index);
                }
                ChannelChangeKind::Deleted => self.deleted = true,
            }
        }
        Ok(Reply::Shown {
            position: self.position(self.head()),
            member_count: self.member_count,
        })
    }

    fn update(
        &mut self,
        properties: &StoredProperties,
        at_ms: u64,
        by: Option<UserId>,
        index: u64,
    ) {
        self.properties = properties.clone();
        let event = ModelEvent::Updated(by, properties.clone(), index);
        self.events.push((at_ms, event));
    }

    fn change_members(&mut self, delta: &MembersDelta, at_ms: u64, by: Option<UserId>, index: u64) {
        self.events
            .push((at_ms, ModelEvent::Members(by, delta.clone(), index)));
        self.member_count = delta.member_count;
        let head = self.head();
        for (user, _) in &delta.added {
            if self.members.insert(user.clone()) {
                self.cursors.insert((None, user.clone()), (head, head));
            }
        }
        for user in &delta.removed {
            self.members.remove(user);
        }
    }
}

/// Ids that tests use again and again.
pub(super) fn user(number: u8) -> UserId {
    UserId::new(&format!("u{number}")).expect("valid")
}

pub(super) fn device(number: u8) -> DeviceId {
    DeviceId::new(&format!("d{number}")).expect("valid")
}

pub(super) fn client_id(number: u8) -> ClientMessageId {
    ClientMessageId::new(&format!("c{number}")).expect("valid")
}

pub(super) fn emoji(number: u8) -> Emoji {
    Emoji::new(&format!(":e{number}:")).expect("valid")
}
