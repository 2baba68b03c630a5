//! The model server behind a real QUIC endpoint, for one client at a time.

#![allow(unreachable_pub, clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use confab_client::core::Lane;
use confab_protocol::Frame;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::sync::Notify;

use crate::model::Server;

pub const NAME: &str = "broker.test";

pub struct Broker {
    pub address: SocketAddr,
    pub ca_pem: String,
    shared: Arc<Shared>,
    endpoint: Endpoint,
}

struct Shared {
    server: Mutex<Server>,
    connection: Mutex<Option<Connection>>,
    changed: Notify,
}

impl Broker {
    pub fn start(channels: usize) -> Self {
        Self::with_alpn(channels, confab_protocol::ALPN)
    }

    pub fn with_alpn(channels: usize, alpn: &[u8]) -> Self {
        let certified = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certified.cert.der().clone()],
                PrivateKeyDer::Pkcs8(key),
            )
            .unwrap();
        tls.alpn_protocols = vec![alpn.to_vec()];
        let tls = quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap();
        let config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let shared = Arc::new(Shared {
            server: Mutex::new(Server::new(channels)),
            connection: Mutex::new(None),
            changed: Notify::new(),
        });
        tokio::spawn(accept(endpoint.clone(), shared.clone()));
        Self {
            address: endpoint.local_addr().unwrap(),
            ca_pem: certified.cert.pem(),
            shared,
            endpoint,
        }
    }

    /// The model, to look at or to change; what it pushes is sent on `kick`.
    pub fn server(&self) -> MutexGuard<'_, Server> {
        self.shared.server.lock().unwrap()
    }

    /// Changes the model and sends what it pushes.
    pub fn change<T>(&self, change: impl FnOnce(&mut Server) -> T) -> T {
        let result = change(&mut self.server());
        self.shared.changed.notify_one();
        result
    }

    /// Closes the connection that is open, with a code.
    pub fn close(&self, code: u16, reason: &str) {
        let mut server = self.server();
        if let Some(connection) = self.shared.connection.lock().unwrap().take() {
            connection.close(VarInt::from(code), reason.as_bytes());
        }
        server.cut();
    }

    /// Waits until something holds of the model.
    pub async fn until(&self, mut holds: impl FnMut(&Server) -> bool) {
        for _ in 0..2_000 {
            if holds(&self.server()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("it did not come to hold in 10 s");
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.endpoint.close(VarInt::from_u32(0), b"");
    }
}

async fn accept(endpoint: Endpoint, shared: Arc<Shared>) {
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else {
            continue;
        };
        *shared.connection.lock().unwrap() = Some(connection.clone());
        tokio::spawn(serve(connection, shared.clone()));
    }
}

async fn serve(connection: Connection, shared: Arc<Shared>) {
    let Ok((send, receive)) = connection.accept_bi().await else {
        return;
    };
    tokio::spawn(write_control(connection.clone(), send, shared.clone()));
    tokio::spawn(read_control(connection.clone(), receive, shared.clone()));
    tokio::spawn(read_datagrams(connection.clone(), shared.clone()));
    while let Ok((send, receive)) = connection.accept_bi().await {
        tokio::spawn(answer_bulk(send, receive, shared.clone()));
    }
}

async fn write_control(connection: Connection, mut send: SendStream, shared: Arc<Shared>) {
    loop {
        if connection.close_reason().is_some() {
            // What is queued is for the next connection, which must be told.
            return shared.changed.notify_one();
        }
        let frames: Vec<Bytes> = shared.server.lock().unwrap().control.drain(..).collect();
        for frame in frames {
            if send.write_chunk(frame).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = shared.changed.notified() => {}
            _ = connection.closed() => {}
        }
    }
}

async fn read_control(connection: Connection, mut receive: RecvStream, shared: Arc<Shared>) {
    let mut received = BytesMut::new();
    while let Ok(Some(chunk)) = receive.read_chunk(usize::MAX, true).await {
        received.extend_from_slice(&chunk.bytes);
        while let Some(frame) = Frame::take(&mut received, 128 << 10).unwrap() {
            let mut server = shared.server.lock().unwrap();
            if connection.close_reason().is_none() {
                server.ask(Lane::Control, frame.to_bytes());
            }
        }
        shared.changed.notify_one();
    }
}

async fn read_datagrams(connection: Connection, shared: Arc<Shared>) {
    while let Ok(datagram) = connection.read_datagram().await {
        let mut server = shared.server.lock().unwrap();
        server.asked.push("a datagram");
        server.ask(Lane::Ephemeral, datagram);
    }
}

async fn answer_bulk(mut send: SendStream, mut receive: RecvStream, shared: Arc<Shared>) {
    let Ok(request) = receive.read_to_end(128 << 10).await else {
        return;
    };
    let answer = {
        let mut server = shared.server.lock().unwrap();
        server.ask(Lane::Bulk, Bytes::from(request));
        server.bulk.pop_front()
    };
    if let Some(answer) = answer
        && send.write_chunk(answer).await.is_ok()
    {
        send.finish().unwrap();
    }
}
