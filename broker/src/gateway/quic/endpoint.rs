//! The UDP socket and the QUIC parameters of the clients' endpoint.
//!
//! The numbers are from measurements on two cores: see `docs/architecture.md`.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use quinn::{
    Connection, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt,
};
use quinn_proto::HashedConnectionIdGenerator;
use socket2::{Domain, Protocol, Socket, Type};

use super::{Error, QuicConfig, tls};

/// Bidirectional streams that a client may have open: one for its session, the
/// others for bulk requests. Before its `Hello` it has the one.
pub(super) const BIDI_STREAMS: u32 = 16;
const BIDI_STREAMS_OF_STRANGERS: u32 = 1;

/// Unidirectional streams that a client may have open. Confab uses none yet;
/// slots cost memory for every connection.
const UNI_STREAMS: u32 = 4;

/// Bytes a client may send ahead on one stream: a whole frame, so that its
/// reader need not be woken in the middle of one.
const STREAM_WINDOW_BYTES: u32 = 128 << 10;

/// Bytes a client may send ahead on all of its streams. Before its `Hello` it
/// has less: what strangers can make us keep is bounded by this.
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;
const CONNECTION_WINDOW_BYTES_OF_STRANGERS: u32 = 64 << 10;

/// Bytes that may wait in quinn for one client, beside the outbox.
const SEND_WINDOW_BYTES: u64 = 256 << 10;

/// Bytes of datagrams that may wait, each way.
const DATAGRAM_BUFFER_BYTES: usize = 32 << 10;

/// Connection attempts that may wait to be accepted.
const INCOMING_MAX: usize = 4_096;

/// Bytes that one attempt, and all of them, may have sent before acceptance.
const INCOMING_BYTES: u64 = 8 << 10;
const INCOMING_BYTES_TOTAL: u64 = 8 << 20;

/// How often a packet of a connection that is not known may be answered with a
/// reset. After a restart every client must hear soon that its connection is
/// gone: 10,000 of them within a second.
const RESET_INTERVAL: Duration = Duration::from_micros(100);

/// Bytes of the reset key's file: an HMAC key and a key for connection ids.
const KEY_FILE_BYTES: usize = 64 + 8;

/// Opens the endpoint on `config.listen`.
pub(super) fn open(config: &QuicConfig) -> Result<Endpoint, Error> {
    let crypto = tls::server_config(&config.certificate, &config.key)?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server
        .transport_config(Arc::new(transport(config)?))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL);
    let keys = reset_keys(&config.reset_key).map_err(|source| Error::ResetKey {
        path: config.reset_key.clone(),
        source,
    })?;
    let socket = bind(config.listen, config.socket_buffer_bytes).map_err(|source| Error::Bind {
        address: config.listen,
        source,
    })?;
    Endpoint::new(
        endpoint_config(keys),
        Some(server),
        socket,
        Arc::new(quinn::TokioRuntime),
    )
    .map_err(|source| Error::Bind {
        address: config.listen,
        source,
    })
}

fn transport(config: &QuicConfig) -> Result<TransportConfig, Error> {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(config.idle_timeout).map_err(|_| Error::IdleTimeout)?;
    // Congestion control (Cubic), segmentation offload, path MTU discovery and
    // fairness between streams are quinn's defaults and stay as they are.
    transport
        .max_concurrent_bidi_streams(BIDI_STREAMS_OF_STRANGERS.into())
        .max_concurrent_uni_streams(0u32.into())
        .stream_receive_window(STREAM_WINDOW_BYTES.into())
        .receive_window(CONNECTION_WINDOW_BYTES_OF_STRANGERS.into())
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
        .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
        .max_idle_timeout(Some(idle))
        // The client keeps the connection alive: once is enough, and a server
        // with 100,000 clients has the smaller part of the work to spare.
        .keep_alive_interval(None);
    Ok(transport)
}

/// Gives a connection that has a session the room of one.
pub(super) fn welcome(connection: &Connection) {
    connection.set_receive_window(CONNECTION_WINDOW_BYTES.into());
    connection.set_max_concurrent_bi_streams(BIDI_STREAMS.into());
    connection.set_max_concurrent_uni_streams(UNI_STREAMS.into());
}

/// The keys by which a restarted node recognises its clients' packets.
struct ResetKeys {
    hmac: [u8; 64],
    connection_id: u64,
}

fn endpoint_config(keys: ResetKeys) -> EndpointConfig {
    let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &keys.hmac);
    let mut config = EndpointConfig::new(Arc::new(hmac));
    // quinn answers only packets whose connection id it could have given out;
    // with a key of each process's own, a restarted node would answer none.
    config
        .cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(keys.connection_id)));
    config.min_reset_interval(RESET_INTERVAL);
    config
}

/// Reads the keys, or makes them when there are none yet.
fn reset_keys(path: &Path) -> io::Result<ResetKeys> {
    let mut bytes = [0u8; KEY_FILE_BYTES];
    match OpenOptions::new().read(true).open(path) {
        Ok(mut file) => file.read_exact(&mut bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            rand::RngCore::fill_bytes(&mut rand::rng(), &mut bytes);
            // Written aside and renamed, so that a crash leaves no half key.
            let aside = path.with_extension("new");
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&aside)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&aside, path)?;
        }
        Err(error) => return Err(error),
    }
    let (hmac, connection_id) = bytes
        .split_first_chunk::<64>()
        .expect("the array is longer than 64 bytes");
    let connection_id = connection_id
        .first_chunk::<8>()
        .expect("8 bytes follow the first 64");
    Ok(ResetKeys {
        hmac: *hmac,
        connection_id: u64::from_le_bytes(*connection_id),
    })
}

/// Binds the socket and asks for large buffers; one socket serves all clients.
fn bind(address: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        // `[::]` serves IPv4 too; where the system refuses, only IPv6.
        if let Err(error) = socket.set_only_v6(false) {
            tracing::debug!(%error, "the socket serves IPv6 only");
        }
    }
    socket.bind(&address.into())?;
    // The kernel gives what its limits allow and says nothing, so it is asked.
    let _ = socket.set_recv_buffer_size(buffer_bytes);
    let _ = socket.set_send_buffer_size(buffer_bytes);
    let (receive, send) = (socket.recv_buffer_size()?, socket.send_buffer_size()?);
    tracing::info!(%address, receive, send, "UDP socket buffers, in bytes");
    if receive < buffer_bytes || send < buffer_bytes {
        tracing::warn!(
            wanted = buffer_bytes,
            receive,
            send,
            "the kernel gave smaller UDP buffers than wanted; \
             raise net.core.rmem_max and net.core.wmem_max"
        );
    }
    Ok(socket.into())
}

/// A code as QUIC closes a connection or a stream with.
pub(super) fn close_code(code: confab_protocol::ErrorCode) -> VarInt {
    VarInt::from_u32(code.number().into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::reset_keys;
    use std::os::unix::fs::PermissionsExt;

    /// A restarted node must know the connections of before, and nobody else
    /// may read the key: with it, one could end any client's connection.
    #[test]
    fn the_reset_key_is_kept_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("quic-reset.key");
        let made = reset_keys(&path).unwrap();
        let kept = reset_keys(&path).unwrap();
        assert_eq!(made.hmac, kept.hmac);
        assert_eq!(made.connection_id, kept.connection_id);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let other = reset_keys(&dir.path().join("other.key")).unwrap();
        assert_ne!(made.hmac, other.hmac);
    }

    /// A damaged key is said, not silently replaced: the file is not ours then.
    #[test]
    fn a_short_key_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("short.key");
        std::fs::write(&path, [0; 10]).unwrap();
        assert!(reset_keys(&path).is_err());
    }
}
