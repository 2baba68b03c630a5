//! What is known of one message, ready to be shown.

use confab_protocol::message::event::{Change, Event, Message};
use confab_protocol::{Emoji, Offset, Text, UserId};

use crate::sanitise;

/// One emoji on a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ReactionCount {
    pub(crate) emoji: Emoji,
    pub(crate) count: u32,
    /// The first users, as the server lists them.
    users: Vec<UserId>,
}

impl ReactionCount {
    /// Whether a user is among those listed.
    pub(crate) fn is_by(&self, user: &UserId) -> bool {
        self.users.contains(user)
    }
}

/// A message as it is shown.
///
/// Invariant: it is as of the event at `as_of`; events up to there are in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ShownMessage {
    pub(crate) offset: Offset,
    pub(crate) sender: UserId,
    /// As it was written, for editing.
    pub(crate) raw: Text,
    /// Safe to show.
    pub(crate) content: String,
    pub(crate) mentioned: Vec<UserId>,
    /// Calls on everybody.
    pub(crate) mentions_all: bool,
    /// Names and URLs of what is attached, safe to show.
    pub(crate) attachments: Vec<String>,
    pub(crate) thread_root: Option<Offset>,
    pub(crate) created_at_ms: u64,
    pub(crate) edited: bool,
    pub(crate) deleted: bool,
    pub(crate) pinned: bool,
    pub(crate) version: u32,
    pub(crate) reply_count: u32,
    pub(crate) reactions: Vec<ReactionCount>,
    as_of: Offset,
}

impl ShownMessage {
    /// A message as it stood at the event `as_of`.
    pub(crate) fn new(message: &Message, as_of: Offset) -> Self {
        Self {
            offset: message.offset,
            sender: message.sender.clone(),
            raw: message.content.clone(),
            content: sanitise::lines(&message.content),
            mentioned: message.mentions.users.to_vec(),
            mentions_all: message.mentions.channel || message.mentions.here,
            attachments: message
                .attachments
                .iter()
                .map(|attachment| {
                    let text = format!("{} ({})", attachment.name, attachment.url);
                    sanitise::one_line(&text)
                })
                .collect(),
            thread_root: message.thread_root,
            created_at_ms: message.created_at_ms,
            edited: message.edited_at_ms.is_some(),
            deleted: message.deleted_at_ms.is_some(),
            pinned: message.pinned,
            version: message.version,
            reply_count: message.reply_count,
            reactions: message
                .reactions
                .iter()
                .map(|reaction| ReactionCount {
                    emoji: reaction.emoji,
                    count: reaction.count,
                    users: reaction.users.to_vec(),
                })
                .collect(),
            as_of,
        }
    }

    /// Whether it calls on a user.
    pub(crate) fn mentions(&self, user: &UserId) -> bool {
        self.mentions_all || self.mentioned.contains(user)
    }

    /// Changes it as an event of its channel says, unless that is in it already.
    pub(crate) fn apply(&mut self, event: &Event) {
        if event.offset <= self.as_of {
            return;
        }
        match &event.change {
            Change::MessageEdited {
                message,
                content,
                mentions,
                version,
                ..
            } if *message == self.offset => {
                self.raw = content.clone();
                self.content = sanitise::lines(content);
                self.mentioned = mentions.users.to_vec();
                self.mentions_all = mentions.channel || mentions.here;
                self.version = *version;
                self.edited = true;
            }
            Change::MessageDeleted { message, .. } if *message == self.offset => {
                self.raw = Text::from("");
                self.content.clear();
                self.attachments.clear();
                self.reactions.clear();
                self.deleted = true;
                self.pinned = false;
            }
            Change::ReactionAdded { message, by, emoji } if *message == self.offset => {
                self.add_reaction(by, emoji);
            }
            Change::ReactionRemoved { message, by, emoji } if *message == self.offset => {
                self.remove_reaction(by, emoji);
            }
            Change::MessagePinned { message, .. } if *message == self.offset => self.pinned = true,
            Change::MessageUnpinned { message, .. } if *message == self.offset => {
                self.pinned = false;
            }
            _ => return,
        }
        self.as_of = event.offset;
    }

    /// A reply in its thread came, or went.
    pub(crate) fn count_reply(&mut self, at: Offset, came: bool) {
        if at > self.as_of {
            self.as_of = at;
            self.reply_count = if came {
                self.reply_count.saturating_add(1)
            } else {
                self.reply_count.saturating_sub(1)
            };
        }
    }

    fn add_reaction(&mut self, by: &UserId, emoji: &Emoji) {
        match self.reactions.iter_mut().find(|one| one.emoji == *emoji) {
            Some(reaction) => {
                reaction.count = reaction.count.saturating_add(1);
                reaction.users.push(by.clone());
            }
            None => self.reactions.push(ReactionCount {
                emoji: emoji.clone(),
                count: 1,
                users: vec![by.clone()],
            }),
        }
    }

    fn remove_reaction(&mut self, by: &UserId, emoji: &Emoji) {
        if let Some(reaction) = self.reactions.iter_mut().find(|one| one.emoji == *emoji) {
            reaction.count = reaction.count.saturating_sub(1);
            reaction.users.retain(|user| user != by);
        }
        self.reactions.retain(|reaction| reaction.count > 0);
    }
}
