//! What may lie over the screen: help and lists, a question, the quick switcher.

use confab_protocol::{ChannelId, UserId};

use super::channels::{Channels, dm_peer, shown_name};
use super::editor::Editor;
use super::people::People;

/// Most lines of the switcher.
const CHOICES_MAX: usize = 50;

/// What lies over the screen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Overlay {
    Text {
        title: String,
        lines: Vec<String>,
        /// Lines above the first that is shown.
        scrolled: usize,
    },
    /// A question, to be answered with y or n.
    Confirm {
        question: String,
        then: Confirmed,
    },
    Switcher(Switcher),
}

/// What is done when the answer is yes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Confirmed {
    Delete(ChannelId, confab_protocol::Offset),
    Leave(ChannelId),
}

/// Where the switcher can go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Channel(ChannelId),
    User(UserId),
}

/// One line of the switcher.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Choice {
    pub(crate) target: Target,
    pub(crate) name: String,
    pub(crate) unread: u32,
}

/// The quick switcher: a few letters of a name, then Enter.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Switcher {
    pub(crate) query: Editor,
    pub(crate) choices: Vec<Choice>,
    pub(crate) chosen: usize,
}

impl Switcher {
    /// Finds again what fits, after the query or the lists changed.
    ///
    /// Whoever opens it wants to go elsewhere: the channel `here` comes last.
    pub(crate) fn refresh(
        &mut self,
        channels: &Channels,
        people: &People,
        me: &UserId,
        here: Option<&ChannelId>,
    ) {
        let query = self.query.text().to_lowercase();
        let mut found: Vec<(u32, Choice)> = Vec::new();
        let mut peers = vec![me.clone()];
        for (place, summary) in channels.list().iter().enumerate() {
            peers.extend(dm_peer(&summary.channel, me));
            let name = shown_name(summary);
            let Some(score) = score(&query, &[&name, summary.channel.as_str()]) else {
                continue;
            };
            let unread = u32::from(summary.read_state.unread > 0);
            let recency = u32::try_from(place).unwrap_or(u32::MAX).min(999);
            let last = u32::from(Some(&summary.channel) == here) * 5_000;
            found.push((
                score * 10_000 + last + (1 - unread) * 1_000 + recency,
                Choice {
                    target: Target::Channel(summary.channel.clone()),
                    name,
                    unread: summary.read_state.unread,
                },
            ));
        }
        if !query.is_empty() {
            for (user, name) in people.all().filter(|(user, _)| !peers.contains(user)) {
                if let Some(score) = score(&query, &[name, user.as_str()]) {
                    let choice = Choice {
                        target: Target::User(user.clone()),
                        name: format!("{name} (@{user})"),
                        unread: 0,
                    };
                    found.push((score * 10_000 + 5_000, choice));
                }
            }
        }
        found.sort_by_key(|(score, _)| *score);
        found.truncate(CHOICES_MAX);
        self.choices = found.into_iter().map(|(_, choice)| choice).collect();
        self.chosen = self.chosen.min(self.choices.len().saturating_sub(1));
    }

    pub(crate) fn step(&mut self, down: bool) {
        let count = self.choices.len().max(1);
        self.chosen = if down {
            (self.chosen + 1) % count
        } else {
            (self.chosen + count - 1) % count
        };
    }

    pub(crate) fn target(&self) -> Option<&Target> {
        self.choices.get(self.chosen).map(|choice| &choice.target)
    }
}

/// How well a query fits one of several names; less is better.
fn score(query: &str, names: &[&str]) -> Option<u32> {
    names
        .iter()
        .filter_map(|name| {
            let name = name.to_lowercase();
            if name.starts_with(query) {
                return Some(0);
            }
            let begins_word = name
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| word.starts_with(query));
            if begins_word {
                return Some(1);
            }
            if name.contains(query) {
                return Some(2);
            }
            // The letters in their order, with others between.
            let mut rest = name.chars();
            let spread = query.chars().all(|c| rest.any(|other| other == c));
            spread.then_some(3)
        })
        .min()
}

#[cfg(test)]
mod tests {
    use super::{Switcher, Target, score};
    use crate::chat::model::channels::Channels;
    use crate::chat::model::people::People;
    use crate::chat::model::tests::{summary, user};
    use confab_protocol::message::channel::ChannelTotals;

    #[test]
    fn the_start_of_a_name_fits_best() {
        assert_eq!(score("gen", &["General"]), Some(0));
        assert_eq!(score("com", &["general company"]), Some(1));
        assert_eq!(score("ener", &["General"]), Some(2));
        assert_eq!(score("gnl", &["General"]), Some(3));
        assert_eq!(score("xyz", &["General"]), None);
    }

    /// With nothing typed, Enter goes to what is unread.
    #[test]
    fn unread_channels_come_first() {
        let mut channels = Channels::default();
        let mut unread = summary("dept-sales", 1, 9);
        unread.read_state.unread = 3;
        channels.set(
            vec![summary("general-company", 50, 9), unread],
            ChannelTotals::default(),
        );
        let mut switcher = Switcher::default();
        switcher.refresh(&channels, &People::default(), &user("u1"), None);
        let first = switcher.target().cloned();
        assert!(matches!(first, Some(Target::Channel(id)) if id.as_str() == "dept-sales"));
    }

    #[test]
    fn people_without_a_channel_are_found_too() {
        let mut people = People::default();
        people.learn(user("u2"), "Uma Two");
        people.learn(user("u1"), "Uma One");
        let mut switcher = Switcher::default();
        switcher.query.insert("uma");
        switcher.refresh(&Channels::default(), &people, &user("u1"), None);
        assert_eq!(switcher.choices.len(), 1);
        assert_eq!(switcher.target(), Some(&Target::User(user("u2"))));
        switcher.step(true);
        switcher.step(false);
        assert_eq!(switcher.chosen, 0);
    }
}
