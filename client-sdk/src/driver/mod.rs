//! The task that owns the core: it feeds it what happens and does what it says.
//!
//! One task, no locks. Whoever wants something sends it a [`Call`] through a
//! bounded queue; it never waits for a caller or a subscriber. It ends when the
//! core has ended or nobody holds a client any more.

mod calls;
mod subscribers;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use confab_protocol::{Frame, Text};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{SharedTokenProvider, TokenError};
use crate::core::{
    ClientEvent, CloseReason, Command, ConnectionId, Core, DownReason, Input, Lane, Output,
    SavedState,
};
use crate::quic::{Dialer, Transport, TransportEvent};

pub(crate) use calls::{Call, CallQueue};
pub(crate) use subscribers::{Feedback, NewSubscriber, Told};

use calls::Callers;
use subscribers::Subscribers;

/// How many calls are taken at once.
const CALLS_AT_ONCE: usize = 128;

/// How long without a deadline until the next look around.
const IDLE: Duration = Duration::from_secs(3_600);

/// Takes the state to be saved; must not block.
pub(crate) type SaveState = Box<dyn FnMut(SavedState) + Send>;

/// Everything that the task is made of.
pub(crate) struct Parts {
    pub(crate) core: Core,
    pub(crate) dialer: Dialer,
    pub(crate) tokens: Option<SharedTokenProvider>,
    pub(crate) save: Option<SaveState>,
    pub(crate) calls: mpsc::Receiver<Call>,
    pub(crate) closed: Arc<OnceLock<CloseReason>>,
    pub(crate) drained: Arc<Notify>,
    /// Who hears of everything from the start.
    pub(crate) subscriber: Option<mpsc::Sender<Told>>,
}

/// What a task of the driver's came back with.
enum Done {
    Dialled(ConnectionId, Result<Transport, DownReason>),
    Answered(ConnectionId, u32, Option<Frame>),
    Token(Result<String, TokenError>),
}

struct Driver {
    parts: Parts,
    started: Instant,
    tasks: JoinSet<Done>,
    transport: Option<(ConnectionId, Transport)>,
    dialling: Option<ConnectionId>,
    dials: usize,
    callers: Callers,
    subscribers: Subscribers,
    /// What the core last said to keep. At the end it says so before it gives up
    /// what waits, so its own state is not asked for then.
    kept: Option<SavedState>,
    ended: bool,
}

/// Runs the client until it ends.
pub(crate) async fn run(mut parts: Parts, wall_clock_us: u64, seed: u64) {
    let mut subscribers = Subscribers::new(parts.drained.clone());
    if let Some(queue) = parts.subscriber.take() {
        subscribers.insert(queue);
    }
    let mut driver = Driver {
        subscribers,
        parts,
        started: Instant::now(),
        tasks: JoinSet::new(),
        transport: None,
        dialling: None,
        dials: 0,
        callers: Callers::default(),
        kept: None,
        ended: false,
    };
    driver.handle(Input::Start {
        wall_clock_us,
        seed,
    });
    driver.obey();
    let mut calls = Vec::with_capacity(CALLS_AT_ONCE);
    while !driver.ended {
        driver.turn(&mut calls).await;
    }
}

impl Driver {
    /// Waits for something to happen, and deals with it.
    async fn turn(&mut self, calls: &mut Vec<Call>) {
        let deadline = self
            .parts
            .core
            .deadline()
            .map(|at_ms| self.started + Duration::from_millis(at_ms));
        let wake = [deadline, self.subscribers.deadline()]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            taken = self.parts.calls.recv_many(calls, CALLS_AT_ONCE) => {
                if taken == 0 {
                    // Nobody is left who could want anything.
                    self.handle(Input::Command(Command::Close { flush_timeout_ms: 0 }));
                }
                for call in calls.drain(..) {
                    self.call(call);
                }
            }
            event = next_event(&mut self.transport) => self.transport_event(event),
            Some(done) = self.tasks.join_next() => self.done(done),
            () = self.parts.drained.notified() => {}
            () = tokio::time::sleep_until(wake) => self.handle(Input::Tick),
        }
        self.obey();
        let congested = self.subscribers.look(Instant::now(), &self.parts.core);
        if let Some(congested) = congested {
            self.handle(Input::Congested(congested));
            self.obey();
        }
    }

    fn handle(&mut self, input: Input) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.parts.core.handle(now_ms, input);
    }

    fn call(&mut self, call: Call) {
        match call {
            Call::Subscribe(reply) => {
                let positions = self.parts.core.positions();
                self.subscribers.add(reply, positions);
            }
            call => {
                if let Some(input) = self.callers.take(call, &self.parts.core) {
                    self.handle(input);
                    // What the call brought about is told before the next is
                    // taken, so that a subscription begins at a clear place.
                    self.obey();
                }
            }
        }
    }

    fn transport_event(&mut self, event: TransportEvent) {
        let Some(connection) = self.transport.as_ref().map(|(id, _)| *id) else {
            return;
        };
        match event {
            TransportEvent::Frames(lane, frames) => {
                for frame in frames {
                    self.handle(Input::Frame {
                        connection,
                        lane,
                        frame,
                    });
                }
            }
            TransportEvent::Written(bytes) => self.handle(Input::Writable { connection, bytes }),
            TransportEvent::Down(reason) => {
                self.transport = None;
                self.handle(Input::Down { connection, reason });
            }
        }
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Dialled(connection, result)) => {
                if self.dialling != Some(connection) {
                    return;
                }
                self.dialling = None;
                match result {
                    Ok(transport) => {
                        self.transport = Some((connection, transport));
                        self.handle(Input::Up { connection });
                    }
                    Err(reason) => self.handle(Input::Down { connection, reason }),
                }
            }
            Ok(Done::Answered(connection, _, Some(frame))) => self.handle(Input::Frame {
                connection,
                lane: Lane::Bulk,
                frame,
            }),
            Ok(Done::Answered(connection, request, None)) => self.handle(Input::BulkFailed {
                connection,
                request,
            }),
            Ok(Done::Token(Ok(token))) => {
                self.handle(Input::Command(Command::Token(Text::from(token))));
            }
            Ok(Done::Token(Err(error))) => {
                let retry = error == TokenError::Retry;
                self.handle(Input::Command(Command::NoToken { retry }));
            }
            // Only a token provider is somebody else's code and may panic.
            Err(_) => self.handle(Input::Command(Command::NoToken { retry: true })),
        }
    }

    /// Does all that the core says.
    fn obey(&mut self) {
        while let Some(output) = self.parts.core.poll() {
            match output {
                Output::Dial { connection } => self.dial(connection),
                Output::Send {
                    connection,
                    lane,
                    request,
                    bytes,
                } => self.send(connection, lane, request, bytes),
                Output::Hangup { connection, code } => {
                    self.dialling = None;
                    if let Some((current, transport)) = self
                        .transport
                        .take_if(|(current, _)| *current == connection)
                    {
                        tracing::debug!(connection = current.0, ?code, "hanging up");
                        transport.close(code);
                    }
                }
                Output::NeedToken => self.need_token(),
                Output::Answer { ticket, result } => self.callers.answer(ticket, result),
                Output::Posted { ticket, result } => self.callers.posted(ticket, result),
                Output::Event(event) => self.event(event),
                Output::Persist(state) => {
                    if let Some(save) = &mut self.parts.save {
                        save(state.clone());
                    }
                    self.kept = Some(state);
                }
            }
        }
    }

    fn event(&mut self, event: ClientEvent) {
        self.callers.hear(&event);
        match &event {
            ClientEvent::Disconnected {
                reason,
                retry_in_ms,
            } => tracing::info!(%reason, retry_in_ms, "disconnected"),
            ClientEvent::Connected { session, .. } => tracing::info!(session, "connected"),
            ClientEvent::Closed(reason) => {
                tracing::info!(%reason, "closed");
                // The first reason stays; there is only one.
                let _ = self.parts.closed.set(reason.clone());
                self.ended = true;
                let kept = self.kept.take();
                let state = kept.unwrap_or_else(|| self.parts.core.saved_state());
                self.callers.close(reason, state);
            }
            _ => {}
        }
        self.subscribers.tell(event, Instant::now());
    }

    fn dial(&mut self, connection: ConnectionId) {
        let dialer = self.parts.dialer.clone();
        let attempt = self.dials;
        self.dials = self.dials.wrapping_add(1);
        self.dialling = Some(connection);
        self.tasks
            .spawn(async move { Done::Dialled(connection, dialer.dial(attempt).await) });
    }

    fn send(&mut self, connection: ConnectionId, lane: Lane, request: u32, bytes: Bytes) {
        let Some((_, transport)) = self
            .transport
            .as_mut()
            .filter(|(current, _)| *current == connection)
        else {
            return;
        };
        match lane {
            Lane::Control => transport.send(bytes),
            Lane::Ephemeral => transport.send_ephemeral(bytes),
            Lane::Bulk => {
                let stream = transport.bulk();
                self.tasks.spawn(async move {
                    Done::Answered(connection, request, stream.ask(bytes).await)
                });
            }
        }
    }

    fn need_token(&mut self) {
        if let Some(provider) = self.parts.tokens.clone() {
            self.tasks
                .spawn(async move { Done::Token(provider.token().await) });
        }
    }
}

/// The next event of the transport; never, while there is none.
async fn next_event(transport: &mut Option<(ConnectionId, Transport)>) -> TransportEvent {
    match transport {
        Some((_, transport)) => transport.next().await,
        None => std::future::pending().await,
    }
}
