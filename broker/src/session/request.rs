//! What a session may ask, and who answers it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use confab_protocol::codec::{CodecError, decode};
use confab_protocol::limits::DATAGRAM_BYTES_MAX;
use confab_protocol::message::presence::Typing;
use confab_protocol::message::session::{Done, Hello, RefreshToken, Refreshed};
use confab_protocol::message::{Answer, Body, BodyError, Request, frame_of};
use confab_protocol::{ErrorCode, Frame, Text, WireError};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::expiry::Expiry;
use super::outbox::Outbox;
use super::registry::{Registration, TokenMark};
use super::{Services, now_ms};
use crate::auth::Claims;
use crate::fanout::Attachment;
use crate::limits::{ConnectionRate, Limited};
use crate::ops::Gateway;
use crate::presence::Device;
use crate::router::{Actor, PendingAnswer, SignIn};

/// What became of a request.
pub enum Accepted {
    /// It is answered.
    Answer(Box<Answer>),
    /// The answer is on its way.
    Later(PendingAnswer),
    /// It has no answer.
    Nothing,
}

pub(super) struct Inner {
    pub(super) services: Arc<Services>,
    pub(super) actor: Actor,
    pub(super) name: Text,
    outbox: Outbox,
    pub(super) attachment: Attachment,
    registration: Registration,
    pub(super) presence: Device,
    rate: ConnectionRate,
    gateway: Gateway,
    opened_at: Instant,
    /// When the peer was last heard, in milliseconds after `opened_at`.
    last_heard_ms: AtomicU64,
    /// When a post last told presence that the user is active, in Unix
    /// milliseconds.
    pub(super) last_active_ms: AtomicU64,
    /// Whether the user has typed since the last post.
    pub(super) has_typed: AtomicBool,
    expiry: Mutex<Expiry>,
    /// Requests on bulk streams that are being worked on.
    bulk: AtomicUsize,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.services.metrics.session_closed(self.gateway);
    }
}

/// A session's requests, from wherever they come; cheap to clone.
#[derive(Clone)]
pub struct Requests(pub(super) Arc<Inner>);

impl Requests {
    #[allow(clippy::too_many_arguments)] // the parts of a session, once
    pub(super) fn new(
        services: Arc<Services>,
        actor: Actor,
        name: Text,
        outbox: Outbox,
        attachment: Attachment,
        registration: Registration,
        presence: Device,
        expiry: Expiry,
        gateway: Gateway,
    ) -> Self {
        services.metrics.session_opened(gateway);
        Self(Arc::new(Inner {
            rate: services.rates.connection(),
            gateway,
            opened_at: Instant::now(),
            last_heard_ms: AtomicU64::new(0),
            last_active_ms: AtomicU64::new(0),
            has_typed: AtomicBool::new(false),
            services,
            actor,
            name,
            outbox,
            attachment,
            registration,
            presence,
            expiry: Mutex::new(expiry),
            bulk: AtomicUsize::new(0),
        }))
    }

    /// The session's outbox.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.0.outbox
    }

    /// For whom requests are done.
    #[must_use]
    pub fn actor(&self) -> &Actor {
        &self.0.actor
    }

    /// The session's number.
    #[must_use]
    pub fn session(&self) -> u64 {
        self.0.registration.session()
    }

    pub(super) fn services(&self) -> &Services {
        &self.0.services
    }

    pub(super) fn expiry(&self) -> &Mutex<Expiry> {
        &self.0.expiry
    }

    pub(super) fn bulk_in_flight(&self) -> usize {
        self.0.bulk.load(Ordering::Relaxed)
    }

    /// Takes a request. Posts that are taken one after another keep their
    /// order; all else may overtake.
    ///
    /// # Errors
    /// A coded error that says what to do; the session goes on.
    pub async fn accept(&self, request: Request) -> Result<Accepted, WireError> {
        let inner = &*self.0;
        match request {
            Request::Hello(_) => Err(unexpected_hello()),
            Request::RefreshToken(body) => {
                let session = self.clone();
                Ok(Accepted::Later(Box::pin(async move {
                    session.refresh(body).await
                })))
            }
            Request::Post(post) => {
                inner.services.metrics.sent();
                let (rates, user) = (&inner.services.rates, &inner.actor.user);
                let lookup = inner.services.router.lookup();
                self.within(if lookup.is_member(&post.channel, user) {
                    rates.message(user, &post.channel)
                } else {
                    rates.other_write(user)
                })?;
                self.was_active(&post);
                let pending = inner.services.router.post(&inner.actor, post).await?;
                Ok(Accepted::Later(pending))
            }
            Request::Heartbeat(body) => {
                inner.presence.heartbeat(body.active);
                Ok(done())
            }
            Request::SetPresence(body) => {
                inner.presence.set(body)?;
                Ok(done())
            }
            Request::WatchPresence(body) => self.watch_presence(&body),
            Request::OpenChannel(body) => self.open_channel(&body),
            Request::CloseChannel(body) => Ok(self.close_channel(&body)),
            Request::Typing(body) => {
                self.typing(&body).await;
                Ok(Accepted::Nothing)
            }
            other => {
                if counts_as_message(&other) {
                    self.within(inner.services.rates.other_write(&inner.actor.user))?;
                }
                let session = self.clone();
                Ok(Accepted::Later(Box::pin(async move {
                    let inner = &*session.0;
                    inner.services.router.answer(&inner.actor, other).await
                })))
            }
        }
    }
    /// Reads a frame's body, counting it against the connection's rate.
    pub(super) fn decode(&self, frame: &Frame) -> Result<Request, WireError> {
        self.within(self.0.rate.request())?;
        Request::from_frame(frame).map_err(|error| undecodable(&error))
    }

    fn within(&self, limited: Result<(), Limited>) -> Result<(), WireError> {
        limited.map_err(|limited| {
            let metrics = &self.0.services.metrics;
            metrics.rate_limited(limited.scope.name());
            limited.into()
        })
    }

    /// The peer gave a sign of life. Frames count by themselves; a gateway says
    /// it for whatever else it hears, such as a pong.
    pub fn heard(&self) {
        let since_ms = self.0.opened_at.elapsed().as_millis();
        let since_ms = u64::try_from(since_ms).unwrap_or(u64::MAX);
        self.0.last_heard_ms.store(since_ms, Ordering::Relaxed);
    }

    /// When the peer was last heard.
    pub(super) fn last_heard(&self) -> Instant {
        let since_ms = self.0.last_heard_ms.load(Ordering::Relaxed);
        self.0.opened_at + Duration::from_millis(since_ms)
    }

    /// The connection lives.
    pub(super) fn is_alive(&self) {
        self.0.presence.heartbeat(false);
    }

    /// The session ends for good: its user is not waited for.
    pub(super) fn leave(&self) {
        self.0.presence.leave();
    }

    /// Counts a request that is answered with an error.
    pub(super) fn count_refusal(&self, error: &WireError) {
        self.0.services.metrics.rejected(error.code());
    }

    /// Answers a request that came on a stream of its own.
    ///
    /// Only what reads, and a batch of directory changes, may come that way:
    /// all else would lose its place in the order of the session's stream.
    pub async fn answer_bulk(&self, frame: &Frame) -> Bytes {
        match self.bulk(frame).await {
            Ok(answer) => answer.to_frame(frame.request),
            Err(error) => {
                self.count_refusal(&error);
                refused(frame.request, &error)
            }
        }
    }

    async fn bulk(&self, frame: &Frame) -> Result<Answer, WireError> {
        // A session that was revoked is served nothing while it is being closed.
        if let Some(reason) = self.outbox().closing() {
            return Err(reason);
        }
        let request = self.decode(frame)?;
        if matches!(request, Request::Hello(_)) {
            return Err(unexpected_hello());
        }
        if !request.may_be_bulk() {
            return Err(WireError::new(
                ErrorCode::InvalidArgument,
                format!(
                    "{} must come on the session's own stream, not on one of its own",
                    request.name()
                ),
            ));
        }
        let inner = &*self.0;
        inner.services.router.answer(&inner.actor, request).await
    }

    /// Takes a datagram, which may say who types. What else it holds is left
    /// out: a datagram has no answer.
    pub async fn datagram(&self, mut datagram: Bytes) {
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return;
        }
        while let Ok(Some(frame)) = Frame::take_whole(&mut datagram, DATAGRAM_BYTES_MAX) {
            if frame.kind != Typing::KIND {
                return;
            }
            let Ok(Request::Typing(typing)) = self.decode(&frame) else {
                return;
            };
            self.typing(&typing).await;
        }
    }

    /// Says that a bulk request is worked on for as long as the answer lives.
    #[must_use]
    pub fn begin_bulk(&self) -> BulkRequest {
        self.0.bulk.fetch_add(1, Ordering::Relaxed);
        BulkRequest(Arc::clone(&self.0))
    }

    /// Whether the server goes away.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.services.registry.is_draining()
    }

    /// Goes on with another token of the same user.
    async fn refresh(&self, body: RefreshToken) -> Result<Answer, WireError> {
        let inner = &*self.0;
        let services = &inner.services;
        let now_ms = now_ms();
        let claims = services
            .tokens
            .authenticate(&body.token, now_ms / 1_000)
            .await
            .inspect_err(|error| services.metrics.auth_failed(error.name()))?;
        if claims.user != inner.actor.user {
            return Err(WireError::new(
                ErrorCode::TokenInvalid,
                "the new token is for another user: connect again with it",
            ));
        }
        // The new token stands in the registry before revocations are looked
        // up, as when the session was opened. If it is refused, so is the
        // session: a client that shows a revoked token has no other.
        inner.registration.replace_token(TokenMark::from(&claims));
        if let Err(error) = services.router.sign_in(&SignIn::from(&claims)).await {
            if error.code().needs_new_token() {
                inner.outbox.close(error.clone());
            }
            return Err(error);
        }
        *inner.expiry.lock() = expiry_of(services, &claims, now_ms);
        Ok(Answer::Refreshed(Refreshed {
            token_expires_at_ms: claims.expires_at_ms,
        }))
    }
}

/// A bulk request that is worked on: a session that drains waits for it.
pub struct BulkRequest(Arc<Inner>);

impl Drop for BulkRequest {
    fn drop(&mut self) {
        self.0.bulk.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether a request writes into a channel's log as a message does, or makes a
/// channel: one user may do no more of all that together.
const fn counts_as_message(request: &Request) -> bool {
    matches!(
        request,
        Request::Edit(_)
            | Request::Delete(_)
            | Request::React(_)
            | Request::Pin(_)
            | Request::CreateGroup(_)
    )
}

/// When the session of a token ends.
pub(super) fn expiry_of(services: &Services, claims: &Claims, now_ms: u64) -> Expiry {
    Expiry::new(
        claims.expires_at_ms,
        now_ms,
        services.config.token_warning,
        Duration::from_millis(services.tokens.leeway_ms()),
    )
}

/// The answer to a request that is refused.
#[must_use]
pub fn refused(request: u32, error: &WireError) -> Bytes {
    frame_of(request, error)
}

/// Reads the first frame of a connection.
///
/// # Errors
/// `HelloRequired` for any other frame, or what is wrong with its body.
pub fn decode_hello(frame: &Frame) -> Result<Hello, WireError> {
    if frame.kind != Hello::KIND {
        return Err(WireError::new(
            ErrorCode::HelloRequired,
            "the first frame of a connection must be Hello",
        ));
    }
    decode(&frame.body).map_err(|error| unreadable(frame.kind, &error))
}

fn undecodable(error: &BodyError) -> WireError {
    match error {
        BodyError::UnknownKind(kind) => WireError::new(
            ErrorCode::UnknownKind,
            format!("this server does not know requests of kind {kind:#06x}"),
        ),
        BodyError::Codec { kind, error } => unreadable(*kind, error),
    }
}

fn unreadable(kind: u16, error: &CodecError) -> WireError {
    let code = match error {
        CodecError::Invalid(_) => ErrorCode::InvalidArgument,
        CodecError::Malformed | CodecError::Trailing(_) => ErrorCode::MalformedFrame,
    };
    let name = Request::KINDS
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or("unknown", |(_, name)| *name);
    WireError::new(code, format!("{name} ({kind:#06x}): {error}"))
}

fn unexpected_hello() -> WireError {
    WireError::new(
        ErrorCode::UnexpectedHello,
        "the connection has a session already: RefreshToken replaces its token",
    )
}

pub(super) fn done() -> Accepted {
    Accepted::Answer(Box::new(Answer::Done(Done {})))
}
