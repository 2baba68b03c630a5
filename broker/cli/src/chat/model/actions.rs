//! What Enter and the commands do.

use confab_protocol::{ChannelId, ChannelKind, Emoji, Offset};

use super::command::{COMMANDS, SlashCommand, Typed, read};
use super::effect::{Effect, Place};
use super::keys::KEYS;
use super::mentions::{self, Mentioned};
use super::message::ShownMessage;
use super::overlay::{Confirmed, Overlay};
use super::{Editing, Model};
use crate::chat::layout::scroll::Scroll;
use crate::chat::layout::wrap::{cut, width};
use crate::sanitise;

/// How much of a message a question shows.
const QUOTE_COLUMNS: usize = 40;

impl Model {
    /// Enter: what was written is sent, saved or done.
    pub(super) fn enter(&mut self) {
        let text = self.editor.text();
        let is_blank = text.trim().is_empty();
        let text = text.trim_end().to_owned();
        if let Some(editing) = self.editing.clone() {
            if is_blank {
                self.complain("To delete the message, use /delete.");
                return;
            }
            self.editor.take();
            self.editing = None;
            self.selected = None;
            return self.save_edit(editing, text);
        }
        if is_blank {
            return;
        }
        match read(&text) {
            Typed::Message(text) => self.send(text),
            Typed::Command(command) => {
                self.editor.take();
                self.command(command);
            }
            // What was written stays, to be mended.
            Typed::Wrong(sentence) => self.complain(sentence),
        }
    }

    fn send(&mut self, content: String) {
        let Some(here) = self.here.clone() else {
            self.complain("There is no channel to write to yet.");
            return;
        };
        self.editor.take();
        self.selected = None;
        self.held_unread.remove(&here.channel);
        if let Some(conversation) = self.conversation_mut(&here) {
            conversation.new_after = None;
        }
        self.post(here, content);
        self.go_to_latest();
    }

    fn post(&mut self, place: Place, content: String) {
        self.next_local += 1;
        let local = self.next_local;
        let mentioned = self.mentioned(&content);
        if let Some(conversation) = self.conversation_mut(&place) {
            conversation.add_pending(local, content.clone());
        }
        self.effect(Effect::Send {
            place,
            local,
            content,
            mentioned,
        });
    }

    fn mentioned(&self, content: &str) -> Mentioned {
        mentions::find(content, |user| self.people.knows(user))
    }

    fn save_edit(&mut self, editing: Editing, content: String) {
        if let Some(here) = self.here.clone() {
            let mentioned = self.mentioned(&content);
            self.effect(Effect::Edit {
                channel: here.channel,
                message: editing.message,
                content,
                mentioned,
                version: editing.version,
            });
        }
    }

    fn command(&mut self, command: SlashCommand) {
        match command {
            SlashCommand::Dm(user) => self.effect(Effect::OpenDm(user)),
            SlashCommand::Group(name) => self.effect(Effect::CreateGroup(name)),
            SlashCommand::Join(channel) => self.effect(Effect::Join(channel)),
            SlashCommand::Edit(text) => self.edit(text),
            SlashCommand::Delete => self.ask_delete(),
            SlashCommand::React(emoji) => self.react(emoji),
            SlashCommand::Pin => self.pin(),
            SlashCommand::Thread => self.open_thread(),
            SlashCommand::Unread => self.mark_unread(),
            SlashCommand::Retry => self.retry(),
            SlashCommand::Status(state, text) => self.effect(Effect::SetPresence(state, text)),
            SlashCommand::Help => self.show_help(),
            SlashCommand::Quit => self.quit = true,
            other => match self.here.as_ref().map(|here| here.channel.clone()) {
                Some(channel) => self.channel_command(channel, other),
                None => self.complain("Go to a channel first: Ctrl-K."),
            },
        }
    }

    /// Commands about the channel on the screen.
    fn channel_command(&mut self, channel: ChannelId, command: SlashCommand) {
        let is_group = channel.kind() == ChannelKind::Group;
        let effect = match command {
            SlashCommand::Topic(topic) => Effect::Topic(channel, topic),
            SlashCommand::Members => Effect::Members {
                channel,
                show: true,
            },
            _ if !is_group => {
                self.complain(
                    "That is for groups: the members of this channel follow from elsewhere.",
                );
                return;
            }
            SlashCommand::Invite(users) => Effect::Invite(channel, users),
            SlashCommand::Remove(users) => Effect::Remove(channel, users),
            SlashCommand::SetPrivate(private) => Effect::SetPrivate(channel, private),
            SlashCommand::Rename(name) => Effect::Rename(channel, name),
            SlashCommand::Leave => {
                self.overlay = Some(Overlay::Confirm {
                    question: "Leave this group? Without an invitation there is no way back."
                        .into(),
                    then: Confirmed::Leave(channel),
                });
                return;
            }
            _ => return,
        };
        self.effect(effect);
    }

    /// The selected message, or the newest that fits.
    fn target(&self, fits: impl Fn(&ShownMessage) -> bool) -> Option<&ShownMessage> {
        let conversation = self.conversation()?;
        match self.selected {
            Some(selected) => conversation.message(selected),
            None => conversation.messages().rev().find(|message| fits(message)),
        }
        .filter(|message| !message.deleted)
    }

    fn own_target(&self) -> Option<&ShownMessage> {
        let me = self.me();
        self.target(|message| message.sender == *me && !message.deleted)
    }

    fn target_place(&self) -> Option<(ChannelId, Offset)> {
        let message = self.target(|message| !message.deleted)?;
        Some((self.here.as_ref()?.channel.clone(), message.offset))
    }

    /// Puts a message into the editor, or gives it a new text at once.
    pub(super) fn edit(&mut self, text: Option<String>) {
        let me = self.me().clone();
        let Some(message) = self.own_target() else {
            self.complain("You have no message here to edit.");
            return;
        };
        if message.sender != me {
            self.complain("Only your own messages can be edited.");
            return;
        }
        let raw = message.raw.to_string();
        let editing = Editing {
            message: message.offset,
            version: message.version,
        };
        match text {
            Some(text) => {
                self.selected = None;
                self.save_edit(editing, text);
            }
            None => {
                self.selected = Some(editing.message);
                self.editing = Some(editing);
                self.editor.set(&raw);
            }
        }
    }

    pub(super) fn ask_delete(&mut self) {
        let channel = self.here.as_ref().map(|here| here.channel.clone());
        let (Some(message), Some(channel)) = (self.own_target(), channel) else {
            self.complain("There is no message of yours to delete.");
            return;
        };
        let quote = cut(&sanitise::one_line(&message.content), QUOTE_COLUMNS);
        self.overlay = Some(Overlay::Confirm {
            question: format!("Delete “{quote}”?"),
            then: Confirmed::Delete(channel, message.offset),
        });
    }

    fn react(&mut self, emoji: Emoji) {
        let me = self.me().clone();
        let Some(message) = self.target(|message| !message.deleted) else {
            self.complain("There is no message to react to.");
            return;
        };
        let on = !message
            .reactions
            .iter()
            .any(|reaction| reaction.emoji == emoji && reaction.is_by(&me));
        let message = message.offset;
        if let Some(here) = self.here.clone() {
            self.effect(Effect::React {
                channel: here.channel,
                message,
                emoji,
                on,
            });
        }
        self.selected = None;
    }

    pub(super) fn pin(&mut self) {
        let Some((channel, offset)) = self.target_place() else {
            self.complain("There is no message to pin.");
            return;
        };
        let is_pinned = self
            .conversation()
            .and_then(|conversation| conversation.message(offset))
            .is_some_and(|message| message.pinned);
        self.effect(Effect::Pin {
            channel,
            message: offset,
            on: !is_pinned,
        });
        self.selected = None;
    }

    pub(super) fn open_thread(&mut self) {
        if self.here.as_ref().is_some_and(|here| here.thread.is_some()) {
            self.complain("This is a thread already; Esc goes back.");
            return;
        }
        match self.target_place() {
            Some((channel, root)) => self.go(Place {
                channel,
                thread: Some(root),
            }),
            None => self.complain("There is no message to open the thread of."),
        }
    }

    pub(super) fn mark_unread(&mut self) {
        match self.target_place() {
            Some((channel, offset)) => {
                self.held_unread.insert(channel.clone());
                self.selected = None;
                let place = Place::channel(channel.clone());
                if let Some(conversation) = self.conversation_mut(&place) {
                    conversation.marked = Offset(0);
                    conversation.new_after = Some(Offset(offset.0.saturating_sub(1)));
                }
                self.effect(Effect::MarkUnread(channel, offset));
                self.say("Unread again from that message on.");
            }
            None => self.complain("There is no message to make unread."),
        }
    }

    fn retry(&mut self) {
        let Some(here) = self.here.clone() else {
            return;
        };
        let failed = self
            .conversation_mut(&here)
            .map(super::conversation::Conversation::take_failed)
            .unwrap_or_default();
        if failed.is_empty() {
            self.say("Nothing waits to be sent again.");
        }
        for pending in failed {
            self.post(here.clone(), pending.content);
        }
        self.scroll = Scroll::Latest;
    }

    pub(super) fn show_help(&mut self) {
        let keys = KEYS.iter().map(|(key, does)| ((*key).to_owned(), *does));
        let commands = COMMANDS.iter().map(|(name, arguments, does)| {
            let name = format!("{name} {arguments}");
            (name.trim_end().to_owned(), *does)
        });
        let pairs: Vec<(String, &str)> = keys.chain(commands).collect();
        let column = pairs
            .iter()
            .map(|(left, _)| width(left))
            .max()
            .unwrap_or(0)
            .min(24);
        let lines = pairs
            .into_iter()
            .map(|(left, does)| format!("{left:column$}  {does}"))
            .collect();
        self.overlay = Some(Overlay::Text {
            title: "Help".into(),
            lines,
            scrolled: 0,
        });
    }
}
