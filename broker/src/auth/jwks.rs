//! A JSON Web Key Set (RFC 7517): the public keys in it that can be used.

use std::path::Path;

use jsonwebtoken::DecodingKey;
use serde::Deserialize;

use super::Algorithm;
use super::error::KeyError;
use super::keys::{Key, read_file};

/// Largest key set, in bytes.
const JWKS_BYTES_MAX: u64 = 256 << 10;

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A set as its file held it.
pub(super) struct KeySet {
    pub(super) bytes: Vec<u8>,
    pub(super) keys: Vec<Key>,
}

/// Reads the file. `None` when its content is `known`: nothing has changed.
pub(super) fn read(path: &Path, known: &[u8]) -> Result<Option<KeySet>, KeyError> {
    let bytes = read_file(path, JWKS_BYTES_MAX)?;
    if bytes == known {
        return Ok(None);
    }
    let set: RawSet =
        serde_json::from_slice(&bytes).map_err(|_| KeyError::NotAKeySet(path.into()))?;
    // A set may hold keys that are not for us: those are passed over, not errors.
    let keys: Vec<Key> = set.keys.into_iter().filter_map(usable_key).collect();
    if keys.is_empty() {
        return Err(KeyError::EmptyKeySet(path.into()));
    }
    Ok(Some(KeySet { bytes, keys }))
}

fn usable_key(value: serde_json::Value) -> Option<Key> {
    let raw: RawKey = serde_json::from_value(value).ok()?;
    let for_signatures = raw
        .purpose
        .as_deref()
        .is_none_or(|purpose| purpose == "sig")
        && raw
            .key_ops
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
    if !for_signatures {
        return None;
    }
    // Secrets (`oct`) are passed over: they have no place in a public set.
    let (algorithm, decoding) = match (raw.kty.as_str(), raw.crv.as_deref()) {
        ("RSA", _) => (
            Algorithm::RS256,
            DecodingKey::from_rsa_components(raw.n.as_deref()?, raw.e.as_deref()?),
        ),
        ("EC", Some("P-256")) => (
            Algorithm::ES256,
            DecodingKey::from_ec_components(raw.x.as_deref()?, raw.y.as_deref()?),
        ),
        ("OKP", Some("Ed25519")) => (
            Algorithm::EdDSA,
            DecodingKey::from_ed_components(raw.x.as_deref()?),
        ),
        _ => return None,
    };
    if raw
        .alg
        .is_some_and(|alg| Algorithm::from_name(&alg) != Some(algorithm))
    {
        return None;
    }
    Key::new(algorithm, raw.kid, decoding.ok()?)
}
