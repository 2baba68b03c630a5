//! Everything that can be set, with its unit, default and cost.

use confab_protocol::{DeviceId, Text};

/// Limits and timers of the session core.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// The device, kept by the application over restarts.
    pub device: DeviceId,
    /// Name and version of the program, for the server's log.
    pub agent: Text,
    /// Whether a refused or expiring token can be replaced: then the core asks
    /// with [`Output::NeedToken`](super::Output::NeedToken).
    pub token_provider: bool,
    /// Most messages that wait to be acknowledged. Default 4,096.
    pub posts_max: usize,
    /// Most bytes of messages that wait to be acknowledged. Default 4 MiB,
    /// at most 6 MiB: they must fit into a saved state.
    pub posts_bytes_max: usize,
    /// Most messages on their way at once. Default 1,024.
    pub posts_in_flight_max: usize,
    /// How long a message may wait to be acknowledged, offline time included,
    /// in milliseconds. Default 10 minutes.
    pub post_timeout_ms: u64,
    /// Most requests that wait for an answer. Default 1,024.
    pub requests_max: usize,
    /// How long a request may wait for its answer, in milliseconds. Default 30 s.
    pub request_timeout_ms: u64,
    /// Most bulk requests on their way at once, beside catching up. Default 8;
    /// with `sync_in_flight_max` at most the server's 16 streams.
    pub bulk_in_flight_max: usize,
    /// Most channels that catch up at once. Default 4.
    pub sync_in_flight_max: usize,
    /// Bytes handed to the transport that it has not taken. Default 256 KiB.
    pub send_window_bytes: usize,
    /// Most live events of one channel that are held back while it catches up.
    /// Default 256; past it they are dropped and asked for again.
    pub held_events_max: usize,
    /// Most bytes of held events over all channels. Default 4 MiB.
    pub held_bytes_max: usize,
    /// Most channels whose log is followed from the channel list. Default 1,000.
    /// Each costs about 500 bytes.
    pub channels_tracked_max: usize,
    /// A channel that is new to the user comes with its events from the first,
    /// unless it has more than this: then from its head. Default 1,000.
    pub new_channel_events_max: u64,
    /// First ceiling of the reconnect delay, in milliseconds. Default 250.
    pub backoff_base_ms: u64,
    /// Last ceiling of the reconnect delay, in milliseconds. Default 30 s.
    pub backoff_max_ms: u64,
    /// How long connecting and `Hello` may take, in milliseconds. Default 10 s.
    pub dial_timeout_ms: u64,
    /// How long a heartbeat or a post may go unanswered before the connection counts as
    /// dead, in milliseconds. Default 20 s.
    pub liveness_timeout_ms: u64,
    /// How long a connection must have lived for the backoff to start anew, in
    /// milliseconds. Default 10 s.
    pub stable_after_ms: u64,
    /// How often changed state is handed out to be saved, in milliseconds;
    /// `None`: only when closed. Default `None`.
    pub persist_interval_ms: Option<u64>,
}

impl CoreConfig {
    /// The defaults for a device.
    #[must_use]
    pub fn new(device: DeviceId) -> Self {
        Self {
            device,
            agent: Text::from(concat!("confab-client/", env!("CARGO_PKG_VERSION"))),
            token_provider: false,
            posts_max: 4_096,
            posts_bytes_max: 4 << 20,
            posts_in_flight_max: 1_024,
            post_timeout_ms: 600_000,
            requests_max: 1_024,
            request_timeout_ms: 30_000,
            bulk_in_flight_max: 8,
            sync_in_flight_max: 4,
            send_window_bytes: 256 << 10,
            held_events_max: 256,
            held_bytes_max: 4 << 20,
            channels_tracked_max: 1_000,
            new_channel_events_max: 1_000,
            backoff_base_ms: 250,
            backoff_max_ms: 30_000,
            dial_timeout_ms: 10_000,
            liveness_timeout_ms: 20_000,
            stable_after_ms: 10_000,
            persist_interval_ms: None,
        }
    }
}
