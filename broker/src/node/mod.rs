//! Wires all services together and runs them until shutdown.
//!
//! The only file that knows every service. Opening goes from the disk outwards
//! (storage, groups, router, sessions, gateways), so that a client is served
//! only by a node that has recovered; closing goes the other way.

mod replicas;

use std::sync::Arc;
use std::time::Duration;

use confab_replication::{InitializeError, StartError, StopReason};
use confab_storage::{DataDir, DataDirError, LogOpenError, StateOpenError, StorageFailure};
use tokio_util::sync::CancellationToken;

use crate::auth::{self, Verifier};
use crate::config::Config;
use crate::config::development::Addresses;
use crate::fanout::Fanout;
use crate::gateway::http::ops;
use crate::gateway::quic::{self, QuicGateway};
use crate::limits::{Clock, Connections, RateLimits};
use crate::ops::{Health, Metrics};
use crate::presence::Presence;
use crate::router::now_ms;
use crate::session::Services;
use crate::session::outbox::OutboxMeter;
use crate::session::registry::Registry;
use replicas::{Replicas, Storage};

/// How often gauges are read off groups and storage.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Why a node did not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogOpenError),
    /// The applied state cannot be opened or rebuilt.
    #[error(transparent)]
    State(#[from] StateOpenError),
    /// A group did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A group did not get its first member.
    #[error(transparent)]
    Initialize(#[from] InitializeError),
    /// The directory could not be begun.
    #[error("the directory could not be begun: {0}")]
    Directory(#[from] confab_protocol::WireError),
    /// A key that tokens are judged by cannot be used.
    #[error(transparent)]
    Keys(#[from] auth::KeyError),
    /// No certificate is configured.
    #[error("no certificate is configured: set tls.cert and tls.key, or start with --dev")]
    NoCertificate,
    /// Native clients cannot be served.
    #[error(transparent)]
    Quic(#[from] quic::Error),
    /// The ops port cannot be served.
    #[error(transparent)]
    Ops(#[from] ops::Error),
    /// Storage failed while the node ran; nothing acknowledged is lost.
    #[error("{0}; free space or replace the disk, then start again: nothing acknowledged is lost")]
    StorageFailed(StorageFailure),
    /// A group stopped by itself while the node ran.
    #[error("a replication group has stopped ({0:?}); the log above says why")]
    GroupStopped(StopReason),
    /// A task of recovery panicked.
    #[error("recovery panicked; the log above says where")]
    RecoveryPanicked,
}

/// Runs a node until `shutdown`, then drains it. `ready` is called once, when
/// clients can connect.
///
/// # Errors
/// Why it did not start, or had to end before it was told to.
pub async fn run(
    config: Config,
    ready: impl FnOnce(Addresses),
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    let path = config.server.data_dir.clone();
    let data_dir = tokio::task::spawn_blocking(|| DataDir::open(path))
        .await
        .map_err(|_| NodeError::RecoveryPanicked)??;
    run_in(data_dir, config, ready, shutdown).await
}

/// As [`run`], in a data directory that is open already, whatever the
/// configuration says: one whose fsyncs are observed, for instance.
///
/// # Errors
/// As [`run`].
pub async fn run_in(
    data_dir: DataDir,
    mut config: Config,
    ready: impl FnOnce(Addresses),
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    config.server.data_dir = data_dir.path().to_path_buf();
    let metrics = Metrics::new();
    let health = Health::new();
    let recovered = health.component("recovery");
    let storing = health.component("storage");
    let gateway_health = health.component("gateway");
    recovered.not_ready("the node reads its logs");
    gateway_health.not_ready("the node does not listen yet");
    // Before recovery, so that an orchestrator can watch a long one.
    let services_end = CancellationToken::new();
    let ops = ops::Server::bind(&config.ops(), health, metrics.clone()).await?;
    let ops_address = ops.local_addr();
    let ops = tokio::spawn(ops.run(services_end.clone()));

    let verifier = Verifier::new(config.auth())?;
    let storage = open_storage(data_dir, &config, &metrics).await?;
    let lookup = storage.lookup();
    let registry = Registry::default();
    let fanout = Fanout::new(lookup.clone(), metrics.clone());
    let presence = Presence::new(config.presence(), Arc::new(lookup.clone()), None, now_ms());
    let replicas = Replicas::start(storage, &config, lookup, &fanout, &registry, &presence).await?;
    recovered.ready();
    storing.ready();

    let rates = RateLimits::new(&config.rates(), Clock::monotonic());
    let services = Arc::new(Services {
        config: config.session(),
        tokens: verifier.clone(),
        rates: rates.clone(),
        connections: Connections::new(config.connections()),
        router: replicas.router.clone(),
        fanout,
        presence: presence.clone(),
        registry,
        outboxes: OutboxMeter::new(metrics.clone()),
        metrics: metrics.clone(),
    });
    let gateway_end = CancellationToken::new();
    let gateway = QuicGateway::bind(
        config.quic().ok_or(NodeError::NoCertificate)?,
        Arc::clone(&services),
        gateway_end.clone(),
    )?;
    let addresses = Addresses {
        quic: gateway.handle().address(),
        http: None,
        ops: Some(ops_address),
    };
    let mut gateway = tokio::spawn(gateway.run());
    let background = [
        tokio::spawn(verifier.run(services_end.clone())),
        tokio::spawn(rates.run(services_end.clone())),
        tokio::spawn(presence.run(services_end.clone())),
    ];
    gateway_health.ready();
    tracing::info!(quic = %addresses.quic, ops = %ops_address, "ready");
    ready(addresses);

    let ended = watch_over(&replicas, &services, &metrics, &shutdown).await;
    match &ended {
        Ok(()) => tracing::info!("draining: clients are told to connect again"),
        Err(error) => tracing::error!(%error, "the node ends"),
    }
    gateway_health.not_ready("the node drains");
    if ended.is_err() {
        storing.not_ready("storage or replication has failed");
    }
    gateway_end.cancel();
    if let Err(error) = (&mut gateway).await {
        tracing::error!(%error, "the gateway panicked");
    }
    services_end.cancel();
    for task in background {
        // They end at the token; a panic there was logged where it happened.
        let _ = task.await;
    }
    drop(services);
    replicas.shutdown().await;
    let _ = ops.await;
    tracing::info!("stopped");
    ended
}

async fn open_storage(
    data_dir: DataDir,
    config: &Config,
    metrics: &Metrics,
) -> Result<Storage, NodeError> {
    let (config, metrics) = (config.clone(), metrics.clone());
    tokio::task::spawn_blocking(move || Storage::open(data_dir, &config, &metrics))
        .await
        .map_err(|_| NodeError::RecoveryPanicked)?
}

/// Keeps the gauges fresh until the node is told to end, or has to.
async fn watch_over(
    replicas: &Replicas,
    services: &Services,
    metrics: &Metrics,
    shutdown: &CancellationToken,
) -> Result<(), NodeError> {
    let failed = replicas.failed();
    tokio::pin!(failed);
    let mut sample = tokio::time::interval(SAMPLE_INTERVAL);
    let mut checkpoints = Vec::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            error = &mut failed => return Err(error),
            _ = sample.tick() => {
                replicas.sample(metrics, &mut checkpoints);
                let counts = services.connections.counts();
                metrics.connections(counts.total, counts.unauthenticated);
            }
        }
    }
}
