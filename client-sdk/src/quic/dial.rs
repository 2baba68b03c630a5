//! Making a connection: names, addresses, the handshake, S0.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use quinn::{ClientConfig, Endpoint, IdleTimeout, TransportConfig, VarInt};

use super::tls::TlsConfig;
use super::{Transport, down_reason};
use crate::core::DownReason;

/// The client keeps the connection alive; the server does not, for it would
/// cost it a packet for every client.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// A path that is silent for so long is dead.
const IDLE_TIMEOUT_MS: u32 = 60_000;

/// What the server may send on one stream before it is read.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// What the server may send on all streams: a few bulk answers beside S0.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Waiting datagrams, each way. Typing that waits is worth nothing.
const DATAGRAM_BYTES: usize = 64 << 10;

/// How long one address may take before the next is tried.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(4);

/// Makes connections to the servers of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    /// `host:port` of each.
    servers: Arc<[String]>,
    tls: TlsConfig,
}

impl Dialer {
    pub(crate) fn new(servers: Vec<String>, tls: TlsConfig) -> Self {
        Self {
            servers: servers.into(),
            tls,
        }
    }

    /// Connects to a server, a different one for each attempt in turn.
    pub(crate) async fn dial(self, attempt: usize) -> Result<Transport, DownReason> {
        let server = &self.servers[attempt % self.servers.len()];
        let addresses = tokio::net::lookup_host(server)
            .await
            .map_err(|_| DownReason::Lost)?;
        let mut reason = DownReason::Lost;
        for address in addresses {
            let connecting = tokio::time::timeout(ADDRESS_TIMEOUT, self.connect(address));
            match connecting.await {
                Ok(Ok(transport)) => return Ok(transport),
                Ok(Err(refused)) => reason = refused,
                Err(_) => tracing::debug!(%address, "no answer to a QUIC handshake"),
            }
        }
        Err(reason)
    }

    async fn connect(&self, address: SocketAddr) -> Result<Transport, DownReason> {
        // A socket for each connection: after a change of network, or behind a
        // NAT that forgot, a new port is what helps.
        let local: SocketAddr = match address {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let endpoint = Endpoint::client(local).map_err(|_| DownReason::Lost)?;
        let mut config = ClientConfig::new(self.tls.quic.clone());
        config.transport_config(Arc::new(transport_config()));
        let connection = endpoint
            .connect_with(config, address, &self.tls.server_name)
            .map_err(|_| DownReason::Lost)?
            .await
            .map_err(down_reason)?;
        let (send, receive) = connection.open_bi().await.map_err(down_reason)?;
        Ok(Transport {
            connection,
            send,
            receive,
            received: BytesMut::new(),
            unsent: VecDeque::new(),
        })
    }
}

fn transport_config() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .datagram_receive_buffer_size(Some(DATAGRAM_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BYTES);
    config
}
