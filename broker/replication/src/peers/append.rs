//! One pipelined session of append messages over a peer stream.
//!
//! Sending and receiving go on side by side in one future: messages are sent
//! while answers to earlier ones are on their way. A session that ends cleanly
//! gives its stream back to be used again; one that is dropped midway does not,
//! for answers to it may still arrive.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use openraft::errors::{NetworkError, RPCError};
use openraft::raft::AppendEntriesRequest;
use tokio::time::{Instant, Sleep};

use super::PeerStream;
use crate::codec::{AppendAnswer, decode_append_answer, encode_append_request};
use crate::raft_types::RaftTypes;

/// Messages sent and not yet answered; with about 1 MiB a message this bounds what a slow follower costs the leader.
const UNANSWERED_MAX: usize = 32;

pub(super) struct AppendSession<'a, S> {
    /// Where the stream goes back when the session ends cleanly.
    idle: &'a mut Option<PeerStream>,
    /// `None` once the session has ended.
    stream: Option<PeerStream>,
    requests: S,
    requests_ended: bool,
    unanswered: usize,
    /// How long a message may remain without an answer.
    answer_timeout: Duration,
    deadline: Pin<Box<Sleep>>,
}

impl<'a, S> AppendSession<'a, S>
where
    S: Stream<Item = AppendEntriesRequest<RaftTypes>> + Unpin,
{
    pub(super) fn new(
        idle: &'a mut Option<PeerStream>,
        stream: PeerStream,
        requests: S,
        answer_timeout: Duration,
    ) -> Self {
        Self {
            idle,
            stream: Some(stream),
            requests,
            requests_ended: false,
            unanswered: 0,
            answer_timeout,
            deadline: Box::pin(tokio::time::sleep(answer_timeout)),
        }
    }

    /// Sends what may be sent now.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Result<(), RPCError<RaftTypes>> {
        let Some(stream) = self.stream.as_mut() else {
            return Ok(());
        };
        while !self.requests_ended && self.unanswered < UNANSWERED_MAX {
            match stream.outgoing.as_mut().poll_ready(context) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(error)) => return Err(broken(error)),
                Poll::Ready(Ok(())) => {}
            }
            match Pin::new(&mut self.requests).poll_next(context) {
                Poll::Pending => break,
                Poll::Ready(None) => self.requests_ended = true,
                Poll::Ready(Some(request)) => {
                    let message = encode_append_request(&request);
                    stream
                        .outgoing
                        .as_mut()
                        .start_send(message)
                        .map_err(broken)?;
                    if self.unanswered == 0 {
                        self.deadline
                            .as_mut()
                            .reset(Instant::now() + self.answer_timeout);
                    }
                    self.unanswered += 1;
                }
            }
        }
        match stream.outgoing.as_mut().poll_flush(context) {
            Poll::Ready(Err(error)) => Err(broken(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<AppendAnswer, RPCError<RaftTypes>>>> {
        if self.requests_ended && self.unanswered == 0 {
            *self.idle = self.stream.take();
            return Poll::Ready(None);
        }
        let Some(stream) = self.stream.as_mut() else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(received) = stream.incoming.as_mut().poll_next(context) {
            let answer = match received {
                None => Err(RPCError::Network(NetworkError::from_string(
                    "the peer closed the stream",
                ))),
                Some(Err(error)) => Err(broken(error)),
                Some(Ok(message)) => decode_append_answer(message).map_err(broken),
            };
            self.unanswered = self.unanswered.saturating_sub(1);
            self.deadline
                .as_mut()
                .reset(Instant::now() + self.answer_timeout);
            // A refusal ends the session: what is already on its way would be refused as well.
            if !matches!(answer, Ok(Ok(_))) {
                self.stream = None;
            }
            return Poll::Ready(Some(answer));
        }
        if self.unanswered > 0 {
            ready!(self.deadline.as_mut().poll(context));
            self.stream = None;
            let error = NetworkError::from_string("the peer does not answer");
            return Poll::Ready(Some(Err(RPCError::Network(error))));
        }
        Poll::Pending
    }
}

impl<S> Stream for AppendSession<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<RaftTypes>> + Unpin,
{
    type Item = Result<AppendAnswer, RPCError<RaftTypes>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.stream.is_none() {
            return Poll::Ready(None);
        }
        if let Err(error) = this.poll_send(context) {
            this.stream = None;
            return Poll::Ready(Some(Err(error)));
        }
        this.poll_answer(context)
    }
}

fn broken<E: std::error::Error + 'static>(error: E) -> RPCError<RaftTypes> {
    RPCError::Network(NetworkError::new(&error))
}
