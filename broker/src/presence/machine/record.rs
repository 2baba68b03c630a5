//! What the machine keeps of a session, a user and a channel.

use confab_protocol::message::presence::PresenceState;
use confab_protocol::{DeviceId, Text, UserId};

use super::super::{Config, Remote, SessionId};

pub(super) struct Session {
    pub(super) user: UserId,
    pub(super) device: DeviceId,
    pub(super) chosen: PresenceState,
    pub(super) last_heartbeat_ms: u64,
    pub(super) last_active_ms: u64,
    /// What the session was when it was last looked at.
    pub(super) state: PresenceState,
    pub(super) watched: Vec<UserId>,
}

/// What an ended session was, for the time in which it may come back.
pub(super) struct Ghost {
    pub(super) device: DeviceId,
    pub(super) state: PresenceState,
    pub(super) until_ms: u64,
}

pub(super) struct User {
    pub(super) sessions: Vec<SessionId>,
    pub(super) ghost: Option<Ghost>,
    /// What its devices chose, the newest last; so that a device that hides
    /// does not show itself when it connects again.
    pub(super) choices: Vec<(DeviceId, PresenceState)>,
    pub(super) status: Text,
    pub(super) status_set_ms: u64,
    pub(super) last_seen_ms: u64,
    pub(super) remotes: Vec<Remote>,
    /// What watchers were told last.
    pub(super) shown: (PresenceState, Text),
    pub(super) shown_at_ms: Option<u64>,
    /// What other nodes were told last.
    pub(super) gossiped: (PresenceState, Text),
    /// Tell watchers also what they may know: some of them are new.
    pub(super) is_forced: bool,
    /// Its place in `Machine::forgettable`.
    pub(super) forgettable_since_ms: Option<u64>,
}

pub(super) struct Channel {
    pub(super) members: Vec<UserId>,
    /// Members with a session here; the channel is forgotten at 0.
    pub(super) present: usize,
}

impl User {
    pub(super) fn new() -> Self {
        Self {
            sessions: Vec::new(),
            ghost: None,
            choices: Vec::new(),
            status: Text::default(),
            status_set_ms: 0,
            last_seen_ms: 0,
            remotes: Vec::new(),
            shown: (PresenceState::Offline, Text::default()),
            shown_at_ms: None,
            gossiped: (PresenceState::Offline, Text::default()),
            is_forced: false,
            forgettable_since_ms: None,
        }
    }
}

impl Session {
    pub(super) fn state_at(&self, now_ms: u64, config: &Config) -> PresenceState {
        let silent_ms = now_ms.saturating_sub(self.last_heartbeat_ms);
        let idle_ms = now_ms.saturating_sub(self.last_active_ms);
        match self.chosen {
            _ if silent_ms >= config.offline_after_ms => PresenceState::Offline,
            PresenceState::Online if idle_ms >= config.away_after_ms => PresenceState::Away,
            chosen => chosen,
        }
    }

    /// When `state_at` changes by itself next.
    pub(super) fn next_change_ms(&self, now_ms: u64, config: &Config) -> Option<u64> {
        let gone_ms = self.last_heartbeat_ms + config.offline_after_ms;
        let away_ms = self.last_active_ms + config.away_after_ms;
        [gone_ms, away_ms]
            .into_iter()
            .filter(|at_ms| *at_ms > now_ms)
            .min()
    }
}
