//! `confab version`.

use serde::Serialize;

use crate::failure::Failure;
use crate::output::Output;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    version: &'static str,
    /// The oldest and newest wire protocol that this build speaks.
    protocol_min: u16,
    protocol_max: u16,
}

pub(crate) fn run(json: bool) -> Result<(), Failure> {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        protocol_min: *confab_protocol::PROTOCOL_VERSIONS.start(),
        protocol_max: *confab_protocol::PROTOCOL_VERSIONS.end(),
    };
    let mut output = Output::new();
    if json {
        output.json(&version)?;
    } else {
        output.line(&format!("confab {}", version.version))?;
    }
    output.flush()
}
