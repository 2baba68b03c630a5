//! The judge of tokens.
//!
//! The order matters: size, shape, header, key, signature, and only then what
//! the token claims. `jku`, `jwk`, `x5u` and `x5c` are never looked at, and
//! `kid` only picks among keys that are configured.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::RwLock;
use serde::Deserialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::claims::{Claims, Expected, RawClaims};
use super::error::{InvalidToken, KeyError, TokenError};
use super::jwks::{self, KeySet};
use super::keys::{KEYS_MAX, Key};
use super::{Algorithm, Config};

/// Longest `kid`, in bytes.
const KID_BYTES_MAX: usize = 256;
/// How long a token with an unknown key waits for the JWKS file to be read.
const KEY_WAIT: Duration = Duration::from_secs(2);

/// Verifies tokens against the configured keys. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    keys: Vec<Key>,
    key_set: RwLock<Arc<KeySet>>,
    /// A token named a key that is not known: look at the JWKS file.
    wanted: Notify,
    /// How often the JWKS file was looked at.
    looks: watch::Sender<u64>,
}

/// The parts of a header that count. One that comes twice is refused by serde.
#[derive(Deserialize)]
struct RawHeader {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "is_present")]
    crit: bool,
}

fn is_present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    serde::de::IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Verifier {
    /// Reads the keys. Blocks on the files.
    ///
    /// # Errors
    /// [`KeyError`] for the first key that cannot be used.
    pub fn new(config: Config) -> Result<Self, KeyError> {
        let keys = config
            .keys
            .iter()
            .map(Key::read)
            .collect::<Result<Vec<_>, _>>()?;
        let mut key_set = KeySet {
            bytes: Vec::new(),
            keys: Vec::new(),
        };
        if let Some(path) = &config.jwks_file
            && let Some(read) = jwks::read(path, &[])?
        {
            key_set = read;
        }
        match keys.len() + key_set.keys.len() {
            0 => return Err(KeyError::NoKeys),
            count if count > KEYS_MAX => return Err(KeyError::TooMany(count, KEYS_MAX)),
            _ => {}
        }
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                keys,
                key_set: RwLock::new(Arc::new(key_set)),
                wanted: Notify::new(),
                looks: watch::Sender::new(0),
            }),
        })
    }

    /// How long after `exp` a token is still taken, in milliseconds.
    #[must_use]
    pub fn leeway_ms(&self) -> u64 {
        self.inner.config.leeway_s.saturating_mul(1_000)
    }

    /// Judges `token` at the Unix time `now_s`.
    ///
    /// # Errors
    /// [`TokenError`]; it becomes the answer to the client with `into()`.
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Claims, TokenError> {
        let inner = &self.inner;
        if token.len() > inner.config.token_bytes_max {
            return Err(InvalidToken::TooLarge.into());
        }
        let (message, signature) = token.rsplit_once('.').ok_or(InvalidToken::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(InvalidToken::Malformed)?;
        if payload.contains('.') {
            return Err(InvalidToken::Malformed.into());
        }
        let header = parse_header(header)?;
        let algorithm = Algorithm::from_name(&header.alg).ok_or(InvalidToken::Algorithm)?;
        inner.check_signature(algorithm, header.kid.as_deref(), message, signature)?;
        let payload = URL_SAFE_NO_PAD
            .decode(payload)
            .map_err(|_| InvalidToken::Malformed)?;
        RawClaims::parse(&payload)?.check(&Expected {
            now_s,
            leeway_s: inner.config.leeway_s,
            audience: &inner.config.audience,
            issuer: &inner.config.issuer,
        })
    }

    /// As [`Verifier::verify`]; when the token names a key that is not known,
    /// waits up to two seconds for a look at the JWKS file, so that a key is
    /// known as soon as it is published.
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub async fn authenticate(&self, token: &str, now_s: u64) -> Result<Claims, TokenError> {
        let unknown_key = Err(TokenError::Invalid(InvalidToken::UnknownKey));
        let mut looks = self.inner.looks.subscribe();
        let judged = self.verify(token, now_s);
        if judged != unknown_key || self.inner.config.jwks_file.is_none() {
            return judged;
        }
        self.inner.wanted.notify_one();
        match timeout(KEY_WAIT, looks.changed()).await {
            Ok(Ok(())) => self.verify(token, now_s),
            _ => unknown_key,
        }
    }

    /// Watches the JWKS file until `shutdown`. A file that cannot be used leaves
    /// the keys as they were.
    pub async fn run(self, shutdown: CancellationToken) {
        let config = &self.inner.config;
        if config.jwks_file.is_none() {
            return shutdown.cancelled().await;
        }
        let interval = Duration::from_millis(config.jwks_check_interval_ms.max(1));
        let pause = Duration::from_millis(config.jwks_check_min_ms).min(interval);
        loop {
            let looked_at = Instant::now();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep_until(looked_at + interval) => {}
                () = self.inner.wanted.notified() => sleep_until(looked_at + pause).await,
            }
            self.look().await;
        }
    }

    async fn look(&self) {
        let inner = Arc::clone(&self.inner);
        let looked = tokio::task::spawn_blocking(move || inner.look()).await;
        if let Ok(Err(error)) = looked {
            tracing::warn!(%error, "the JWKS file is left aside; the keys stay as they were");
        }
        self.inner.looks.send_modify(|looks| *looks += 1);
    }
}

fn parse_header(header: &str) -> Result<RawHeader, InvalidToken> {
    let header = URL_SAFE_NO_PAD
        .decode(header)
        .map_err(|_| InvalidToken::Malformed)?;
    if !header.trim_ascii_start().starts_with(b"{") {
        return Err(InvalidToken::Malformed);
    }
    let header: RawHeader = serde_json::from_slice(&header).map_err(|_| InvalidToken::Malformed)?;
    // RFC 7515, 4.1.11: what is critical and not understood must be refused, and
    // nothing is understood here.
    if header.crit {
        return Err(InvalidToken::CriticalHeader);
    }
    if header
        .kid
        .as_ref()
        .is_some_and(|kid| kid.len() > KID_BYTES_MAX)
    {
        return Err(InvalidToken::Malformed);
    }
    Ok(header)
}

impl Inner {
    /// Holds the signature against the keys that the header may mean: those with
    /// its `kid`, else those without a name of their own; without `kid`, all.
    fn check_signature(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        message: &str,
        signature: &str,
    ) -> Result<(), InvalidToken> {
        let key_set = Arc::clone(&self.key_set.read());
        let all = || self.keys.iter().chain(&key_set.keys);
        let is_named = kid.is_some_and(|kid| all().any(|key| key.kid.as_deref() == Some(kid)));
        let mut candidates = all()
            .filter(|key| match kid {
                Some(kid) if is_named => key.kid.as_deref() == Some(kid),
                Some(_) => key.kid.is_none(),
                None => true,
            })
            .peekable();
        if candidates.peek().is_none() {
            return Err(InvalidToken::UnknownKey);
        }
        let mut fitting = candidates
            .filter(|key| key.algorithm == algorithm)
            .peekable();
        if fitting.peek().is_none() {
            return Err(if kid.is_some() && !is_named {
                InvalidToken::UnknownKey
            } else {
                InvalidToken::Algorithm
            });
        }
        if fitting.any(|key| key.verifies(message.as_bytes(), signature)) {
            return Ok(());
        }
        Err(InvalidToken::Signature)
    }

    fn look(&self) -> Result<(), KeyError> {
        let Some(path) = &self.config.jwks_file else {
            return Ok(());
        };
        let known = Arc::clone(&self.key_set.read());
        let Some(read) = jwks::read(path, &known.bytes)? else {
            return Ok(());
        };
        let count = self.keys.len() + read.keys.len();
        if count > KEYS_MAX {
            return Err(KeyError::TooMany(count, KEYS_MAX));
        }
        tracing::info!(
            keys = read.keys.len(),
            "the JWKS file has changed; its keys are in use"
        );
        *self.key_set.write() = Arc::new(read);
        Ok(())
    }
}
