//! TLS for clients' QUIC connections: TLS 1.3 only, our ALPN only.

use std::path::Path;
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::Error;

/// Reads a certificate chain and its key, both PEM.
pub(super) fn server_config(certificate: &Path, key: &Path) -> Result<QuicServerConfig, Error> {
    let read_error = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Certificate { path, source }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .map_err(read_error(certificate))?
        .collect::<Result<Vec<_>, _>>()
        .map_err(read_error(certificate))?;
    if chain.is_empty() {
        return Err(Error::NoCertificate {
            path: certificate.to_owned(),
        });
    }
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(read_error(key))?;
    let mut config =
        rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(Error::Tls)?
            .with_no_client_auth()
            .with_single_cert(chain, key_der)
            .map_err(Error::Tls)?;
    config.alpn_protocols = vec![confab_protocol::ALPN.to_vec()];
    // A replayed Hello would open a session and a replayed post would post:
    // nothing is accepted before the handshake is done.
    config.max_early_data_size = 0;
    // Sealed tickets instead of a table of sessions: after a restart of a
    // client its handshake costs us no signature, and us no memory.
    config.ticketer = ring::Ticketer::new().map_err(Error::Tls)?;
    config.send_tls13_tickets = 1;
    QuicServerConfig::try_from(config).map_err(|_| Error::NoInitialCipher)
}
