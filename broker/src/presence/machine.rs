//! Who is there. Pure: time is an input, what is to be told an output.
//!
//! Inputs change sessions, users, channels and other nodes' views; each change
//! that could be seen marks its user, and [`Machine::tick`] tells what really
//! changed once it is due. [`Machine::deadline`] says when that is.

mod audience;
mod record;
mod timers;

use std::collections::{BTreeSet, HashMap};

use confab_protocol::message::presence::{Presence as Shown, PresenceState};
use confab_protocol::{ChannelId, DeviceId, Text, UserId};
use confab_replication::NodeId;

use super::{Config, Delta, Remote, SessionId};
pub(super) use audience::Watch;
use record::{Channel, Ghost, Session, User};
use timers::{Timer, Timers};

/// Devices of one user whose choice is remembered.
const CHOICES_MAX: usize = 16;

/// What is to be told, and to whom.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Told {
    /// Each list of users with the sessions that are to hear of just these.
    pub(super) notices: Vec<(Vec<SessionId>, Vec<Shown>)>,
    /// What other nodes are to hear.
    pub(super) deltas: Vec<Delta>,
}

/// The machine.
pub(super) struct Machine {
    config: Config,
    sessions: HashMap<SessionId, Session>,
    users: HashMap<UserId, User>,
    /// Channels that somebody here is a member of, up to the limit of members.
    channels: HashMap<ChannelId, Channel>,
    /// Invariant: the inverse of the channels' members.
    memberships: HashMap<UserId, Vec<ChannelId>>,
    /// Invariant: the inverse of the sessions' `watched`.
    watchers: HashMap<UserId, Vec<SessionId>>,
    timers: Timers,
    /// Users that are not here, the one seen longest ago first.
    forgettable: BTreeSet<(u64, UserId)>,
}

impl Machine {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            sessions: HashMap::new(),
            users: HashMap::new(),
            channels: HashMap::new(),
            memberships: HashMap::new(),
            watchers: HashMap::new(),
            timers: Timers::default(),
            forgettable: BTreeSet::new(),
        }
    }

    /// A session begins. It is told how the users stand that it hears of.
    pub(super) fn connect(
        &mut self,
        now_ms: u64,
        session: SessionId,
        user: &UserId,
        device: &DeviceId,
    ) {
        let record = self.record(user);
        record.sessions.push(session);
        let is_first = record.sessions.len() == 1;
        if record
            .ghost
            .as_ref()
            .is_some_and(|ghost| ghost.device == *device)
        {
            record.ghost = None;
        }
        let choice = record.choices.iter().find(|(known, _)| known == device);
        let chosen = choice.map_or(PresenceState::Online, |(_, chosen)| *chosen);
        let opened = Session {
            user: user.clone(),
            device: device.clone(),
            chosen,
            last_heartbeat_ms: now_ms,
            last_active_ms: now_ms,
            state: chosen,
            watched: Vec::new(),
        };
        self.sessions.insert(session, opened);
        if is_first {
            self.count_present(user, true);
        }
        self.look(now_ms, session);
        self.timers
            .set(Timer::First(session), now_ms + self.config.settle_ms);
        self.mark(now_ms, user);
    }

    /// A session ends. With `grace` it counts for a little longer, as it may
    /// come back at once.
    pub(super) fn disconnect(&mut self, now_ms: u64, session: SessionId, grace: bool) {
        self.watch(session, Vec::new());
        let Some(gone) = self.sessions.remove(&session) else {
            return;
        };
        self.timers.clear(&Timer::Session(session));
        self.timers.clear(&Timer::First(session));
        let user = gone.user.clone();
        let state = gone.state_at(now_ms, &self.config);
        let Some(record) = self.users.get_mut(&user) else {
            return;
        };
        record.sessions.retain(|other| *other != session);
        if state != PresenceState::Offline {
            record.last_seen_ms = now_ms;
            if grace {
                let before = record.ghost.take();
                let until_ms = now_ms + self.config.reconnect_grace_ms;
                record.ghost = Some(Ghost {
                    device: gone.device,
                    state: before.map_or(state, |before| before.state.max(state)),
                    until_ms,
                });
                self.timers.set(Timer::Ghost(user.clone()), until_ms);
            }
        }
        if self.users[&user].sessions.is_empty() {
            self.count_present(&user, false);
        }
        self.mark(now_ms, &user);
    }

    /// A session lives; `active` when its user did something.
    pub(super) fn heartbeat(&mut self, now_ms: u64, session: SessionId, active: bool) {
        let Some(alive) = self.sessions.get_mut(&session) else {
            return;
        };
        alive.last_heartbeat_ms = now_ms;
        if active {
            alive.last_active_ms = now_ms;
        }
        self.look(now_ms, session);
    }

    /// The user chose how the device looks, and a status text.
    pub(super) fn choose(
        &mut self,
        now_ms: u64,
        session: SessionId,
        chosen: PresenceState,
        status: Text,
    ) {
        let Some(choosing) = self.sessions.get_mut(&session) else {
            return;
        };
        let was_seen = choosing.state != PresenceState::Offline;
        choosing.chosen = chosen;
        choosing.last_heartbeat_ms = now_ms;
        choosing.last_active_ms = now_ms;
        let user = choosing.user.clone();
        let device = choosing.device.clone();
        if let Some(record) = self.users.get_mut(&user) {
            if was_seen {
                record.last_seen_ms = now_ms;
            }
            record.choices.retain(|(known, _)| *known != device);
            record.choices.push((device.clone(), chosen));
            if record.choices.len() > CHOICES_MAX {
                record.choices.remove(0);
            }
            if record.status != status {
                record.status = status;
                record.status_set_ms = now_ms;
            }
            if record
                .ghost
                .as_ref()
                .is_some_and(|ghost| ghost.device == device)
            {
                record.ghost = None;
            }
        }
        self.look(now_ms, session);
        self.mark(now_ms, &user);
    }

    /// How users stand now, in the order asked.
    pub(super) fn of<'a>(
        &self,
        now_ms: u64,
        users: impl IntoIterator<Item = &'a UserId>,
    ) -> Vec<Shown> {
        users
            .into_iter()
            .map(|user| self.shown(now_ms, user))
            .collect()
    }

    /// Another node told how its sessions make users look.
    pub(super) fn apply_remote(&mut self, now_ms: u64, node: NodeId, deltas: Vec<Delta>) {
        for delta in deltas {
            let user = delta.user.clone();
            let record = self.record(&user);
            record.last_seen_ms = record.last_seen_ms.max(delta.last_seen_ms);
            record.remotes.retain(|remote| remote.node != node);
            // What is offline there needs no entry, but its text counts on.
            if delta.state == PresenceState::Offline {
                if delta.status_set_ms > record.status_set_ms {
                    record.status = delta.status;
                    record.status_set_ms = delta.status_set_ms;
                }
            } else {
                record.remotes.push(Remote { node, delta });
            }
            self.mark(now_ms, &user);
        }
    }

    /// Another node is gone: so are its sessions.
    pub(super) fn node_lost(&mut self, now_ms: u64, node: NodeId) {
        let mut concerned = Vec::new();
        for (user, record) in &mut self.users {
            let before = record.remotes.len();
            record.remotes.retain(|remote| remote.node != node);
            if record.remotes.len() < before {
                concerned.push(user.clone());
            }
        }
        for user in concerned {
            self.mark(now_ms, &user);
        }
    }

    /// What a node that has just been connected must be told.
    pub(super) fn local_deltas(&self, now_ms: u64) -> Vec<Delta> {
        self.users
            .iter()
            .filter(|(_, record)| !record.sessions.is_empty() || record.ghost.is_some())
            .map(|(user, record)| self.delta(now_ms, user, record))
            .collect()
    }

    /// When [`Machine::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.timers.queue.first().map(|(at_ms, _)| *at_ms)
    }

    /// Lets time pass.
    #[must_use]
    pub(super) fn tick(&mut self, now_ms: u64) -> Told {
        let mut changes = Vec::new();
        let mut told = Told::default();
        // First what time does to sessions, so that it is told in the same go.
        while let Some(timer) = self.timers.take_due(now_ms) {
            match timer {
                Timer::Session(session) => self.look(now_ms, session),
                Timer::First(session) => told.notices.extend(self.first_notices(now_ms, session)),
                Timer::Ghost(user) => {
                    if let Some(record) = self.users.get_mut(&user)
                        && record
                            .ghost
                            .take_if(|ghost| ghost.until_ms <= now_ms)
                            .is_some()
                    {
                        self.mark(now_ms, &user);
                    }
                }
                Timer::Tell(user) => {
                    if let Some(change) = self.tell(now_ms, &user, &mut told.deltas) {
                        changes.push(change);
                    }
                }
            }
        }
        told.notices.extend(self.spread(changes));
        told
    }

    /// The user's record, which is in use from now on.
    fn record(&mut self, user: &UserId) -> &mut User {
        let record = self.users.entry(user.clone()).or_insert_with(User::new);
        if let Some(since_ms) = record.forgettable_since_ms.take() {
            self.forgettable.remove(&(since_ms, user.clone()));
        }
        record
    }

    /// How a user is seen now, over this node and the others.
    fn shown(&self, now_ms: u64, user: &UserId) -> Shown {
        let Some(record) = self.users.get(user) else {
            return Shown {
                user: user.clone(),
                state: PresenceState::Offline,
                status: Text::default(),
                last_seen_ms: 0,
            };
        };
        let mut state = self.local_state(now_ms, record);
        let mut status = (record.status_set_ms, &record.status);
        for Remote { delta, .. } in &record.remotes {
            state = state.max(delta.state);
            if delta.status_set_ms > status.0 {
                status = (delta.status_set_ms, &delta.status);
            }
        }
        let is_offline = state == PresenceState::Offline;
        Shown {
            user: user.clone(),
            state,
            // Who hides must not be seen changing a text either.
            status: if is_offline {
                Text::default()
            } else {
                status.1.clone()
            },
            last_seen_ms: record.last_seen_ms,
        }
    }

    fn local_state(&self, now_ms: u64, record: &User) -> PresenceState {
        let sessions = record
            .sessions
            .iter()
            .filter_map(|id| self.sessions.get(id));
        let live = sessions
            .map(|session| session.state_at(now_ms, &self.config))
            .max();
        let ghost = record
            .ghost
            .as_ref()
            .filter(|ghost| now_ms < ghost.until_ms);
        live.into_iter()
            .chain(ghost.map(|ghost| ghost.state))
            .max()
            .unwrap_or(PresenceState::Offline)
    }

    fn delta(&self, now_ms: u64, user: &UserId, record: &User) -> Delta {
        Delta {
            user: user.clone(),
            state: self.local_state(now_ms, record),
            status: record.status.clone(),
            status_set_ms: record.status_set_ms,
            last_seen_ms: record.last_seen_ms,
        }
    }

    /// Looks at what a session has become, and again when that changes.
    fn look(&mut self, now_ms: u64, session: SessionId) {
        let Some(looked) = self.sessions.get_mut(&session) else {
            return;
        };
        let state = looked.state_at(now_ms, &self.config);
        let has_changed = std::mem::replace(&mut looked.state, state) != state;
        let user = looked.user.clone();
        if state != PresenceState::Offline
            && let Some(record) = self.users.get_mut(&user)
        {
            record.last_seen_ms = record.last_seen_ms.max(looked.last_heartbeat_ms);
        }
        self.look_later(now_ms, session);
        if has_changed {
            self.mark(now_ms, &user);
        }
    }

    /// Heartbeats only move a session's next change away, so a timer that is
    /// set is left alone: it looks, and is set again.
    fn look_later(&mut self, now_ms: u64, session: SessionId) {
        let next = self.sessions[&session].next_change_ms(now_ms, &self.config);
        if let Some(at_ms) = next {
            self.timers.set_earlier(Timer::Session(session), at_ms);
        }
    }

    /// Something about the user may look different: tells it when it is due.
    fn mark(&mut self, now_ms: u64, user: &UserId) {
        let Some(record) = self.users.get(user) else {
            return;
        };
        let settled_ms = now_ms + self.config.settle_ms;
        let due_ms = record
            .shown_at_ms
            .map_or(0, |shown_ms| shown_ms + self.config.change_interval_ms);
        self.timers
            .set_earlier(Timer::Tell(user.clone()), settled_ms.max(due_ms));
    }

    /// What watchers are to be told of a user, if anything.
    fn tell(&mut self, now_ms: u64, user: &UserId, deltas: &mut Vec<Delta>) -> Option<Shown> {
        let shown = self.shown(now_ms, user);
        let record = self.users.get(user)?;
        let delta = self.delta(now_ms, user, record);
        let record = self.users.get_mut(user)?;
        let gossip = (delta.state, delta.status.clone());
        if record.gossiped != gossip {
            record.gossiped = gossip;
            deltas.push(delta);
        }
        let seen = (shown.state, shown.status.clone());
        let is_news = std::mem::take(&mut record.is_forced) || record.shown != seen;
        if is_news {
            record.shown = seen;
            record.shown_at_ms = Some(now_ms);
        }
        self.forget_later(user);
        is_news.then_some(shown)
    }

    /// Keeps a user that is nowhere for as long as there is room.
    fn forget_later(&mut self, user: &UserId) {
        let Some(record) = self.users.get_mut(user) else {
            return;
        };
        let is_nowhere =
            record.sessions.is_empty() && record.ghost.is_none() && record.remotes.is_empty();
        if let Some(since_ms) = record.forgettable_since_ms.take() {
            self.forgettable.remove(&(since_ms, user.clone()));
        }
        if !is_nowhere {
            return;
        }
        record.forgettable_since_ms = Some(record.last_seen_ms);
        self.forgettable.insert((record.last_seen_ms, user.clone()));
        while self.forgettable.len() > self.config.remembered_max
            && let Some((_, forgotten)) = self.forgettable.pop_first()
        {
            self.users.remove(&forgotten);
            self.timers.clear(&Timer::Tell(forgotten));
        }
    }
}

#[cfg(test)]
mod tests;
