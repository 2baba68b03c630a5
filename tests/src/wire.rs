//! Frames over QUIC without the SDK: right ones, wrong ones, and none.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use confab_protocol::message::session::{Hello, Welcome};
use confab_protocol::message::{Answer, Body, Push, frame_of};
use confab_protocol::{DeviceId, ErrorCode, Frame, Packed, WireError};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{
    ClientConfig, Connecting, Connection, ConnectionError, Endpoint, RecvStream, SendStream,
    TransportConfig,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::within;

/// Larger than any frame of the broker.
const FRAME_BYTES_MAX: usize = 1 << 20;

/// A `Hello` of a client that has nothing yet.
#[must_use]
pub fn hello(token: &str, device: DeviceId) -> Hello {
    Hello {
        version_min: 1,
        version_max: 1,
        token: token.into(),
        device,
        agent: "confab-tests".into(),
        positions: Packed::default(),
        channels_max: 100,
    }
}

/// Dials a broker; one socket serves all its connections.
pub struct WireDialer {
    endpoint: Endpoint,
    address: SocketAddr,
}

/// How a [`WireDialer`] differs from a client that behaves.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// The protocols that it offers.
    pub alpn: &'static [&'static [u8]],
    /// How many bytes that nobody reads it takes on a connection.
    pub window_bytes: Option<u32>,
    /// From where it connects.
    pub from: Ipv4Addr,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            alpn: &[confab_protocol::ALPN],
            window_bytes: None,
            from: Ipv4Addr::LOCALHOST,
        }
    }
}

impl WireDialer {
    /// Dials `address` and trusts `ca_pem`.
    #[must_use]
    pub fn new(address: SocketAddr, ca_pem: &[u8], manners: Manners) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = manners.alpn.iter().map(|name| name.to_vec()).collect();
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        let mut config = ClientConfig::new(Arc::new(crypto));
        let mut transport = TransportConfig::default();
        transport.keep_alive_interval(Some(Duration::from_secs(5)));
        if let Some(bytes) = manners.window_bytes {
            transport.stream_receive_window(bytes.into());
            transport.receive_window(bytes.into());
        }
        config.transport_config(Arc::new(transport));
        let mut endpoint = Endpoint::client((manners.from, 0).into()).unwrap();
        endpoint.set_default_client_config(config);
        Self { endpoint, address }
    }

    /// Begins a handshake.
    #[must_use]
    pub fn dial(&self) -> Connecting {
        self.endpoint.connect(self.address, "localhost").unwrap()
    }

    /// A connection without a session, and its first stream.
    pub async fn connect(&self) -> Wire {
        let connection = within("the handshake", self.dial()).await.unwrap();
        let (sending, receiving) = connection.open_bi().await.unwrap();
        Wire {
            connection,
            sending,
            receiving,
            buffer: BytesMut::new(),
            _endpoint: self.endpoint.clone(),
        }
    }
}

/// One connection and its session stream.
pub struct Wire {
    /// The connection.
    pub connection: Connection,
    /// The session stream's sending side.
    pub sending: SendStream,
    receiving: RecvStream,
    buffer: BytesMut,
    _endpoint: Endpoint,
}

/// What the broker said on the session stream.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // one at a time, never kept
pub enum Said {
    /// The answer to a request.
    Answer(u32, Answer),
    /// Something unasked.
    Push(Push),
}

impl Wire {
    /// Writes bytes, whatever they are.
    pub async fn write(&mut self, bytes: &[u8]) {
        within("writing", self.sending.write_all(bytes))
            .await
            .unwrap();
    }

    /// Writes a frame.
    pub async fn send<T: Body>(&mut self, request: u32, body: &T) {
        self.write(&frame_of(request, body)).await;
    }

    /// The next frame; `None` at the stream's end or the connection's.
    pub async fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.buffer, FRAME_BYTES_MAX).unwrap() {
                return Some(frame);
            }
            let chunk = self.receiving.read_chunk(usize::MAX, true);
            let chunk = within("a frame", chunk).await;
            self.buffer.extend_from_slice(&chunk.ok()??.bytes);
        }
    }

    /// What the broker says next; `None` at the end.
    pub async fn said(&mut self) -> Option<Said> {
        let frame = self.frame().await?;
        Some(match frame.kind {
            0x8000.. => Said::Push(Push::from_frame(&frame).unwrap()),
            _ => Said::Answer(frame.request, Answer::from_frame(&frame).unwrap()),
        })
    }

    /// The answer to `request`; what comes before it is passed over.
    pub async fn answer(&mut self, request: u32) -> Answer {
        loop {
            match self.said().await.expect("the session goes on") {
                Said::Answer(number, answer) if number == request => return answer,
                Said::Answer(..) | Said::Push(_) => {}
            }
        }
    }

    /// The error with which `request` is refused.
    pub async fn refusal(&mut self, request: u32) -> WireError {
        match self.answer(request).await {
            Answer::Error(error) => error,
            other => panic!("{other:?} is no refusal"),
        }
    }

    /// Asks and waits for the answer.
    pub async fn ask<T: Body>(&mut self, request: u32, body: &T) -> Answer {
        self.send(request, body).await;
        self.answer(request).await
    }

    /// Says `Hello` and waits for the answer.
    ///
    /// # Errors
    /// With what the broker refused it.
    pub async fn hello(&mut self, hello: &Hello) -> Result<Welcome, WireError> {
        match self.ask(1, hello).await {
            Answer::Welcome(welcome) => Ok(welcome),
            Answer::Error(error) => Err(error),
            other => panic!("{other:?} answers no Hello"),
        }
    }

    /// The next push that `wanted` takes; what comes before it is passed over.
    pub async fn push<T>(&mut self, wanted: impl Fn(Push) -> Option<T>) -> T {
        loop {
            let said = self.said().await.expect("the session goes on");
            if let Said::Push(push) = said
                && let Some(found) = wanted(push)
            {
                return found;
            }
        }
    }

    /// The code with which the broker closes the connection.
    pub async fn closed(&self) -> ErrorCode {
        match within("the connection's end", self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => {
                let number = u16::try_from(close.error_code.into_inner()).unwrap();
                ErrorCode::from_number(number)
            }
            other => panic!("closed by {other}"),
        }
    }

    /// Sends `bytes` on a stream of their own; answers with all that comes back.
    pub async fn bulk(&self, bytes: &[u8]) -> Vec<Frame> {
        let (mut sending, mut receiving) = self.connection.open_bi().await.unwrap();
        let _ = sending.write_all(bytes).await;
        let _ = sending.finish();
        let all = within("a bulk answer", receiving.read_to_end(FRAME_BYTES_MAX)).await;
        let mut all = Bytes::from(all.unwrap());
        let mut frames = Vec::new();
        while let Some(frame) = Frame::take_whole(&mut all, FRAME_BYTES_MAX).unwrap() {
            frames.push(frame);
        }
        frames
    }
}
