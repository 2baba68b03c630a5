//! What the server says, and what came of what was asked.

use confab_client::ClientEvent;
use confab_protocol::message::event::{Change, ChannelEvent, Message};
use confab_protocol::{ChannelId, ChannelKind, Offset, UserId};

use super::Model;
use super::conversation::Wanted;
use super::effect::{Effect, Outcome, Place, Problem};
use super::entry::Sending;
use super::overlay::Overlay;
use crate::sanitise;

/// Most names in a line about members.
const NAMES_MAX: usize = 5;

impl Model {
    pub(super) fn hear(&mut self, event: ClientEvent) {
        self.link.hear(&event, self.now_ms);
        match event {
            ClientEvent::Connected { user, .. } => {
                self.people.learn(user.id.clone(), &user.name);
                self.me = Some(user);
                self.watched.clear();
                self.connected();
            }
            ClientEvent::Disconnected { .. } => self.people.forget_presence(),
            ClientEvent::Channel(event) => self.channel_event(&event),
            ClientEvent::Reset { channel, .. } => self.reload(&channel),
            ClientEvent::ChannelAdded { summary, .. } => {
                self.channels.put(summary);
                self.channels_changed();
            }
            ClientEvent::ChannelRefreshed(summary) => self.channels.put(summary),
            ClientEvent::ChannelRemoved { channel } => {
                let is_here = self
                    .here
                    .as_ref()
                    .is_some_and(|here| here.channel == channel);
                self.conversations
                    .retain(|place, _| place.channel != channel);
                self.channels.remove(&channel);
                if is_here {
                    self.say("You are no longer in that channel.");
                    self.lose_here();
                }
            }
            ClientEvent::Receipt(receipt) => {
                let place = Place {
                    channel: receipt.channel,
                    thread: receipt.thread,
                };
                if let Some(conversation) = self.conversation_mut(&place) {
                    conversation.read_by(receipt.user, receipt.read);
                }
            }
            ClientEvent::Typing(typing) if typing.user != *self.me() => {
                self.people.learn(typing.user.clone(), &typing.name);
                self.people
                    .set_typing(typing.channel, typing.thread, typing.user, typing.on);
            }
            ClientEvent::Presence(users) => {
                for presence in users {
                    self.people.see(presence);
                }
            }
            ClientEvent::TokenRefused(error) => {
                self.complain(format!("The new token was refused: {}", error.message));
            }
            _ => {}
        }
    }

    /// A session is open: what belongs to the last one is asked for again.
    fn connected(&mut self) {
        if let Some(here) = &self.here {
            let channel = here.channel.clone();
            self.effect(Effect::Open(channel.clone()));
            self.effect(Effect::Cursors(channel));
        }
        let failed: Vec<Place> = self
            .conversations
            .iter()
            .filter(|(_, (_, conversation))| conversation.problem().is_some())
            .map(|(place, _)| place.clone())
            .collect();
        for place in failed {
            self.load(&place);
        }
    }

    fn load(&mut self, place: &Place) {
        if let Some(conversation) = self.conversation_mut(place) {
            let wanted = conversation.load();
            self.effect(Effect::History(place.clone(), wanted));
        }
    }

    /// The channel's log began anew.
    fn reload(&mut self, channel: &ChannelId) {
        let places: Vec<Place> = self
            .conversations
            .keys()
            .filter(|place| place.channel == *channel)
            .cloned()
            .collect();
        for place in places {
            self.load(&place);
        }
    }

    fn channel_event(&mut self, event: &ChannelEvent) {
        let notice = self.notice(event);
        let me = self.me().clone();
        if let Change::MessagePosted { message } = &event.event.change {
            self.ask_names(std::iter::once(&message.sender));
            self.call_if_needed(event, message);
            // Who posted does not type any more.
            let channel = event.channel.clone();
            let (thread, sender) = (message.thread_root, message.sender.clone());
            self.people.set_typing(channel, thread, sender, false);
        }
        let mut look_again = None;
        for (place, (_, conversation)) in &mut self.conversations {
            if place.channel == event.channel {
                let notice = notice.clone();
                look_again = conversation.apply(&event.event, &me, notice).or(look_again);
            }
        }
        if let Some(message) = look_again {
            self.effect(Effect::Message(event.channel.clone(), message));
        }
    }

    /// A sound, when somebody calls on the user, who looks elsewhere.
    fn call_if_needed(&mut self, event: &ChannelEvent, message: &Message) {
        let me = self.me();
        let calls = event.channel.kind() == ChannelKind::Dm
            || message.mentions.channel
            || message.mentions.users.iter().any(|user| user == *me);
        let is_news = message.sender != *me && message.deleted_at_ms.is_none();
        let is_recent = self.now_ms.saturating_sub(event.event.at_ms) < 60_000;
        if calls && is_news && is_recent && !self.focused {
            self.effect(Effect::Bell);
        }
    }

    /// What to say of an event that is not about a message.
    fn notice(&mut self, event: &ChannelEvent) -> Option<String> {
        match &event.event.change {
            // The two of a direct message are always there.
            Change::MembersChanged { .. } if event.channel.kind() == ChannelKind::Dm => None,
            Change::MembersChanged {
                by,
                added,
                removed,
                added_count,
                removed_count,
                ..
            } => {
                let added: Vec<UserId> = added.iter().map(|member| member.user).collect();
                let removed = removed.to_vec();
                self.ask_names(added.iter().chain(&removed).chain(by));
                let mut texts = Vec::new();
                if *added_count > 0 {
                    texts.push(self.members_text(by.as_ref(), &added, *added_count, true));
                }
                if *removed_count > 0 {
                    texts.push(self.members_text(by.as_ref(), &removed, *removed_count, false));
                }
                (!texts.is_empty()).then(|| texts.join("; "))
            }
            Change::ChannelUpdated { by, properties, .. } => {
                let before = self.channels.get(&event.channel)?;
                let mut texts = Vec::new();
                if before.name != properties.name && !properties.name.is_empty() {
                    texts.push(format!("named the channel “{}”", properties.name));
                }
                if before.topic != properties.topic {
                    texts.push(format!("set the topic to “{}”", properties.topic));
                }
                if before.private != properties.private {
                    let how = if properties.private {
                        "closed"
                    } else {
                        "opened"
                    };
                    texts.push(format!("{how} the channel"));
                }
                match (before.archived_at_ms, properties.archived_at_ms) {
                    (None, Some(_)) => texts.push("archived the channel".into()),
                    (Some(_), None) => texts.push("brought the channel back".into()),
                    _ => {}
                }
                let by = by
                    .as_ref()
                    .map_or("The directory", |by| self.people.name(by));
                let text = format!("{by} {}", texts.join(", "));
                (!texts.is_empty()).then(|| sanitise::one_line(&text))
            }
            _ => None,
        }
    }

    fn members_text(
        &self,
        by: Option<&UserId>,
        users: &[UserId],
        count: u32,
        added: bool,
    ) -> String {
        let names: Vec<&str> = users
            .iter()
            .take(NAMES_MAX)
            .map(|user| self.people.name(user))
            .collect();
        let more = usize::try_from(count)
            .unwrap_or(usize::MAX)
            .saturating_sub(names.len());
        let mut names = names.join(", ");
        if more > 0 {
            names = format!("{names} and {more} more");
        }
        match (by, added) {
            (Some(by), true) if users == [by.clone()] => format!("{names} joined"),
            (Some(by), false) if users == [by.clone()] => format!("{names} left"),
            (Some(by), true) => format!("{} brought in {names}", self.people.name(by)),
            (Some(by), false) => format!("{} took out {names}", self.people.name(by)),
            (None, true) => format!("{names} came in"),
            (None, false) => format!("{names} went out"),
        }
    }

    pub(super) fn ask_names<'a>(&mut self, users: impl Iterator<Item = &'a UserId>) {
        let unknown = self.people.unknown_of(users);
        if !unknown.is_empty() {
            self.effect(Effect::Profiles(unknown));
        }
    }

    pub(super) fn outcome(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::History(place, wanted, result) => self.page(&place, wanted, result),
            Outcome::Message(channel, message) => self.look_at_message(channel, &message),
            Outcome::Cursors(channel, cursors) => {
                if let Some(conversation) = self.conversation_mut(&Place::channel(channel)) {
                    for (user, read) in cursors {
                        conversation.read_by(user, read);
                    }
                }
            }
            Outcome::Members {
                channel,
                members,
                more,
                show,
            } => {
                for member in &members {
                    self.people.learn(member.member.user.clone(), &member.name);
                }
                if show {
                    self.show_members(&channel, &members, more);
                }
            }
            Outcome::Profiles(profiles) => {
                for profile in profiles {
                    self.people.learn(profile.id, &profile.name);
                }
                self.refresh_switcher();
            }
            Outcome::Presence(users) => {
                for presence in users {
                    self.people.see(presence);
                }
            }
            Outcome::Sent(place, local, result) => {
                let sending = match result {
                    Ok(posted) => Sending::Acknowledged(posted.position.offset),
                    Err(problem) => {
                        self.complain(format!("Not sent: {problem}"));
                        Sending::Failed(sanitise::one_line(&problem))
                    }
                };
                if let Some(conversation) = self.conversation_mut(&place) {
                    conversation.sent(local, sending);
                }
            }
            Outcome::Entered(summary) => {
                let channel = summary.channel.clone();
                self.channels.put(summary);
                self.go(Place::channel(channel));
                self.channels_changed();
            }
            Outcome::Marked(place, done) => {
                if let Some(conversation) = self.conversation_mut(&place) {
                    conversation.marking = false;
                    if !done {
                        conversation.marked = Offset(0);
                    }
                }
            }
            Outcome::Done(text) => self.say(text),
            Outcome::Failed(problem) => self.complain(problem),
        }
    }

    fn page(
        &mut self,
        place: &Place,
        wanted: Wanted,
        result: Result<confab_protocol::message::channel::HistoryPage, Problem>,
    ) {
        let me = self.me().clone();
        let page = match result {
            Ok(page) => page,
            Err(problem) => {
                let problem = sanitise::one_line(&problem);
                if let Some(conversation) = self.conversation_mut(place) {
                    conversation.page_failed(wanted, problem);
                }
                return;
            }
        };
        let senders: Vec<UserId> = page.messages.iter().map(|message| message.sender).collect();
        self.ask_names(senders.iter());
        let next = self
            .conversation_mut(place)
            .and_then(|conversation| conversation.page(wanted, &page, &me));
        if let Some(wanted) = next {
            self.effect(Effect::History(place.clone(), wanted));
        }
        if self.here.as_ref() == Some(place) {
            self.fill();
        }
    }

    fn look_at_message(&mut self, channel: ChannelId, message: &Message) {
        let place = Place::channel(channel.clone());
        let root = self
            .conversation_mut(&place)
            .and_then(|conversation| conversation.refresh(message));
        if let Some(root) = root {
            self.effect(Effect::Message(channel, root));
        }
    }

    fn show_members(
        &mut self,
        channel: &ChannelId,
        members: &[confab_protocol::message::channel::MemberProfile],
        more: bool,
    ) {
        let mut lines: Vec<String> = members
            .iter()
            .map(|profile| {
                let user = &profile.member.user;
                let state = format!("{:?}", self.people.state(user)).to_lowercase();
                let role = format!("{:?}", profile.member.role).to_lowercase();
                let name = self.people.name(user);
                let status = self.people.status(user);
                sanitise::one_line(&format!("{name} (@{user}), {role}, {state} {status}"))
            })
            .collect();
        if more {
            lines.push("… and more".into());
        }
        let count = self.channels.get(channel).map_or(0, |one| one.member_count);
        self.overlay = Some(Overlay::Text {
            title: format!("Members ({count})"),
            lines,
            scrolled: 0,
        });
    }
}
