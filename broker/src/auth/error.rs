//! Why a token is refused, and why a key cannot be used.

use std::path::PathBuf;

use confab_protocol::{ErrorCode, WireError};

/// Why a token is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TokenError {
    /// It will never be accepted: get another.
    #[error("{0}")]
    Invalid(#[from] InvalidToken),
    /// It was good once: get a new one.
    #[error("The token has expired: get a new one and connect again.")]
    Expired,
}

/// What is wrong with a token.
///
/// Until the signature is verified the sentences say nothing about the server's
/// keys; after that they tell the holder which claim to mend.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidToken {
    /// Longer than the limit.
    #[error("The token is longer than this server accepts: ask for one with fewer claims.")]
    TooLarge,
    /// Not three parts of base64url with a JSON header.
    #[error("{UNACCEPTED}")]
    Malformed,
    /// The header asks for something that this server does not do.
    #[error("{UNACCEPTED}")]
    CriticalHeader,
    /// No key signs like that, or `alg` is `none`.
    #[error("{UNACCEPTED}")]
    Algorithm,
    /// No key has the token's `kid`.
    #[error("{UNACCEPTED}")]
    UnknownKey,
    /// The signature is not that of the key.
    #[error("{UNACCEPTED}")]
    Signature,
    /// The claims are not a JSON object, or one has the wrong type.
    #[error("The token's claims cannot be read: {0}")]
    Claims(ClaimProblem),
    /// `nbf` or `iat` lies in the future.
    #[error("The token is not valid yet: check the clock of whoever issued it.")]
    NotYetValid,
    /// `aud` does not name this server.
    #[error("The token is for another audience: its `aud` must name this server.")]
    Audience,
    /// `iss` is not one that this server trusts.
    #[error("The token's `iss` is not an issuer that this server trusts.")]
    Issuer,
}

const UNACCEPTED: &str =
    "The token is not one that this server accepts: get a new one and connect again.";

/// Which claim is wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ClaimProblem(pub(super) &'static str);

impl InvalidToken {
    /// A short name for metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::CriticalHeader => "critical_header",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::Claims(_) => "claims",
            Self::NotYetValid => "not_yet_valid",
            Self::Audience => "audience",
            Self::Issuer => "issuer",
        }
    }
}

impl TokenError {
    /// A short name for metrics and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid(invalid) => invalid.name(),
            Self::Expired => "expired",
        }
    }

    /// The code that the client gets.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::TokenInvalid,
            Self::Expired => ErrorCode::TokenExpired,
        }
    }
}

impl From<TokenError> for WireError {
    fn from(error: TokenError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// Why a configured key cannot be used. The sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No key at all.
    #[error(
        "no key is configured, so no token could ever be accepted: set auth.secret_file, \
         auth.jwks_file or an [[auth.keys]] table (or start with --dev to try things out)"
    )]
    NoKeys,
    /// Too many of them.
    #[error(
        "{0} keys are more than the {1} that may be live at once: remove those that are retired"
    )]
    TooMany(usize, usize),
    /// A file cannot be read.
    #[error("cannot read the key file {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A secret that could be guessed.
    #[error(
        "{place} holds {bytes} bytes, but an HS256 secret needs at least 32: make one with \
         `openssl rand -hex 32`"
    )]
    SecretTooShort {
        /// The setting or the file.
        place: String,
        /// Its length.
        bytes: usize,
    },
    /// A secret that is not text.
    #[error("{0} is not text in UTF-8: write the secret as text, e.g. `openssl rand -hex 32`")]
    SecretNotText(PathBuf),
    /// A secret where a public key belongs, or the other way round.
    #[error("{algorithm} keys need {needs}, not {given}")]
    WrongMaterial {
        /// The key's algorithm.
        algorithm: &'static str,
        /// What it needs.
        needs: &'static str,
        /// What was set.
        given: &'static str,
    },
    /// A private key where only the public one belongs.
    #[error("{0} holds a private key: give this server the public key alone")]
    PrivateKey(PathBuf),
    /// Not a key of the algorithm.
    #[error("{path} is not a {needs}")]
    NotAKey {
        /// Which file.
        path: PathBuf,
        /// What it should be.
        needs: &'static str,
    },
    /// Not a key set.
    #[error("{0} is not a JSON Web Key Set: it must hold {{\"keys\": [...]}} and at most 256 KiB")]
    NotAKeySet(PathBuf),
    /// A key set without a usable key.
    #[error(
        "{0} has no key that this server can use: it takes RSA (2,048 to 4,096 bits), P-256 and \
         Ed25519 keys for signatures"
    )]
    EmptyKeySet(PathBuf),
}
