//! Who types where. Pure: time is an input, what is to be told an output.
//!
//! A notice goes to the sessions that have the channel open, but not to those
//! of the user who types.

use std::collections::{BTreeSet, HashMap};

use confab_protocol::message::presence::TypingChanged;
use confab_protocol::{ChannelId, Offset, Text, UserId};

use super::{Config, SessionId};

/// Places at which one session may type at once; the one it began first ends.
const PLACES_MAX: usize = 8;

/// What is to be told, and to whom.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct TypingNotice {
    pub(super) to: Vec<SessionId>,
    pub(super) changed: TypingChanged,
}

/// Where somebody types.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub(super) struct TypingPlace {
    pub(super) channel: ChannelId,
    pub(super) thread: Option<Offset>,
}

struct Session {
    user: UserId,
    /// The channels on its screen, in the order in which they were opened.
    open: Vec<ChannelId>,
    /// Invariant: at most one entry a place.
    typing: Vec<Typist>,
}

struct Typist {
    place: TypingPlace,
    name: Text,
    expires_at_ms: u64,
    told_at_ms: u64,
}

/// The machine.
pub(super) struct TypingMachine {
    timeout_ms: u64,
    repeat_ms: u64,
    open_channels_max: usize,
    sessions: HashMap<SessionId, Session>,
    /// Invariant: holds a session for a channel exactly when the session's
    /// `open` holds the channel.
    open: HashMap<ChannelId, Vec<SessionId>>,
    /// Invariant: one entry for each typist, at its `expires_at_ms`.
    expiries: BTreeSet<(u64, SessionId, TypingPlace)>,
}

impl TypingMachine {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            timeout_ms: config.typing_timeout_ms,
            // A client that repeats every 2 s must not be cut to every 4 s by a
            // packet that comes a little early.
            repeat_ms: config.typing_interval_ms / 4 * 3,
            open_channels_max: config.open_channels_max,
            sessions: HashMap::new(),
            open: HashMap::new(),
            expiries: BTreeSet::new(),
        }
    }

    pub(super) fn connect(&mut self, session: SessionId, user: UserId) {
        let opened = Session {
            user,
            open: Vec::new(),
            typing: Vec::new(),
        };
        self.sessions.insert(session, opened);
    }

    #[must_use]
    pub(super) fn disconnect(&mut self, session: SessionId) -> Vec<TypingNotice> {
        let notices = self.stop_where(session, |_| true);
        if let Some(gone) = self.sessions.remove(&session) {
            for channel in &gone.open {
                self.forget_open(channel, session);
            }
        }
        notices
    }

    pub(super) fn open(&mut self, session: SessionId, channel: &ChannelId) {
        let Some(opener) = self.sessions.get_mut(&session) else {
            return;
        };
        if opener.open.contains(channel) {
            return;
        }
        opener.open.push(channel.clone());
        let closed = (opener.open.len() > self.open_channels_max).then(|| opener.open.remove(0));
        self.open.entry(channel.clone()).or_default().push(session);
        if let Some(closed) = closed {
            self.forget_open(&closed, session);
        }
    }

    /// Takes the channel off the session's screen; typing in it ends.
    #[must_use]
    pub(super) fn close(&mut self, session: SessionId, channel: &ChannelId) -> Vec<TypingNotice> {
        let notices = self.stop_where(session, |place| place.channel == *channel);
        if let Some(closer) = self.sessions.get_mut(&session) {
            closer.open.retain(|open| open != channel);
            self.forget_open(channel, session);
        }
        notices
    }

    /// Closes the channel for everybody who is no longer `is_member`.
    #[must_use]
    pub(super) fn members_changed(
        &mut self,
        channel: &ChannelId,
        is_member: impl Fn(&UserId) -> bool,
    ) -> Vec<TypingNotice> {
        let typing = self
            .expiries
            .iter()
            .map(|(_, session, place)| (session, &place.channel));
        let leavers: Vec<SessionId> = self
            .open
            .get(channel)
            .into_iter()
            .flatten()
            .map(|session| (session, channel))
            .chain(typing)
            .filter(|(session, place)| {
                *place == channel
                    && self
                        .sessions
                        .get(session)
                        .is_some_and(|known| !is_member(&known.user))
            })
            .map(|(session, _)| *session)
            .collect();
        leavers
            .into_iter()
            .flat_map(|session| self.close(session, channel))
            .collect()
    }

    /// The user types, or goes on to.
    #[must_use]
    pub(super) fn start(
        &mut self,
        now_ms: u64,
        session: SessionId,
        place: TypingPlace,
        name: &Text,
    ) -> Vec<TypingNotice> {
        let Some(typing) = self.sessions.get_mut(&session) else {
            return Vec::new();
        };
        let expires_at_ms = now_ms + self.timeout_ms;
        let known = typing
            .typing
            .iter_mut()
            .find(|typist| typist.place == place);
        let is_told = match known {
            Some(typist) => {
                self.expiries
                    .remove(&(typist.expires_at_ms, session, place.clone()));
                typist.expires_at_ms = expires_at_ms;
                let is_due = now_ms >= typist.told_at_ms + self.repeat_ms;
                if is_due {
                    typist.told_at_ms = now_ms;
                }
                is_due
            }
            None => {
                typing.typing.push(Typist {
                    place: place.clone(),
                    name: name.clone(),
                    expires_at_ms,
                    told_at_ms: now_ms,
                });
                true
            }
        };
        let is_full = typing.typing.len() > PLACES_MAX;
        let first = is_full.then(|| typing.typing[0].place.clone());
        self.expiries
            .insert((expires_at_ms, session, place.clone()));
        let mut notices = match first {
            Some(first) => self.stop_where(session, |other| *other == first),
            None => Vec::new(),
        };
        if is_told {
            notices.extend(self.notice(session, &place, name.clone(), true));
        }
        notices
    }

    /// The user has stopped, or has posted there.
    #[must_use]
    pub(super) fn stop(&mut self, session: SessionId, place: &TypingPlace) -> Vec<TypingNotice> {
        self.stop_where(session, |other| other == place)
    }

    /// When [`TypingMachine::tick`] has something to do.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.expiries.first().map(|(at_ms, ..)| *at_ms)
    }

    /// Ends what has not been repeated.
    #[must_use]
    pub(super) fn tick(&mut self, now_ms: u64) -> Vec<TypingNotice> {
        let mut notices = Vec::new();
        while let Some((at_ms, session, place)) = self.expiries.first().cloned()
            && at_ms <= now_ms
        {
            notices.extend(self.stop(session, &place));
        }
        notices
    }

    fn stop_where(
        &mut self,
        session: SessionId,
        stops: impl Fn(&TypingPlace) -> bool,
    ) -> Vec<TypingNotice> {
        let Some(typing) = self.sessions.get_mut(&session) else {
            return Vec::new();
        };
        let (stopped, going_on) = std::mem::take(&mut typing.typing)
            .into_iter()
            .partition(|typist| stops(&typist.place));
        typing.typing = going_on;
        let stopped: Vec<Typist> = stopped;
        stopped
            .into_iter()
            .filter_map(|typist| {
                self.expiries
                    .remove(&(typist.expires_at_ms, session, typist.place.clone()));
                self.notice(session, &typist.place, typist.name, false)
            })
            .collect()
    }

    fn notice(
        &self,
        session: SessionId,
        place: &TypingPlace,
        name: Text,
        on: bool,
    ) -> Option<TypingNotice> {
        let user = &self.sessions.get(&session)?.user;
        let is_other = |id: &&SessionId| self.sessions.get(*id).is_some_and(|s| s.user != *user);
        let to: Vec<SessionId> = self
            .open
            .get(&place.channel)?
            .iter()
            .filter(is_other)
            .copied()
            .collect();
        let changed = TypingChanged {
            channel: place.channel.clone(),
            thread: place.thread,
            user: user.clone(),
            name,
            on,
        };
        (!to.is_empty()).then_some(TypingNotice { to, changed })
    }

    fn forget_open(&mut self, channel: &ChannelId, session: SessionId) {
        if let Some(sessions) = self.open.get_mut(channel) {
            sessions.retain(|open| *open != session);
            if sessions.is_empty() {
                self.open.remove(channel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ANN: SessionId = 1;
    const ANN_PHONE: SessionId = 2;
    const BOB: SessionId = 3;
    const CEM: SessionId = 4;

    fn place() -> TypingPlace {
        TypingPlace {
            channel: ChannelId::general(),
            thread: None,
        }
    }

    fn name() -> Text {
        "Ann".into()
    }

    /// Everybody has the channel open but Cem.
    fn machine() -> TypingMachine {
        let mut machine = TypingMachine::new(&Config::default());
        for (session, user) in [(ANN, "ann"), (ANN_PHONE, "ann"), (BOB, "bob"), (CEM, "cem")] {
            machine.connect(session, UserId::new(user).unwrap());
            if session != CEM {
                machine.open(session, &ChannelId::general());
            }
        }
        machine
    }

    #[track_caller]
    fn told(notices: &[TypingNotice], on: bool) {
        assert_eq!(notices.len(), 1, "{notices:?}");
        assert_eq!(
            notices[0].to,
            [BOB],
            "only those who have it open, not the typist"
        );
        assert_eq!(notices[0].changed.on, on);
        assert_eq!(notices[0].changed.name, "Ann");
    }

    #[test]
    fn typing_is_told_and_ends_by_itself() {
        let mut machine = machine();
        told(&machine.start(0, ANN, place(), &name()), true);
        assert_eq!(machine.deadline(), Some(3_000));
        assert_eq!(machine.tick(2_999), []);
        told(&machine.tick(3_000), false);
        assert_eq!(machine.deadline(), None);
        assert_eq!(machine.stop(ANN, &place()), []);
    }

    /// A client may repeat every two seconds; faster repeats only keep it going.
    #[test]
    fn repeats_are_throttled_but_count() {
        let mut machine = machine();
        told(&machine.start(0, ANN, place(), &name()), true);
        for now_ms in [100, 500, 1_400] {
            assert_eq!(machine.start(now_ms, ANN, place(), &name()), []);
        }
        assert_eq!(machine.deadline(), Some(4_400));
        told(&machine.start(1_990, ANN, place(), &name()), true);
        assert_eq!(machine.tick(4_400), []);
        told(&machine.tick(4_990), false);
    }

    #[test]
    fn stopping_closing_and_leaving_end_it_at_once() {
        let ends: [fn(&mut TypingMachine) -> Vec<TypingNotice>; 4] = [
            |machine| machine.stop(ANN, &place()),
            |machine| machine.close(ANN, &ChannelId::general()),
            |machine| machine.disconnect(ANN),
            |machine| machine.members_changed(&ChannelId::general(), |user| user.as_str() != "ann"),
        ];
        for end in ends {
            let mut machine = machine();
            told(&machine.start(0, ANN, place(), &name()), true);
            told(&end(&mut machine), false);
            assert_eq!(machine.deadline(), None);
        }
    }

    /// Who was removed from a channel hears nothing more of it.
    #[test]
    fn a_removed_member_is_not_told() {
        let mut machine = machine();
        let general = ChannelId::general();
        assert_eq!(
            machine.members_changed(&general, |user| user.as_str() != "bob"),
            []
        );
        assert_eq!(machine.start(0, ANN, place(), &name()), []);
        machine.open(BOB, &general);
        told(&machine.start(2_000, ANN, place(), &name()), true);
    }

    #[test]
    fn a_thread_is_a_place_of_its_own() {
        let mut machine = machine();
        let thread = TypingPlace {
            thread: Some(Offset(7)),
            ..place()
        };
        told(&machine.start(0, ANN, place(), &name()), true);
        let notices = machine.start(0, ANN, thread.clone(), &name());
        told(&notices, true);
        assert_eq!(notices[0].changed.thread, Some(Offset(7)));
        told(&machine.stop(ANN, &thread), false);
        told(&machine.tick(3_000), false);
    }

    /// One session cannot make the machine hold more and more.
    #[test]
    fn places_and_open_channels_are_bounded() {
        let mut machine = machine();
        for number in 0..100 {
            let channel = ChannelId::new(&format!("dept-{number}")).unwrap();
            machine.open(ANN, &channel);
            let place = TypingPlace {
                channel,
                thread: None,
            };
            let _ = machine.start(0, ANN, place, &name());
        }
        assert_eq!(machine.expiries.len(), PLACES_MAX);
        assert_eq!(machine.sessions[&ANN].open.len(), 32);
        assert_eq!(machine.open.len(), 33, "general is still open elsewhere");
        for session in [ANN, ANN_PHONE, BOB, CEM] {
            let _ = machine.disconnect(session);
        }
        assert!(machine.open.is_empty() && machine.expiries.is_empty());
        assert_eq!(machine.start(0, ANN, place(), &name()), []);
    }
}
