//! Signing tokens with a shared secret: for `confab token` and for tests.

use confab_protocol::message::session::UserKind;
use confab_protocol::{DepartmentId, UserId};
use jsonwebtoken::{EncodingKey, Header};
use serde::Serialize;

use super::Secret;

/// What a token is to say.
#[derive(Clone, Debug, Serialize)]
pub struct ClaimsSpec {
    /// `sub`.
    #[serde(rename = "sub")]
    pub user: UserId,
    /// For how many seconds the token is valid.
    #[serde(skip)]
    pub ttl_s: u64,
    /// `name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `kind`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<UserKind>,
    /// `departments`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub departments: Option<Vec<DepartmentId>>,
    /// `roles`; `admin` administers the server.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<String>,
    /// `aud`, for servers that ask for one.
    #[serde(rename = "aud", skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// `iss`, for servers that ask for one.
    #[serde(rename = "iss", skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// `jti`.
    #[serde(rename = "jti", skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
}

impl ClaimsSpec {
    /// A token for an internal user, valid for an hour, that says nothing else.
    #[must_use]
    pub fn new(user: UserId) -> Self {
        Self {
            user,
            ttl_s: 3_600,
            name: None,
            kind: Some(UserKind::Internal),
            departments: None,
            roles: Vec::new(),
            audience: None,
            issuer: None,
            token_id: None,
        }
    }
}

#[derive(Serialize)]
struct Payload<'a> {
    #[serde(flatten)]
    spec: &'a ClaimsSpec,
    iat: u64,
    exp: u64,
}

/// Signs a token with an HS256 `secret` at the Unix time `now_s`.
#[must_use]
pub fn issue(secret: &Secret, spec: &ClaimsSpec, now_s: u64) -> String {
    let payload = Payload {
        spec,
        iat: now_s,
        exp: now_s.saturating_add(spec.ttl_s),
    };
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::default(), &payload, &key)
        .expect("HMAC takes any key, and texts and numbers are always JSON")
}
