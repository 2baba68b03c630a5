//! What goes out as there is room for it, and the answers that come back.

use confab_protocol::limits::PAGE_ITEMS_MAX;
use confab_protocol::message::channel::{
    ChannelInfo, ChannelPage, CursorState, GetChannel, ListChannels, Sync,
};
use confab_protocol::message::{Answer, Body, Request, frame_of};
use confab_protocol::{ErrorCode, Frame, WireError};

use super::backoff::ceiling;
use super::channels::Source;
use super::error::{RequestError, SendError};
use super::io::{ClientEvent, Lane, Output};
use super::link::Phase;
use super::{Core, Purpose, requests};

/// First and last ceiling of the wait before asking again what the server could
/// not do just now, in milliseconds.
const RETRY_MS: (u64, u64) = (50, 5_000);

/// Most summaries asked again at once.
const REFRESHES_MAX: usize = 4;

impl Core {
    /// Sends what may be sent.
    pub(super) fn pump(&mut self) {
        if self.link.is_online() {
            self.pump_posts();
            self.pump_requests();
            self.pump_channels();
            // A post is answered soon, so silence about it says more than the
            // next heartbeat could.
            if self.outbox.in_flight() > 0 {
                let timeout_ms = self.config.liveness_timeout_ms;
                self.link.asked(self.now_ms, timeout_ms);
            }
        }
        self.pump_close();
        self.pump_saved();
    }

    fn pump_posts(&mut self) {
        while self.link.credit > 0
            && self.outbox.in_flight() < self.config.posts_in_flight_max
            && self.pace.ready_at(self.now_ms) <= self.now_ms
        {
            let Some(sequence) = self.outbox.next(self.now_ms) else {
                return;
            };
            let number = self.number(Some(Purpose::Post(sequence)));
            let Some(post) = self.outbox.take(sequence) else {
                return;
            };
            self.pace.sent(self.now_ms);
            let bytes = frame_of(number, post);
            self.link.credit = self.link.credit.saturating_sub(bytes.len());
            self.out.push_back(Output::Send {
                connection: self.link.connection,
                lane: Lane::Control,
                request: number,
                bytes,
            });
        }
    }

    fn pump_requests(&mut self) {
        while self.link.credit > 0 && self.pump_request(Lane::Control) {}
        while self.bulk_in_flight < self.config.bulk_in_flight_max && self.pump_request(Lane::Bulk)
        {
            self.bulk_in_flight += 1;
        }
    }

    fn pump_request(&mut self, lane: Lane) -> bool {
        let number = self.number(None);
        let Some((ticket, request)) = self.requests.take(lane) else {
            return false;
        };
        let bytes = request.to_frame(number);
        if lane == Lane::Control {
            self.link.credit = self.link.credit.saturating_sub(bytes.len());
        }
        self.numbers.insert(number, Purpose::Request(ticket, lane));
        self.out.push_back(Output::Send {
            connection: self.link.connection,
            lane,
            request: number,
            bytes,
        });
        true
    }

    fn pump_channels(&mut self) {
        if self.survey.later_ms.is_none() {
            self.pump_survey();
        }
        while let Some(pull) = self.channels.next_pull(self.config.sync_in_flight_max) {
            let sync = Sync {
                channel: pull.channel.clone(),
                after: pull.position,
                limit: PAGE_ITEMS_MAX,
            };
            self.send(Lane::Bulk, Purpose::Pull(pull.channel), &sync);
        }
        while let Some(channel) = self.channels.next_refresh(REFRESHES_MAX) {
            let get = GetChannel {
                channel: channel.clone(),
            };
            self.send(Lane::Control, Purpose::Refresh(channel), &get);
        }
    }

    fn pump_survey(&mut self) {
        if self.survey.restore {
            self.restore();
        }
        if let Some(resume) = self.next_resume() {
            self.send(Lane::Control, Purpose::Resume, &resume);
        }
        if !self.survey.list_in_flight
            && let Some(after) = self.survey.list.take()
        {
            self.survey.list_in_flight = true;
            let list = ListChannels {
                after: after.clone(),
                limit: PAGE_ITEMS_MAX,
            };
            self.send(Lane::Bulk, Purpose::List(after), &list);
        }
    }

    fn pump_close(&mut self) {
        if let Some(closing_ms) = self.closing_ms
            && self.link.phase != Phase::Closed
            && (closing_ms <= self.now_ms || (self.outbox.is_empty() && self.requests.len() == 0))
        {
            self.finish(super::CloseReason::ByApplication);
        }
    }

    fn pump_saved(&mut self) {
        if let Some(interval_ms) = self.config.persist_interval_ms
            && self.dirty
            && self.persist_at_ms <= self.now_ms
            && self.link.phase != Phase::Closed
        {
            self.dirty = false;
            self.persist_at_ms = self.now_ms + interval_ms;
            self.out.push_back(Output::Persist(self.saved_state()));
        }
    }

    /// Sends a request of the core's own.
    pub(super) fn send<T: Body>(&mut self, lane: Lane, purpose: Purpose, body: &T) {
        let number = self.number(Some(purpose));
        self.out.push_back(Output::Send {
            connection: self.link.connection,
            lane,
            request: number,
            bytes: frame_of(number, body),
        });
    }

    /// A frame of the current connection.
    pub(super) fn frame(&mut self, frame: Frame) {
        self.link.heard();
        if frame.kind >= 0x8000 {
            return self.push(&frame);
        }
        // An answer that nobody waits for any more is no fault of the server.
        let Some(purpose) = self.numbers.remove(&frame.request) else {
            return;
        };
        match purpose {
            Purpose::Request(ticket, lane) => {
                if lane == Lane::Bulk {
                    self.bulk_in_flight = self.bulk_in_flight.saturating_sub(1);
                }
                self.answered(ticket, frame);
            }
            own => match Answer::from_frame(&frame) {
                Ok(answer) => self.own_answered(own, answer),
                Err(_) => self.broken(),
            },
        }
    }

    /// A bulk lane broke: as if it had been answered with 'later'.
    pub(super) fn bulk_failed(&mut self, request: u32) {
        match self.numbers.remove(&request) {
            Some(Purpose::Request(ticket, lane)) => {
                if lane == Lane::Bulk {
                    self.bulk_in_flight = self.bulk_in_flight.saturating_sub(1);
                }
                self.retry_request(ticket, None, RequestError::Disconnected);
            }
            Some(Purpose::Pull(channel)) => self.channels.pull_failed(self.now_ms, &channel, false),
            Some(Purpose::List(after)) => {
                self.survey.list_in_flight = false;
                self.survey.list.get_or_insert(after);
            }
            _ => {}
        }
    }

    /// An answer to a request of the application.
    fn answered(&mut self, ticket: super::Ticket, frame: Frame) {
        const LEARNT: [u16; 4] = [
            WireError::KIND,
            ChannelInfo::KIND,
            ChannelPage::KIND,
            CursorState::KIND,
        ];
        // Whoever asked reads the rest; it need not be read twice.
        let answer = LEARNT
            .contains(&frame.kind)
            .then(|| Answer::from_frame(&frame));
        match answer {
            None => {}
            Some(Ok(Answer::Error(error))) => {
                let retry_after_ms = error.retry_after_ms;
                return self.retry_request(ticket, retry_after_ms, RequestError::Refused(error));
            }
            Some(Ok(answer)) => self.learn_from(answer),
            Some(Err(_)) => {
                self.requests.settle(ticket);
                self.out.push_back(Output::Answer {
                    ticket,
                    result: Err(RequestError::WrongAnswer),
                });
                return;
            }
        }
        if self.requests.settle(ticket).is_some() {
            self.out.push_back(Output::Answer {
                ticket,
                result: Ok(frame),
            });
        }
    }

    /// A request failed: it is asked again where that is safe and may help.
    fn retry_request(
        &mut self,
        ticket: super::Ticket,
        retry_after_ms: Option<u32>,
        error: RequestError,
    ) {
        let Some(waiting) = self.requests.get(ticket) else {
            return;
        };
        // What came too fast was not carried out, whatever it is.
        let not_done = matches!(&error, RequestError::Refused(error) if error.code() == ErrorCode::RateLimited);
        if not_done || (error.is_retryable() && requests::is_repeatable(&waiting.request)) {
            let at_ms = self.retry_at(retry_after_ms, waiting.attempts);
            return self.requests.retry_at(ticket, at_ms);
        }
        if let Request::OpenChannel(open) = &waiting.request {
            self.wanted.open.remove(&open.channel);
        }
        self.requests.settle(ticket);
        self.out.push_back(Output::Answer {
            ticket,
            result: Err(error),
        });
    }

    fn retry_at(&mut self, retry_after_ms: Option<u32>, attempts: u32) -> u64 {
        let jitter_ms = self.jitter.up_to(ceiling(RETRY_MS.0, RETRY_MS.1, attempts));
        self.now_ms + u64::from(retry_after_ms.unwrap_or(0)) + jitter_ms
    }

    /// What the answers to the application's requests say about its channels.
    fn learn_from(&mut self, answer: Answer) {
        match answer {
            Answer::ChannelInfo(info) => {
                self.channels
                    .learn(info.summary, Source::Other, &mut self.out);
            }
            Answer::ChannelPage(page) => {
                for summary in page.channels.iter() {
                    self.channels.learn(summary, Source::Other, &mut self.out);
                }
            }
            Answer::CursorState(state) => self.channels.cursor(&state),
            _ => {}
        }
    }

    /// An answer to a request of the core's own.
    fn own_answered(&mut self, purpose: Purpose, answer: Answer) {
        match (purpose, answer) {
            (Purpose::Hello, Answer::Welcome(welcome)) => self.welcome(welcome),
            (Purpose::Hello, Answer::Error(error)) => {
                self.hang_up(None);
                self.connection_lost(super::DownReason::Server(error));
            }
            (Purpose::Post(sequence), Answer::Posted(posted)) => {
                if let Some(pending) = self.outbox.settle(sequence) {
                    self.settled(pending, Ok(posted));
                }
            }
            (Purpose::Post(sequence), Answer::Error(error)) => self.post_refused(sequence, error),
            (Purpose::Pull(channel), Answer::SyncPage(page)) => {
                self.dirty = true;
                self.channels
                    .page(self.now_ms, &channel, &page, &mut self.out);
            }
            (Purpose::Pull(channel), Answer::Error(error)) => {
                let gone = is_gone(error.code());
                let from_ms = self.now_ms + u64::from(error.retry_after_ms.unwrap_or(0));
                self.channels.pull_failed(from_ms, &channel, gone);
            }
            (Purpose::Refresh(channel), Answer::ChannelInfo(info)) => {
                let helped = self
                    .channels
                    .learn(info.summary, Source::Other, &mut self.out);
                self.channels.refreshed(self.now_ms, &channel, !helped);
            }
            (Purpose::Refresh(channel), Answer::Error(error)) => {
                let again = error.code().is_retryable();
                self.channels.refreshed(self.now_ms, &channel, again);
                if is_gone(error.code()) {
                    self.channels.remove(&channel, None, &mut self.out);
                }
            }
            (Purpose::List(_), Answer::ChannelPage(page)) => {
                for summary in page.channels.iter() {
                    self.channels.learn(summary, Source::List, &mut self.out);
                }
                self.survey.list_in_flight = false;
                // Unless it was to begin again meanwhile.
                if self.survey.list.is_none() {
                    self.survey_listed(page.next);
                }
            }
            (Purpose::List(after), Answer::Error(error)) => {
                self.survey.list_in_flight = false;
                if self.survey_later(&error) {
                    self.survey.list.get_or_insert(after);
                }
                // Else the next session asks; until then no channel counts as new.
            }
            (Purpose::Resume, Answer::Resumed(resumed)) => {
                self.survey.resume_in_flight = false;
                self.totals = resumed.totals;
                for head in resumed.behind.iter() {
                    let behind = head.head.map(|_| head.channel.clone());
                    self.channels.head(head, &mut self.out);
                    if let Some(channel) = behind {
                        self.channels.want_refresh(&channel);
                    }
                }
            }
            (Purpose::Resume, Answer::Error(error)) => {
                self.survey.resume_in_flight = false;
                if self.survey_later(&error) {
                    self.survey.resume = self.channels.positions();
                } else {
                    // Without its answer the client would not know what it lacks.
                    self.broken();
                }
            }
            (Purpose::Token, Answer::Refreshed(_)) => self.token_taken(),
            (Purpose::Token, Answer::Error(error)) => self.token_refused(error),
            (Purpose::Restore, Answer::Presences(presences)) => {
                self.emit(ClientEvent::Presence(presences.users.to_vec()));
            }
            (Purpose::Restore, Answer::Error(error)) => {
                self.survey.restore |= self.survey_later(&error);
            }
            (Purpose::Ping | Purpose::Restore, _) => {}
            _ => self.broken(),
        }
    }

    /// Asks the rest of the survey later, if that can help.
    fn survey_later(&mut self, error: &WireError) -> bool {
        if error.code().is_retryable() {
            self.survey.later_ms = Some(self.retry_at(error.retry_after_ms, 2));
        }
        error.code().is_retryable()
    }

    fn token_taken(&mut self) {
        // The server's clock is not known well enough to say when it expires;
        // the server will tell.
        self.tokens.expires_at_ms = None;
        self.tokens.ask_at_ms = None;
    }

    fn post_refused(&mut self, sequence: confab_protocol::Sequence, error: WireError) {
        if error.code().is_retryable() {
            let attempts = self.outbox.attempts(sequence);
            let at_ms = self.retry_at(error.retry_after_ms, attempts);
            self.outbox.retry_at(sequence, at_ms);
            if error.code() == ErrorCode::RateLimited {
                self.pace.refused(at_ms);
            }
        } else if let Some(pending) = self.outbox.settle(sequence) {
            self.settled(pending, Err(SendError::Refused(error)));
        }
    }
}

/// Whether the server no longer shows a channel to the user.
const fn is_gone(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::NotFound | ErrorCode::Forbidden)
}
