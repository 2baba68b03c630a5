//! Who is who, and who is there.

use std::collections::{BTreeMap, BTreeSet};

use confab_protocol::message::presence::{Presence, PresenceState};
use confab_protocol::{ChannelId, Offset, UserId};

use crate::sanitise;

/// Most users whose names are kept.
const NAMES_MAX: usize = 20_000;

/// How a user is seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) state: PresenceState,
    pub(crate) status: String,
}

/// Names, presence and typing.
#[derive(Clone, Debug, Default)]
pub(crate) struct People {
    names: BTreeMap<UserId, String>,
    /// Users whose names were asked for.
    asked: BTreeSet<UserId>,
    seen: BTreeMap<UserId, Seen>,
    typing: BTreeMap<(ChannelId, Option<Offset>), BTreeSet<UserId>>,
}

impl People {
    /// A user's display name, or the id until it is known.
    pub(crate) fn name<'a>(&'a self, user: &'a UserId) -> &'a str {
        self.names.get(user).map_or(user.as_str(), String::as_str)
    }

    /// Whether a user is known by name.
    pub(crate) fn knows(&self, user: &UserId) -> bool {
        self.names.contains_key(user)
    }

    pub(crate) fn learn(&mut self, user: UserId, name: &str) {
        if self.names.len() >= NAMES_MAX && !self.names.contains_key(&user) {
            self.names.clear();
            self.asked.clear();
        }
        let name = sanitise::one_line(name);
        let name = name.trim();
        if !name.is_empty() {
            self.names.insert(user, name.to_owned());
        }
    }

    /// Those of the users whose names have to be asked for; each is answered once.
    pub(crate) fn unknown_of<'a>(
        &mut self,
        users: impl Iterator<Item = &'a UserId>,
    ) -> Vec<UserId> {
        let mut unknown = Vec::new();
        for user in users {
            if !self.names.contains_key(user) && self.asked.insert(user.clone()) {
                unknown.push(user.clone());
            }
        }
        unknown
    }

    /// Users whose id or a word of whose name starts with a text, whatever the
    /// case, in order of their ids.
    pub(crate) fn starting_with<'a>(
        &'a self,
        start: &'a str,
    ) -> impl Iterator<Item = (&'a UserId, &'a str)> {
        let start = start.to_lowercase();
        self.names.iter().filter_map(move |(user, name)| {
            let matches = user.as_str().to_lowercase().starts_with(&start)
                || name
                    .to_lowercase()
                    .split_whitespace()
                    .any(|word| word.starts_with(&start));
            matches.then_some((user, name.as_str()))
        })
    }

    /// Who everybody is, that is known.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&UserId, &str)> {
        self.names.iter().map(|(user, name)| (user, name.as_str()))
    }

    pub(crate) fn see(&mut self, presence: Presence) {
        let status = sanitise::one_line(&presence.status);
        let state = presence.state;
        if state == PresenceState::Offline && status.is_empty() {
            self.seen.remove(&presence.user);
        } else {
            self.seen.insert(presence.user, Seen { state, status });
        }
    }

    /// Whether a user is there; who was not heard of is not.
    pub(crate) fn state(&self, user: &UserId) -> PresenceState {
        self.seen
            .get(user)
            .map_or(PresenceState::Offline, |seen| seen.state)
    }

    /// A user's own words on how it is.
    pub(crate) fn status(&self, user: &UserId) -> &str {
        self.seen.get(user).map_or("", |seen| seen.status.as_str())
    }

    /// The connection is gone: nothing is known of anybody.
    pub(crate) fn forget_presence(&mut self) {
        self.seen.clear();
        self.typing.clear();
    }

    pub(crate) fn set_typing(
        &mut self,
        channel: ChannelId,
        thread: Option<Offset>,
        user: UserId,
        on: bool,
    ) {
        let place = (channel, thread);
        if on {
            self.typing.entry(place).or_default().insert(user);
        } else if let Some(users) = self.typing.get_mut(&place) {
            users.remove(&user);
            if users.is_empty() {
                self.typing.remove(&place);
            }
        }
    }

    /// `Ann is typing`, or nothing.
    pub(crate) fn typing_text(&self, channel: &ChannelId, thread: Option<Offset>) -> String {
        let users = self.typing.get(&(channel.clone(), thread));
        let names: Vec<&str> = users
            .into_iter()
            .flatten()
            .map(|user| self.name(user))
            .collect();
        match names.as_slice() {
            [] => String::new(),
            [one] => format!("{one} is typing…"),
            [one, other] => format!("{one} and {other} are typing…"),
            more => format!("{} people are typing…", more.len()),
        }
    }
}
