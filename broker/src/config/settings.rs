//! Every setting: what it is, in what unit, by default what, and at what cost.
//!
//! The name's end says the unit: `_ms`, `_s`, `_bytes`, `_per_second`. The doc
//! comments are shown to operators.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::auth::{Algorithm, Secret};
use crate::ops::telemetry::LogFormat;

use super::section::{Section, section};

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs)] // each section says what it is
pub struct Config {
    pub server: ServerConfig,
    pub listen: ListenConfig,
    pub tls: TlsConfig,
    pub auth: AuthConfig,
    pub limits: LimitsConfig,
    pub session: SessionSettings,
    pub quic: QuicSettings,
    pub storage: StorageConfig,
    pub raft: RaftConfig,
    pub log: LogSettings,
}

impl Config {
    pub(super) fn sections(&self) -> [&dyn Section; 10] {
        [
            &self.server,
            &self.listen,
            &self.tls,
            &self.auth,
            &self.limits,
            &self.session,
            &self.quic,
            &self.storage,
            &self.raft,
            &self.log,
        ]
    }

    pub(super) fn section_mut(&mut self, name: &str) -> Option<&mut dyn Section> {
        let section: &mut dyn Section = match name {
            "server" => &mut self.server,
            "listen" => &mut self.listen,
            "tls" => &mut self.tls,
            "auth" => &mut self.auth,
            "limits" => &mut self.limits,
            "session" => &mut self.session,
            "quic" => &mut self.quic,
            "storage" => &mut self.storage,
            "raft" => &mut self.raft,
            "log" => &mut self.log,
            _ => return None,
        };
        Some(section)
    }
}

fn address(ip: [u8; 4], port: u16) -> SocketAddr {
    SocketAddr::from((ip, port))
}

section! {
    /// The server as a whole.
    ServerConfig in "server" {
        /// Where everything is kept. Created when it is not there; one server at
        /// a time may use it. Default "confab-data", in the current directory.
        data_dir: PathBuf = "confab-data".into();
        /// Development: binds to loopback only and makes a certificate and a
        /// secret of its own in the data directory. Default false.
        dev: bool = false;
        /// Threads that serve clients; 0 takes one for each core. Default 0.
        worker_threads: u64 = 0, from 0 to 1_024;
        /// Time for sessions to finish when the server is told to stop, in
        /// milliseconds. Default 10,000; longer makes restarts slower.
        drain_timeout_ms: u64 = 10_000, from 0 to 600_000;
    }
}

section! {
    /// Where the server listens. Port 0 takes any free port.
    ListenConfig in "listen" {
        /// UDP address for native clients (QUIC). Default "0.0.0.0:4433", with
        /// --dev on loopback. `[::]:4433` takes IPv4 as well.
        quic: SocketAddr = address([0, 0, 0, 0], 4433);
        /// TCP address for browsers and the HTTP API. Default "0.0.0.0:8080", with
        /// --dev on loopback. This version does not serve it yet.
        http: SocketAddr = address([0, 0, 0, 0], 8080);
        /// UDP address for the other nodes of the cluster. Default "0.0.0.0:4434",
        /// with --dev on loopback. This version does not serve it yet.
        peer: SocketAddr = address([0, 0, 0, 0], 4434);
        /// TCP address for metrics and health. It asks nobody who they are:
        /// keep it where only operators can reach it. Default "127.0.0.1:9464".
        ops: SocketAddr = address([127, 0, 0, 1], 9464);
    }
}

section! {
    /// The certificate that clients see. Needed, but with --dev.
    TlsConfig in "tls" {
        /// PEM file with the certificate chain, the server's own first. Default
        /// none.
        cert: Option<PathBuf> = None;
        /// PEM file with the private key. Default none.
        key: Option<PathBuf> = None;
    }
}

section! {
    /// Whose tokens are believed. At least one key is needed, but with --dev. A
    /// JWKS at a URL is not supported yet: fetch it into a file, which is read
    /// again when it changes.
    AuthConfig in "auth" {
        /// An HS256 secret of at least 32 bytes. Default none. It shows in process
        /// listings and backups of this file: better use secret_file.
        secret: Option<Secret> = None;
        /// A file with an HS256 secret of at least 32 bytes; white space at its end
        /// does not count. Default none.
        secret_file: Option<PathBuf> = None;
        /// A file with a JSON Web Key Set of RS256, ES256 and EdDSA keys. Default
        /// none. Looked at every 10 seconds.
        jwks_file: Option<PathBuf> = None;
        /// Further keys, as [[auth.keys]] tables: algorithm = "HS256" with secret or
        /// secret_file, "RS256", "ES256" or "EdDSA" with file (a public key in PEM);
        /// kid, if tokens name their key. At most 32 keys in all. Default none.
        keys: Vec<KeyTable> = Vec::new();
        /// When set, a token's aud must hold one of these. Default none: aud is not
        /// looked at.
        audience: Vec<String> = Vec::new();
        /// When set, a token's iss must be one of these. Default none: iss is not
        /// looked at.
        issuer: Vec<String> = Vec::new();
        /// Seconds by which the clocks of issuer and server may differ. Default 5;
        /// an expired token lives as much longer.
        leeway_s: u64 = 5, from 0 to 300;
    }
}

/// One of `[[auth.keys]]`.
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyTable {
    /// How it signs.
    pub algorithm: Algorithm,
    /// The name by which tokens pick it.
    pub kid: Option<String>,
    /// The secret itself, for HS256.
    pub secret: Option<Secret>,
    /// A file with the secret, for HS256.
    pub secret_file: Option<PathBuf>,
    /// A PEM file with the public key, for the others.
    pub file: Option<PathBuf>,
}

section! {
    /// How much may arrive, how fast. Over a limit the answer says when to retry.
    LimitsConfig in "limits" {
        /// Messages a second of one user, edits, deletes, reactions, pins and new
        /// groups counted with them. Default 10.
        messages_per_second: u64 = 10, from 1 to 1_000_000;
        /// Messages of one user that may come at once. Default 20.
        messages_burst: u64 = 20, from 1 to 1_000_000;
        /// Messages a second into one channel. Default 50; each is delivered to
        /// every member.
        channel_messages_per_second: u64 = 50, from 1 to 1_000_000;
        /// Messages into one channel that may come at once. Default 100.
        channel_messages_burst: u64 = 100, from 1 to 1_000_000;
        /// Logins a second from one address (IPv6: one /64). Default 5; each costs
        /// about half a millisecond of CPU.
        logins_per_second: u64 = 5, from 1 to 1_000_000;
        /// Logins from one address that may come at once. Default 20. Raise both
        /// for many users behind one address.
        logins_burst: u64 = 20, from 1 to 1_000_000;
        /// Requests of any kind a second on one connection. Default 100.
        requests_per_second: u64 = 100, from 1 to 1_000_000;
        /// Requests on one connection that may come at once. Default 200.
        requests_burst: u64 = 200, from 1 to 1_000_000;
        /// Users, channels and addresses whose rates are kept apart, about 100 bytes
        /// each. Default 100,000; beyond it newcomers share one rate.
        buckets_max: u64 = 100_000, from 1_000 to 100_000_000;
        /// Connections in all. Default 20,000, about 35 kB each when idle.
        connections_max: u64 = 20_000, from 1 to 10_000_000;
        /// Connections from one address (IPv6: one /64). Default 2,000.
        connections_per_address_max: u64 = 2_000, from 1 to 10_000_000;
        /// Sessions of one user. Default 50.
        connections_per_user_max: u64 = 50, from 1 to 10_000_000;
        /// Connections that have not shown a token yet. Default 1,024. One address may
        /// have an eighth of them, and 64 in any case.
        unauthenticated_max: u64 = 1_024, from 1 to 10_000_000;
        /// Unfinished handshakes above which newcomers must first show that their
        /// address is theirs, at the cost of a round trip. Default 128.
        handshakes_before_retry: u64 = 128, from 0 to 1_000_000;
        /// Posts of one session that wait for their acknowledgement before it is
        /// read no further. Default 1,024, about 300 KiB.
        posts_in_flight_max: u64 = 1_024, from 1 to 65_536;
        /// Other requests of one session that are worked on at once. Default 16;
        /// each may hold a page of 512 KiB.
        requests_in_flight_max: u64 = 16, from 1 to 1_024;
    }
}

section! {
    /// Timers and sizes of sessions, presence and typing.
    SessionSettings in "session" {
        /// Time for a new connection to show its token, in milliseconds. Default
        /// 5,000.
        hello_timeout_ms: u64 = 5_000, from 100 to 60_000;
        /// How often clients show that they live, in milliseconds. Default 25,000.
        heartbeat_interval_ms: u64 = 25_000, from 1_000 to 3_600_000;
        /// Silence after which a user is offline, in milliseconds. Default 60,000.
        offline_after_ms: u64 = 60_000, from 2_000 to 3_600_000;
        /// Inactivity after which a user is away, in milliseconds. Default 300,000.
        away_after_ms: u64 = 300_000, from 1_000 to 86_400_000;
        /// How long a user whose connection ended still counts as there, so that
        /// connecting again at once is not seen, in milliseconds. Default 5,000.
        reconnect_grace_ms: u64 = 5_000, from 0 to 60_000;
        /// Time between two changes of one user's presence that are told, in
        /// milliseconds. Default 1,000.
        presence_interval_ms: u64 = 1_000, from 100 to 60_000;
        /// Members up to which a channel tells presence and typing. Default 500; the
        /// cost of a change grows with it.
        presence_members_max: u64 = 500, from 2 to 10_000;
        /// Time between two repeats of typing that are passed on, in milliseconds.
        /// Default 2,000.
        typing_interval_ms: u64 = 2_000, from 100 to 60_000;
        /// Time after which typing ends by itself, in milliseconds. Default 3,000.
        typing_timeout_ms: u64 = 3_000, from 200 to 120_000;
        /// Bytes that may wait for one session before it falls behind and catches up
        /// from the log. Default 1,048,576 (1 MiB): what a stuck reader can cost.
        outbox_bytes_max: u64 = 1 << 20, from 65_536 to 1 << 30;
        /// Time for which a client may take nothing before it is closed, in
        /// milliseconds. Default 10,000.
        slow_consumer_timeout_ms: u64 = 10_000, from 1_000 to 600_000;
        /// How long before its token expires a client is told, in milliseconds.
        /// Default 30,000.
        token_warning_ms: u64 = 30_000, from 0 to 3_600_000;
        /// Over what time clients are spread when they are told to connect again, in
        /// milliseconds. Default 5,000.
        reconnect_spread_ms: u64 = 5_000, from 0 to 600_000;
        /// Time in which a message may be edited, in milliseconds; 0 sets no limit.
        /// Default 0.
        edit_window_ms: u64 = 0, from 0 to 3_153_600_000_000;
    }
}

section! {
    /// The QUIC gateway.
    QuicSettings in "quic" {
        /// Silence after which a connection is gone, in milliseconds. Default 60,000;
        /// clients keep theirs alive every 20 seconds.
        idle_timeout_ms: u64 = 60_000, from 5_000 to 600_000;
        /// Time for a stream of its own to bring its request, in milliseconds.
        /// Default 30,000.
        bulk_timeout_ms: u64 = 30_000, from 1_000 to 600_000;
        /// Bytes asked of the kernel for each buffer of the socket. Default 8,388,608
        /// (8 MiB); the kernel may give less (net.core.rmem_max, wmem_max).
        socket_buffer_bytes: u64 = 8 << 20, from 65_536 to 1 << 30;
    }
}

section! {
    /// The log and the applied state on disk.
    StorageConfig in "storage" {
        /// Bytes of applied changes that may wait to be flushed before new ones wait,
        /// over all groups. Default 536,870,912 (512 MiB); costs that much memory
        /// when the disk lags.
        overlay_bytes_max: u64 = 512 << 20, from 16_777_216 to 1 << 40;
        /// Bytes of the state's page cache. Default 134,217,728 (128 MiB); memory use
        /// comes near it.
        sled_cache_bytes: u64 = 128 << 20, from 1_048_576 to 1 << 40;
        /// Age at which applied changes are flushed, in milliseconds. Default 200;
        /// longer means more to replay after a crash.
        window_age_ms: u64 = 200, from 1 to 60_000;
        /// Bytes that may wait for the log's writer before senders wait. Default
        /// 67,108,864 (64 MiB).
        log_queue_bytes_max: u64 = 64 << 20, from 1_048_576 to 1 << 40;
        /// Bytes of written log entries kept in memory for readers. Default 67,108,864
        /// (64 MiB); older ones are read from disk.
        log_cache_bytes_max: u64 = 64 << 20, from 1_048_576 to 1 << 40;
        /// Bytes at which a new log file is begun. Default 67,108,864 (64 MiB).
        log_file_bytes: u64 = 64 << 20, from 1_048_576 to 1 << 34;
        /// Bytes of log files below which nothing is cleaned up. Default 268,435,456
        /// (256 MiB).
        log_disk_bytes_target: u64 = 256 << 20, from 1_048_576 to 1 << 44;
        /// Bytes a second at which checkpoints are written. Default 67,108,864
        /// (64 MiB); faster ones disturb the log's writes more.
        checkpoint_bytes_per_second: u64 = 64 << 20, from 1_048_576 to 1 << 40;
    }
}

section! {
    /// Consensus. The nodes of a cluster should agree on its timeouts.
    RaftConfig in "raft" {
        /// This node's number. Default 1. Never give the number of a node that lost
        /// its disk to another one.
        node_id: u64 = 1, from 1 to 9_007_199_254_740_991;
        /// Shards over which channels are spread. Default 4. Counts only when the
        /// data directory is first used: more spread over more cores and nodes, fewer
        /// share an fsync better.
        shards: u64 = 4, from 1 to 256;
        /// Milliseconds between a leader's signs of life. Default 100; half of it
        /// finds a dead leader sooner and doubles the idle cost of every group.
        heartbeat_interval_ms: u64 = 100, from 10 to 10_000;
        /// Shortest silence after which a follower stands for election, in
        /// milliseconds. Default 500; too short and a busy node loses its leadership.
        election_timeout_min_ms: u64 = 500, from 20 to 60_000;
        /// Longest such silence, in milliseconds. Default 1,000.
        election_timeout_max_ms: u64 = 1_000, from 30 to 120_000;
        /// Commands in one log entry. Default 512; more raise throughput and latency.
        batch_commands_max: u64 = 512, from 1 to 65_536;
        /// Bytes of commands after which an entry is closed. Default 262,144 (256 KiB).
        batch_bytes_max: u64 = 256 << 10, from 1_024 to 16 << 20;
        /// Entries of one group that wait for their quorum at once. Default 2.
        batches_in_flight_max: u64 = 2, from 1 to 64;
        /// Proposals of one group that may wait; further ones are answered with
        /// `overloaded`. Default 4,096.
        proposals_queued_max: u64 = 4_096, from 1 to 1_000_000;
        /// Time after which a proposal without an outcome is answered, in
        /// milliseconds. Default 10,000.
        proposal_timeout_ms: u64 = 10_000, from 100 to 600_000;
        /// Log entries of a group after which a checkpoint is made. Default 50,000;
        /// more make a restart replay more.
        checkpoint_entries_max: u64 = 50_000, from 100 to 100_000_000;
        /// Bytes of a group's log after which a checkpoint is made. Default 67,108,864
        /// (64 MiB).
        checkpoint_bytes_min: u64 = 64 << 20, from 65_536 to 1 << 40;
        /// Entries below the newest checkpoint that are kept for followers that lag.
        /// Default 2,000.
        entries_kept_max: u64 = 2_000, from 0 to 100_000_000;
    }
}

section! {
    /// What the server logs, on standard error.
    LogSettings in "log" {
        /// error, warn, info, debug or trace, or a filter such as
        /// "info,confab_broker::session=debug". Default "info,openraft=warn". The environment's
        /// CONFAB_LOG and RUST_LOG go over it.
        level: String = "info,openraft=warn".into();
        /// "text" for people or "json" for collectors. Default "text".
        format: LogFormat = LogFormat::Text;
    }
}
