//! The machines' shell: a lock, a clock, a task for their timers, outboxes.
//!
//! Calls are short and never wait, so a session can make them wherever it is.
//! What they make known goes into outboxes under the same lock, so that no
//! notice overtakes an earlier one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use confab_protocol::limits::STATUS_BYTES_MAX;
use confab_protocol::message::presence::{
    PresenceChanged, PresenceState, SetPresence, Typing, WatchPresence,
};
use confab_protocol::message::{PresencePushed, frame_of};
use confab_protocol::{ChannelId, DeviceId, ErrorCode, Offset, Text, UserId, WireError};
use confab_replication::NodeId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::machine::{Machine, Told, Watch};
use super::typing::{TypingMachine, TypingNotice, TypingPlace};
use super::{Config, Delta, Directory, SessionId};
use crate::session::outbox::Outbox;

/// Lookups that are repeated because members changed meanwhile, before one is
/// made under the lock.
const LOOKUPS_MAX: usize = 3;

/// Takes what other nodes are to hear; must not wait.
pub type GossipHook = Arc<dyn Fn(Vec<Delta>) + Send + Sync>;

/// The handle to presence and typing. Cheap to clone.
#[derive(Clone)]
pub struct Presence {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    directory: Arc<dyn Directory>,
    gossip: Option<GossipHook>,
    state: Mutex<State>,
    /// A timer is due earlier than the task that sleeps knows.
    wake: Notify,
    last_session: AtomicU64,
    started_at: Instant,
    started_at_ms: u64,
}

struct State {
    machine: Machine,
    typing: TypingMachine,
    outboxes: HashMap<SessionId, Outbox>,
    /// Grows whenever a channel's members change, so that a lookup that began
    /// before is not taken for one of after.
    member_changes: u64,
    /// Until when the task sleeps.
    sleeps_until_ms: Option<u64>,
}

/// One session's side of presence; dropping it ends the session there, with
/// the grace of a client that may connect again at once.
pub struct Device {
    presence: Presence,
    session: SessionId,
    user: UserId,
}

impl Presence {
    /// Presence of this node's sessions. `now_ms` is the Unix time in
    /// milliseconds; from then on a monotonic clock counts, so that timers do
    /// not jump with the system's.
    #[must_use]
    pub fn new(
        config: Config,
        directory: Arc<dyn Directory>,
        gossip: Option<GossipHook>,
        now_ms: u64,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(State {
                    machine: Machine::new(config.clone()),
                    typing: TypingMachine::new(&config),
                    outboxes: HashMap::new(),
                    member_changes: 0,
                    sleeps_until_ms: None,
                }),
                config,
                directory,
                gossip,
                wake: Notify::new(),
                last_session: AtomicU64::new(0),
                started_at: Instant::now(),
                started_at_ms: now_ms,
            }),
        }
    }

    /// Drives the timers until `shutdown`. Without it nothing is told.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let woken = self.inner.wake.notified();
            let next_ms = self.tick();
            let at = next_ms.map(|at_ms| {
                let after_ms = at_ms.saturating_sub(self.inner.started_at_ms);
                self.inner.started_at + Duration::from_millis(after_ms)
            });
            let timer = async {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = woken => {}
                () = timer => {}
            }
        }
    }

    /// A session of `user` begins: from now on it is seen, and what it hears
    /// goes into `outbox`, beginning with who is there of those it hears of.
    #[must_use]
    pub fn connect(&self, user: &UserId, device: &DeviceId, outbox: Outbox) -> Device {
        let session = self.inner.last_session.fetch_add(1, Ordering::Relaxed) + 1;
        self.with(|state, now_ms| {
            state.machine.connect(now_ms, session, user, device);
            state.typing.connect(session, user.clone());
            state.outboxes.insert(session, outbox);
            Vec::new()
        });
        // The user is in the machine before its channels are looked up: a
        // channel that it gets meanwhile comes by `channel_changed`.
        let channels = self.inner.directory.channels_of(user);
        let unknown: Vec<ChannelId> = {
            let state = self.inner.state.lock();
            state
                .machine
                .unknown(&channels)
                .into_iter()
                .cloned()
                .collect()
        };
        for channel in unknown {
            self.read_members(&channel);
        }
        Device {
            presence: self.clone(),
            session,
            user: user.clone(),
        }
    }

    /// The channel's members changed, or the channel is gone; the directory
    /// knows it already. Who is no longer a member hears nothing of it from
    /// when this returns.
    pub fn channel_changed(&self, channel: &ChannelId) {
        let directory = &self.inner.directory;
        self.with(|state, _| {
            state.member_changes += 1;
            state
                .typing
                .members_changed(channel, |user| directory.is_member(channel, user))
        });
        self.read_members(channel);
    }

    /// A channel is gone; the directory knows it already. Nobody hears of
    /// anybody through it from when this returns.
    pub fn channel_gone(&self, channel: &ChannelId) {
        let watches = self.inner.state.lock().machine.watches_through(channel);
        self.channel_changed(channel);
        self.look_again(watches);
    }

    /// These users are no longer in a channel that they were in; the directory
    /// knows it already. A watch that only the channel allowed ends.
    pub fn members_left(&self, users: &[UserId]) {
        let watches = self.inner.state.lock().machine.watches_about(users);
        self.look_again(watches);
    }

    /// Ends of these watches what is no longer allowed.
    fn look_again(&self, watches: Vec<Watch>) {
        for Watch {
            session,
            viewer,
            watched,
        } in watches
        {
            let seen = self.seen_by(&viewer, &watched);
            if seen.len() == watched.len() {
                continue;
            }
            self.with(|state, _| {
                // Another watch than the one looked at was looked at by itself.
                if state.machine.watched(session) == watched {
                    state.machine.watch(session, seen);
                }
                Vec::new()
            });
        }
    }

    /// Those of `users` that `viewer` may hear of.
    fn seen_by(&self, viewer: &UserId, users: &[UserId]) -> Vec<UserId> {
        let seen = users
            .iter()
            .filter(|user| self.inner.directory.may_see(viewer, user));
        seen.cloned().collect()
    }

    /// How users stand now, in the order asked.
    #[must_use]
    pub fn of(&self, users: &[UserId]) -> PresenceChanged {
        let now_ms = self.inner.now_ms();
        let users = self.inner.state.lock().machine.of(now_ms, users);
        PresenceChanged {
            users: users.into_iter().collect(),
        }
    }

    /// Another node told how its sessions make users look.
    pub fn apply_remote(&self, node: NodeId, deltas: Vec<Delta>) {
        self.with(|state, now_ms| {
            state.machine.apply_remote(now_ms, node, deltas);
            Vec::new()
        });
    }

    /// Another node is gone: its sessions are offline.
    pub fn node_lost(&self, node: NodeId) {
        self.with(|state, now_ms| {
            state.machine.node_lost(now_ms, node);
            Vec::new()
        });
    }

    /// Everything that a newly connected node must be told.
    #[must_use]
    pub fn local_deltas(&self) -> Vec<Delta> {
        let now_ms = self.inner.now_ms();
        self.inner.state.lock().machine.local_deltas(now_ms)
    }

    /// Looks a channel's members up and hands them to the machine, unless they
    /// changed between the two.
    fn read_members(&self, channel: &ChannelId) {
        let inner = &self.inner;
        let max = inner.config.channel_members_max;
        for _ in 0..LOOKUPS_MAX {
            let seen = inner.state.lock().member_changes;
            let members = inner.directory.members(channel, max);
            let is_taken = self.with_result(|state, now_ms| {
                let is_current = state.member_changes == seen;
                if is_current {
                    state.machine.set_members(now_ms, channel, members);
                }
                (Vec::new(), is_current)
            });
            if is_taken {
                return;
            }
        }
        self.with(|state, now_ms| {
            let members = inner.directory.members(channel, max);
            state.machine.set_members(now_ms, channel, members);
            Vec::new()
        });
    }

    fn with(&self, change: impl FnOnce(&mut State, u64) -> Vec<TypingNotice>) {
        self.with_result(|state, now_ms| (change(state, now_ms), ()));
    }

    /// Changes the state, tells who types, and wakes the task when a timer is
    /// due before it would wake by itself.
    fn with_result<R>(&self, change: impl FnOnce(&mut State, u64) -> (Vec<TypingNotice>, R)) -> R {
        let now_ms = self.inner.now_ms();
        let mut state = self.inner.state.lock();
        let (notices, result) = change(&mut state, now_ms);
        state.tell_typing(notices);
        let due_ms = state.deadline();
        if due_ms.is_some_and(|due| state.sleeps_until_ms.is_none_or(|until| due < until)) {
            state.sleeps_until_ms = due_ms;
            drop(state);
            self.inner.wake.notify_one();
        }
        result
    }

    /// Does what is due, and says when something is again.
    fn tick(&self) -> Option<u64> {
        let now_ms = self.inner.now_ms();
        let mut state = self.inner.state.lock();
        let notices = state.typing.tick(now_ms);
        state.tell_typing(notices);
        let Told { notices, deltas } = state.machine.tick(now_ms);
        for (sessions, users) in notices {
            let changed = PresenceChanged {
                users: users.into_iter().collect(),
            };
            let frame = frame_of(0, &PresencePushed(changed));
            for outbox in sessions
                .iter()
                .filter_map(|session| state.outboxes.get(session))
            {
                // Not as something that may be lost: presence must converge.
                outbox.event(frame.clone());
            }
        }
        state.sleeps_until_ms = state.deadline();
        let next_ms = state.sleeps_until_ms;
        drop(state);
        if let Some(gossip) = self.inner.gossip.as_ref().filter(|_| !deltas.is_empty()) {
            gossip(deltas);
        }
        next_ms
    }
}

impl Inner {
    fn now_ms(&self) -> u64 {
        let elapsed_ms = u64::try_from(self.started_at.elapsed().as_millis());
        self.started_at_ms
            .saturating_add(elapsed_ms.unwrap_or(u64::MAX))
    }
}

impl State {
    fn deadline(&self) -> Option<u64> {
        let timers = [self.machine.deadline(), self.typing.deadline()];
        timers.into_iter().flatten().min()
    }

    fn tell_typing(&self, notices: Vec<TypingNotice>) {
        for notice in notices {
            let frame = frame_of(0, &notice.changed);
            for outbox in notice
                .to
                .iter()
                .filter_map(|session| self.outboxes.get(session))
            {
                outbox.ephemeral(frame.clone());
            }
        }
    }
}

impl Device {
    /// The client lives; `active` when its user did something since.
    pub fn heartbeat(&self, active: bool) {
        self.presence.with(|state, now_ms| {
            state.machine.heartbeat(now_ms, self.session, active);
            Vec::new()
        });
    }

    /// The user says how this device looks.
    ///
    /// # Errors
    /// `InvalidArgument` for a status text that is too long or holds control
    /// characters.
    pub fn set(&self, body: SetPresence) -> Result<(), WireError> {
        let status = body.status.trim();
        if status.len() > STATUS_BYTES_MAX || status.chars().any(char::is_control) {
            let text = "a status text has at most 200 bytes and no control characters";
            return Err(WireError::new(ErrorCode::InvalidArgument, text));
        }
        self.presence.with(|state, now_ms| {
            let status = Text::from(status);
            state
                .machine
                .choose(now_ms, self.session, body.state, status);
            Vec::new()
        });
        Ok(())
    }

    /// Watches users of whichever channels, instead of those watched before,
    /// and says how they stand. Whom the user may not see is passed over, as if
    /// there were no such user.
    ///
    /// # Errors
    /// `TooLarge` for more users than the limit.
    pub fn watch(&self, body: &WatchPresence) -> Result<PresenceChanged, WireError> {
        let max = self.presence.inner.config.watched_max;
        if body.users.len() > max {
            let text = format!("a session watches at most {max} users: name those on the screen");
            return Err(WireError::new(ErrorCode::TooLarge, text));
        }
        let mut users = self.presence.seen_by(&self.user, &body.users.to_vec());
        self.presence.with(|state, now_ms| {
            state.machine.heartbeat(now_ms, self.session, false);
            state.machine.watch(self.session, users.clone());
            Vec::new()
        });
        // Whoever left a channel before the watch began was not looked for in it.
        let watches = self
            .presence
            .inner
            .state
            .lock()
            .machine
            .watches([self.session]);
        self.presence.look_again(watches);
        users.retain(|user| self.presence.inner.directory.may_see(&self.user, user));
        Ok(self.presence.of(&users))
    }

    /// The channel is on the screen: who types there is told from now on. Says
    /// which members are there, if the channel is not too large for presence.
    /// The caller has checked that the user is a member.
    #[must_use]
    pub fn open_channel(&self, channel: &ChannelId) -> PresenceChanged {
        let inner = &self.presence.inner;
        self.presence.with(|state, _| {
            state.typing.open(self.session, channel);
            Vec::new()
        });
        // Who was removed between the caller's check and now must not stay.
        if !inner.directory.is_member(channel, &self.user) {
            self.close_channel(channel);
            return PresenceChanged {
                users: std::iter::empty().collect(),
            };
        }
        let members = inner
            .directory
            .members(channel, inner.config.channel_members_max);
        let now_ms = inner.now_ms();
        let shown = inner
            .state
            .lock()
            .machine
            .of(now_ms, members.iter().flatten());
        PresenceChanged {
            users: shown
                .into_iter()
                .filter(|shown| shown.state != PresenceState::Offline)
                .collect(),
        }
    }

    /// The channel is no longer on the screen.
    pub fn close_channel(&self, channel: &ChannelId) {
        self.presence
            .with(|state, _| state.typing.close(self.session, channel));
    }

    /// The user types, or has stopped. Typing in a channel of more members than
    /// presence takes is not told. The caller has checked that the user may
    /// write there.
    pub fn typing(&self, body: &Typing, name: &Text, member_count: u32) {
        if member_count as usize > self.presence.inner.config.channel_members_max {
            return;
        }
        let place = TypingPlace {
            channel: body.channel.clone(),
            thread: body.thread,
        };
        self.presence.with(|state, now_ms| {
            state.machine.heartbeat(now_ms, self.session, true);
            if body.on {
                state.typing.start(now_ms, self.session, place, name)
            } else {
                state.typing.stop(self.session, &place)
            }
        });
    }

    /// The user posted: that is activity, and typing there is over.
    pub fn posted(&self, channel: &ChannelId, thread: Option<Offset>) {
        self.presence.with(|state, now_ms| {
            state.machine.heartbeat(now_ms, self.session, true);
            let place = TypingPlace {
                channel: channel.clone(),
                thread,
            };
            state.typing.stop(self.session, &place)
        });
    }

    /// The session ends for good (signed out, revoked): without the grace of
    /// one that may come back at once.
    pub fn leave(&self) {
        self.end(false);
    }

    fn end(&self, grace: bool) {
        self.presence.with(|state, now_ms| {
            state.machine.disconnect(now_ms, self.session, grace);
            state.outboxes.remove(&self.session);
            state.typing.disconnect(self.session)
        });
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.end(true);
    }
}

#[cfg(test)]
mod tests;
