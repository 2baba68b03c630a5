//! The connection's phases and timers, and when to try again.
//!
//! Pure: the core acts on what this says.

use super::backoff::{Jitter, ceiling};
use super::config::CoreConfig;
use super::io::ConnectionId;

/// Where the client is between nothing and an open session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// Not started.
    Idle,
    /// Until it is time to dial.
    Waiting {
        until_ms: u64,
    },
    /// Until there is a token.
    Token,
    Dialing {
        give_up_ms: u64,
    },
    /// `Hello` is sent.
    Greeting {
        give_up_ms: u64,
    },
    Online {
        since_ms: u64,
    },
    Closed,
}

/// The connection as the core sees it.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) phase: Phase,
    pub(super) connection: ConnectionId,
    /// Bytes that the transport may still be handed.
    pub(super) credit: usize,
    /// Whether the session was ever open.
    pub(super) was_online: bool,
    attempts: u32,
    not_before_ms: u64,
    heartbeat_interval_ms: u64,
    heartbeat_at_ms: u64,
    dead_at_ms: Option<u64>,
}

impl Link {
    pub(super) const fn new() -> Self {
        Self {
            phase: Phase::Idle,
            connection: ConnectionId(1),
            credit: 0,
            was_online: false,
            attempts: 0,
            not_before_ms: 0,
            heartbeat_interval_ms: 25_000,
            heartbeat_at_ms: u64::MAX,
            dead_at_ms: None,
        }
    }

    pub(super) const fn is_online(&self) -> bool {
        matches!(self.phase, Phase::Online { .. })
    }

    /// Whether a transport exists or is being made.
    pub(super) const fn has_transport(&self) -> bool {
        matches!(
            self.phase,
            Phase::Dialing { .. } | Phase::Greeting { .. } | Phase::Online { .. }
        )
    }

    /// The session is open.
    pub(super) const fn opened(&mut self, now_ms: u64, heartbeat_interval_ms: u64) {
        self.phase = Phase::Online { since_ms: now_ms };
        self.was_online = true;
        self.not_before_ms = 0;
        // A server cannot make its clients spin.
        self.heartbeat_interval_ms = if heartbeat_interval_ms < 1_000 {
            1_000
        } else {
            heartbeat_interval_ms
        };
        self.heartbeat_at_ms = now_ms + self.heartbeat_interval_ms;
        self.dead_at_ms = None;
    }

    /// The server asks not to come back before a time.
    pub(super) fn not_before(&mut self, at_ms: u64) {
        self.not_before_ms = self.not_before_ms.max(at_ms);
    }

    /// The connection is over: nothing that it still brings counts. Answers in
    /// how long to try again.
    pub(super) fn lost(&mut self, now_ms: u64, config: &CoreConfig, jitter: &mut Jitter) -> u64 {
        if let Phase::Online { since_ms } = self.phase
            && now_ms.saturating_sub(since_ms) >= config.stable_after_ms
        {
            self.attempts = 0;
        }
        self.connection.0 += 1;
        self.credit = 0;
        self.heartbeat_at_ms = u64::MAX;
        self.dead_at_ms = None;
        self.back_off(now_ms, config, jitter)
    }

    /// Waits before the next attempt; answers how long.
    pub(super) fn back_off(
        &mut self,
        now_ms: u64,
        config: &CoreConfig,
        jitter: &mut Jitter,
    ) -> u64 {
        let ceiling_ms = ceiling(config.backoff_base_ms, config.backoff_max_ms, self.attempts);
        self.attempts = self.attempts.saturating_add(1);
        let until_ms = (now_ms + jitter.up_to(ceiling_ms)).max(self.not_before_ms);
        self.not_before_ms = 0;
        self.phase = Phase::Waiting { until_ms };
        until_ms - now_ms
    }

    /// Whether a heartbeat is due; the next is then an interval away.
    pub(super) const fn heartbeat_due(&mut self, now_ms: u64, liveness_timeout_ms: u64) -> bool {
        if !self.is_online() || now_ms < self.heartbeat_at_ms {
            return false;
        }
        self.heartbeat_at_ms = now_ms + self.heartbeat_interval_ms;
        self.asked(now_ms, liveness_timeout_ms);
        true
    }

    /// Something must come before long, or the connection counts as dead.
    pub(super) const fn asked(&mut self, now_ms: u64, liveness_timeout_ms: u64) {
        if self.dead_at_ms.is_none() {
            self.dead_at_ms = Some(now_ms + liveness_timeout_ms);
        }
    }

    /// Something came: the connection lives.
    pub(super) const fn heard(&mut self) {
        self.dead_at_ms = None;
    }

    /// Whether the phase has lasted too long, or nothing comes any more.
    pub(super) fn is_overdue(&self, now_ms: u64) -> bool {
        match self.phase {
            Phase::Dialing { give_up_ms } | Phase::Greeting { give_up_ms } => now_ms >= give_up_ms,
            Phase::Online { .. } => self.dead_at_ms.is_some_and(|at_ms| now_ms >= at_ms),
            Phase::Idle | Phase::Waiting { .. } | Phase::Token | Phase::Closed => false,
        }
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        match self.phase {
            Phase::Idle | Phase::Token | Phase::Closed => None,
            Phase::Waiting { until_ms } => Some(until_ms),
            Phase::Dialing { give_up_ms } | Phase::Greeting { give_up_ms } => Some(give_up_ms),
            Phase::Online { .. } => Some(self.dead_at_ms.map_or(self.heartbeat_at_ms, |at_ms| {
                at_ms.min(self.heartbeat_at_ms)
            })),
        }
    }
}
