//! Opening, losing and reopening the session; what the server pushes.

use confab_protocol::codec::PackedBuilder;
use confab_protocol::limits::{CHANNEL_WINDOW, POSITIONS_MAX, REQUEST_FRAME_BYTES_MAX};
use confab_protocol::message::channel::ChannelListKey;
use confab_protocol::message::presence::{Heartbeat, OpenChannel};
use confab_protocol::message::session::{ChannelPosition, Hello, RefreshToken, Resume, Welcome};
use confab_protocol::message::{BodyError, Push};
use confab_protocol::{ErrorCode, Frame, PROTOCOL_VERSIONS, Packed, Text, WireError};

use super::channels::Source;
use super::error::{CloseReason, DownReason, RequestError, SendError};
use super::io::{ClientEvent, Lane, Output};
use super::link::Phase;
use super::{Core, Purpose, Survey};

/// Most bytes of positions in one frame: with a token of 8 KiB the frame stays
/// below the limit of 128 KiB.
const POSITIONS_BYTES_MAX: usize = 96 << 10;

/// After how many tokens in a row that the server refused it must be something else.
const TOKENS_REFUSED_MAX: u32 = 3;

/// How long to wait before asking for a newer token again.
const TOKEN_RETRY_MS: u64 = 5_000;

/// How long a token is kept at least. One that lives for less than the server's
/// warning is warned of as soon as it is shown; it must not be replaced at once.
const TOKEN_KEEP_MS: u64 = 1_000;

impl Core {
    pub(super) fn dial(&mut self) {
        if self
            .tokens
            .expires_at_ms
            .is_some_and(|at_ms| at_ms <= self.now_ms)
            && self.config.token_provider
        {
            self.tokens.current = None;
        }
        if self.tokens.current.is_some() {
            self.link.phase = Phase::Dialing {
                give_up_ms: self.now_ms + self.config.dial_timeout_ms,
            };
            self.out.push_back(Output::Dial {
                connection: self.link.connection,
            });
        } else if self.config.token_provider {
            self.link.phase = Phase::Token;
            self.ask_token();
        } else {
            self.finish(CloseReason::NoToken);
        }
    }

    /// Asks for a token, once, where that can help.
    pub(super) fn ask_token(&mut self) {
        if self.config.token_provider && !std::mem::replace(&mut self.tokens.asked, true) {
            self.out.push_back(Output::NeedToken);
        }
    }

    pub(super) fn token(&mut self, token: Text) {
        self.tokens.came_at_ms = Some(self.now_ms);
        self.tokens.asked = false;
        self.tokens.ask_at_ms = None;
        self.tokens.expires_at_ms = None;
        self.tokens.current = Some(token);
        match self.link.phase {
            Phase::Token => self.dial(),
            Phase::Online { .. } => self.offer_token(),
            _ => {}
        }
    }

    /// Gives an open session the current token.
    pub(super) fn offer_token(&mut self) {
        self.tokens.send_at_ms = None;
        if let Some(token) = self.tokens.current.clone()
            && self.link.is_online()
        {
            self.send(Lane::Control, Purpose::Token, &RefreshToken { token });
        }
    }

    pub(super) fn no_token(&mut self, retry: bool) {
        self.tokens.asked = false;
        match (self.link.phase, retry) {
            (Phase::Token, true) => {
                self.link
                    .back_off(self.now_ms, &self.config, &mut self.jitter);
            }
            (Phase::Token, false) => self.finish(CloseReason::NoToken),
            (_, true) => self.tokens.ask_at_ms = Some(self.now_ms + TOKEN_RETRY_MS),
            // The session lasts until the token expires.
            (_, false) => {}
        }
    }

    /// The server did not take the newer token of an open session.
    pub(super) fn token_refused(&mut self, error: WireError) {
        if error.code().is_retryable() {
            let after_ms = error.retry_after_ms.map_or(TOKEN_RETRY_MS, u64::from);
            self.tokens.send_at_ms = Some(self.now_ms + after_ms);
            return;
        }
        if self.config.token_provider {
            self.tokens.ask_at_ms = Some(self.now_ms + TOKEN_RETRY_MS);
        }
        self.emit(ClientEvent::TokenRefused(error));
    }

    /// The connection stands: says who is there and what it has.
    pub(super) fn greet(&mut self) {
        if !matches!(self.link.phase, Phase::Dialing { .. }) {
            return;
        }
        let Some(token) = self.tokens.current.clone() else {
            return;
        };
        self.link.credit = self.config.send_window_bytes;
        self.link.phase = Phase::Greeting {
            give_up_ms: self.now_ms + self.config.dial_timeout_ms,
        };
        let mut positions = self.channels.positions();
        let (first, rest) = split_positions(&mut positions);
        self.survey = Survey {
            resume: rest,
            ..Survey::default()
        };
        let hello = Hello {
            version_min: *PROTOCOL_VERSIONS.start(),
            version_max: *PROTOCOL_VERSIONS.end(),
            token,
            device: self.config.device.clone(),
            agent: self.config.agent.clone(),
            positions: first,
            channels_max: CHANNEL_WINDOW,
        };
        self.send(Lane::Control, Purpose::Hello, &hello);
    }

    pub(super) fn welcome(&mut self, welcome: Welcome) {
        let heartbeat_ms = u64::from(welcome.limits.heartbeat_interval_ms);
        self.link.opened(self.now_ms, heartbeat_ms);
        self.tokens.refused = 0;
        self.set_token_expiry(welcome.token_expires_at_ms, welcome.server_time_ms);
        self.frame_bytes_max =
            (welcome.limits.frame_bytes_max as usize).clamp(1 << 10, REQUEST_FRAME_BYTES_MAX);
        let limits = welcome.limits;
        self.pace
            .set(limits.messages_per_second, limits.messages_burst);
        self.typing.interval_ms = u64::from(limits.typing_interval_ms);
        self.typing.timeout_ms = u64::from(limits.typing_timeout_ms);
        self.totals = welcome.totals;
        self.channels.set_user(welcome.user.id.clone());
        self.user = Some(welcome.user.clone());
        self.emit(ClientEvent::Connected {
            session: welcome.session,
            user: welcome.user,
        });
        for summary in welcome.channels.channels.iter() {
            self.channels.learn(summary, Source::Welcome, &mut self.out);
        }
        for head in welcome.behind.iter() {
            self.channels.head(head, &mut self.out);
        }
        self.survey_listed(welcome.channels.next);
        self.channels.connected();
        self.survey.restore = true;
        self.dirty = true;
    }

    pub(super) fn set_token_expiry(&mut self, expires_at_ms: u64, server_time_ms: u64) {
        let left_ms = expires_at_ms.saturating_sub(server_time_ms);
        self.tokens.expires_at_ms = Some(self.now_ms.saturating_add(left_ms));
    }

    /// A part of the channel list came; where does it go on?
    pub(super) fn survey_listed(&mut self, next: Option<ChannelListKey>) {
        self.survey.list = None;
        if next.is_none() {
            self.channels.survey_complete();
        } else if self.channels.len() < self.config.channels_tracked_max {
            self.survey.list = Some(next);
            self.channels.surveying = true;
        } else {
            self.channels.complete = false;
            self.channels.surveying = false;
        }
    }

    /// Tells a new session what the one before knew.
    pub(super) fn restore(&mut self) {
        self.survey.restore = false;
        if let Some(presence) = self.wanted.presence.clone() {
            self.send(Lane::Control, Purpose::Restore, &presence);
        }
        if let Some(watch) = self.wanted.watch.clone() {
            self.send(Lane::Control, Purpose::Restore, &watch);
        }
        for channel in self.wanted.open.clone() {
            self.send(Lane::Control, Purpose::Restore, &OpenChannel { channel });
        }
    }

    pub(super) fn heartbeat(&mut self) {
        let active = std::mem::take(&mut self.wanted.active);
        self.send(Lane::Control, Purpose::Ping, &Heartbeat { active });
    }

    /// Events were left out: asks what lies behind, of all channels, and whether
    /// there are others.
    fn resume_all(&mut self) {
        self.survey.resume = self.channels.positions();
        self.survey.list = Some(None);
        self.channels.surveying = true;
    }

    /// The next positions to ask about, if any are left.
    pub(super) fn next_resume(&mut self) -> Option<Resume> {
        if self.survey.resume.is_empty() || self.survey.resume_in_flight {
            return None;
        }
        let mut positions = std::mem::take(&mut self.survey.resume);
        let (positions, rest) = split_positions(&mut positions);
        self.survey.resume = rest;
        self.survey.resume_in_flight = true;
        Some(Resume { positions })
    }

    pub(super) fn hang_up(&mut self, code: Option<ErrorCode>) {
        if self.link.has_transport() {
            self.out.push_back(Output::Hangup {
                connection: self.link.connection,
                code,
            });
        }
    }

    /// The connection is over, or could not be made: what now?
    pub(super) fn connection_lost(&mut self, reason: DownReason) {
        let was_online = self.link.was_online;
        if let DownReason::Server(error) = &reason
            && let Some(after_ms) = error.retry_after_ms
        {
            self.link.not_before(self.now_ms + u64::from(after_ms));
        }
        let retry_in_ms = self.link.lost(self.now_ms, &self.config, &mut self.jitter);
        self.forget_in_flight();
        match &reason {
            DownReason::Handshake(fault) if !was_online => {
                return self.finish(CloseReason::Handshake(*fault));
            }
            DownReason::Server(error) if self.is_final(error.code()) => {
                return self.finish(CloseReason::Refused(error.clone()));
            }
            _ => {}
        }
        self.emit(ClientEvent::Disconnected {
            reason,
            retry_in_ms,
        });
    }

    /// Whether coming back would not help. Takes note of a refused token.
    fn is_final(&mut self, code: ErrorCode) -> bool {
        if code.needs_new_token() {
            self.tokens.refused += 1;
            self.tokens.current = None;
            return code == ErrorCode::UserDeactivated
                || !self.config.token_provider
                || self.tokens.refused > TOKENS_REFUSED_MAX;
        }
        matches!(
            code,
            ErrorCode::UnsupportedVersion | ErrorCode::Forbidden | ErrorCode::InvalidArgument
        )
    }

    /// Nothing that was on its way will be answered.
    fn forget_in_flight(&mut self) {
        self.numbers.clear();
        self.bulk_in_flight = 0;
        self.survey = Survey::default();
        self.tokens.send_at_ms = None;
        self.outbox.connection_lost();
        self.channels.connection_lost();
        for ticket in self.requests.connection_lost() {
            self.out.push_back(Output::Answer {
                ticket,
                result: Err(RequestError::Disconnected),
            });
        }
        for change in self.typing.connection_lost() {
            self.emit(ClientEvent::Typing(change));
        }
    }

    /// Ends for good.
    pub(super) fn finish(&mut self, reason: CloseReason) {
        if self.link.phase == Phase::Closed {
            return;
        }
        self.hang_up(None);
        self.link.phase = Phase::Closed;
        self.out.push_back(Output::Persist(self.saved_state()));
        while let Some(ticket) = self.requests.pop() {
            self.out.push_back(Output::Answer {
                ticket,
                result: Err(RequestError::Closed(reason.clone())),
            });
        }
        while let Some(pending) = self.outbox.pop() {
            if let Some(ticket) = pending.ticket {
                self.out.push_back(Output::Posted {
                    ticket,
                    result: Err(SendError::Closed(reason.clone())),
                });
            }
        }
        self.emit(ClientEvent::Closed(reason));
    }

    /// The server does not keep to the protocol: start anew.
    pub(super) fn broken(&mut self) {
        self.hang_up(Some(ErrorCode::MalformedFrame));
        self.connection_lost(DownReason::BrokenProtocol);
    }

    /// Something that the server says unasked.
    pub(super) fn push(&mut self, frame: &Frame) {
        let push = match Push::from_frame(frame) {
            Ok(push) => push,
            // A newer server says more than this client knows.
            Err(BodyError::UnknownKind(_)) => return,
            Err(BodyError::Codec { .. }) => return self.broken(),
        };
        match push {
            Push::Event(event) => {
                self.dirty = true;
                self.channels.live(event, frame.body.len(), &mut self.out);
            }
            Push::Behind(behind) => {
                self.emit(ClientEvent::Behind {
                    events_dropped: behind.events_dropped,
                });
                self.resume_all();
                // Presence may be among what was left out: asking for it again
                // is how a session begins, too.
                self.survey.restore = true;
            }
            Push::TokenExpiring(expiring) => {
                self.emit(ClientEvent::TokenExpiring {
                    token_expires_at_ms: expiring.token_expires_at_ms,
                });
                let keep_until_ms = self.tokens.came_at_ms.map(|at_ms| at_ms + TOKEN_KEEP_MS);
                match keep_until_ms.filter(|until_ms| self.now_ms < *until_ms) {
                    Some(until_ms) => self.tokens.ask_at_ms = Some(until_ms),
                    None => self.ask_token(),
                }
            }
            Push::GoingAway(going) => {
                let reconnect_after_ms = going.reconnect_after_ms;
                self.link
                    .not_before(self.now_ms + u64::from(reconnect_after_ms));
                self.emit(ClientEvent::GoingAway { reconnect_after_ms });
            }
            Push::SessionClosed(closed) => {
                self.hang_up(None);
                self.connection_lost(DownReason::Server(closed.error));
            }
            Push::ChannelAdded(added) => self.channels.added(added.summary, &mut self.out),
            Push::ChannelRemoved(removed) => {
                self.wanted.open.remove(&removed.channel);
                self.channels
                    .remove(&removed.channel, Some(removed.epoch), &mut self.out);
            }
            Push::CursorMoved(moved) => {
                let mut state = moved.0;
                self.channels.cursor(&state);
                if state.thread.is_none()
                    && let Some(summary) = self.channels.summary(&state.channel)
                {
                    state.read_state = summary.read_state;
                }
                self.emit(ClientEvent::CursorMoved(state));
            }
            Push::Receipt(receipt) => self.emit(ClientEvent::Receipt(receipt)),
            Push::Typing(change) => {
                if self.typing.heard(self.now_ms, &change) {
                    self.emit(ClientEvent::Typing(change));
                }
            }
            Push::Presence(presence) => {
                self.emit(ClientEvent::Presence(presence.0.users.to_vec()));
            }
        }
    }
}

/// Takes from the front as many positions as one frame may carry.
fn split_positions(
    positions: &mut Vec<ChannelPosition>,
) -> (Packed<ChannelPosition>, Vec<ChannelPosition>) {
    let mut first = PackedBuilder::new();
    let mut taken = 0;
    for position in positions.iter() {
        if first.len() >= POSITIONS_MAX || first.bytes_len() >= POSITIONS_BYTES_MAX {
            break;
        }
        first.push(position);
        taken += 1;
    }
    (first.finish(), positions.split_off(taken))
}
