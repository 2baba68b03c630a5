//! A session's reading half: frames in, answers out, timers.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use confab_protocol::message::presence::Typing;
use confab_protocol::message::session::{GoingAway, TokenExpiring};
use confab_protocol::message::{Answer, Body, Request, frame_of};
use confab_protocol::{ErrorCode, Frame, WireError};
use futures_util::stream::{FuturesUnordered, StreamExt};
use rand::Rng;
use tokio::time::{Instant, sleep_until};

use super::FrameSource;
use super::expiry::Due;
use super::outbox::{Awaited, Outbox, Signal};
use super::request::{Accepted, Requests, refused};
use crate::router::PendingAnswer;

/// How often a session that drains looks whether its bulk requests are done.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// Why [`Session::run`] returned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ended {
    /// The peer is done or gone: nothing more need be written.
    PeerGone,
    /// The outbox was closed: what is in it is to be written, the last frame
    /// says why.
    Closing,
}

/// The reading half of a session; dropping it ends the session.
pub struct Session {
    requests: Requests,
    answers: FuturesUnordered<Answering>,
    /// Invariant: how many of `answers` are not posts.
    others: usize,
    /// Whether the transport ends the connection of a peer that is gone.
    peer_is_watched: bool,
    /// When presence is told next that the peer lives.
    alive_at: Instant,
}

/// A request that was taken and is not answered yet.
struct Answering {
    request: u32,
    /// When a post arrived; `None` for other requests.
    posted_at: Option<Instant>,
    answer: PendingAnswer,
}

impl Future for Answering {
    type Output = (u32, Option<Instant>, Result<Answer, WireError>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (request, posted_at) = (self.request, self.posted_at);
        self.answer
            .as_mut()
            .poll(context)
            .map(|answer| (request, posted_at, answer))
    }
}

impl Session {
    pub(super) fn new(requests: Requests, peer_is_watched: bool) -> Self {
        let heartbeat_interval = requests.services().config.heartbeat_interval;
        Self {
            alive_at: Instant::now() + heartbeat_interval,
            requests,
            answers: FuturesUnordered::new(),
            others: 0,
            peer_is_watched,
        }
    }

    /// The session's requests, for those that come another way than its frames.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Takes frames and answers them until the peer is gone or the session is
    /// closed. It stops reading while too much of what it took is unanswered.
    pub async fn run(&mut self, source: &mut impl FrameSource) -> Ended {
        let outbox = self.requests.outbox().clone();
        let mut timer = pin!(sleep_until(self.next_timer()));
        loop {
            let (has_slots, has_room) = (self.has_slots(), outbox.has_answer_room());
            let awaited = Awaited {
                room: !has_room,
                drain: true,
            };
            tokio::select! {
                biased;
                signal = outbox.signal(awaited) => match signal {
                    Signal::Room => {}
                    Signal::Drain => return self.drain(&outbox).await,
                    Signal::Closing => return self.closing(&outbox),
                },
                () = timer.as_mut() => {
                    self.on_timer(&outbox);
                    timer.as_mut().reset(self.next_timer());
                }
                Some(answered) = self.answers.next() => self.answered(&outbox, answered),
                frame = source.next_frame(), if has_slots && has_room => match frame {
                    Ok(Some(frame)) => {
                        self.requests.heard();
                        self.take(&outbox, &frame).await;
                        // A new token may expire before the old one.
                        let next = self.next_timer();
                        if next < timer.deadline() {
                            timer.as_mut().reset(next);
                        }
                    }
                    Ok(None) => return Ended::PeerGone,
                    Err(error) => outbox.close(error),
                },
            }
        }
    }

    /// Whether another request may be taken.
    fn has_slots(&self) -> bool {
        let config = &self.requests.services().config;
        self.others < config.requests_in_flight_max
            && self.answers.len() - self.others < config.posts_in_flight_max
    }

    async fn take(&mut self, outbox: &Outbox, frame: &Frame) {
        let request = match self.requests.decode(frame) {
            Ok(request) => request,
            Err(error) => {
                self.requests.count_refusal(&error);
                // Typing has no answer, so nobody waits for a refusal either.
                if frame.kind != Typing::KIND {
                    refuse(outbox, frame.request, &error);
                }
                return;
            }
        };
        let posted_at = matches!(request, Request::Post(_)).then(Instant::now);
        let accepted = self.accept(outbox, request).await;
        match accepted {
            Ok(Accepted::Answer(answer)) => outbox.answer(answer.to_frame(frame.request)),
            Ok(Accepted::Nothing) => {}
            Ok(Accepted::Later(answer)) => {
                self.others += usize::from(posted_at.is_none());
                self.answers.push(Answering {
                    request: frame.request,
                    posted_at,
                    answer,
                });
            }
            Err(error) => {
                self.requests.count_refusal(&error);
                refuse(outbox, frame.request, &error);
            }
        }
    }

    /// Takes a request; while that waits for its turn, answers go out.
    async fn accept(&mut self, outbox: &Outbox, request: Request) -> Result<Accepted, WireError> {
        let requests = self.requests.clone();
        // Boxed, so that an idle session does not keep room for it.
        let mut accepting = Box::pin(requests.accept(request));
        loop {
            tokio::select! {
                biased;
                accepted = accepting.as_mut() => return accepted,
                Some(answered) = self.answers.next() => self.answered(outbox, answered),
            }
        }
    }

    fn answered(
        &mut self,
        outbox: &Outbox,
        (request, posted_at, answer): <Answering as Future>::Output,
    ) {
        self.others -= usize::from(posted_at.is_none());
        match answer {
            Ok(answer) => {
                if let Some(posted_at) = posted_at {
                    let metrics = &self.requests.services().metrics;
                    metrics.acknowledged(posted_at.elapsed());
                }
                outbox.answer(answer.to_frame(request));
            }
            Err(error) => {
                self.requests.count_refusal(&error);
                refuse(outbox, request, &error);
            }
        }
    }

    fn next_timer(&self) -> Instant {
        let expiry = self.requests.expiry().lock().next();
        let next = expiry.min(self.alive_at);
        self.silent_at()
            .map_or(next, |silent_at| silent_at.min(next))
    }

    /// When a peer that has to be watched for counts as gone.
    fn silent_at(&self) -> Option<Instant> {
        let timeout = self.requests.services().config.silence_timeout;
        (!self.peer_is_watched).then(|| self.requests.last_heard() + timeout)
    }

    fn closing(&self, outbox: &Outbox) -> Ended {
        let reason = outbox.closing().map(|reason| reason.code());
        // Who is shut out is not waited for as one that connects again is.
        if let Some(ErrorCode::TokenRevoked | ErrorCode::UserDeactivated) = reason {
            self.requests.leave();
        }
        Ended::Closing
    }

    fn on_timer(&mut self, outbox: &Outbox) {
        let now = Instant::now();
        let interval = self.requests.services().config.heartbeat_interval;
        if now >= self.alive_at {
            self.alive_at = now + interval;
            // An open connection is a sign of life where the transport notices
            // a dead peer; elsewhere the peer must have been heard.
            if self.peer_is_watched || self.requests.last_heard() + interval >= now {
                self.requests.is_alive();
            }
        }
        let mut expiry = self.requests.expiry().lock();
        let token_expires_at_ms = expiry.expires_at_ms();
        let due = expiry.due(now);
        drop(expiry);
        match due {
            Due::Nothing => {}
            Due::Tell => outbox.notice(frame_of(
                0,
                &TokenExpiring {
                    token_expires_at_ms,
                },
            )),
            Due::End => outbox.close(WireError::new(
                ErrorCode::TokenExpired,
                "the token expired: connect again with a new one",
            )),
        }
        if self.silent_at().is_some_and(|silent_at| now >= silent_at) {
            let timeout = self.requests.services().config.silence_timeout;
            outbox.close(WireError::new(
                ErrorCode::SlowConsumer,
                format!("nothing was heard for {} s", timeout.as_secs_f32()),
            ));
        }
    }

    /// Says that the server goes away, finishes what was taken, and closes.
    async fn drain(&mut self, outbox: &Outbox) -> Ended {
        let config = self.requests.services().config;
        let spread_ms = u32::try_from(config.reconnect_spread.as_millis()).unwrap_or(u32::MAX);
        let reconnect_after_ms = rand::rng().random_range(0..=spread_ms);
        outbox.notice(frame_of(0, &GoingAway { reconnect_after_ms }));
        let deadline = Instant::now() + config.drain_timeout;
        let awaited = Awaited {
            room: false,
            drain: false,
        };
        while !self.answers.is_empty() || self.requests.bulk_in_flight() > 0 {
            let check = Instant::now() + DRAIN_CHECK;
            tokio::select! {
                biased;
                _ = outbox.signal(awaited) => return self.closing(outbox),
                Some(answered) = self.answers.next() => self.answered(outbox, answered),
                () = sleep_until(check.min(deadline)) => {
                    if Instant::now() >= deadline {
                        break;
                    }
                }
            }
        }
        outbox.close(
            WireError::new(
                ErrorCode::ShuttingDown,
                "the server goes away: connect again, elsewhere if possible",
            )
            .retry_after(reconnect_after_ms),
        );
        Ended::Closing
    }
}

fn refuse(outbox: &Outbox, request: u32, error: &WireError) {
    outbox.answer(refused(request, error));
}
