//! What each service is given: its own `Config`, made of the settings.

use std::time::Duration;

use confab_replication::{GroupConfig, NodeId};
use confab_storage::{DataDir, LogConfig, StateConfig};

use super::settings::{Config, KeyTable};
use crate::auth::{self, Algorithm, KeyConfig, KeyMaterial};
use crate::gateway::http::ops;
use crate::gateway::quic::QuicConfig;
use crate::limits::{ConnectionConfig, Rate, RateConfig};
use crate::ops::telemetry;
use crate::presence;
use crate::router::RouterConfig;
use crate::session::SessionConfig;
use crate::session::outbox::OutboxConfig;

/// A setting as a size in memory. Ranges keep settings far below what fits.
fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn rate(per_second: u64, burst: u64) -> Rate {
    let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Rate::new(number(per_second), number(burst))
}

impl KeyTable {
    fn to_key(&self) -> Option<KeyConfig> {
        let material = match (&self.secret, &self.secret_file, &self.file) {
            (Some(secret), ..) => KeyMaterial::Secret(secret.clone()),
            (_, Some(file), _) => KeyMaterial::SecretFile(file.clone()),
            (.., Some(file)) => KeyMaterial::PublicKeyFile(file.clone()),
            // The check refused such a table.
            _ => return None,
        };
        Some(KeyConfig {
            algorithm: self.algorithm,
            kid: self.kid.clone(),
            material,
        })
    }
}

impl Config {
    /// For [`auth::Verifier`].
    #[must_use]
    pub fn auth(&self) -> auth::Config {
        let settings = &self.auth;
        let shared = |material| KeyConfig {
            algorithm: Algorithm::HS256,
            kid: None,
            material,
        };
        let secret = settings.secret.clone().map(KeyMaterial::Secret);
        let file = settings.secret_file.clone().map(KeyMaterial::SecretFile);
        auth::Config {
            keys: secret
                .into_iter()
                .chain(file)
                .map(shared)
                .chain(settings.keys.iter().filter_map(KeyTable::to_key))
                .collect(),
            jwks_file: settings.jwks_file.clone(),
            audience: settings.audience.clone(),
            issuer: settings.issuer.clone(),
            leeway_s: settings.leeway_s,
            ..auth::Config::default()
        }
    }

    /// For [`crate::limits::RateLimits`].
    #[must_use]
    pub fn rates(&self) -> RateConfig {
        let limits = &self.limits;
        RateConfig {
            user_messages: rate(limits.messages_per_second, limits.messages_burst),
            channel_messages: rate(
                limits.channel_messages_per_second,
                limits.channel_messages_burst,
            ),
            address_logins: rate(limits.logins_per_second, limits.logins_burst),
            connection_requests: rate(limits.requests_per_second, limits.requests_burst),
            buckets_max: size(limits.buckets_max),
        }
    }

    /// For [`crate::limits::Connections`].
    #[must_use]
    pub fn connections(&self) -> ConnectionConfig {
        let limits = &self.limits;
        ConnectionConfig {
            total_max: size(limits.connections_max),
            unauthenticated_max: size(limits.unauthenticated_max),
            per_address_max: size(limits.connections_per_address_max),
            per_user_max: size(limits.connections_per_user_max),
        }
    }

    /// For [`crate::presence::Presence`].
    #[must_use]
    pub fn presence(&self) -> presence::Config {
        let session = &self.session;
        presence::Config {
            offline_after_ms: session.offline_after_ms,
            away_after_ms: session.away_after_ms,
            reconnect_grace_ms: session.reconnect_grace_ms,
            change_interval_ms: session.presence_interval_ms,
            channel_members_max: size(session.presence_members_max),
            typing_timeout_ms: session.typing_timeout_ms,
            typing_interval_ms: session.typing_interval_ms,
            ..presence::Config::default()
        }
    }

    /// For [`ops::Server`].
    #[must_use]
    pub fn ops(&self) -> ops::Config {
        ops::Config {
            address: self.listen.ops,
            ..ops::Config::default()
        }
    }

    /// For [`telemetry::init`].
    #[must_use]
    pub fn telemetry(&self) -> telemetry::LogConfig {
        telemetry::LogConfig {
            filter: self.log.level.clone(),
            format: self.log.format,
        }
    }

    /// For [`crate::session::Services`].
    #[must_use]
    pub fn session(&self) -> SessionConfig {
        let (session, limits) = (&self.session, &self.limits);
        SessionConfig {
            outbox: OutboxConfig {
                bytes_max: size(session.outbox_bytes_max),
                ..OutboxConfig::default()
            },
            messages: rate(limits.messages_per_second, limits.messages_burst),
            posts_in_flight_max: size(limits.posts_in_flight_max),
            requests_in_flight_max: size(limits.requests_in_flight_max),
            token_warning: Duration::from_millis(session.token_warning_ms),
            silence_timeout: Duration::from_millis(session.offline_after_ms),
            drain_timeout: Duration::from_millis(self.server.drain_timeout_ms),
            reconnect_spread: Duration::from_millis(session.reconnect_spread_ms),
            heartbeat_interval: Duration::from_millis(session.heartbeat_interval_ms),
            typing_interval: Duration::from_millis(session.typing_interval_ms),
            typing_timeout: Duration::from_millis(session.typing_timeout_ms),
        }
    }

    /// For [`crate::gateway::quic::QuicGateway`]; `None` when no certificate is
    /// configured.
    #[must_use]
    pub fn quic(&self) -> Option<QuicConfig> {
        let certificate = self.tls.cert.clone()?;
        let key = self.tls.key.clone()?;
        let reset_key = self.server.data_dir.join("quic-reset-key");
        let timers = &self.session;
        Some(QuicConfig {
            retry_above: size(self.limits.handshakes_before_retry),
            hello_timeout: Duration::from_millis(timers.hello_timeout_ms),
            idle_timeout: Duration::from_millis(self.quic.idle_timeout_ms),
            stall_timeout: Duration::from_millis(timers.slow_consumer_timeout_ms),
            bulk_timeout: Duration::from_millis(self.quic.bulk_timeout_ms),
            socket_buffer_bytes: size(self.quic.socket_buffer_bytes),
            drain_timeout: Duration::from_millis(self.server.drain_timeout_ms),
            ..QuicConfig::new(self.listen.quic, certificate, key, reset_key)
        })
    }

    /// For [`crate::router::Router`].
    #[must_use]
    pub fn router(&self) -> RouterConfig {
        let window_ms = self.session.edit_window_ms;
        RouterConfig {
            edit_window_ms: (window_ms > 0).then_some(window_ms),
        }
    }

    /// For each Raft group.
    #[must_use]
    pub fn group(&self) -> GroupConfig {
        let raft = &self.raft;
        GroupConfig {
            heartbeat_interval_ms: raft.heartbeat_interval_ms,
            election_timeout_min_ms: raft.election_timeout_min_ms,
            election_timeout_max_ms: raft.election_timeout_max_ms,
            batch_commands_max: size(raft.batch_commands_max),
            batch_bytes_max: size(raft.batch_bytes_max),
            batches_in_flight_max: size(raft.batches_in_flight_max),
            proposals_queued_max: size(raft.proposals_queued_max),
            proposal_timeout_ms: raft.proposal_timeout_ms,
            checkpoint_entries_max: raft.checkpoint_entries_max,
            checkpoint_bytes_min: raft.checkpoint_bytes_min,
            entries_kept_max: raft.entries_kept_max,
            ..GroupConfig::new(NodeId(raft.node_id))
        }
    }

    /// For [`confab_storage::Log`]; its hooks are the caller's.
    #[must_use]
    pub fn log_storage(&self, data_dir: DataDir) -> LogConfig {
        let storage = &self.storage;
        LogConfig {
            queue_bytes_max: size(storage.log_queue_bytes_max),
            cache_bytes_max: size(storage.log_cache_bytes_max),
            file_bytes: storage.log_file_bytes,
            disk_bytes_target: storage.log_disk_bytes_target,
            ..LogConfig::new(data_dir)
        }
    }

    /// For [`confab_storage::StateStore`]; its hook is the caller's.
    #[must_use]
    pub fn state_storage(&self, data_dir: DataDir) -> StateConfig {
        let storage = &self.storage;
        StateConfig {
            overlay_bytes_max: size(storage.overlay_bytes_max),
            window_age: Duration::from_millis(storage.window_age_ms),
            sled_cache_bytes: storage.sled_cache_bytes,
            checkpoint_bytes_per_second: storage.checkpoint_bytes_per_second,
            ..StateConfig::new(data_dir)
        }
    }
}
