//! Who hears of whom: by channels they share, and by watching.

use std::collections::{HashMap, HashSet};

use confab_protocol::message::presence::{Presence as Shown, PresenceState};
use confab_protocol::{ChannelId, UserId};

use super::super::SessionId;
use super::Machine;
use super::record::Channel;
use super::timers::Timer;

/// Presences in one notice: with the longest ids and texts about 150 KB.
const NOTICE_USERS_MAX: usize = 500;
/// Users that a session is told of when it connects; what is more it may ask for.
const FIRST_NOTICE_USERS_MAX: usize = 5_000;

/// Whom a session watches.
pub(in crate::presence) struct Watch {
    pub(in crate::presence) session: SessionId,
    pub(in crate::presence) viewer: UserId,
    pub(in crate::presence) watched: Vec<UserId>,
}

impl Machine {
    /// The session watches exactly these users, besides those it shares
    /// channels with.
    pub(in crate::presence) fn watch(&mut self, session: SessionId, users: Vec<UserId>) {
        let Some(watching) = self.sessions.get_mut(&session) else {
            return;
        };
        let mut seen = HashSet::new();
        let users: Vec<UserId> = users
            .into_iter()
            .filter(|user| seen.insert(user.clone()))
            .collect();
        for user in &users {
            self.watchers.entry(user.clone()).or_default().push(session);
        }
        for user in std::mem::replace(&mut watching.watched, users) {
            if let Some(watchers) = self.watchers.get_mut(&user) {
                // The older of two entries: the newer one stays.
                if let Some(place) = watchers.iter().position(|watcher| *watcher == session) {
                    watchers.remove(place);
                }
                if watchers.is_empty() {
                    self.watchers.remove(&user);
                }
            }
        }
    }

    /// Whom a session watches; nobody once it has ended.
    pub(in crate::presence) fn watched(&self, session: SessionId) -> &[UserId] {
        self.sessions
            .get(&session)
            .map_or(&[], |watching| &watching.watched)
    }

    /// The watches in which one of these users watches or is watched.
    pub(in crate::presence) fn watches_about<'a>(
        &self,
        users: impl IntoIterator<Item = &'a UserId>,
    ) -> Vec<Watch> {
        let mut sessions: Vec<SessionId> = Vec::new();
        for user in users {
            sessions.extend(self.sessions_of(user));
            sessions.extend(self.watchers.get(user).into_iter().flatten());
        }
        sessions.sort_unstable();
        sessions.dedup();
        self.watches(sessions)
    }

    /// The watches that may be there because of a channel that is gone: its
    /// members', or all when they are not known here.
    pub(in crate::presence) fn watches_through(&self, channel: &ChannelId) -> Vec<Watch> {
        match self.channels.get(channel) {
            Some(known) => {
                let sessions = known.members.iter().flat_map(|user| self.sessions_of(user));
                self.watches(sessions.copied())
            }
            None => self.watches(self.sessions.keys().copied()),
        }
    }

    /// The watches of sessions that watch somebody.
    pub(in crate::presence) fn watches(
        &self,
        sessions: impl IntoIterator<Item = SessionId>,
    ) -> Vec<Watch> {
        let watching = sessions.into_iter().filter_map(|session| {
            let opened = self.sessions.get(&session)?;
            (!opened.watched.is_empty()).then(|| Watch {
                session,
                viewer: opened.user.clone(),
                watched: opened.watched.clone(),
            })
        });
        watching.collect()
    }

    /// Of `channels`, those whose members are not known here.
    pub(in crate::presence) fn unknown<'a>(&self, channels: &'a [ChannelId]) -> Vec<&'a ChannelId> {
        channels
            .iter()
            .filter(|channel| !self.channels.contains_key(*channel))
            .collect()
    }

    /// These are all members of a channel; `None` when it is gone or too large
    /// for presence.
    pub(in crate::presence) fn set_members(
        &mut self,
        now_ms: u64,
        channel: &ChannelId,
        members: Option<Vec<UserId>>,
    ) {
        let members = members
            .filter(|members| members.len() <= self.config.channel_members_max)
            .unwrap_or_default();
        let before = self
            .channels
            .remove(channel)
            .map_or(Vec::new(), |known| known.members);
        for member in &before {
            self.forget_membership(member, channel);
        }
        let present: Vec<UserId> = members
            .iter()
            .filter(|user| self.is_present(user))
            .cloned()
            .collect();
        if present.is_empty() {
            return;
        }
        for member in &members {
            self.memberships
                .entry(member.clone())
                .or_default()
                .push(channel.clone());
        }
        let before: HashSet<UserId> = before.into_iter().collect();
        let count = present.len();
        let added: Vec<UserId> = members
            .iter()
            .filter(|user| !before.contains(*user))
            .cloned()
            .collect();
        self.channels.insert(
            channel.clone(),
            Channel {
                members,
                present: count,
            },
        );
        // Of a channel that was not known here, those who are here hear of each
        // other; of a known one, those who came and all others.
        let came = if before.is_empty() { present } else { added };
        for user in came {
            self.introduce(now_ms, &user);
        }
    }

    /// The sessions that hear of a user: its own, those that watch it, those of
    /// users that share a channel with it.
    pub(super) fn audience(&self, user: &UserId) -> Vec<SessionId> {
        let mut audience: Vec<SessionId> = self.sessions_of(user).to_vec();
        audience.extend(self.watchers.get(user).into_iter().flatten());
        for channel in self.memberships.get(user).into_iter().flatten() {
            let members = self.channels.get(channel).map(|channel| &channel.members);
            for member in members.into_iter().flatten() {
                audience.extend(self.sessions_of(member));
            }
        }
        audience.sort_unstable();
        audience.dedup();
        audience
    }

    pub(super) fn sessions_of(&self, user: &UserId) -> &[SessionId] {
        self.users.get(user).map_or(&[], |record| &record.sessions)
    }

    /// Puts what one session is to hear into one notice, and sessions that are
    /// to hear the same into one list, so that it is encoded once.
    pub(super) fn spread(&self, changes: Vec<Shown>) -> Vec<(Vec<SessionId>, Vec<Shown>)> {
        let mut heard: HashMap<SessionId, Vec<usize>> = HashMap::new();
        for (place, change) in changes.iter().enumerate() {
            for session in self.audience(&change.user) {
                heard.entry(session).or_default().push(place);
            }
        }
        let mut alike: HashMap<Vec<usize>, Vec<SessionId>> = HashMap::new();
        for (session, places) in heard {
            alike.entry(places).or_default().push(session);
        }
        let mut notices = Vec::new();
        for (places, mut sessions) in alike {
            sessions.sort_unstable();
            for places in places.chunks(NOTICE_USERS_MAX) {
                let users = places.iter().map(|place| changes[*place].clone()).collect();
                notices.push((sessions.clone(), users));
            }
        }
        notices.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        notices
    }

    /// Who of those that a session hears of is there.
    pub(super) fn first_notices(
        &self,
        now_ms: u64,
        session: SessionId,
    ) -> Vec<(Vec<SessionId>, Vec<Shown>)> {
        let Some(user) = self.sessions.get(&session).map(|opened| &opened.user) else {
            return Vec::new();
        };
        let mut seen = HashSet::new();
        let users: Vec<Shown> = self
            .memberships
            .get(user)
            .into_iter()
            .flatten()
            .filter_map(|channel| self.channels.get(channel))
            .flat_map(|channel| &channel.members)
            .filter(|member| *member != user && seen.insert(*member))
            .map(|member| self.shown(now_ms, member))
            .filter(|shown| shown.state != PresenceState::Offline)
            .take(FIRST_NOTICE_USERS_MAX)
            .collect();
        users
            .chunks(NOTICE_USERS_MAX)
            .map(|users| (vec![session], users.to_vec()))
            .collect()
    }

    /// A user came into a channel: it hears of the others, they hear of it.
    pub(super) fn introduce(&mut self, now_ms: u64, user: &UserId) {
        for session in self.sessions_of(user).to_vec() {
            self.timers
                .set_earlier(Timer::First(session), now_ms + self.config.settle_ms);
        }
        if let Some(record) = self.users.get_mut(user)
            && record.shown.0 != PresenceState::Offline
        {
            record.is_forced = true;
            self.mark(now_ms, user);
        }
    }

    pub(super) fn is_present(&self, user: &UserId) -> bool {
        !self.sessions_of(user).is_empty()
    }

    /// The user's first session has begun, or its last one ended.
    pub(super) fn count_present(&mut self, user: &UserId, begins: bool) {
        for channel in self.memberships.get(user).cloned().unwrap_or_default() {
            let Some(known) = self.channels.get_mut(&channel) else {
                continue;
            };
            if begins {
                known.present += 1;
                continue;
            }
            known.present -= 1;
            if known.present == 0 {
                let members = std::mem::take(&mut known.members);
                self.channels.remove(&channel);
                for member in members {
                    self.forget_membership(&member, &channel);
                }
            }
        }
    }

    pub(super) fn forget_membership(&mut self, user: &UserId, channel: &ChannelId) {
        if let Some(channels) = self.memberships.get_mut(user) {
            channels.retain(|known| known != channel);
            if channels.is_empty() {
                self.memberships.remove(user);
            }
        }
    }
}
