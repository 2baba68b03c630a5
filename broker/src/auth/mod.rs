//! Who connects: tokens, the keys that sign them, and what a token says.
//!
//! A gateway hands a token to [`Verifier::authenticate`] and gets [`Claims`] or
//! a [`TokenError`]. The time is an input, so that tests and simulations run on
//! virtual time. [`Verifier::run`] is driven by the node: it watches the JWKS
//! file.
//!
//! Not here: what a user may do (`confab_core::rights`) and revocation, which
//! the directory knows.

mod claims;
mod error;
mod issue;
mod jwks;
mod keys;
mod verify;

use std::path::PathBuf;

pub use claims::Claims;
pub use error::{InvalidToken, KeyError, TokenError};
pub use issue::{ClaimsSpec, issue};
pub use keys::read_secret_file;
pub use verify::Verifier;

/// How a key signs. Each key has exactly one; a token's `alg` must be its key's.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, serde::Deserialize, serde::Serialize)]
pub enum Algorithm {
    /// HMAC with SHA-256: one shared secret.
    HS256,
    /// RSA PKCS #1 v1.5 with SHA-256, keys of 2,048 to 4,096 bits.
    RS256,
    /// ECDSA on P-256 with SHA-256.
    ES256,
    /// Ed25519.
    EdDSA,
}

impl Algorithm {
    /// The name in a token's header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::RS256 => "RS256",
            Self::ES256 => "ES256",
            Self::EdDSA => "EdDSA",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::HS256, Self::RS256, Self::ES256, Self::EdDSA]
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
    }
}

/// A text that never shows in logs and explanations.
#[derive(Clone, Eq, PartialEq, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(***)")
    }
}

/// What a key is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum KeyMaterial {
    /// An HS256 secret, at least 32 bytes.
    Secret(Secret),
    /// A file with an HS256 secret; white space at its end does not count.
    SecretFile(PathBuf),
    /// A PEM file with a public key.
    PublicKeyFile(PathBuf),
}

/// One key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyConfig {
    /// How it signs.
    pub algorithm: Algorithm,
    /// The name by which tokens pick it; a key without one serves tokens that
    /// name no key, or one that no other key has.
    pub kid: Option<String>,
    /// The key itself.
    pub material: KeyMaterial,
}

/// How tokens are judged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// Keys that stay until the node restarts, at most 32 with those of the
    /// JWKS. Several may be live, so that they can be rotated.
    pub keys: Vec<KeyConfig>,
    /// A file with a JSON Web Key Set (RFC 7517), read again when it changes.
    /// Default none.
    pub jwks_file: Option<PathBuf>,
    /// Milliseconds between two looks at the JWKS file. Default 10,000; one look
    /// reads the file, at most 256 KiB.
    pub jwks_check_interval_ms: u64,
    /// Milliseconds between two looks that tokens with unknown keys can cause.
    /// Default 1,000.
    pub jwks_check_min_ms: u64,
    /// When not empty, a token's `aud` must hold one of these.
    pub audience: Vec<String>,
    /// When not empty, a token's `iss` must be one of these.
    pub issuer: Vec<String>,
    /// Seconds by which clocks may differ. Default 5.
    pub leeway_s: u64,
    /// Longest token, in bytes. Default and maximum 8,192.
    pub token_bytes_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            jwks_file: None,
            jwks_check_interval_ms: 10_000,
            jwks_check_min_ms: 1_000,
            audience: Vec::new(),
            issuer: Vec::new(),
            leeway_s: 5,
            token_bytes_max: confab_protocol::limits::TOKEN_BYTES_MAX,
        }
    }
}

#[cfg(test)]
mod tests;
