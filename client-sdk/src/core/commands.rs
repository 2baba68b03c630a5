//! What the application wants.

use confab_protocol::frame::LENGTH_BYTES;
use confab_protocol::message::Request;
use confab_protocol::message::channel::{Post, Posted};
use confab_protocol::message::presence::Typing;

use super::error::{CloseReason, RequestError, SendError};
use super::io::{ClientEvent, Command, Lane, Output, Ticket};
use super::link::Phase;
use super::outbox::Pending;
use super::{Core, Purpose};

/// Most channels that are open on the screen at once.
const OPEN_MAX: usize = 64;

impl Core {
    pub(super) fn command(&mut self, command: Command) {
        if self.link.phase == Phase::Closed || self.closing_ms.is_some() {
            return self.refuse(command);
        }
        match command {
            Command::Post { ticket, post } => self.post(ticket, post),
            Command::Request {
                ticket,
                request,
                timeout_ms,
            } => self.request(ticket, request, timeout_ms),
            Command::Typing { channel, thread } => {
                self.wanted.active = true;
                if self.link.is_online()
                    && let Some(typing) = self.typing.key(self.now_ms, (channel, thread))
                {
                    self.send_typing(typing);
                }
            }
            Command::StopTyping { channel, thread } => {
                if let Some(typing) = self.typing.stop((channel, thread)) {
                    self.send_typing(typing);
                }
            }
            Command::Active => self.wanted.active = true,
            Command::Token(token) => self.token(token),
            Command::NoToken { retry } => self.no_token(retry),
            Command::Close { flush_timeout_ms } => {
                self.closing_ms = Some(self.now_ms.saturating_add(flush_timeout_ms));
            }
        }
    }

    /// Nothing new is taken once the end has begun.
    fn refuse(&mut self, command: Command) {
        let reason = CloseReason::ByApplication;
        match command {
            Command::Post {
                ticket: Some(ticket),
                ..
            } => self.out.push_back(Output::Posted {
                ticket,
                result: Err(SendError::Closed(reason)),
            }),
            Command::Request { ticket, .. } => self.out.push_back(Output::Answer {
                ticket,
                result: Err(RequestError::Closed(reason)),
            }),
            // What waits to be flushed may need it.
            Command::Token(token) if self.link.phase != Phase::Closed => self.token(token),
            Command::NoToken { retry } if self.link.phase != Phase::Closed => self.no_token(retry),
            _ => {}
        }
    }

    fn post(&mut self, ticket: Option<Ticket>, post: Post) {
        self.wanted.active = true;
        self.dirty = true;
        if let Some(typing) = self.typing.stop((post.channel.clone(), post.thread_root)) {
            self.send_typing(typing);
        }
        let bytes_max = self.frame_bytes_max + LENGTH_BYTES;
        if let Err(error) = self.outbox.push(self.now_ms, ticket, post, bytes_max)
            && let Some(ticket) = ticket
        {
            self.out.push_back(Output::Posted {
                ticket,
                result: Err(error),
            });
        }
    }

    fn request(&mut self, ticket: Ticket, request: Request, timeout_ms: Option<u64>) {
        let bytes = request.to_frame(0).len() - LENGTH_BYTES;
        let unanswered_max =
            self.config.requests_max + self.config.posts_in_flight_max + self.channels.len() + 64;
        let error = if bytes > self.frame_bytes_max {
            RequestError::TooLarge {
                bytes,
                bytes_max: self.frame_bytes_max,
            }
        } else if self.requests.len() >= self.config.requests_max
            || self.numbers.len() >= unanswered_max
        {
            RequestError::QueueFull
        } else {
            self.remember(&request);
            let timeout_ms = timeout_ms.unwrap_or(self.config.request_timeout_ms);
            let deadline_ms = self.now_ms.saturating_add(timeout_ms);
            return self.requests.push(ticket, request, deadline_ms);
        };
        self.out.push_back(Output::Answer {
            ticket,
            result: Err(error),
        });
    }

    /// Keeps what every later session must be told too.
    fn remember(&mut self, request: &Request) {
        match request {
            Request::OpenChannel(open) if self.wanted.open.len() < OPEN_MAX => {
                self.wanted.open.insert(open.channel.clone());
            }
            Request::CloseChannel(close) => {
                self.wanted.open.remove(&close.channel);
            }
            Request::SetPresence(presence) => self.wanted.presence = Some(presence.clone()),
            Request::WatchPresence(watch) => {
                self.wanted.watch = (!watch.users.is_empty()).then(|| watch.clone());
            }
            _ => {}
        }
    }

    pub(super) fn send_typing(&mut self, typing: Typing) {
        if self.link.is_online() {
            let number = self.number(None);
            let bytes = confab_protocol::message::frame_of(number, &typing);
            self.out.push_back(Output::Send {
                connection: self.link.connection,
                lane: Lane::Ephemeral,
                request: number,
                bytes,
            });
        }
    }

    /// Tells whoever waits for a message, or the application if nobody does.
    pub(super) fn settled(&mut self, pending: Pending, result: Result<Posted, SendError>) {
        self.dirty = true;
        match pending.ticket {
            Some(ticket) => self.out.push_back(Output::Posted { ticket, result }),
            None => self.emit(ClientEvent::PostSettled {
                sequence: pending.post.sequence,
                post: pending.post,
                result,
            }),
        }
    }

    /// A number for the next frame, tied to a purpose if it has an answer.
    pub(super) fn number(&mut self, purpose: Option<Purpose>) -> u32 {
        loop {
            self.next_number = self.next_number.wrapping_add(1);
            if self.next_number != 0 && !self.numbers.contains_key(&self.next_number) {
                break;
            }
        }
        if let Some(purpose) = purpose {
            self.numbers.insert(self.next_number, purpose);
        }
        self.next_number
    }
}
