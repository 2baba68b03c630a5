//! A client of a few lines, which can also do what no client should.
#![allow(clippy::unwrap_used)]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use confab_protocol::message::session::{Hello, Welcome};
use confab_protocol::message::{Answer, Body, Push, frame_of};
use confab_protocol::{ErrorCode, Frame};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rcgen::CertifiedKey;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::super::{QuicConfig, QuicGateway, QuicHandle};
use crate::session::fixture::{Fixture, Wanted, hello};

/// Nothing in these tests takes that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node with its QUIC gateway.
pub(super) struct Server {
    pub(super) fixture: Fixture,
    pub(super) handle: QuicHandle,
    pub(super) shutdown: CancellationToken,
    pub(super) certificate: CertificateDer<'static>,
    running: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::with(Wanted::default(), |_| {}).await
    }

    pub(super) async fn with(wanted: Wanted, change: impl FnOnce(&mut QuicConfig)) -> Self {
        let fixture = Fixture::with(wanted).await;
        let (certificate, mut config) = certify(fixture.dir.path().to_owned());
        change(&mut config);
        let shutdown = CancellationToken::new();
        let services = Arc::clone(&fixture.services);
        let gateway = QuicGateway::bind(config, services, shutdown.clone()).unwrap();
        Self {
            fixture,
            handle: gateway.handle(),
            shutdown,
            certificate,
            running: tokio::spawn(gateway.run()),
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.handle.address()
    }

    /// Ends and waits for the end.
    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.running.await.unwrap();
        self.fixture.stop().await;
    }

    /// A connection without a session.
    pub(super) async fn connect(&self) -> Raw {
        let endpoint = endpoint(&self.certificate, &[confab_protocol::ALPN]);
        let connecting = endpoint.connect(self.address(), "localhost").unwrap();
        let connection = soon(connecting).await.unwrap();
        let (send, receive) = connection.open_bi().await.unwrap();
        Raw {
            connection,
            send,
            receive,
            buffer: BytesMut::new(),
            _endpoint: endpoint,
        }
    }

    /// A session of `user`.
    pub(super) async fn session(&self, user: &str) -> Raw {
        let mut client = self.connect().await;
        client.hello(&hello(user)).await.unwrap();
        client
    }
}

/// A certificate for `localhost`, and the configuration of a gateway with it.
pub(super) fn certify(dir: PathBuf) -> (CertificateDer<'static>, QuicConfig) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&certificate, cert.pem()).unwrap();
    std::fs::write(&key, signing_key.serialize_pem()).unwrap();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = QuicConfig::new(listen, certificate, key, dir.join("quic-reset.key"));
    (cert.der().clone(), config)
}

/// A client's endpoint that trusts `certificate` and offers `alpn`.
pub(super) fn endpoint(certificate: &CertificateDer<'static>, alpn: &[&[u8]]) -> Endpoint {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let crypto = QuicClientConfig::try_from(tls).unwrap();
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    endpoint
}

/// One connection, its first stream, and no scruples.
pub(super) struct Raw {
    pub(super) connection: Connection,
    pub(super) send: SendStream,
    pub(super) receive: RecvStream,
    buffer: BytesMut,
    _endpoint: Endpoint,
}

/// What the server sent on the session's stream.
#[derive(Debug)]
pub(super) enum Said {
    Answer(u32, Answer),
    Push(Push),
}

impl Raw {
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.unwrap();
    }

    pub(super) async fn ask<T: Body>(&mut self, request: u32, body: &T) {
        self.write(&frame_of(request, body)).await;
    }

    /// The next frame; `None` at the stream's end or the connection's.
    pub(super) async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.buffer, 1 << 20).unwrap() {
                return Some(frame);
            }
            let chunk = soon(self.receive.read_chunk(usize::MAX, true)).await;
            self.buffer.extend_from_slice(&chunk.ok()??.bytes);
        }
    }

    pub(super) async fn said(&mut self) -> Option<Said> {
        let frame = self.frame().await?;
        Some(match frame.kind {
            0x8000.. => Said::Push(Push::from_frame(&frame).unwrap()),
            _ => Said::Answer(frame.request, Answer::from_frame(&frame).unwrap()),
        })
    }

    /// The answer to `request`; what comes before it is passed over.
    pub(super) async fn answer(&mut self, request: u32) -> Answer {
        loop {
            match self.said().await.expect("the session goes on") {
                Said::Answer(number, answer) if number == request => return answer,
                Said::Answer(..) | Said::Push(_) => {}
            }
        }
    }

    /// The code with which `request` is refused.
    pub(super) async fn refusal(&mut self, request: u32) -> ErrorCode {
        match self.answer(request).await {
            Answer::Error(error) => error.code(),
            other => panic!("{other:?} is no refusal"),
        }
    }

    pub(super) async fn hello(&mut self, hello: &Hello) -> Result<Welcome, ErrorCode> {
        self.ask(1, hello).await;
        match self.answer(1).await {
            Answer::Welcome(welcome) => Ok(welcome),
            Answer::Error(error) => Err(error.code()),
            other => panic!("{other:?} answers no Hello"),
        }
    }

    /// Waits for a push that `wanted` takes.
    pub(super) async fn push<T>(&mut self, mut wanted: impl FnMut(Push) -> Option<T>) -> T {
        loop {
            let said = self.said().await.expect("the session goes on");
            if let Said::Push(push) = said
                && let Some(found) = wanted(push)
            {
                return found;
            }
        }
    }

    /// The code with which the server closes the connection.
    pub(super) async fn closed(&self) -> ErrorCode {
        match soon(self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => {
                let number = u16::try_from(close.error_code.into_inner()).unwrap();
                assert!(!close.reason.is_empty(), "a close says why");
                ErrorCode::from_number(number)
            }
            other => panic!("closed by {other}"),
        }
    }

    /// Sends `bytes` on a stream of their own and reads all that comes back.
    pub(super) async fn bulk(&self, bytes: &[u8]) -> Vec<Frame> {
        let (mut send, mut receive) = self.connection.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        let _ = send.finish();
        let mut answer = Bytes::from(soon(receive.read_to_end(1 << 20)).await.unwrap());
        let mut frames = Vec::new();
        while let Some(frame) = Frame::take_whole(&mut answer, 1 << 20).unwrap() {
            frames.push(frame);
        }
        frames
    }
}

/// Waits, but not for ever.
pub(super) async fn soon<F: IntoFuture>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("this takes no time")
}
