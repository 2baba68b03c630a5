//! For tests: everything that sessions work with, over a real node of its own.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use confab_protocol::message::session::{Hello, UserKind};
use confab_protocol::{DeviceId, Packed, UserId};
use confab_replication::{Group, GroupConfig, GroupId, NoPeers, NodeId};
use confab_storage::{DataDir, Log, LogConfig, StateConfig, StateStore};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::outbox::OutboxMeter;
use super::registry::Registry;
use super::{Services, SessionConfig, now_ms};
use crate::auth::{self, Algorithm, ClaimsSpec, KeyConfig, KeyMaterial, Secret, Verifier};
use crate::fanout::Fanout;
use crate::limits::{Clock, ConnectionConfig, Connections, Rate, RateConfig, RateLimits};
use crate::ops::Metrics;
use crate::presence::{self, Presence};
use crate::router::{DirectoryAdmission, Router, RouterConfig, ShardAdmission};
use crate::state::{DirectoryMachine, GroupView, Lookup, ShardMachine};

const SECRET: &str = "a secret for tests only, long enough to be one";

/// A node without gateways.
pub(crate) struct Fixture {
    pub(crate) services: Arc<Services>,
    pub(crate) dir: TempDir,
    store: StateStore,
    directory: Group<DirectoryAdmission>,
    shards: Vec<Group<ShardAdmission>>,
    shutdown: CancellationToken,
}

/// What a test wants otherwise.
pub(crate) struct Wanted {
    pub(crate) session: SessionConfig,
    pub(crate) connections: ConnectionConfig,
    pub(crate) rates: RateConfig,
    pub(crate) leeway_s: u64,
}

impl Default for Wanted {
    fn default() -> Self {
        let plenty = Rate::new(1_000_000, 1_000_000);
        Self {
            session: SessionConfig::default(),
            connections: ConnectionConfig::default(),
            rates: RateConfig {
                user_messages: plenty,
                channel_messages: plenty,
                address_logins: plenty,
                connection_requests: plenty,
                ..RateConfig::default()
            },
            leeway_s: 0,
        }
    }
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::with(Wanted::default()).await
    }

    pub(crate) async fn with(wanted: Wanted) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(dir.path()).unwrap();
        let log = Log::open(LogConfig::new(data_dir.clone())).unwrap();
        let (store, _) = StateStore::open(StateConfig::new(data_dir), &log).unwrap();
        let metrics = Metrics::new();
        let registry = Registry::default();
        let node = NodeId(1);
        let group_id = |index| GroupId::new(0, index);
        let states: Vec<_> = (0..3).map(|i| store.group(group_id(i)).unwrap()).collect();
        let views: Vec<_> = states.iter().cloned().map(GroupView::new).collect();
        let lookup = Lookup::new(views[0].clone(), views[1..].to_vec());
        let fanout = Fanout::new(lookup.clone(), metrics.clone());
        let presence = Presence::new(
            presence::Config::default(),
            Arc::new(lookup.clone()),
            None,
            now_ms(),
        );
        let machine = DirectoryMachine::new(states[0].clone(), registry.clone(), presence.clone());
        let machine = Arc::new(machine);
        let directory = Group::start(
            GroupConfig::new(node),
            group_id(0),
            log.clone(),
            Arc::clone(&machine) as _,
            DirectoryAdmission::new(views[0].clone()),
            NoPeers,
        )
        .await
        .unwrap();
        directory.initialize([node]).await.unwrap();
        let mut shards = Vec::new();
        for (index, state) in (1..).zip(&states[1..]) {
            let machine = ShardMachine::new(state.clone(), fanout.clone());
            let group = Group::start(
                GroupConfig::new(node),
                group_id(index),
                log.clone(),
                Arc::new(machine),
                ShardAdmission::new(views[0].clone()),
                NoPeers,
            )
            .await
            .unwrap();
            group.initialize([node]).await.unwrap();
            shards.push(group);
        }
        let router = Router::new(
            RouterConfig::default(),
            lookup,
            directory.clone(),
            &machine.applied(),
            shards.clone(),
        );
        router.initialize().await.unwrap();
        let shutdown = CancellationToken::new();
        tokio::spawn(presence.clone().run(shutdown.clone()));
        let services = Services {
            config: wanted.session,
            tokens: verifier(wanted.leeway_s),
            rates: RateLimits::new(&wanted.rates, Clock::monotonic()),
            connections: Connections::new(wanted.connections),
            router,
            fanout,
            presence,
            registry,
            outboxes: OutboxMeter::new(metrics.clone()),
            metrics,
        };
        Self {
            services: Arc::new(services),
            dir,
            store,
            directory,
            shards,
            shutdown,
        }
    }

    /// Ends in order.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.directory.shutdown().await;
        for shard in self.shards {
            shard.shutdown().await;
        }
        drop(self.services);
        self.store.shutdown().unwrap();
    }
}

fn verifier(leeway_s: u64) -> Verifier {
    Verifier::new(auth::Config {
        keys: vec![KeyConfig {
            algorithm: Algorithm::HS256,
            kid: None,
            material: KeyMaterial::Secret(Secret::new(SECRET)),
        }],
        leeway_s,
        ..auth::Config::default()
    })
    .unwrap()
}

/// A token for `user` that lives for `ttl_s`.
pub(crate) fn token(user: &str, ttl_s: u64) -> String {
    let spec = ClaimsSpec {
        ttl_s,
        kind: Some(UserKind::Internal),
        token_id: Some(format!("{user}-{ttl_s}")),
        ..ClaimsSpec::new(UserId::new(user).unwrap())
    };
    auth::issue(&Secret::new(SECRET), &spec, now_ms() / 1_000)
}

/// A `Hello` of `user`.
pub(crate) fn hello(user: &str) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        token: token(user, 3_600).into(),
        device: DeviceId::new("d1").unwrap(),
        agent: "test/1".into(),
        positions: Packed::default(),
        channels_max: 100,
    }
}
