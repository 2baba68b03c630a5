//! The QUIC gateway, for native clients.
//!
//! A client opens one bidirectional stream for its session; bulk requests come
//! on streams of their own, typing may come in datagrams. Not here: what a
//! session is ([`crate::session`]).

mod admission;
mod bulk;
mod connection;
mod endpoint;
mod stream;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use confab_protocol::ErrorCode;
use quinn::Endpoint;
use tokio_util::sync::CancellationToken;

use crate::session::Services;
use admission::{Admission, Verdict};

/// Where and how the gateway listens.
#[derive(Clone, Debug)]
pub struct QuicConfig {
    /// The UDP address; `[::]` takes IPv4 as well.
    pub listen: SocketAddr,
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The file that keeps the key of stateless resets, made when it is not
    /// there: by it clients of a node that restarted learn so at once.
    pub reset_key: PathBuf,
    /// Unfinished handshakes above which new clients must first show that
    /// their address is theirs (Retry: one more round trip). Default 128.
    pub retry_above: usize,
    /// How long a client may take for the handshake and its `Hello` together.
    /// Default 5 s.
    pub hello_timeout: Duration,
    /// After how long without a packet a connection is gone. Default 60 s;
    /// clients keep theirs alive every 20 s.
    pub idle_timeout: Duration,
    /// How long a client may take nothing while something waits for it.
    /// Default 10 s.
    pub stall_timeout: Duration,
    /// How long a bulk stream may take to bring its request. Default 30 s.
    pub bulk_timeout: Duration,
    /// Bytes asked of the kernel for each of the socket's two buffers. Default
    /// 8 MiB: one socket serves all clients.
    pub socket_buffer_bytes: usize,
    /// How long closing connections may take before the rest is cut. Default
    /// 10 s.
    pub drain_timeout: Duration,
}

impl QuicConfig {
    /// The defaults, for a place and a certificate.
    #[must_use]
    pub fn new(listen: SocketAddr, certificate: PathBuf, key: PathBuf, reset_key: PathBuf) -> Self {
        Self {
            listen,
            certificate,
            key,
            reset_key,
            retry_above: 128,
            hello_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(60),
            stall_timeout: Duration::from_secs(10),
            bulk_timeout: Duration::from_secs(30),
            socket_buffer_bytes: 8 << 20,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Why the gateway cannot start. All of them are for the operator to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificate or its key cannot be read.
    #[error("cannot read {path}: {source}")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: rustls_pki_types::pem::Error,
    },
    /// There is no certificate in the file.
    #[error("{path} holds no certificate")]
    NoCertificate {
        /// Which file.
        path: PathBuf,
    },
    /// The certificate and the key do not serve.
    #[error("the certificate or its key does not serve: {0}")]
    Tls(rustls::Error),
    /// The TLS library lacks the cipher of QUIC's first packets.
    #[error("the TLS library lacks TLS13_AES_128_GCM_SHA256")]
    NoInitialCipher,
    /// The idle timeout is longer than QUIC can say.
    #[error("the idle timeout is too long")]
    IdleTimeout,
    /// The reset key's file can neither be read nor made.
    #[error("cannot read or make the reset key {path}: {source}")]
    ResetKey {
        /// Which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on UDP {address}: {source}")]
    Bind {
        /// Which address.
        address: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
}

/// What all connections of a gateway share.
struct Shared {
    config: QuicConfig,
    services: Arc<Services>,
    admission: Arc<Admission>,
    shutdown: CancellationToken,
}

/// The gateway, listening.
pub struct QuicGateway {
    endpoint: Endpoint,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// The cheap handle to a gateway's numbers.
#[derive(Clone)]
pub struct QuicHandle {
    address: SocketAddr,
    admission: Arc<Admission>,
}

impl QuicHandle {
    /// The UDP address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections of this gateway now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.admission.open()
    }
}

impl QuicGateway {
    /// Reads the certificate and listens; must be called inside the runtime.
    /// `shutdown` is what [`Self::run`] obeys.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn bind(
        config: QuicConfig,
        services: Arc<Services>,
        shutdown: CancellationToken,
    ) -> Result<Self, Error> {
        let endpoint = endpoint::open(&config)?;
        let address = endpoint.local_addr().map_err(|source| Error::Bind {
            address: config.listen,
            source,
        })?;
        let admission = Admission::new(services.connections.clone(), config.retry_above);
        Ok(Self {
            endpoint,
            address,
            shared: Arc::new(Shared {
                config,
                services,
                admission,
                shutdown,
            }),
        })
    }

    /// The handle.
    #[must_use]
    pub fn handle(&self) -> QuicHandle {
        QuicHandle {
            address: self.address,
            admission: Arc::clone(&self.shared.admission),
        }
    }

    /// Accepts connections until the shutdown, then drains: no further
    /// connection is accepted, and those with a session end as the registry's
    /// `drain` tells them to. What is left after the drain timeout is cut.
    pub async fn run(self) {
        loop {
            tokio::select! {
                biased;
                () = self.shared.shutdown.cancelled() => break,
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming),
                    None => break,
                },
            }
        }
        self.endpoint.set_server_config(None);
        self.shared.services.registry.drain();
        let drain_timeout = self.shared.config.drain_timeout;
        let emptied = self.shared.admission.emptied();
        if tokio::time::timeout(drain_timeout, emptied).await.is_err() {
            let connections = self.shared.admission.open();
            tracing::warn!(connections, "connections did not end in time and are cut");
        }
        self.endpoint.close(
            endpoint::close_code(ErrorCode::ShuttingDown),
            b"the server goes away",
        );
        // The last packets are on their way when this is over.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
    }

    fn admit(&self, incoming: quinn::Incoming) {
        let address = incoming.remote_address().ip();
        let validated = incoming.remote_address_validated();
        match self.shared.admission.judge(address, validated) {
            Verdict::Accept(slot) => {
                // What is wrong already, quinn has told the client.
                if let Ok(connecting) = incoming.accept() {
                    let shared = Arc::clone(&self.shared);
                    tokio::spawn(connection::serve(shared, connecting, slot));
                }
            }
            // Cannot fail: who is not validated may be asked to come again.
            Verdict::Retry => {
                self.shared.services.metrics.handshake_retried();
                drop(incoming.retry());
            }
            Verdict::Refuse(full) => {
                tracing::debug!(%address, reason = full.name(), "connection refused");
                incoming.refuse();
            }
        }
    }
}

#[cfg(test)]
mod tests;
