//! `cargo xtask bench`: criterion's benches, then the load generator.

use crate::process::{Failure, binary, cargo};

/// Runs the benches of the workspace, then the load generator against the
/// release build of the broker, which it finds in `CONFAB_BIN`.
pub(crate) fn bench(arguments: &[String]) -> Result<(), Failure> {
    cargo(&["build", "--release", "--package", "confab"]).run()?;
    if arguments.is_empty() {
        cargo(&["bench", "--package", "confab-bench"]).run()?;
    }
    cargo(&[
        "run",
        "--quiet",
        "--release",
        "--package",
        "confab-bench",
        "--",
    ])
    .args(arguments)
    .env("CONFAB_BIN", binary("release"))
    .run()
}
