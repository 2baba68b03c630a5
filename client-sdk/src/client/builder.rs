//! Making a client.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use confab_protocol::{DeviceId, Text};
use tokio::sync::{Notify, mpsc};

use super::Client;
use super::subscription::Subscription;
use super::token::{SharedTokenProvider, TokenProvider};
use crate::core::{CloseReason, Core, CoreConfig, SavedState};
use crate::driver::{self, NewSubscriber, Parts, SaveState};
use crate::quic::{Dialer, TlsConfig, TlsError};

/// Calls that wait for the driver; more wait at their callers.
const CALLS_MAX: usize = 1_024;

/// How long [`Builder::connect`] waits unless told otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No authority was given with [`Builder::ca_pem`], or it is not PEM.
    #[error("no certificate authority: give the server's CA with ca_pem()")]
    Authority,
    /// The server name is neither a DNS name nor an address.
    #[error("the server name is neither a DNS name nor an address")]
    ServerName,
    /// Neither a token nor a token provider was given.
    #[error("no token: give one with token() or token_provider()")]
    NoToken,
    /// No session was open in time. The server may be down: try again.
    #[error("no session was open in time")]
    TimedOut,
    /// It will not work as things are; the reason says what must change.
    #[error(transparent)]
    Closed(CloseReason),
}

/// What a client is made of. See [`Client::builder`].
#[must_use]
pub struct Builder {
    servers: Vec<String>,
    server_name: String,
    ca_pem: Vec<u8>,
    token: Option<Text>,
    tokens: Option<SharedTokenProvider>,
    device: Option<DeviceId>,
    saved: Option<SavedState>,
    save: Option<SaveState>,
    save_interval: Duration,
    connect_timeout: Duration,
    config: Box<dyn FnOnce(&mut CoreConfig) + Send>,
    agent: Option<Text>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The token is left out on purpose.
        formatter
            .debug_struct("Builder")
            .field("servers", &self.servers)
            .field("server_name", &self.server_name)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) fn new(server: String, server_name: String) -> Self {
        Self {
            servers: vec![server],
            server_name,
            ca_pem: Vec::new(),
            token: None,
            tokens: None,
            device: None,
            saved: None,
            save: None,
            save_interval: Duration::from_secs(1),
            connect_timeout: CONNECT_TIMEOUT,
            config: Box::new(|_| {}),
            agent: None,
        }
    }

    /// Another server of the same cluster, `host:port`: attempts take turns.
    pub fn also(mut self, server: impl Into<String>) -> Self {
        self.servers.push(server.into());
        self
    }

    /// The authorities that may have signed the server's certificate, as PEM.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = pem.into();
        self
    }

    /// A token. When it expires or is refused, the client ends, unless
    /// [`Client::set_token`] brings a newer one in time.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Text::from(token.into()));
        self
    }

    /// Where tokens come from: asked for the first (unless [`Builder::token`]
    /// gave it), and again before one expires or when one is refused.
    pub fn token_provider(mut self, provider: impl TokenProvider) -> Self {
        self.tokens = Some(Arc::new(provider));
        self
    }

    /// The device. Keep it over restarts, with [`Builder::state`] or in another
    /// way: read state and resends are known by it. Default: a random one.
    pub fn device(mut self, device: DeviceId) -> Self {
        self.device = Some(device);
        self
    }

    /// Goes on where an earlier process was: its device, positions and
    /// unacknowledged messages.
    pub fn state(mut self, saved: SavedState) -> Self {
        self.saved = Some(saved);
        self
    }

    /// Hands out the state to be saved: at the end, and at most once in
    /// `interval` when it has changed. `save` is called on the client's task and
    /// must not block.
    pub fn save_state(
        mut self,
        interval: Duration,
        save: impl FnMut(SavedState) + Send + 'static,
    ) -> Self {
        self.save = Some(Box::new(save));
        self.save_interval = interval;
        self
    }

    /// Name and version of the program, for the server's log.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(Text::from(agent.into()));
        self
    }

    /// How long [`Builder::connect`] waits for a session. Default 15 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Changes limits and timers. Its `device`, `agent`, `token_provider` and
    /// `persist_interval_ms` are set by the builder's own methods.
    pub fn configure(mut self, change: impl FnOnce(&mut CoreConfig) + Send + 'static) -> Self {
        self.config = Box::new(change);
        self
    }

    /// Starts the client without waiting: what is sent is queued until there is
    /// a session. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError::Authority`], [`ConnectError::ServerName`] and
    /// [`ConnectError::NoToken`], when something is missing.
    pub fn start(self) -> Result<Client, ConnectError> {
        let (client, _) = self.start_task(false)?;
        Ok(client)
    }

    /// As [`Builder::start`], with a subscription that misses nothing: whoever
    /// goes on from a saved state hears all that the first session brings.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub fn start_subscribed(self) -> Result<(Client, Subscription), ConnectError> {
        let (client, subscriber) = self.start_task(true)?;
        let subscription = Subscription::new(client.clone(), subscriber, None);
        Ok((client, subscription))
    }

    /// Starts the client and waits until its session is open.
    ///
    /// # Errors
    /// See [`ConnectError`]. After [`ConnectError::TimedOut`] nothing goes on in
    /// the background.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let timeout = self.connect_timeout;
        let client = self.start()?;
        wait(&client, timeout).await?;
        Ok(client)
    }

    /// As [`Builder::connect`], with a subscription that misses nothing.
    ///
    /// # Errors
    /// As [`Builder::connect`].
    pub async fn connect_subscribed(self) -> Result<(Client, Subscription), ConnectError> {
        let timeout = self.connect_timeout;
        let (client, subscription) = self.start_subscribed()?;
        wait(&client, timeout).await?;
        Ok((client, subscription))
    }

    // The core takes the wall clock and randomness as inputs: from here.
    #[allow(clippy::disallowed_methods)]
    fn start_task(self, subscribed: bool) -> Result<(Client, Option<NewSubscriber>), ConnectError> {
        let tls = TlsConfig::new(&self.ca_pem, &self.server_name).map_err(|error| match error {
            TlsError::Authority => ConnectError::Authority,
            TlsError::ServerName => ConnectError::ServerName,
        })?;
        if self.token.is_none() && self.tokens.is_none() {
            return Err(ConnectError::NoToken);
        }
        let mut config = CoreConfig::new(self.device.unwrap_or_else(random_device));
        (self.config)(&mut config);
        if let Some(agent) = self.agent {
            config.agent = agent;
        }
        config.token_provider = self.tokens.is_some();
        config.persist_interval_ms = self
            .save
            .as_ref()
            .map(|_| u64::try_from(self.save_interval.as_millis()).unwrap_or(u64::MAX));
        let core = Core::new(config, self.token, self.saved);
        let drained = Arc::new(Notify::new());
        let (queue, subscriber) = subscribed
            .then(|| NewSubscriber::new(core.positions(), drained.clone()))
            .unzip();
        let (calls, receiver) = mpsc::channel(CALLS_MAX);
        let closed = Arc::new(OnceLock::new());
        let parts = Parts {
            core,
            dialer: Dialer::new(self.servers, tls),
            tokens: self.tokens,
            save: self.save,
            calls: receiver,
            closed: closed.clone(),
            drained,
            subscriber: queue,
        };
        // A clock before 1970 numbers from 1, as a saved state would.
        let wall_clock_us = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |since| u64::try_from(since.as_micros()).unwrap_or(1));
        tokio::spawn(driver::run(parts, wall_clock_us, rand::random()));
        Ok((Client::new(calls, closed), subscriber))
    }
}

async fn wait(client: &Client, timeout: Duration) -> Result<(), ConnectError> {
    match tokio::time::timeout(timeout, client.online()).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reason)) => Err(ConnectError::Closed(reason)),
        Err(_) => Err(ConnectError::TimedOut),
    }
}

#[allow(clippy::disallowed_methods)] // a device is made here, outside the core
fn random_device() -> DeviceId {
    let random: u128 = rand::random();
    DeviceId::new(&format!("device-{random:032x}"))
        .expect("a word and hexadecimal digits are allowed in an id")
}
