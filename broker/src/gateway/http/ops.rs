//! The ops port: `/livez`, `/readyz` and `/metrics`, for orchestrators and
//! Prometheus.
//!
//! It has no authentication and therefore listens on loopback by default. Bound
//! as everything else: connections, the size of a request's head, the time of a
//! request and of a connection; bodies are never read.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ops::{Health, Metrics, Readiness};

/// Bytes that a request's head may have.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Time in which a request's head must have arrived, also between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for which one connection is served.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
/// Time to finish what is being answered at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after the system refused a connection, e.g. for want of files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where the ops port is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Default 127.0.0.1:9464.
    pub address: SocketAddr,
    /// Connections served at once; more wait. Default 64; one costs up to 16 KiB.
    pub connections_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 9464)),
            connections_max: 64,
        }
    }
}

/// The port cannot be served.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {address} for metrics and health: {source}; set listen.ops to another address"
)]
pub struct Error {
    /// Where.
    pub address: SocketAddr,
    /// What the system said.
    pub source: std::io::Error,
}

/// The ops port, listening but not yet answering.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    router: Router,
    connections: Arc<Semaphore>,
}

#[derive(Clone)]
struct Shown {
    health: Health,
    metrics: Metrics,
}

impl Server {
    /// Listens.
    ///
    /// # Errors
    /// [`Error`] when the address is taken or not ours.
    pub async fn bind(config: &Config, health: Health, metrics: Metrics) -> Result<Self, Error> {
        let failed = |source| Error {
            address: config.address,
            source,
        };
        let listener = TcpListener::bind(config.address).await.map_err(failed)?;
        Ok(Self {
            address: listener.local_addr().map_err(failed)?,
            listener,
            router: router(Shown { health, metrics }),
            connections: Arc::new(Semaphore::new(config.connections_max.max(1))),
        })
    }

    /// Where it listens, with the port that the system chose for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown`, then for up to two seconds what is in the works.
    pub async fn run(self, shutdown: CancellationToken) {
        let served = TaskTracker::new();
        while let Some((stream, permit)) = self.accept(&shutdown).await {
            let router = self.router.clone();
            let shutdown = shutdown.clone();
            served.spawn(async move {
                serve(stream, router, shutdown).await;
                drop(permit);
            });
        }
        served.close();
        // What is not done by then is cut off with the process.
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, served.wait()).await;
    }

    /// The next connection, with its permit; `None` at shutdown.
    async fn accept(
        &self,
        shutdown: &CancellationToken,
    ) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        let next = async {
            let permit = Arc::clone(&self.connections)
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            loop {
                match self.listener.accept().await {
                    Ok((stream, _)) => return (stream, permit),
                    Err(error) => {
                        tracing::warn!(%error, "the ops port cannot accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => None,
            accepted = next => Some(accepted),
        }
    }
}

async fn serve(stream: TcpStream, router: Router, shutdown: CancellationToken) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    // A connection that fails is its client's concern.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = tokio::time::sleep(CONNECTION_TIME_MAX) => {}
        () = shutdown.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, connection).await;
}

fn router(shown: Shown) -> Router {
    Router::new()
        .route("/livez", read_only(on(MethodFilter::GET, livez)))
        .route("/readyz", read_only(on(MethodFilter::GET, readyz)))
        .route("/metrics", read_only(on(MethodFilter::GET, metrics)))
        .fallback(not_found)
        .with_state(shown)
}

fn read_only(route: MethodRouter<Shown, Infallible>) -> MethodRouter<Shown, Infallible> {
    route.fallback(async || {
        let allow = [(header::ALLOW, "GET, HEAD")];
        (
            StatusCode::METHOD_NOT_ALLOWED,
            allow,
            "Only GET and HEAD are allowed here.\n",
        )
    })
}

async fn not_found() -> impl IntoResponse {
    let text = "There is no such page. This port serves /livez, /readyz and /metrics.\n";
    (StatusCode::NOT_FOUND, text)
}

/// Says that the runtime turns, whatever the rest does: only a stuck process
/// should be restarted.
async fn livez() -> &'static str {
    "ok\n"
}

/// Says whether traffic should come here: JSON, or a line for each component
/// with `?verbose`.
async fn readyz(State(shown): State<Shown>, uri: Uri) -> Response {
    let readiness = shown.health.readiness();
    let status = if readiness.is_ready() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let verbose = uri.query().is_some_and(|query| {
        query
            .split('&')
            .any(|pair| pair.split('=').next() == Some("verbose"))
    });
    let (media_type, body) = if verbose {
        ("text/plain; charset=utf-8", to_lines(&readiness))
    } else {
        ("application/json", to_json(&readiness))
    };
    (status, [(header::CONTENT_TYPE, media_type)], body).into_response()
}

fn to_json(readiness: &Readiness) -> String {
    let components: serde_json::Map<_, _> = readiness
        .components
        .iter()
        .map(|(name, reason)| {
            let state = match reason {
                None => serde_json::json!({"ready": true}),
                Some(reason) => serde_json::json!({"ready": false, "reason": reason}),
            };
            ((*name).to_owned(), state)
        })
        .collect();
    let ready = readiness.is_ready();
    serde_json::json!({"ready": ready, "components": components}).to_string()
}

fn to_lines(readiness: &Readiness) -> String {
    let mut lines = String::new();
    for (name, reason) in &readiness.components {
        match reason {
            None => lines.push_str(&format!("[+]{name} ok\n")),
            Some(reason) => lines.push_str(&format!("[-]{name} not ready: {reason}\n")),
        }
    }
    let verdict = if readiness.is_ready() {
        "ready"
    } else {
        "not ready"
    };
    lines.push_str(verdict);
    lines.push('\n');
    lines
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, Metrics::media_type())],
        shown.metrics.to_text(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Running {
        address: SocketAddr,
        health: Health,
        shutdown: CancellationToken,
        task: tokio::task::JoinHandle<()>,
    }

    async fn start(connections_max: usize) -> Running {
        let health = Health::new();
        let config = Config {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            connections_max,
        };
        let server = Server::bind(&config, health.clone(), Metrics::new())
            .await
            .unwrap();
        let shutdown = CancellationToken::new();
        Running {
            address: server.local_addr(),
            health,
            task: tokio::spawn(server.run(shutdown.clone())),
            shutdown,
        }
    }

    /// Sends `request` as it is and reads until the server closes.
    async fn exchange(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A server that refuses may close before everything is sent.
        let _ = stream.write_all(request).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn ask(address: SocketAddr, method: &str, path: &str) -> (u16, String) {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = exchange(address, request.as_bytes()).await;
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }

    #[tokio::test]
    async fn readiness_follows_the_components_and_liveness_does_not() {
        let running = start(8).await;
        let storage = running.health.component("storage");
        let (status, answer) = ask(running.address, "GET", "/readyz").await;
        assert_eq!(status, 503);
        let reason =
            r#"{"components":{"storage":{"ready":false,"reason":"starting"}},"ready":false}"#;
        assert!(answer.ends_with(reason), "{answer}");
        assert_eq!(ask(running.address, "GET", "/livez").await.0, 200);

        storage.ready();
        let (status, answer) = ask(running.address, "GET", "/readyz?verbose").await;
        assert_eq!(status, 200);
        assert!(answer.ends_with("[+]storage ok\nready\n"), "{answer}");
        storage.not_ready("draining");
        let (status, answer) = ask(running.address, "GET", "/readyz?x=1&verbose=1").await;
        assert_eq!(status, 503);
        assert!(
            answer.ends_with("[-]storage not ready: draining\nnot ready\n"),
            "{answer}"
        );
    }

    #[tokio::test]
    async fn metrics_are_served_as_prometheus_wants_them() {
        let running = start(8).await;
        let (status, answer) = ask(running.address, "GET", "/metrics").await;
        assert_eq!(status, 200);
        assert!(
            answer.contains("content-type: text/plain; version=0.0.4"),
            "{answer}"
        );
        assert!(answer.contains("# TYPE confab_sends_total counter\nconfab_sends_total 0\n"));
        assert!(answer.contains("process_resident_memory_bytes "));
        let (status, answer) = ask(running.address, "HEAD", "/metrics").await;
        assert_eq!(status, 200);
        assert!(answer.ends_with("\r\n\r\n"), "a HEAD has no body");
    }

    #[tokio::test]
    async fn wrong_pages_and_methods_are_told_what_is_there() {
        let running = start(8).await;
        let (status, answer) = ask(running.address, "GET", "/metricz").await;
        assert_eq!(status, 404);
        assert!(answer.contains("/livez, /readyz and /metrics"));
        let (status, answer) = ask(running.address, "POST", "/readyz").await;
        assert_eq!(status, 405);
        assert!(answer.contains("allow: GET, HEAD"), "{answer}");
        assert!(answer.contains("Only GET and HEAD"));
    }

    /// A scraper that hangs, or an attacker, must not take the port away.
    #[tokio::test]
    async fn heads_that_are_too_long_or_nonsense_are_refused() {
        let running = start(2).await;
        let mut long = b"GET /livez HTTP/1.1\r\nX: ".to_vec();
        long.resize(64 << 10, b'a');
        let answer = exchange(running.address, &long).await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 431"),
            "{answer}"
        );
        let answer = exchange(running.address, b"\x16\x03\x01 hello\r\n\r\n").await;
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400"),
            "{answer}"
        );
        assert_eq!(ask(running.address, "GET", "/livez").await.0, 200);
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_wait_for_their_turn() {
        let running = start(1).await;
        let first = TcpStream::connect(running.address).await.unwrap();
        let waiting = tokio::spawn(ask_owned(running.address));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        drop(first);
        assert_eq!(waiting.await.unwrap(), 200);
    }

    async fn ask_owned(address: SocketAddr) -> u16 {
        ask(address, "GET", "/livez").await.0
    }

    #[tokio::test]
    async fn shutdown_ends_idle_connections_and_frees_the_port() {
        let running = start(8).await;
        let _idle = TcpStream::connect(running.address).await.unwrap();
        assert_eq!(ask(running.address, "GET", "/livez").await.0, 200);
        running.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), running.task)
            .await
            .unwrap()
            .unwrap();
        assert!(TcpStream::connect(running.address).await.is_err());
    }

    #[tokio::test]
    async fn a_taken_address_says_what_to_set() {
        let running = start(1).await;
        let config = Config {
            address: running.address,
            connections_max: 1,
        };
        let taken = Server::bind(&config, Health::new(), Metrics::new()).await;
        let error = taken.err().unwrap().to_string();
        assert!(error.contains("listen.ops"), "{error}");
    }
}
