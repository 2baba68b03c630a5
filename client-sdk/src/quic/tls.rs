//! Whom the client trusts.

use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

/// The TLS side of a client's connections, for one server name.
#[derive(Clone)]
pub(crate) struct TlsConfig {
    pub(super) quic: Arc<QuicClientConfig>,
    pub(super) server_name: String,
}

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TlsConfig")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

/// Why there can be no TLS as configured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("no certificate authority in the PEM text")]
    Authority,
    #[error("not a DNS name or an address")]
    ServerName,
}

impl TlsConfig {
    /// Trusts the authorities in `ca_pem` to name the server, and nobody else.
    pub(crate) fn new(ca_pem: &[u8], server_name: &str) -> Result<Self, TlsError> {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem) {
            let certificate = certificate.map_err(|_| TlsError::Authority)?;
            roots.add(certificate).map_err(|_| TlsError::Authority)?;
        }
        if roots.is_empty() {
            return Err(TlsError::Authority);
        }
        ServerName::try_from(server_name).map_err(|_| TlsError::ServerName)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring has the cipher suites of TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![confab_protocol::ALPN.to_vec()];
        let quic = QuicClientConfig::try_from(tls)
            .expect("TLS 1.3 with ring has the cipher suite of QUIC's first packets");
        Ok(Self {
            quic: Arc::new(quic),
            server_name: server_name.to_owned(),
        })
    }
}
