//! The terminal client as a pure state machine.
//!
//! Everything that happens is an [`Input`]; what is to be done comes out as
//! [`Effect`]s, and what came of them goes back in. No clock, no I/O: the time is
//! an input too. `screen` draws it, `session` does what it wants.

mod actions;
pub(crate) mod channels;
pub(crate) mod command;
pub(crate) mod completion;
pub(crate) mod conversation;
pub(crate) mod editor;
pub(crate) mod effect;
pub(crate) mod entry;
mod hearing;
pub(crate) mod keys;
pub(crate) mod link;
pub(crate) mod mentions;
pub(crate) mod message;
pub(crate) mod overlay;
pub(crate) mod people;

use std::collections::{BTreeMap, BTreeSet};

use confab_protocol::message::channel::ChannelSummary;
use confab_protocol::message::session::UserProfile;
use confab_protocol::{ChannelId, Offset, UserId};

use self::channels::Channels;
use self::completion::Completion;
use self::conversation::Conversation;
use self::editor::Editor;
use self::effect::{Effect, Input, Place};
use self::link::Link;
use self::overlay::Overlay;
use self::people::People;
use super::layout::areas::Areas;
use super::layout::rows::Scene;
use super::layout::scroll::Scroll;
use super::layout::wrap::editor_lines;
use crate::stamp::Clock;

/// Most conversations kept; the one not looked at for longest is dropped.
const CONVERSATIONS_MAX: usize = 24;

/// Largest channel whose receipts are shown, as the server sends them.
const RECEIPTS_MEMBERS_MAX: u32 = 100;

/// Most users whose presence is watched for the list of direct messages.
const WATCHED_MAX: usize = 500;

/// The least time between two messages to the server about what was read: a
/// burst is read at once, not message by message.
const MARK_INTERVAL_MS: u64 = 250;

/// How long something that was said stays.
const SAID_MS: u64 = 6_000;

/// Something that the user is told in the status line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) is_problem: bool,
    until_ms: u64,
}

/// A message that is being edited.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Editing {
    pub(crate) message: Offset,
    version: u32,
}

/// All that the terminal client knows.
#[derive(Debug)]
pub(crate) struct Model {
    me: Option<UserProfile>,
    nobody: UserId,
    clock: Clock,
    now_ms: u64,
    size: (u16, u16),
    focused: bool,
    link: Link,
    channels: Channels,
    people: People,
    /// With the time of the last look at each.
    conversations: BTreeMap<Place, (u64, Conversation)>,
    looks: u64,
    here: Option<Place>,
    /// The channel to go to once it is known.
    wanted: Option<ChannelId>,
    scroll: Scroll,
    selected: Option<Offset>,
    editor: Editor,
    drafts: BTreeMap<Place, Editor>,
    editing: Option<Editing>,
    completion: Option<Completion>,
    overlay: Option<Overlay>,
    said: Option<Said>,
    /// Reading does not move the cursor here: it was put back by hand.
    held_unread: BTreeSet<ChannelId>,
    watched: Vec<UserId>,
    found_for: BTreeSet<String>,
    active_at_ms: u64,
    next_local: u64,
    effects: Vec<Effect>,
    quit: bool,
}

impl Model {
    /// A client that knows nothing yet; `wanted` is the channel to go to first.
    pub(crate) fn new(clock: Clock, wanted: Option<ChannelId>) -> Self {
        Self {
            me: None,
            nobody: UserId::new("-").expect("a hyphen is allowed in an id"),
            clock,
            now_ms: 0,
            size: (0, 0),
            focused: true,
            link: Link::default(),
            channels: Channels::default(),
            people: People::default(),
            conversations: BTreeMap::new(),
            looks: 0,
            here: None,
            wanted,
            scroll: Scroll::Latest,
            selected: None,
            editor: Editor::default(),
            drafts: BTreeMap::new(),
            editing: None,
            completion: None,
            overlay: None,
            said: None,
            held_unread: BTreeSet::new(),
            watched: Vec::new(),
            found_for: BTreeSet::new(),
            active_at_ms: 0,
            next_local: 0,
            effects: Vec::new(),
            quit: false,
        }
    }

    /// Takes what happened.
    pub(crate) fn handle(&mut self, input: Input) {
        match input {
            Input::Key(key) => self.key(key),
            Input::Paste(text) => self.paste(&text),
            Input::Size(width, height) => self.size = (width, height),
            Input::Focus(focused) => self.focused = focused,
            Input::Now(now_ms) => self.now_ms = now_ms,
            Input::Event(event) => self.hear(event),
            Input::Channels(list, totals) => {
                self.channels.set(list, totals);
                self.channels_changed();
            }
            Input::Outcome(outcome) => self.outcome(outcome),
        }
        if self
            .said
            .as_ref()
            .is_some_and(|said| said.until_ms <= self.now_ms)
        {
            self.said = None;
        }
        self.mark_read();
    }

    /// What is to be done.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether the user wants to end.
    pub(crate) const fn wants_to_quit(&self) -> bool {
        self.quit
    }

    /// Who we are; `-`, whom nobody is called, until that is known.
    pub(crate) fn me(&self) -> &UserId {
        self.me.as_ref().map_or(&self.nobody, |me| &me.id)
    }

    pub(crate) const fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(crate) const fn link(&self) -> &Link {
        &self.link
    }

    pub(crate) const fn channels(&self) -> &Channels {
        &self.channels
    }

    pub(crate) const fn people(&self) -> &People {
        &self.people
    }

    pub(crate) const fn here(&self) -> Option<&Place> {
        self.here.as_ref()
    }

    pub(crate) const fn editor(&self) -> &Editor {
        &self.editor
    }

    pub(crate) const fn editing(&self) -> Option<&Editing> {
        self.editing.as_ref()
    }

    pub(crate) const fn selected(&self) -> Option<Offset> {
        self.selected
    }

    pub(crate) const fn overlay(&self) -> Option<&Overlay> {
        self.overlay.as_ref()
    }

    pub(crate) const fn said(&self) -> Option<&Said> {
        self.said.as_ref()
    }

    pub(crate) const fn scroll(&self) -> Scroll {
        self.scroll
    }

    /// What the word at the cursor may become.
    pub(crate) const fn completion(&self) -> Option<&Completion> {
        self.completion.as_ref()
    }

    /// The channel on the screen, as the list has it.
    pub(crate) fn summary(&self) -> Option<&ChannelSummary> {
        self.channels.get(&self.here.as_ref()?.channel)
    }

    /// What is on the screen.
    pub(crate) fn conversation(&self) -> Option<&Conversation> {
        let (_, conversation) = self.conversations.get(self.here.as_ref()?)?;
        Some(conversation)
    }

    fn conversation_mut(&mut self, place: &Place) -> Option<&mut Conversation> {
        let (_, conversation) = self.conversations.get_mut(place)?;
        Some(conversation)
    }

    /// The parts of the screen.
    pub(crate) fn areas(&self) -> Areas {
        let (width, height) = self.size;
        let rows = editor_lines(
            self.editor.text(),
            self.editor.cursor(),
            usize::from(Areas::of(width, height, 1).input.width.saturating_sub(2)),
        );
        Areas::of(width, height, rows.0.len())
    }

    /// The conversation on the screen, ready to be made rows of.
    pub(crate) fn scene(&self) -> Option<Scene<'_>> {
        let width = usize::from(self.areas().messages.width);
        let mut scene = Scene::new(
            self.conversation()?,
            &self.people,
            self.me(),
            &self.clock,
            width,
        );
        scene.selected = self.selected;
        Some(scene)
    }

    fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    fn say(&mut self, text: impl Into<String>) {
        self.said = Some(Said {
            text: text.into(),
            is_problem: false,
            until_ms: self.now_ms + SAID_MS,
        });
    }

    fn complain(&mut self, text: impl Into<String>) {
        self.said = Some(Said {
            text: text.into(),
            is_problem: true,
            until_ms: self.now_ms + 2 * SAID_MS,
        });
    }

    /// Goes to a channel or thread.
    fn go(&mut self, place: Place) {
        if self.here.as_ref() == Some(&place) {
            return;
        }
        self.leave_here();
        let channel_changes = self
            .here
            .as_ref()
            .is_none_or(|here| here.channel != place.channel);
        if channel_changes {
            if let Some(here) = self.here.take() {
                self.effect(Effect::Close(here.channel));
            }
            self.effect(Effect::Open(place.channel.clone()));
        }
        if place.thread.is_none() {
            self.held_unread.remove(&place.channel);
        }
        self.wanted = None;
        self.here = Some(place.clone());
        self.editor = self.drafts.remove(&place).unwrap_or_default();
        self.look_at(&place);
    }

    /// What is on the screen is put aside.
    fn leave_here(&mut self) {
        self.scroll = Scroll::Latest;
        self.selected = None;
        self.completion = None;
        let draft = std::mem::take(&mut self.editor);
        if let Some(here) = self.here.clone() {
            if !draft.is_empty() && self.editing.is_none() {
                self.effect(Effect::StopTyping(here.clone()));
                self.drafts.insert(here.clone(), draft);
            }
            if let Some(conversation) = self.conversation_mut(&here) {
                conversation.new_after = None;
            }
        }
        self.editing = None;
    }

    /// Makes a place ready to be looked at, and asks for what is missing.
    fn look_at(&mut self, place: &Place) {
        self.looks += 1;
        let looks = self.looks;
        let state = self.channels.get(&place.channel).map(|summary| {
            let has_receipts = summary.member_count <= RECEIPTS_MEMBERS_MAX;
            (summary.read_state, has_receipts)
        });
        let is_known = self.conversations.contains_key(place);
        let (looked, conversation) = self
            .conversations
            .entry(place.clone())
            .or_insert_with(|| (0, Conversation::new(place.thread)));
        *looked = looks;
        if let Some((read_state, _)) = state
            && place.thread.is_none()
        {
            conversation.new_after = (read_state.unread > 0).then_some(read_state.read);
        }
        let wanted = (!is_known || conversation.problem().is_some() || !conversation.has_end())
            .then(|| conversation.load());
        if let Some(wanted) = wanted {
            self.effect(Effect::History(place.clone(), wanted));
        }
        if place.thread.is_none() && !is_known {
            let channel = place.channel.clone();
            if state.is_some_and(|(_, has_receipts)| has_receipts) {
                self.effect(Effect::Cursors(channel.clone()));
            }
            self.effect(Effect::Members {
                channel,
                show: false,
            });
        }
        self.forget_conversations();
    }

    fn forget_conversations(&mut self) {
        while self.conversations.len() > CONVERSATIONS_MAX {
            let oldest = self
                .conversations
                .iter()
                .min_by_key(|(_, (looked, _))| *looked)
                .map(|(place, _)| place.clone());
            if let Some(oldest) = oldest {
                self.conversations.remove(&oldest);
            }
        }
    }

    /// Tells the server what was read, when the newest message is seen.
    fn mark_read(&mut self) {
        let Some(here) = self.here.clone() else {
            return;
        };
        let is_seen = self.focused && self.link.is_online() && self.scroll == Scroll::Latest;
        if !is_seen || self.held_unread.contains(&here.channel) {
            return;
        }
        let read = match here.thread {
            None => self.summary().map(|summary| summary.read_state.read),
            Some(_) => Some(Offset(0)),
        };
        let Some(read) = read else {
            return;
        };
        let now_ms = self.now_ms;
        let Some(conversation) = self.conversation_mut(&here) else {
            return;
        };
        let is_due = now_ms.saturating_sub(conversation.marked_at_ms) >= MARK_INTERVAL_MS;
        if !conversation.has_end() || conversation.marking || !is_due {
            return;
        }
        if let Some(newest) = conversation.newest()
            && newest > read.max(conversation.marked)
        {
            conversation.marked = newest;
            conversation.marking = true;
            conversation.marked_at_ms = now_ms;
            self.effect(Effect::MarkRead(here, newest));
        }
    }

    /// The list changed: names to be learnt, presence to be watched, a channel to
    /// go to.
    fn channels_changed(&mut self) {
        let me = self.me().clone();
        for summary in self.channels.list() {
            if let Some(peer) = channels::dm_peer(&summary.channel, &me) {
                self.people.learn(peer, &summary.name);
            }
        }
        let peers = self.channels.dm_peers(&me, WATCHED_MAX);
        if self.link.is_online() && peers != self.watched {
            self.watched.clone_from(&peers);
            self.effect(Effect::WatchPresence(peers));
        }
        let wanted = self.wanted.clone();
        if let Some(wanted) = wanted.filter(|wanted| self.channels.get(wanted).is_some()) {
            self.go(Place::channel(wanted));
        }
        let is_lost = |here: &Place| self.channels.get(&here.channel).is_none();
        if self.here.is_none() && self.wanted.is_none() && self.link.is_online() {
            if let Some(first) = self.channels.step(None, 1).cloned() {
                self.go(Place::channel(first));
            }
        } else if self.here.as_ref().is_some_and(is_lost) && !self.channels.list().is_empty() {
            self.lose_here();
        }
        self.refresh_switcher();
    }

    /// The channel on the screen is the user's no more.
    fn lose_here(&mut self) {
        let Some(here) = self.here.clone() else {
            return;
        };
        self.leave_here();
        self.here = None;
        self.conversations
            .retain(|place, _| place.channel != here.channel);
        self.drafts.retain(|place, _| place.channel != here.channel);
        if let Some(first) = self.channels.step(None, 1).cloned() {
            self.go(Place::channel(first));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
