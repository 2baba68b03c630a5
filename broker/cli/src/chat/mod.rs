//! `confab chat`: the terminal client.
//!
//! [`model`] is what it knows and decides, pure; [`layout`] is how that lies on
//! the screen, pure as well; `screen` puts colours on it; `session` talks to the
//! server; `terminal` is the terminal. This file is the loop between them.

pub(crate) mod layout;
pub(crate) mod model;
mod screen;
mod session;
mod terminal;

use std::io::{self, IsTerminal};
use std::time::Duration;

use confab_client::{ClientEvent, CloseReason, Subscription};
use futures_util::{FutureExt, StreamExt};
use ratatui::crossterm::event::Event;
use tokio::time::Instant;

use self::model::Model;
use self::model::effect::{Effect, Input};
use self::session::Session;
use self::terminal::{Keyboard, Screen};
use crate::arguments::ChatArguments;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Signals, signals};
use crate::stamp::{Clock, now_ms};

/// The least time between two drawings.
const FRAME: Duration = Duration::from_millis(25);

/// How often the clock moves on: countdowns, and words that go by themselves.
const TICK: Duration = Duration::from_millis(500);

/// Events that are taken before the screen is drawn again.
const EVENTS_AT_ONCE: usize = 1_000;

/// After so long without an answer the connection counts as dead.
const LIVENESS_MS: u64 = 5_000;

/// The longest pause between two attempts to connect, in milliseconds.
const BACKOFF_MAX_MS: u64 = 8_000;

/// How long what was sent may take when the user ends.
const FLUSH: Duration = Duration::from_secs(3);

pub(crate) fn run(arguments: &ChatArguments) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::usage(
            "chat needs a terminal: use `confab send` and `confab tail` in scripts",
        ));
    }
    let target = Target::find(&arguments.connection, false)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("system", format!("cannot start: {error}")))?;
    let result = runtime.block_on(chat(&target, arguments));
    runtime.shutdown_background();
    result
}

async fn chat(target: &Target, arguments: &ChatArguments) -> Result<(), Failure> {
    // Who cannot get in is told in words, not on a screen that vanishes.
    let client = target
        .connect_with(&arguments.connection, |config| {
            // Somebody waits: a dead connection is to be seen soon, and tried again.
            config.liveness_timeout_ms = LIVENESS_MS;
            config.dial_timeout_ms = LIVENESS_MS;
            config.backoff_max_ms = BACKOFF_MAX_MS;
        })
        .await?;
    let signals = signals().map_err(terminal_failure)?;
    let mut events = client.subscribe().await;
    let mut model = Model::new(Clock::system(), arguments.channel.clone());
    if let Some(user) = client.user().await {
        model.handle(Input::Now(now_ms()));
        // The session was opened before anybody listened.
        model.handle(Input::Event(ClientEvent::Connected { session: 0, user }));
    }
    let mut chat = Chat {
        screen: Screen::take().map_err(terminal_failure)?,
        keyboard: Keyboard::listen(),
        signals,
        session: Session::new(client),
        model,
        closed: None,
    };
    let result = chat.run(&mut events).await;
    let Chat {
        screen,
        keyboard,
        session,
        closed,
        ..
    } = chat;
    drop((screen, keyboard));
    result?;
    if let Some(reason) = closed {
        return Err(reason.into());
    }
    session.client().clone().close_within(FLUSH).await;
    Ok(())
}

fn terminal_failure(error: io::Error) -> Failure {
    Failure::new("terminal", format!("the terminal cannot be used: {error}"))
}

struct Chat {
    screen: Screen,
    keyboard: Keyboard,
    signals: Signals,
    session: Session,
    model: Model,
    /// Why the client has ended by itself.
    closed: Option<CloseReason>,
}

/// What woke the loop.
enum Woken {
    Key(Option<Event>),
    Event(Option<ClientEvent>),
    Outcome(Option<model::effect::Outcome>),
    Signal,
    Draw,
}

impl Chat {
    async fn run(&mut self, events: &mut Subscription) -> Result<(), Failure> {
        let (width, height) = self.screen.size().map_err(terminal_failure)?;
        self.model.handle(Input::Size(width, height));
        self.refresh_channels().await;
        let mut list_changed = false;
        let mut draw_at = Instant::now();
        while !self.model.wants_to_quit() && self.closed.is_none() {
            let woken = tokio::select! {
                biased;
                _ = self.signals.next() => Woken::Signal,
                key = self.keyboard.next() => Woken::Key(key),
                () = tokio::time::sleep_until(draw_at) => Woken::Draw,
                outcome = self.session.next() => Woken::Outcome(outcome),
                event = events.next() => Woken::Event(event),
            };
            match woken {
                Woken::Signal | Woken::Key(None) => return Ok(()),
                Woken::Key(Some(event)) => self.keys(event),
                Woken::Outcome(outcome) => self.outcome(outcome),
                Woken::Event(event) => {
                    list_changed = true;
                    self.events(event, events);
                }
                Woken::Draw => {
                    if std::mem::take(&mut list_changed) {
                        self.refresh_channels().await;
                    }
                    self.model.handle(Input::Now(now_ms()));
                    let model = &self.model;
                    let drawn = self.screen.draw(|frame| screen::draw(frame, model));
                    drawn.map_err(terminal_failure)?;
                    draw_at = Instant::now() + TICK;
                    self.effects().await?;
                    continue;
                }
            }
            self.effects().await?;
            draw_at = draw_at.min(Instant::now() + FRAME);
        }
        Ok(())
    }

    /// Takes a key, and those that wait behind it.
    fn keys(&mut self, first: Event) {
        self.model.handle(Input::Now(now_ms()));
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                Event::Key(key) => self.model.handle(Input::Key(key)),
                Event::Paste(text) => self.model.handle(Input::Paste(text)),
                Event::Resize(width, height) => self.model.handle(Input::Size(width, height)),
                Event::FocusGained => self.model.handle(Input::Focus(true)),
                Event::FocusLost => self.model.handle(Input::Focus(false)),
                Event::Mouse(_) => {}
            }
            next = self.keyboard.ready();
        }
    }

    fn outcome(&mut self, outcome: Option<model::effect::Outcome>) {
        if let Some(outcome) = outcome {
            self.model.handle(Input::Outcome(outcome));
        }
    }

    /// Takes an event, and those that are ready behind it.
    fn events(&mut self, first: Option<ClientEvent>, events: &mut Subscription) {
        self.model.handle(Input::Now(now_ms()));
        let mut next = Some(first);
        for _ in 0..EVENTS_AT_ONCE {
            match next {
                Some(Some(ClientEvent::Closed(reason))) => {
                    self.closed = Some(reason);
                    return;
                }
                Some(Some(event)) => self.model.handle(Input::Event(event)),
                // The stream ends only after it said why.
                Some(None) => {
                    self.closed = Some(CloseReason::ByApplication);
                    return;
                }
                None => return,
            }
            next = events.next().now_or_never();
        }
        if let Some(Some(event)) = next {
            self.model.handle(Input::Event(event));
        }
    }

    async fn refresh_channels(&mut self) {
        let list = self.session.client().channels().await;
        let totals = self.session.client().totals().await;
        self.model.handle(Input::Channels(list, totals));
    }

    /// Does what the model wants, and what that brings about.
    async fn effects(&mut self) -> Result<(), Failure> {
        loop {
            let effects = self.model.take_effects();
            if effects.is_empty() {
                return Ok(());
            }
            for effect in effects {
                if effect == Effect::Bell {
                    self.screen.ring().map_err(terminal_failure)?;
                }
                let outcome = self.session.begin(effect).await;
                self.outcome(outcome);
            }
        }
    }
}
