//! What a verified token says, checked claim by claim.

use confab_protocol::limits::NAME_BYTES_MAX;
use confab_protocol::message::session::UserKind;
use confab_protocol::{DepartmentId, UserId};
use serde::Deserialize;
use serde_json::Number;

use super::error::{ClaimProblem, InvalidToken, TokenError};

/// Most departments that a token may name.
const DEPARTMENTS_MAX: usize = confab_core::directory::CLAIMED_DEPARTMENTS_MAX;
/// Most roles that a token may name.
const ROLES_MAX: usize = 100;
/// Longest `jti`, in bytes.
const TOKEN_ID_BYTES_MAX: usize = 128;
/// The end of year 9999 in Unix seconds: later times count as this one, so that
/// sums with them never overflow.
const TIME_MAX_S: u64 = 253_402_300_799;

/// What a token says about its user.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claims {
    /// `sub`.
    pub user: UserId,
    /// `exp` in Unix milliseconds; the verifier still takes the token for its
    /// leeway after that.
    pub expires_at_ms: u64,
    /// `iat` in Unix seconds, when given.
    pub issued_at_s: Option<u64>,
    /// `jti`: names the token, so that it can be revoked.
    pub token_id: Option<String>,
    /// `name`, 1 to 200 bytes without control characters, when given.
    pub name: Option<String>,
    /// `kind`, when given. A user who is provisioned from a token without it
    /// should get the lesser: a client.
    pub kind: Option<UserKind>,
    /// `departments`, when given: all that the user belongs to.
    pub departments: Option<Vec<DepartmentId>>,
    /// Whether `roles` holds `admin`: the user administers the server. `None`
    /// when the token has no `roles`.
    pub admin: Option<bool>,
}

/// The claims as they stand in the token. Others are ignored; one that comes
/// twice is refused by serde.
#[derive(Deserialize)]
pub(super) struct RawClaims {
    sub: Option<String>,
    exp: Option<Number>,
    nbf: Option<Number>,
    iat: Option<Number>,
    aud: Option<OneOrMany>,
    iss: Option<String>,
    jti: Option<String>,
    name: Option<String>,
    kind: Option<String>,
    departments: Option<Vec<String>>,
    roles: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn holds_one_of(&self, accepted: &[String]) -> bool {
        match self {
            Self::One(name) => accepted.contains(name),
            Self::Many(names) => names.iter().any(|name| accepted.contains(name)),
        }
    }
}

/// What the claims are held against.
pub(super) struct Expected<'a> {
    pub(super) now_s: u64,
    pub(super) leeway_s: u64,
    pub(super) audience: &'a [String],
    pub(super) issuer: &'a [String],
}

impl RawClaims {
    pub(super) fn parse(payload: &[u8]) -> Result<Self, TokenError> {
        // A JSON array would fill the fields by place.
        if !payload.trim_ascii_start().starts_with(b"{") {
            return Err(problem("they are not a JSON object."));
        }
        serde_json::from_slice(payload).map_err(|_| {
            problem("they are not a JSON object whose members have the right types, each once.")
        })
    }

    pub(super) fn check(self, expected: &Expected<'_>) -> Result<Claims, TokenError> {
        let expires_at_s = self.check_times(expected)?;
        self.check_origin(expected)?;
        let user = self.sub.as_deref().ok_or(problem("`sub` is missing."))?;
        let user = UserId::new(user)
            .map_err(|_| problem("`sub` must be 1 to 64 characters of A-Z a-z 0-9 . _ @ -."))?;
        Ok(Claims {
            user,
            expires_at_ms: expires_at_s * 1_000,
            issued_at_s: self.iat.as_ref().map(seconds),
            token_id: self.jti.map(check_token_id).transpose()?,
            name: check_name(self.name)?,
            kind: self.kind.as_deref().map(check_kind).transpose()?,
            departments: self.departments.map(check_departments).transpose()?,
            admin: self.roles.map(|roles| is_admin(&roles)).transpose()?,
        })
    }

    /// The times, `exp` being returned.
    fn check_times(&self, expected: &Expected<'_>) -> Result<u64, TokenError> {
        let exp = self.exp.as_ref().ok_or(problem("`exp` is missing."))?;
        let expires_at_s = seconds(exp);
        if expected.now_s >= expires_at_s.saturating_add(expected.leeway_s) {
            return Err(TokenError::Expired);
        }
        let latest = expected.now_s.saturating_add(expected.leeway_s);
        let begins = [&self.nbf, &self.iat];
        if begins
            .into_iter()
            .flatten()
            .any(|time| seconds(time) > latest)
        {
            return Err(InvalidToken::NotYetValid.into());
        }
        Ok(expires_at_s)
    }

    fn check_origin(&self, expected: &Expected<'_>) -> Result<(), TokenError> {
        if !expected.audience.is_empty()
            && !self
                .aud
                .as_ref()
                .is_some_and(|aud| aud.holds_one_of(expected.audience))
        {
            return Err(InvalidToken::Audience.into());
        }
        if !expected.issuer.is_empty()
            && !self
                .iss
                .as_ref()
                .is_some_and(|iss| expected.issuer.contains(iss))
        {
            return Err(InvalidToken::Issuer.into());
        }
        Ok(())
    }
}

fn problem(sentence: &'static str) -> TokenError {
    InvalidToken::Claims(ClaimProblem(sentence)).into()
}

/// A NumericDate (RFC 7519, 2): seconds, perhaps with a fraction. What lies
/// before 1970 counts as 0.
fn seconds(number: &Number) -> u64 {
    let whole = number
        .as_u64()
        // The cast saturates and takes what is below 0, or not a number, for 0.
        .unwrap_or_else(|| number.as_f64().map_or(0, |fraction| fraction as u64));
    whole.min(TIME_MAX_S)
}

fn check_token_id(id: String) -> Result<String, TokenError> {
    if id.is_empty() || id.len() > TOKEN_ID_BYTES_MAX {
        return Err(problem("`jti` must have 1 to 128 bytes."));
    }
    Ok(id)
}

fn check_name(name: Option<String>) -> Result<Option<String>, TokenError> {
    let Some(name) = name else { return Ok(None) };
    let name = name.trim();
    if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(problem(
            "`name` must have at most 200 bytes and no control characters.",
        ));
    }
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

fn check_kind(kind: &str) -> Result<UserKind, TokenError> {
    match kind {
        "internal" => Ok(UserKind::Internal),
        "client" => Ok(UserKind::Client),
        _ => Err(problem("`kind` must be `internal` or `client`.")),
    }
}

fn check_departments(departments: Vec<String>) -> Result<Vec<DepartmentId>, TokenError> {
    if departments.len() > DEPARTMENTS_MAX {
        return Err(problem("`departments` may name at most 32."));
    }
    departments
        .iter()
        .map(|id| DepartmentId::new(id))
        .collect::<Result<_, _>>()
        .map_err(|_| {
            problem("`departments` must hold ids of 1 to 64 characters of A-Z a-z 0-9 . _ @ -.")
        })
}

fn is_admin(roles: &[String]) -> Result<bool, TokenError> {
    if roles.len() > ROLES_MAX {
        return Err(problem("`roles` may name at most 100."));
    }
    Ok(roles.iter().any(|role| role == "admin"))
}
