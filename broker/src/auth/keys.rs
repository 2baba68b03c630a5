//! Keys: read, checked for strength, and picked for a token.

use std::fmt;
use std::path::Path;

use jsonwebtoken::{DecodingKey, DecodingKeyKind};

use super::error::KeyError;
use super::{Algorithm, KeyConfig, KeyMaterial};

/// Most keys that may be live at once. A token without `kid` may have to be
/// held against each key of its algorithm.
pub(super) const KEYS_MAX: usize = 32;
/// Shortest HS256 secret, in bytes: the size of the hash (RFC 7518, 3.2).
const SECRET_BYTES_MIN: usize = 32;
/// Sizes of RSA keys that are neither weak nor a burden, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=4_096;
/// Largest key file, in bytes.
const KEY_FILE_BYTES_MAX: u64 = 64 << 10;

/// A key that verifies.
///
/// Invariant: `decoding` is a key of `algorithm`'s family, of accepted strength.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<Box<str>>,
    decoding: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({:?}, {:?})", self.algorithm, self.kid)
    }
}

impl Key {
    /// `None` when the key is weak or not one of `algorithm`.
    pub(super) fn new(
        algorithm: Algorithm,
        kid: Option<String>,
        decoding: DecodingKey,
    ) -> Option<Self> {
        is_sound(algorithm, &decoding).then(|| Self {
            algorithm,
            kid: kid.map(Into::into),
            decoding,
        })
    }

    pub(super) fn read(config: &KeyConfig) -> Result<Self, KeyError> {
        let decoding = match (&config.material, config.algorithm) {
            (KeyMaterial::Secret(secret), Algorithm::HS256) => {
                check_secret(secret.expose(), "the secret")?;
                DecodingKey::from_secret(secret.expose().as_bytes())
            }
            (KeyMaterial::SecretFile(path), Algorithm::HS256) => {
                DecodingKey::from_secret(read_secret_file(path)?.expose().as_bytes())
            }
            (KeyMaterial::PublicKeyFile(_), Algorithm::HS256) => {
                return Err(wrong_material(config.algorithm, "a secret", "a public key"));
            }
            (KeyMaterial::PublicKeyFile(path), algorithm) => read_public_key(path, algorithm)?,
            (_, algorithm) => return Err(wrong_material(algorithm, "a public key", "a secret")),
        };
        Ok(Self {
            algorithm: config.algorithm,
            kid: config.kid.as_deref().map(Into::into),
            decoding,
        })
    }

    /// Whether `signature`, in base64url, is this key's over `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let algorithm = match self.algorithm {
            Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        };
        jsonwebtoken::crypto::verify(signature, message, &self.decoding, algorithm).unwrap_or(false)
    }
}

fn wrong_material(algorithm: Algorithm, needs: &'static str, given: &'static str) -> KeyError {
    KeyError::WrongMaterial {
        algorithm: algorithm.name(),
        needs,
        given,
    }
}

fn check_secret(secret: &str, place: &str) -> Result<(), KeyError> {
    if secret.len() < SECRET_BYTES_MIN {
        return Err(KeyError::SecretTooShort {
            place: place.to_owned(),
            bytes: secret.len(),
        });
    }
    Ok(())
}

/// Reads an HS256 secret as the server does: text, without white space at its end.
///
/// # Errors
/// [`KeyError`] when the file cannot be read, is not text, or is too short.
pub fn read_secret_file(path: &Path) -> Result<super::Secret, KeyError> {
    let bytes = read_file(path, KEY_FILE_BYTES_MAX)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| KeyError::SecretNotText(path.into()))?;
    let secret = text.trim_end();
    check_secret(secret, &path.display().to_string())?;
    Ok(super::Secret::new(secret))
}

/// Reads a whole file of at most `bytes_max`.
pub(super) fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>, KeyError> {
    let failed = |source| KeyError::Read {
        path: path.into(),
        source,
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    let mut limited = std::io::Read::take(file, bytes_max + 1);
    std::io::Read::read_to_end(&mut limited, &mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    Ok(bytes)
}

fn read_public_key(path: &Path, algorithm: Algorithm) -> Result<DecodingKey, KeyError> {
    let pem = read_file(path, KEY_FILE_BYTES_MAX)?;
    if pem.windows(11).any(|window| window == b"PRIVATE KEY") {
        return Err(KeyError::PrivateKey(path.into()));
    }
    let (key, needs) = match algorithm {
        Algorithm::RS256 => (
            DecodingKey::from_rsa_pem(&pem),
            "PEM file with an RSA public key of 2,048 to 4,096 bits",
        ),
        Algorithm::ES256 => (
            DecodingKey::from_ec_pem(&pem),
            "PEM file with a public key on the curve P-256",
        ),
        Algorithm::EdDSA => (
            DecodingKey::from_ed_pem(&pem),
            "PEM file with an Ed25519 public key",
        ),
        Algorithm::HS256 => return Err(wrong_material(algorithm, "a secret", "a public key")),
    };
    key.ok()
        .filter(|key| is_sound(algorithm, key))
        .ok_or(KeyError::NotAKey {
            path: path.into(),
            needs,
        })
}

fn is_sound(algorithm: Algorithm, key: &DecodingKey) -> bool {
    match (algorithm, key.kind()) {
        (Algorithm::HS256, DecodingKeyKind::SecretOrDer(secret)) => {
            secret.len() >= SECRET_BYTES_MIN
        }
        (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, .. }) => {
            RSA_BITS.contains(&bits(n))
        }
        (Algorithm::RS256, DecodingKeyKind::SecretOrDer(der)) => {
            rsa_modulus(der).is_some_and(|n| RSA_BITS.contains(&bits(n)))
        }
        // An uncompressed point: 4, x, y.
        (Algorithm::ES256, DecodingKeyKind::SecretOrDer(point)) => {
            point.len() == 65 && point[0] == 4
        }
        (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(point)) => point.len() == 32,
        _ => false,
    }
}

fn bits(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|byte| **byte == 0).count();
    let first = number.len() - significant;
    number
        .get(first)
        .map_or(0, |byte| significant * 8 - byte.leading_zeros() as usize)
}

/// The modulus of a PKCS #1 public key: the first INTEGER of a SEQUENCE.
fn rsa_modulus(der: &[u8]) -> Option<&[u8]> {
    let (content, _) = der_value(der, 0x30)?;
    let (modulus, _) = der_value(content, 0x02)?;
    Some(modulus)
}

/// Splits a DER value with `tag` off `der`: its content and what follows.
fn der_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&length, rest) = rest.split_first()?;
    let (length, rest) = if length < 0x80 {
        (usize::from(length), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        let length = digits
            .iter()
            .fold(0usize, |sum, digit| sum << 8 | usize::from(*digit));
        (length, rest)
    };
    (found == tag).then(|| rest.split_at_checked(length))?
}
