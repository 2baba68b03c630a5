//! What callers want of the driver, and where their outcomes go.

use std::collections::BTreeMap;

use confab_protocol::message::Request;
use confab_protocol::message::channel::{ChannelSummary, ChannelTotals, Post, Posted};
use confab_protocol::message::session::UserProfile;
use confab_protocol::{ChannelId, Frame};
use tokio::sync::{mpsc, oneshot};

use super::subscribers::NewSubscriber;
use crate::core::{
    ClientEvent, CloseReason, Command, Core, Input, RequestError, SavedState, SendError, Ticket,
};

/// The way to the driver.
pub(crate) type CallQueue = mpsc::Sender<Call>;

/// Something that a caller wants. A caller that no longer waits has dropped the
/// other end of its `oneshot`, which is no error here.
#[allow(clippy::large_enum_variant)] // the most frequent is the large one: a post
pub(crate) enum Call {
    Post(Post, oneshot::Sender<Result<Posted, SendError>>),
    Request {
        request: Request,
        timeout_ms: Option<u64>,
        reply: oneshot::Sender<Result<Frame, RequestError>>,
    },
    Command(Command),
    Subscribe(oneshot::Sender<NewSubscriber>),
    /// Answered when a session is open.
    Online(oneshot::Sender<Result<(), CloseReason>>),
    User(oneshot::Sender<Option<UserProfile>>),
    Channels(oneshot::Sender<(Vec<ChannelSummary>, ChannelTotals)>),
    Channel(ChannelId, oneshot::Sender<Option<ChannelSummary>>),
    State(oneshot::Sender<SavedState>),
    Close {
        flush_timeout_ms: u64,
        reply: oneshot::Sender<SavedState>,
    },
}

/// The callers that wait.
#[derive(Default)]
pub(super) struct Callers {
    next_ticket: u64,
    posts: BTreeMap<Ticket, oneshot::Sender<Result<Posted, SendError>>>,
    requests: BTreeMap<Ticket, oneshot::Sender<Result<Frame, RequestError>>>,
    online: Vec<oneshot::Sender<Result<(), CloseReason>>>,
    closing: Vec<oneshot::Sender<SavedState>>,
}

impl Callers {
    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Takes a call; answers with what the core is to be told.
    pub(super) fn take(&mut self, call: Call, core: &Core) -> Option<Input> {
        let command = match call {
            Call::Post(post, reply) => {
                let ticket = self.ticket();
                self.posts.insert(ticket, reply);
                Command::Post {
                    ticket: Some(ticket),
                    post,
                }
            }
            Call::Request {
                request,
                timeout_ms,
                reply,
            } => {
                let ticket = self.ticket();
                self.requests.insert(ticket, reply);
                Command::Request {
                    ticket,
                    request,
                    timeout_ms,
                }
            }
            Call::Command(command) => command,
            Call::Close {
                flush_timeout_ms,
                reply,
            } => {
                self.closing.push(reply);
                Command::Close { flush_timeout_ms }
            }
            query => {
                self.answer_query(query, core);
                return None;
            }
        };
        Some(Input::Command(command))
    }

    fn answer_query(&mut self, query: Call, core: &Core) {
        // A caller that is gone needs no answer: the results are not looked at.
        match query {
            Call::Online(reply) if core.is_online() => drop(reply.send(Ok(()))),
            Call::Online(reply) => {
                self.online.retain(|waiting| !waiting.is_closed());
                self.online.push(reply);
            }
            Call::User(reply) => drop(reply.send(core.user().cloned())),
            Call::Channels(reply) => drop(reply.send((core.channels(), core.totals()))),
            Call::Channel(channel, reply) => drop(reply.send(core.channel(&channel))),
            Call::State(reply) => drop(reply.send(core.saved_state())),
            Call::Post(..)
            | Call::Request { .. }
            | Call::Command(_)
            | Call::Subscribe(_)
            | Call::Close { .. } => {}
        }
    }

    pub(super) fn answer(&mut self, ticket: Ticket, result: Result<Frame, RequestError>) {
        if let Some(reply) = self.requests.remove(&ticket) {
            let _ = reply.send(result);
        }
    }

    pub(super) fn posted(&mut self, ticket: Ticket, result: Result<Posted, SendError>) {
        if let Some(reply) = self.posts.remove(&ticket) {
            let _ = reply.send(result);
        }
    }

    /// Tells those that wait for a session.
    pub(super) fn hear(&mut self, event: &ClientEvent) {
        if let ClientEvent::Connected { .. } = event {
            for reply in self.online.drain(..) {
                let _ = reply.send(Ok(()));
            }
        }
    }

    /// The client has ended.
    pub(super) fn close(&mut self, reason: &CloseReason, state: SavedState) {
        for reply in self.online.drain(..) {
            let _ = reply.send(Err(reason.clone()));
        }
        for reply in self.closing.drain(..) {
            let _ = reply.send(state.clone());
        }
    }
}
