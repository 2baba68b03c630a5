//! `confab token`: signs a token with a shared secret.

use confab_broker::auth::{ClaimsSpec, issue, read_secret_file};
use confab_broker::config::development::Files;
use confab_protocol::limits::NAME_BYTES_MAX;
use confab_protocol::message::session::UserKind;
use serde::Serialize;

use crate::arguments::{Kind, Role, TokenArguments};
use crate::failure::Failure;
use crate::output::Output;
use crate::stamp::now_ms;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Signed {
    token: String,
    user: String,
    expires_at_ms: u64,
}

pub(crate) fn run(arguments: &TokenArguments, json: bool) -> Result<(), Failure> {
    let path = match (&arguments.secret_file, &arguments.data_dir) {
        (Some(file), _) => file.clone(),
        (None, Some(data_dir)) => Files::of(data_dir).secret,
        (None, None) => return Err(Failure::usage("give --data-dir or --secret-file")),
    };
    if !path.exists() {
        return Err(Failure::new(
            "no_secret",
            format!(
                "{} is not there: start a development server on that directory first (`confab serve --dev --data-dir DIR`), or give --secret-file",
                path.display()
            ),
        ));
    }
    let secret =
        read_secret_file(&path).map_err(|error| Failure::new("no_secret", error.to_string()))?;
    let spec = spec(arguments)?;
    let now_s = now_ms() / 1_000;
    let token = issue(&secret, &spec, now_s);
    let mut output = Output::new();
    if json {
        output.json(&Signed {
            token,
            user: spec.user.to_string(),
            expires_at_ms: now_s.saturating_add(spec.ttl_s).saturating_mul(1_000),
        })?;
    } else {
        output.line(&token)?;
    }
    output.flush()
}

fn spec(arguments: &TokenArguments) -> Result<ClaimsSpec, Failure> {
    if arguments.ttl.is_zero() {
        return Err(Failure::usage("--ttl 0s is a token that was never valid"));
    }
    if let Some(name) = &arguments.name
        && (name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control))
    {
        return Err(Failure::usage(
            "--name must have at most 200 bytes and no control characters",
        ));
    }
    let departments = &arguments.departments;
    Ok(ClaimsSpec {
        ttl_s: arguments.ttl.as_secs(),
        name: arguments.name.clone(),
        kind: Some(match arguments.kind {
            Kind::Internal => UserKind::Internal,
            Kind::Client => UserKind::Client,
        }),
        departments: (!departments.is_empty()).then(|| departments.clone()),
        roles: arguments
            .role
            .iter()
            .map(|Role::Admin| "admin".to_owned())
            .collect(),
        audience: arguments.audience.clone(),
        issuer: arguments.issuer.clone(),
        token_id: arguments.token_id.clone(),
        ..ClaimsSpec::new(arguments.user.clone())
    })
}
