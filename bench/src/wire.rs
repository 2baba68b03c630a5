//! A lean client: one QUIC connection, frames in, frames out.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use bytes::{Bytes, BytesMut};
use confab_protocol::message::session::Hello;
use confab_protocol::message::{Answer, Ask, Push, Request, frame_of};
use confab_protocol::{ALPN, DeviceId, Frame, Packed, limits};
use quinn::crypto::rustls::QuicClientConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Dials brokers; one endpoint serves many connections.
pub(crate) struct Dialer {
    endpoint: quinn::Endpoint,
    address: SocketAddr,
}

/// A connection with a session.
pub(crate) struct Connection {
    pub(crate) connection: quinn::Connection,
    pub(crate) sending: quinn::SendStream,
    pub(crate) receiving: Receiving,
}

/// The reading half: whole frames off the stream.
pub(crate) struct Receiving {
    stream: quinn::RecvStream,
    buffer: BytesMut,
}

impl Dialer {
    pub(crate) fn new(address: SocketAddr, ca: &Path) -> Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca)? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        let mut transport = quinn::TransportConfig::default();
        transport.keep_alive_interval(Some(Duration::from_secs(20)));
        transport.max_idle_timeout(Some(Duration::from_secs(60).try_into()?));
        config.transport_config(Arc::new(transport));
        let mut endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        endpoint.set_default_client_config(config);
        Ok(Self { endpoint, address })
    }

    /// Connects and says `Hello`.
    pub(crate) async fn connect(&self, token: &str, device: &str) -> Result<Connection> {
        let connection = self.endpoint.connect(self.address, "localhost")?.await?;
        let (mut sending, stream) = connection.open_bi().await?;
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            token: token.into(),
            device: DeviceId::new(device)?,
            agent: "confab-bench".into(),
            positions: Packed::default(),
            channels_max: 100,
        };
        sending.write_all(&frame_of(1, &hello)).await?;
        let mut receiving = Receiving {
            stream,
            buffer: BytesMut::with_capacity(4 << 10),
        };
        let welcome = receiving
            .answer(1)
            .await
            .context("the broker did not welcome us")?;
        match welcome {
            Answer::Welcome(_) => Ok(Connection {
                connection,
                sending,
                receiving,
            }),
            other => bail!("an answer to Hello of another kind: {}", other.name()),
        }
    }
}

impl Connection {
    /// Asks and waits; pushes that come before the answer are passed over.
    pub(crate) async fn ask<A: Ask>(&mut self, request: A) -> Result<Answer>
    where
        Request: From<A>,
    {
        let frame = Request::from(request).to_frame(2);
        self.sending.write_all(&frame).await?;
        self.receiving.answer(2).await
    }
}

impl Receiving {
    /// Waits for the next frame.
    pub(crate) async fn frame(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            self.fill().await?;
        }
    }

    /// The next frame that has arrived already.
    pub(crate) fn buffered(&mut self) -> Result<Option<Frame>> {
        Ok(Frame::take(
            &mut self.buffer,
            limits::SERVER_FRAME_BYTES_MAX,
        )?)
    }

    /// Waits for more bytes, and takes all there are.
    pub(crate) async fn fill(&mut self) -> Result<()> {
        let mut chunks: [Bytes; 32] = std::array::from_fn(|_| Bytes::new());
        let count = self
            .stream
            .read_chunks(&mut chunks)
            .await?
            .ok_or_else(|| anyhow!("the broker closed the stream"))?;
        for chunk in &chunks[..count] {
            self.buffer.extend_from_slice(chunk);
        }
        Ok(())
    }

    /// Waits for the answer to a request.
    pub(crate) async fn answer(&mut self, request: u32) -> Result<Answer> {
        loop {
            let frame = self.frame().await?;
            if frame.request == request {
                return match Answer::from_frame(&frame)? {
                    Answer::Error(error) => Err(anyhow!("refused: {error}")),
                    answer => Ok(answer),
                };
            }
            if let Ok(Push::SessionClosed(closed)) = Push::from_frame(&frame) {
                bail!("the session was closed: {}", closed.error);
            }
        }
    }
}
