//! What a development server makes for itself: a certificate authority, a
//! certificate for this machine, a secret for tokens; and a note for client
//! commands where to find all that.
//!
//! Everything is kept in the data directory and used again after a restart. The
//! authority can vouch for loopback names only, so trusting it is harmless.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::TryRngCore;
use rand::rngs::OsRng;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints,
};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde::Deserialize;

use super::load::Loaded;
use super::section::Source;
use super::settings::KeyTable;
use crate::auth::Algorithm;

/// The names that the certificate is good for.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How long the authority lives, in days.
const CA_DAYS: u32 = 3_650;
/// How long a certificate lives, in days; browsers refuse more than 398.
const CERTIFICATE_DAYS: u32 = 365;
/// Days before its end at which a certificate is renewed.
const RENEW_DAYS: u32 = 30;
/// Bytes of randomness in the secret.
const SECRET_BYTES: usize = 32;
const CA: &str = "dev-ca.pem";
const CA_KEY: &str = "dev-ca-key.pem";
const CERTIFICATE: &str = "dev-cert.pem";
const KEY: &str = "dev-key.pem";
const SECRET: &str = "dev-secret";
const NOTE: &str = "dev.json";

/// Why the files cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("cannot use {path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate cannot be made.
    #[error("cannot make the development certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The system gave no randomness.
    #[error("the system gave no random numbers: {0}")]
    Random(#[from] rand::rand_core::OsError),
    /// There is no note.
    #[error(
        "{0} is not there: start a development server on this data directory first \
         (`confab serve --dev --data-dir DIR`), or name the server with --server"
    )]
    NoNote(PathBuf),
    /// The note is not one.
    #[error("{0} cannot be read as a development server's note: start the server again")]
    BadNote(PathBuf),
}

/// Where the files are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Files {
    /// The authority's certificate, for clients to trust.
    pub ca: PathBuf,
    /// The server's certificate.
    pub cert: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// The HS256 secret.
    pub secret: PathBuf,
}

impl Files {
    /// Where the files of a data directory are, whether they exist or not.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        Self {
            ca: data_dir.join(CA),
            cert: data_dir.join(CERTIFICATE),
            key: data_dir.join(KEY),
            secret: data_dir.join(SECRET),
        }
    }
}

/// Where a development server listens.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
pub struct Addresses {
    /// QUIC, for native clients.
    pub quic: SocketAddr,
    /// HTTP and WebSocket, when served.
    #[serde(default)]
    pub http: Option<SocketAddr>,
    /// Metrics and health.
    #[serde(default)]
    pub ops: Option<SocketAddr>,
}

/// What a client command needs to reach a development server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// Where it listens.
    pub addresses: Addresses,
    /// Its files.
    pub files: Files,
}

/// Makes what is missing, damaged or about to expire; leaves the rest as it is.
/// Blocks on the disk.
///
/// # Errors
/// [`Error`]; what was made before stays.
pub fn prepare(data_dir: &Path, now: SystemTime) -> Result<Files, Error> {
    fs::create_dir_all(data_dir).map_err(at(data_dir))?;
    let files = Files::of(data_dir);
    if crate::auth::read_secret_file(&files.secret).is_err() {
        let mut random = [0; SECRET_BYTES];
        OsRng.try_fill_bytes(&mut random)?;
        let text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        write(
            &files.secret,
            format!("{text}\n").as_bytes(),
            Access::Private,
        )?;
    }
    // One made with other rights, e.g. unpacked from an archive.
    make_private(&files.secret)?;
    if !is_certificate_good(&files, now) {
        make_certificate(data_dir, &files, now)?;
    }
    make_private(&files.key)?;
    Ok(files)
}

/// Makes the server of `loaded` use what [`prepare`] made: the certificate, if
/// no other is configured, and the secret beside other keys.
pub fn apply(loaded: &mut Loaded, files: &Files) {
    let config = &mut loaded.config;
    if config.tls.cert.is_none() {
        config.tls.cert = Some(files.cert.clone());
        config.tls.key = Some(files.key.clone());
        for key in ["cert", "key"] {
            loaded.sources.insert(("tls", key), Source::Development);
        }
    }
    config.auth.keys.push(KeyTable {
        algorithm: Algorithm::HS256,
        kid: None,
        secret: None,
        secret_file: Some(files.secret.clone()),
        file: None,
    });
    let keys = ("auth", "keys");
    loaded.sources.entry(keys).or_insert(Source::Development);
}

/// Writes where the server listens, for [`find`], and for other programs where
/// its files are. Call it once it listens.
///
/// # Errors
/// [`Error::Io`].
pub fn announce(data_dir: &Path, addresses: &Addresses) -> Result<(), Error> {
    let path = data_dir.join(NOTE);
    let files = Files::of(&data_dir.canonicalize().map_err(at(data_dir))?);
    let note = serde_json::json!({
        "quic": addresses.quic,
        "http": addresses.http,
        "ops": addresses.ops,
        "ca": files.ca.to_string_lossy(),
        "secret": files.secret.to_string_lossy(),
    });
    write(&path, format!("{note:#}\n").as_bytes(), Access::Public)
}

/// Finds the development server of a data directory.
///
/// # Errors
/// [`Error::NoNote`] says how to start one.
pub fn find(data_dir: &Path) -> Result<Found, Error> {
    let path = data_dir.join(NOTE);
    let note = match fs::read(&path) {
        Ok(note) => note,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::NoNote(path)),
        Err(source) => return Err(Error::Io { path, source }),
    };
    let addresses = serde_json::from_slice(&note).map_err(|_| Error::BadNote(path))?;
    Ok(Found {
        addresses,
        files: Files::of(data_dir),
    })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { path, source }
}

/// Whether clients that trust the authority will take the certificate for long
/// enough, and the key is its own.
fn is_certificate_good(files: &Files, now: SystemTime) -> bool {
    let check = || -> Option<()> {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(&files.ca).ok()?)
            .ok()?;
        let certificate = CertificateDer::from_pem_file(&files.cert).ok()?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .ok()?;
        for moment in [now, now + DAY * RENEW_DAYS] {
            let moment = UnixTime::since_unix_epoch(moment.duration_since(UNIX_EPOCH).ok()?);
            for name in NAMES {
                let name = ServerName::try_from(name).ok()?;
                verifier
                    .verify_server_cert(&certificate, &[], &name, &[], moment)
                    .ok()?;
            }
        }
        let key = PrivateKeyDer::from_pem_file(&files.key).ok()?;
        let key = provider.key_provider.load_private_key(key).ok()?;
        match CertifiedKey::new(vec![certificate], key).keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Some(()),
            Err(_) => None,
        }
    };
    check().is_some()
}

/// Makes a certificate by the authority that is there, or by a new one.
fn make_certificate(data_dir: &Path, files: &Files, now: SystemTime) -> Result<(), Error> {
    let ca_key_path = data_dir.join(CA_KEY);
    let ca_key = match existing_authority(&files.ca, &ca_key_path, now) {
        Some(key) => key,
        None => make_authority(&files.ca, &ca_key_path, now)?,
    };
    let issuer = Issuer::new(authority_params(now)?, ca_key);
    let mut params = CertificateParams::new(NAMES.map(String::from))?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Confab development server");
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * CERTIFICATE_DAYS).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    write(&files.key, key.serialize_pem().as_bytes(), Access::Private)?;
    write(&files.cert, certificate.pem().as_bytes(), Access::Public)
}

/// The key of an authority that is whole and lives long enough, so that clients
/// that trust it need no new one. Its own certificate for itself tells.
fn existing_authority(ca: &Path, key: &Path, now: SystemTime) -> Option<KeyPair> {
    let key = KeyPair::from_pem(&fs::read_to_string(key).ok()?).ok()?;
    let written = fs::metadata(ca).ok()?.modified().ok()?;
    let age = now.duration_since(written).unwrap_or_default();
    let is_young = age < DAY * (CA_DAYS - CERTIFICATE_DAYS - RENEW_DAYS);
    let certificate = CertificateDer::from_pem_file(ca).ok()?;
    // The subject's key stands in the certificate as it is.
    let public = key.public_key_raw();
    let is_own = certificate
        .windows(public.len())
        .any(|window| window == public);
    (is_young && is_own).then_some(key)
}

fn make_authority(ca: &Path, key_path: &Path, now: SystemTime) -> Result<KeyPair, Error> {
    let key = KeyPair::generate()?;
    let certificate = authority_params(now)?.self_signed(&key)?;
    write(key_path, key.serialize_pem().as_bytes(), Access::Private)?;
    write(ca, certificate.pem().as_bytes(), Access::Public)?;
    Ok(key)
}

fn authority_params(now: SystemTime) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Confab development authority");
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY * CA_DAYS).into();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let host_v6 = [0xff; 16];
    let loopback_v6 = std::net::Ipv6Addr::LOCALHOST.octets();
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".into()),
            GeneralSubtree::IpAddress(CidrSubnet::V4([127, 0, 0, 0], [255, 0, 0, 0])),
            GeneralSubtree::IpAddress(CidrSubnet::V6(loopback_v6, host_v6)),
        ],
        excluded_subtrees: Vec::new(),
    });
    Ok(params)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Access {
    /// Only the owner reads it.
    Private,
    Public,
}

/// Writes a file as a whole or not at all.
fn write(path: &Path, content: &[u8], access: Access) -> Result<(), Error> {
    let unfinished = path.with_extension("unfinished");
    // One left by a crash may have other rights.
    let _ = fs::remove_file(&unfinished);
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Private {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    let mut file = options.open(&unfinished).map_err(at(&unfinished))?;
    file.write_all(content).map_err(at(&unfinished))?;
    file.sync_all().map_err(at(&unfinished))?;
    fs::rename(&unfinished, path).map_err(at(path))
}

#[cfg(unix)]
fn make_private(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let mut permissions = fs::metadata(path).map_err(at(path))?.permissions();
    if permissions.mode() & 0o077 != 0 {
        permissions.set_mode(0o600);
        fs::set_permissions(path, permissions).map_err(at(path))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn make_private(_path: &Path) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests;
