//! Tokens, right and wrong, signed without the broker's code.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::{Value, json};

/// The time in Unix seconds.
#[must_use]
pub fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

/// A token that is put together. [`Token::sign`] makes it one.
#[derive(Clone, Debug)]
pub struct Token {
    header: Value,
    claims: Value,
}

impl Token {
    /// An internal user's token for an hour, issued now.
    #[must_use]
    pub fn of(user: &str) -> Self {
        let now = now_s();
        Self {
            header: json!({"alg": "HS256", "typ": "JWT"}),
            claims: json!({"sub": user, "kind": "internal", "iat": now, "exp": now + 3_600}),
        }
    }

    /// A client of the company, not one of its people.
    #[must_use]
    pub fn client(self) -> Self {
        self.claim("kind", "client")
    }

    /// Somebody who administers the server.
    #[must_use]
    pub fn admin(self) -> Self {
        self.claim("roles", json!(["admin"]))
    }

    /// The display name.
    #[must_use]
    pub fn name(self, name: &str) -> Self {
        self.claim("name", name)
    }

    /// Valid for so many seconds from now.
    #[must_use]
    pub fn ttl_s(self, ttl_s: u64) -> Self {
        self.claim("exp", now_s() + ttl_s)
    }

    /// Any claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    /// Leaves a claim out.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.as_object_mut().unwrap().remove(name);
        self
    }

    /// Any field of the header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    /// What is signed: header and claims.
    #[must_use]
    pub fn unsigned(&self) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}", part(&self.header), part(&self.claims))
    }

    /// The token, signed with HMAC-SHA256 whatever its header says.
    #[must_use]
    pub fn sign(&self, secret: &[u8]) -> String {
        self.sign_by(hmac::HMAC_SHA256, secret)
    }

    /// The token, signed with another HMAC.
    #[must_use]
    pub fn sign_by(&self, algorithm: hmac::Algorithm, secret: &[u8]) -> String {
        let unsigned = self.unsigned();
        let tag = hmac::sign(&hmac::Key::new(algorithm, secret), unsigned.as_bytes());
        format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}
