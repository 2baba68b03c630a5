//! What settings mean together, and what a server needs to serve.

use std::net::SocketAddr;

use super::load::Loaded;
use super::section::Source;
use super::settings::{Config, KeyTable};
use super::{Error, Problem};
use crate::auth::Algorithm;
use crate::ops::telemetry;

const LISTENERS: [&str; 4] = ["quic", "http", "peer", "ops"];

impl Config {
    fn listener(&mut self, key: &str) -> &mut SocketAddr {
        match key {
            "quic" => &mut self.listen.quic,
            "http" => &mut self.listen.http,
            "peer" => &mut self.listen.peer,
            _ => &mut self.listen.ops,
        }
    }
}

/// With `--dev` what nobody set is bound to loopback; what somebody set must be.
pub(super) fn settle_development(loaded: &mut Loaded, problems: &mut Vec<Problem>) {
    if !loaded.config.server.dev {
        return;
    }
    for key in LISTENERS {
        let source = loaded.source("listen", key);
        let address = loaded.config.listener(key);
        if address.ip().to_canonical().is_loopback() {
            continue;
        }
        if source == Source::Default {
            address.set_ip([127, 0, 0, 1].into());
            loaded.sources.insert(("listen", key), Source::Development);
            continue;
        }
        let local = SocketAddr::from(([127, 0, 0, 1], address.port()));
        let sentence = format!(
            "listen.{key} ({source}) is {address}, but a development server binds to loopback \
             only, as it lets anybody in: use {local}, or leave --dev (server.dev) out"
        );
        problems.push(problem(&format!("listen.{key}"), sentence));
    }
}

/// Everything that can be seen without opening another file.
pub(super) fn check(loaded: &Loaded, problems: &mut Vec<Problem>) {
    let config = &loaded.config;
    check_timers(config, problems);
    check_addresses(config, problems);
    for (place, key) in config.auth.keys.iter().enumerate() {
        check_key(place, key, problems);
    }
    let tls = &config.tls;
    if tls.cert.is_some() != tls.key.is_some() {
        let sentence = "tls.cert and tls.key belong together: set both, or neither";
        problems.push(problem("tls.cert", sentence));
    }
    if let Err(error) = telemetry::check_filter("log.level", &config.log.level) {
        problems.push(problem("log.level", error.to_string()));
    }
    let storage = &config.storage;
    if storage.log_disk_bytes_target < storage.log_file_bytes {
        let sentence = "storage.log_disk_bytes_target must be at least storage.log_file_bytes: \
                        space is given back in whole files";
        problems.push(problem("storage.log_disk_bytes_target", sentence));
    }
}

fn problem(key: &str, sentence: impl Into<String>) -> Problem {
    Problem {
        key: key.into(),
        sentence: sentence.into(),
    }
}

fn check_timers(config: &Config, problems: &mut Vec<Problem>) {
    let (session, raft) = (&config.session, &config.raft);
    if session.offline_after_ms < session.heartbeat_interval_ms.saturating_mul(2) {
        let sentence = format!(
            "session.offline_after_ms is {}, but must be at least twice \
             session.heartbeat_interval_ms ({}): else one lost heartbeat makes a user offline",
            session.offline_after_ms, session.heartbeat_interval_ms
        );
        problems.push(problem("session.offline_after_ms", sentence));
    }
    if session.typing_timeout_ms <= session.typing_interval_ms {
        let sentence = format!(
            "session.typing_timeout_ms is {}, but must be more than session.typing_interval_ms \
             ({}): else typing ends before it can be repeated",
            session.typing_timeout_ms, session.typing_interval_ms
        );
        problems.push(problem("session.typing_timeout_ms", sentence));
    }
    if raft.election_timeout_min_ms < raft.heartbeat_interval_ms.saturating_mul(2) {
        let sentence = format!(
            "raft.election_timeout_min_ms is {}, but must be at least twice \
             raft.heartbeat_interval_ms ({}): else a healthy leader is voted out",
            raft.election_timeout_min_ms, raft.heartbeat_interval_ms
        );
        problems.push(problem("raft.election_timeout_min_ms", sentence));
    }
    if raft.election_timeout_max_ms <= raft.election_timeout_min_ms {
        let sentence = format!(
            "raft.election_timeout_max_ms is {}, but must be more than \
             raft.election_timeout_min_ms ({})",
            raft.election_timeout_max_ms, raft.election_timeout_min_ms
        );
        problems.push(problem("raft.election_timeout_max_ms", sentence));
    }
}

fn check_addresses(config: &Config, problems: &mut Vec<Problem>) {
    let listen = &config.listen;
    let pairs = [
        ("listen.quic", listen.quic, "listen.peer", listen.peer),
        ("listen.http", listen.http, "listen.ops", listen.ops),
    ];
    for (one, address, other, other_address) in pairs {
        let meet = address.ip() == other_address.ip()
            || address.ip().is_unspecified()
            || other_address.ip().is_unspecified();
        if meet && address.port() != 0 && address.port() == other_address.port() {
            let sentence = format!("{one} and {other} are both {address}: give one another port");
            problems.push(problem(one, sentence));
        }
    }
}

fn check_key(place: usize, key: &KeyTable, problems: &mut Vec<Problem>) {
    let secrets = [key.secret.is_some(), key.secret_file.is_some()];
    let secrets = secrets.into_iter().filter(|given| *given).count();
    let (is_whole, needs) = match key.algorithm {
        Algorithm::HS256 => (
            secrets == 1 && key.file.is_none(),
            "secret or secret_file, and nothing else",
        ),
        _ => (
            secrets == 0 && key.file.is_some(),
            "file with the public key, and no secret",
        ),
    };
    if !is_whole {
        let sentence = format!(
            "[[auth.keys]] number {} is for {}, so it needs {needs}",
            place + 1,
            key.algorithm.name()
        );
        problems.push(problem("auth.keys", sentence));
    }
}

impl Loaded {
    /// What a server needs beyond settings that work: a certificate and a key
    /// for tokens. A development server makes its own.
    ///
    /// # Errors
    /// [`Error::Invalid`] says what to set.
    pub fn require_serving(&self) -> Result<(), Error> {
        let config = &self.config;
        let mut problems = Vec::new();
        if config.server.dev {
            return Ok(());
        }
        if config.tls.cert.is_none() || config.tls.key.is_none() {
            let sentence = "no certificate is configured: set tls.cert and tls.key to PEM files \
                            (or start with --dev to try things out)";
            problems.push(problem("tls.cert", sentence));
        }
        let auth = &config.auth;
        let has_key = auth.secret.is_some()
            || auth.secret_file.is_some()
            || auth.jwks_file.is_some()
            || !auth.keys.is_empty();
        if !has_key {
            let sentence = "no key for tokens is configured, so nobody could connect: set \
                            auth.secret_file, auth.jwks_file or an [[auth.keys]] table (or start \
                            with --dev to try things out)";
            problems.push(problem("auth.keys", sentence));
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(problems))
        }
    }
}
