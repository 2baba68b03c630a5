//! The session core: everything a client must remember and decide, and nothing
//! it must do.
//!
//! Pure: no I/O, no clock, no randomness, no threads; time and a seed are
//! inputs. A shell owns one [`Core`], feeds it [`Input`]s through
//! [`Core::handle`], carries out what [`Core::poll`] gives until it gives
//! nothing, and comes back with [`Input::Tick`] at [`Core::deadline`]. The tokio
//! and QUIC shell is in this crate; the browser's is in `wasm-bridge`.
//!
//! What it owns: connecting and coming back, the token, unacknowledged messages
//! and their resending, other requests and their deadlines, each channel's
//! events in order, catching up, the channel cache, typing, heartbeats.
//!
//! Not here: sockets, callers that wait, queues of subscribers.

mod backoff;
mod channels;
mod commands;
mod config;
mod counts;
mod error;
pub(crate) mod feed;
mod flow;
mod io;
mod link;
mod outbox;
mod pace;
mod requests;
mod saved;
mod session;
mod summary;
mod typing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use confab_protocol::limits::REQUEST_FRAME_BYTES_MAX;
use confab_protocol::message::channel::{ChannelListKey, ChannelSummary, ChannelTotals};
use confab_protocol::message::presence::{SetPresence, WatchPresence};
use confab_protocol::message::session::{ChannelPosition, UserProfile};
use confab_protocol::{ChannelId, Sequence, Text};

use backoff::Jitter;
use channels::Channels;
use link::{Link, Phase};
use outbox::Outbox;
use pace::Pace;
use requests::Requests;
use typing::TypingState;

pub use config::CoreConfig;
pub use error::{CloseReason, DownReason, HandshakeFault, RequestError, SendError};
pub use io::{ClientEvent, Command, ConnectionId, Input, Lane, Output, Ticket};
pub use saved::{SavedState, SavedStateError};

/// Why a request is on its way on this connection.
#[derive(Clone, Debug)]
enum Purpose {
    Hello,
    Post(Sequence),
    Request(Ticket, Lane),
    Pull(ChannelId),
    Refresh(ChannelId),
    /// A page of the channel list, after a channel of it.
    List(Option<ChannelListKey>),
    Resume,
    Token,
    /// Its answer needs no more than to come: a heartbeat.
    Ping,
    /// Something that the session before had too.
    Restore,
}

/// The token and how it stands.
#[derive(Debug, Default)]
struct Tokens {
    current: Option<Text>,
    asked: bool,
    /// How often in a row the server refused one.
    refused: u32,
    /// When the last one came that was asked for.
    came_at_ms: Option<u64>,
    /// When the current one expires, on the core's clock.
    expires_at_ms: Option<u64>,
    /// When to ask for a newer one again.
    ask_at_ms: Option<u64>,
    /// When to offer the current one to an open session again.
    send_at_ms: Option<u64>,
}

/// What the user wants of every session, and each new one is told.
#[derive(Debug, Default)]
struct Wanted {
    open: BTreeSet<ChannelId>,
    presence: Option<SetPresence>,
    watch: Option<WatchPresence>,
    /// The user did something since the last heartbeat.
    active: bool,
}

/// What is still to be asked to know of every channel, after connecting.
#[derive(Debug, Default)]
struct Survey {
    /// Where the channel list goes on: from the top, or after a channel.
    list: Option<Option<ChannelListKey>>,
    list_in_flight: bool,
    /// Positions that found no room in `Hello`.
    resume: Vec<ChannelPosition>,
    resume_in_flight: bool,
    /// The session is to be told what the one before knew.
    restore: bool,
    /// The server was too busy: not before this.
    later_ms: Option<u64>,
}

/// The session core. See the module's docs for how to drive it.
#[derive(Debug)]
pub struct Core {
    config: CoreConfig,
    now_ms: u64,
    jitter: Jitter,
    link: Link,
    tokens: Tokens,
    outbox: Outbox,
    pace: Pace,
    requests: Requests,
    channels: Channels,
    typing: TypingState,
    wanted: Wanted,
    survey: Survey,
    user: Option<UserProfile>,
    totals: ChannelTotals,
    frame_bytes_max: usize,
    /// What is on its way, by the number of its frame.
    numbers: BTreeMap<u32, Purpose>,
    next_number: u32,
    bulk_in_flight: usize,
    /// When to end whether or not all is answered.
    closing_ms: Option<u64>,
    saved_posts: Vec<confab_protocol::message::channel::Post>,
    dirty: bool,
    persist_at_ms: u64,
    out: VecDeque<Output>,
}

impl Core {
    /// A core that has not started; `saved` is what an earlier process kept.
    ///
    /// The device of `saved`, if there is one, takes the place of the configured.
    #[must_use]
    pub fn new(mut config: CoreConfig, token: Option<Text>, saved: Option<SavedState>) -> Self {
        let mut channels = Channels::new(&config);
        let mut outbox = Outbox::new(
            config.posts_max,
            config.posts_bytes_max,
            config.post_timeout_ms,
        );
        let mut saved_posts = Vec::new();
        if let Some(saved) = saved {
            config.device = saved.device;
            channels.restore(saved.positions, saved.complete);
            outbox.start_at(saved.next_sequence);
            saved_posts = saved.posts;
        }
        Self {
            now_ms: 0,
            jitter: Jitter::new(0),
            link: Link::new(),
            tokens: Tokens {
                current: token,
                ..Tokens::default()
            },
            outbox,
            pace: Pace::default(),
            requests: Requests::default(),
            channels,
            typing: TypingState::default(),
            wanted: Wanted {
                active: true,
                ..Wanted::default()
            },
            survey: Survey::default(),
            user: None,
            totals: ChannelTotals::default(),
            frame_bytes_max: REQUEST_FRAME_BYTES_MAX,
            numbers: BTreeMap::new(),
            next_number: 0,
            bulk_in_flight: 0,
            closing_ms: None,
            saved_posts,
            dirty: false,
            persist_at_ms: 0,
            out: VecDeque::new(),
            config,
        }
    }

    /// Takes an input at a time, in milliseconds of a clock that never goes back.
    pub fn handle(&mut self, now_ms: u64, input: Input) {
        self.now_ms = self.now_ms.max(now_ms);
        match input {
            Input::Start {
                wall_clock_us,
                seed,
            } => self.start(wall_clock_us, seed),
            Input::Up { connection } => {
                if self.is_current(connection) {
                    self.greet();
                }
            }
            Input::Frame {
                connection, frame, ..
            } => {
                if self.is_current(connection) {
                    self.frame(frame);
                }
            }
            Input::BulkFailed {
                connection,
                request,
            } => {
                if self.is_current(connection) {
                    self.bulk_failed(request);
                }
            }
            Input::Down { connection, reason } => {
                if self.is_current(connection) {
                    self.connection_lost(reason);
                }
            }
            Input::Writable { connection, bytes } => {
                if self.is_current(connection) {
                    self.link.credit = self
                        .link
                        .credit
                        .saturating_add(bytes)
                        .min(self.config.send_window_bytes);
                }
            }
            Input::Congested(congested) => self.channels.set_congested(congested, &mut self.out),
            Input::Command(command) => self.command(command),
            Input::Tick => {}
        }
        self.timers();
        self.pump();
    }

    /// What is to be done next; call it until it gives nothing.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to come back with [`Input::Tick`], on the clock of [`Core::handle`].
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        if self.link.phase == Phase::Closed {
            return None;
        }
        let persist = match self.config.persist_interval_ms {
            Some(_) if self.dirty => Some(self.persist_at_ms),
            _ => None,
        };
        [
            self.link.deadline(),
            self.outbox.deadline(self.now_ms),
            self.pace_deadline(),
            self.survey.later_ms,
            self.tokens.send_at_ms,
            self.requests.deadline(),
            self.channels.deadline(),
            self.typing.deadline(),
            self.tokens.ask_at_ms,
            self.closing_ms,
            persist,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// The user, once a session was open.
    #[must_use]
    pub fn user(&self) -> Option<&UserProfile> {
        self.user.as_ref()
    }

    /// Whether a session is open.
    #[must_use]
    pub fn is_online(&self) -> bool {
        self.link.is_online()
    }

    /// The known channels, newest activity first.
    #[must_use]
    pub fn channels(&self) -> Vec<ChannelSummary> {
        self.channels.summaries()
    }

    /// One known channel.
    #[must_use]
    pub fn channel(&self, channel: &ChannelId) -> Option<ChannelSummary> {
        self.channels.summary(channel)
    }

    /// Counts over all of the user's channels, from the cache where it has all.
    #[must_use]
    pub fn totals(&self) -> ChannelTotals {
        if !self.channels.complete {
            return self.totals;
        }
        let mut totals = ChannelTotals::default();
        for summary in self.channels.summaries() {
            totals.channels += 1;
            totals.unread_channels += u32::from(summary.read_state.unread > 0);
            totals.unread = totals.unread.saturating_add(summary.read_state.unread);
            totals.mentions = totals.mentions.saturating_add(summary.read_state.mentions);
        }
        totals
    }

    /// Where the channels stand that are handed out: what a subscription that
    /// begins now has not missed.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<ChannelId, confab_protocol::Position> {
        self.channels.position_map()
    }

    /// What to keep for the next process.
    #[must_use]
    pub fn saved_state(&self) -> SavedState {
        SavedState {
            device: self.config.device.clone(),
            next_sequence: self.outbox.next_sequence(),
            complete: self.channels.complete,
            positions: self.channels.position_map(),
            posts: self
                .outbox
                .posts()
                .chain(&self.saved_posts)
                .cloned()
                .collect(),
        }
    }

    /// When the next message that waits only for its time goes out.
    fn pace_deadline(&self) -> Option<u64> {
        let ready_at_ms = self.pace.ready_at(self.now_ms);
        let waits = self.link.is_online()
            && ready_at_ms > self.now_ms
            && self.outbox.next(self.now_ms).is_some();
        waits.then_some(ready_at_ms)
    }

    fn is_current(&self, connection: ConnectionId) -> bool {
        connection == self.link.connection && self.link.has_transport()
    }

    fn emit(&mut self, event: ClientEvent) {
        self.out.push_back(Output::Event(event));
    }

    fn start(&mut self, wall_clock_us: u64, seed: u64) {
        if self.link.phase != Phase::Idle {
            return;
        }
        self.jitter = Jitter::new(seed);
        self.outbox.start_at(Sequence(wall_clock_us));
        for post in std::mem::take(&mut self.saved_posts) {
            self.outbox.restore(self.now_ms, post);
        }
        self.link.phase = Phase::Waiting {
            until_ms: self.now_ms,
        };
    }

    /// Does what is due.
    fn timers(&mut self) {
        if matches!(self.link.phase, Phase::Idle | Phase::Closed) {
            return;
        }
        let now_ms = self.now_ms;
        if self.link.is_overdue(now_ms) {
            self.hang_up(None);
            self.connection_lost(DownReason::Lost);
        }
        if let Phase::Waiting { until_ms } = self.link.phase
            && until_ms <= now_ms
        {
            self.dial();
        }
        if self
            .link
            .heartbeat_due(now_ms, self.config.liveness_timeout_ms)
        {
            self.heartbeat();
        }
        if self.tokens.ask_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.tokens.ask_at_ms = None;
            self.ask_token();
        }
        if self.tokens.send_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.offer_token();
        }
        self.survey.later_ms = self.survey.later_ms.filter(|at_ms| *at_ms > now_ms);
        self.expire();
        self.requests.wake(now_ms);
        self.channels.wake(now_ms);
        let (stopped, heard) = self.typing.expire(now_ms);
        for typing in stopped {
            self.send_typing(typing);
        }
        for change in heard {
            self.emit(ClientEvent::Typing(change));
        }
    }

    fn expire(&mut self) {
        while let Some(pending) = self.outbox.expire(self.now_ms) {
            let maybe_posted = pending.sent;
            self.settled(pending, Err(SendError::Expired { maybe_posted }));
        }
        while let Some((ticket, sent)) = self.requests.expire(self.now_ms) {
            self.out.push_back(Output::Answer {
                ticket,
                result: Err(RequestError::TimedOut { sent }),
            });
        }
    }
}
