//! Every number that is exported, with its name, unit and help in one place.
//!
//! Labels name kinds of things from closed lists, never a user, a channel, an
//! address or a token: what is exported is bounded, and tells nothing of anybody.

use std::time::Duration;

use confab_protocol::ErrorCode;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use super::process::ProcessFigures;

/// Bounds of latency buckets in seconds: close together around what is promised
/// (p99 under 2 ms), up to what a person would call broken.
const LATENCY_BUCKETS_S: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256,
    0.512, 1.0, 2.5, 5.0, 10.0,
];
/// Bounds of fsync buckets in seconds; a good disk needs about 100 us.
const FSYNC_BUCKETS_S: &[f64] = &[
    0.000_05, 0.000_1, 0.000_2, 0.000_4, 0.000_8, 0.001_6, 0.003_2, 0.006_4, 0.012_8, 0.025_6,
    0.051_2, 0.102_4, 0.5, 1.0, 5.0,
];

/// A door of the broker.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Gateway {
    /// Native clients.
    Quic,
    /// Browsers.
    WebSocket,
    /// The front ends of the system that was replaced.
    SocketIo,
    /// The JSON API.
    Http,
}

impl Gateway {
    const ALL: [Self; 4] = [Self::Quic, Self::WebSocket, Self::SocketIo, Self::Http];

    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::WebSocket => "websocket",
            Self::SocketIo => "socketio",
            Self::Http => "http",
        }
    }
}

/// What a replica is to its group.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RaftRole {
    /// Receives entries but has no vote.
    Learner,
    /// Follows a leader.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads.
    Leader,
}

/// A group's replica on this node, at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RaftFigures {
    /// What the replica is.
    pub role: RaftRole,
    /// The term.
    pub term: u64,
    /// The commit index.
    pub commit: u64,
    /// The applied index.
    pub applied: u64,
    /// Entries that the slowest follower lacks, as the leader knows; 0 elsewhere.
    pub lag: u64,
}

/// The node's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    sends: IntCounter,
    acknowledgements: IntCounter,
    send_to_ack: Histogram,
    deliveries: IntCounter,
    delivery_latency: Histogram,
    sessions: IntGaugeVec,
    connections: IntGaugeVec,
    outbox_bytes: IntGauge,
    behind: IntCounter,
    ephemeral_dropped: IntCounter,
    slow_consumers: IntCounter,
    handshake_retries: IntCounter,
    log_fsync: Histogram,
    log_appended_bytes: IntCounter,
    log_appended_entries: IntCounter,
    flush_lag_seconds: Gauge,
    flush_lag_bytes: IntGauge,
    checkpoints: IntCounter,
    raft: RaftGauges,
    rejections: IntCounterVec,
    auth_failures: IntCounterVec,
    rate_limited: IntCounterVec,
}

#[derive(Clone)]
struct RaftGauges {
    role: IntGaugeVec,
    term: IntGaugeVec,
    commit: IntGaugeVec,
    applied: IntGaugeVec,
    lag: IntGaugeVec,
}

/// Registers what it makes. Names, labels and buckets are constants of this
/// file, so nothing here can fail but by a mistake that every test would meet.
struct Maker<'a>(&'a Registry);

const MADE: &str = "names, labels and buckets in this file are valid and differ";

impl Maker<'_> {
    fn keep<C: Collector + Clone + 'static>(&self, metric: C) -> C {
        self.0.register(Box::new(metric.clone())).expect(MADE);
        metric
    }

    fn counter(&self, name: &str, help: &str) -> IntCounter {
        self.keep(IntCounter::new(name, help).expect(MADE))
    }

    fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.keep(IntCounterVec::new(Opts::new(name, help), &[label]).expect(MADE))
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        self.keep(IntGauge::new(name, help).expect(MADE))
    }

    fn gauges(&self, name: &str, help: &str, label: &str) -> IntGaugeVec {
        self.keep(IntGaugeVec::new(Opts::new(name, help), &[label]).expect(MADE))
    }

    fn fraction(&self, name: &str, help: &str) -> Gauge {
        self.keep(Gauge::new(name, help).expect(MADE))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.keep(Histogram::with_opts(options).expect(MADE))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics in a registry of their own, all at zero.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let maker = Maker(&registry);
        let metrics = Self {
            sends: maker.counter("confab_sends_total", "Messages that clients sent."),
            acknowledgements: maker.counter(
                "confab_acknowledgements_total",
                "Messages acknowledged as durable on a quorum.",
            ),
            send_to_ack: maker.histogram(
                "confab_send_to_ack_seconds",
                "Time from a message's arrival to its acknowledgement.",
                LATENCY_BUCKETS_S,
            ),
            deliveries: maker.counter(
                "confab_deliveries_total",
                "Events handed to sessions' outboxes.",
            ),
            delivery_latency: maker.histogram(
                "confab_delivery_seconds",
                "Time from an event's own timestamp, of whole milliseconds, to its place in the outboxes.",
                LATENCY_BUCKETS_S,
            ),
            sessions: maker.gauges("confab_sessions", "Open sessions.", "gateway"),
            connections: maker.gauges("confab_connections", "Open connections.", "state"),
            outbox_bytes: maker.gauge(
                "confab_outbox_bytes",
                "Bytes waiting in all sessions' outboxes.",
            ),
            behind: maker.counter(
                "confab_behind_total",
                "Times a session was told that it fell behind.",
            ),
            ephemeral_dropped: maker.counter(
                "confab_ephemeral_dropped_total",
                "Typing and presence notices shed under load.",
            ),
            slow_consumers: maker.counter(
                "confab_slow_consumers_total",
                "Connections closed because they took nothing for too long.",
            ),
            handshake_retries: maker.counter(
                "confab_handshake_retries_total",
                "QUIC handshakes that were sent a Retry.",
            ),
            log_fsync: maker.histogram(
                "confab_log_fsync_seconds",
                "Time of one write and fsync of the log.",
                FSYNC_BUCKETS_S,
            ),
            log_appended_bytes: maker.counter(
                "confab_log_appended_bytes_total",
                "Bytes appended to the log.",
            ),
            log_appended_entries: maker.counter(
                "confab_log_appended_entries_total",
                "Entries appended to the log.",
            ),
            flush_lag_seconds: maker.fraction(
                "confab_flush_lag_seconds",
                "Age of the oldest applied change that is not yet in sled.",
            ),
            flush_lag_bytes: maker.gauge(
                "confab_flush_lag_bytes",
                "Bytes of applied changes that are not yet in sled.",
            ),
            checkpoints: maker.counter(
                "confab_checkpoints_total",
                "Checkpoints that were made.",
            ),
            raft: RaftGauges {
                role: maker.gauges(
                    "confab_raft_role",
                    "What this replica is: 0 learner, 1 follower, 2 candidate, 3 leader.",
                    "group",
                ),
                term: maker.gauges("confab_raft_term", "The group's term.", "group"),
                commit: maker.gauges("confab_raft_commit_index", "The commit index.", "group"),
                applied: maker.gauges("confab_raft_applied_index", "The applied index.", "group"),
                lag: maker.gauges(
                    "confab_raft_follower_lag_entries",
                    "Entries that the slowest follower lacks, as the leader knows.",
                    "group",
                ),
            },
            rejections: maker.counters(
                "confab_rejections_total",
                "Requests that were answered with an error, by its code.",
                "reason",
            ),
            auth_failures: maker.counters(
                "confab_auth_failures_total",
                "Tokens that were refused, by what is wrong with them.",
                "reason",
            ),
            rate_limited: maker.counters(
                "confab_rate_limited_total",
                "Requests over a rate limit, by whose limit it is.",
                "scope",
            ),
            registry: registry.clone(),
        };
        // A series that exists from the start can be alerted on.
        for gateway in Gateway::ALL {
            metrics.sessions.with_label_values(&[gateway.name()]);
        }
        let build = maker.gauges(
            "confab_build_info",
            "1; the label is the version.",
            "version",
        );
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        maker
            .0
            .register(Box::new(ProcessFigures::new()))
            .expect(MADE);
        metrics
    }

    /// A message arrived from a client.
    pub fn sent(&self) {
        self.sends.inc();
    }

    /// A message was acknowledged, so long after it arrived.
    pub fn acknowledged(&self, after: Duration) {
        self.acknowledgements.inc();
        self.send_to_ack.observe(after.as_secs_f64());
    }

    /// An event, made at the Unix time `at_ms`, went into `sessions` outboxes.
    pub fn delivered(&self, sessions: u64, at_ms: u64) {
        self.deliveries.inc_by(sessions);
        let now = std::time::SystemTime::now();
        // A clock that was set back makes it 0, which is the best guess.
        let after = std::time::UNIX_EPOCH
            .checked_add(Duration::from_millis(at_ms))
            .and_then(|at| now.duration_since(at).ok());
        self.delivery_latency
            .observe(after.unwrap_or_default().as_secs_f64());
    }

    /// A session was opened.
    pub fn session_opened(&self, gateway: Gateway) {
        self.sessions.with_label_values(&[gateway.name()]).inc();
    }

    /// A session was closed.
    pub fn session_closed(&self, gateway: Gateway) {
        self.sessions.with_label_values(&[gateway.name()]).dec();
    }

    /// How many connections there are now.
    pub fn connections(&self, total: usize, unauthenticated: usize) {
        let set = |state, count| {
            self.connections
                .with_label_values(&[state])
                .set(whole(count))
        };
        set("unauthenticated", unauthenticated as u64);
        set(
            "authenticated",
            total.saturating_sub(unauthenticated) as u64,
        );
    }

    /// The outboxes hold `bytes` more, or less.
    pub fn outbox_bytes_changed(&self, bytes: i64) {
        self.outbox_bytes.add(bytes);
    }

    /// A session was told that it fell behind.
    pub fn fell_behind(&self) {
        self.behind.inc();
    }

    /// Typing or presence notices were shed.
    pub fn ephemeral_dropped(&self, count: u64) {
        self.ephemeral_dropped.inc_by(count);
    }

    /// A connection was closed because it took nothing.
    pub fn slow_consumer_closed(&self) {
        self.slow_consumers.inc();
    }

    /// A QUIC handshake was sent a Retry.
    pub fn handshake_retried(&self) {
        self.handshake_retries.inc();
    }

    /// The log wrote and fsynced a batch.
    pub fn log_written(&self, entries: u64, bytes: u64, took: Duration) {
        self.log_appended_entries.inc_by(entries);
        self.log_appended_bytes.inc_by(bytes);
        self.log_fsync.observe(took.as_secs_f64());
    }

    /// What sled lacks now.
    pub fn flush_lag(&self, bytes: u64, oldest: Option<Duration>) {
        self.flush_lag_bytes.set(whole(bytes));
        let seconds = oldest.map_or(0.0, |age| age.as_secs_f64());
        self.flush_lag_seconds.set(seconds);
    }

    /// A checkpoint was made.
    pub fn checkpoint(&self) {
        self.checkpoints.inc();
    }

    /// How a group stands; `group` is its own name, e.g. `directory` or `shard-3`.
    pub fn raft(&self, group: &str, figures: RaftFigures) {
        let role = match figures.role {
            RaftRole::Learner => 0,
            RaftRole::Follower => 1,
            RaftRole::Candidate => 2,
            RaftRole::Leader => 3,
        };
        let set = |gauges: &IntGaugeVec, value| {
            gauges.with_label_values(&[group]).set(whole(value));
        };
        set(&self.raft.role, role);
        set(&self.raft.term, figures.term);
        set(&self.raft.commit, figures.commit);
        set(&self.raft.applied, figures.applied);
        set(&self.raft.lag, figures.lag);
    }

    /// A request was answered with an error.
    pub fn rejected(&self, code: ErrorCode) {
        self.rejections.with_label_values(&[code.name()]).inc();
    }

    /// A token was refused; `reason` is `auth::TokenError::name`.
    pub fn auth_failed(&self, reason: &'static str) {
        self.auth_failures.with_label_values(&[reason]).inc();
    }

    /// A request was over a limit; `scope` is `limits::Scope::name`.
    pub fn rate_limited(&self, scope: &'static str) {
        self.rate_limited.with_label_values(&[scope]).inc();
    }

    /// Everything in Prometheus' text format.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "some metrics could not be written");
        }
        text
    }

    /// The media type of [`Metrics::to_text`].
    #[must_use]
    pub fn media_type() -> String {
        TextEncoder::new().format_type().to_owned()
    }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
