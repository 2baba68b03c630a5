//! `cargo xtask test`: every check and test, in the order in which they fail
//! soonest.

use std::time::Instant;

use crate::checks;
use crate::process::{Failure, binary, cargo, program};

struct Step {
    name: &'static str,
    what: &'static str,
    run: fn() -> Result<(), Failure>,
}

const STEPS: &[Step] = &[
    Step {
        name: "format",
        what: "rustfmt has nothing to change",
        run: format,
    },
    Step {
        name: "layout",
        what: "crates, libraries, files, names and links are where they belong",
        run: checks::layout,
    },
    Step {
        name: "versions",
        what: "no dependency is below its floor",
        run: checks::versions,
    },
    Step {
        name: "clippy",
        what: "clippy has no warning, tests and benches included",
        run: clippy,
    },
    Step {
        name: "docs",
        what: "rustdoc has no warning",
        run: docs,
    },
    Step {
        name: "wasm",
        what: "the protocol and the client's core build for browsers",
        run: wasm,
    },
    Step {
        name: "build",
        what: "the broker builds",
        run: build,
    },
    Step {
        name: "tests",
        what: "all tests of the workspace pass",
        run: tests,
    },
    Step {
        name: "deny",
        what: "licences, bans and sources, when cargo-deny is installed",
        run: deny,
    },
];

/// Prints what `test` would run.
pub(crate) fn list() -> Result<(), Failure> {
    for step in STEPS {
        println!("{:<9} {}", step.name, step.what);
    }
    Ok(())
}

/// Runs all steps, or those named; stops at the first that fails.
pub(crate) fn test(names: &[String]) -> Result<(), Failure> {
    for name in names {
        if !STEPS.iter().any(|step| step.name == name) {
            let reason = format!("there is no step `{name}`; see `cargo xtask steps`");
            return Err(Failure::new(reason));
        }
    }
    let chosen = |step: &&Step| names.is_empty() || names.iter().any(|name| name == step.name);
    let mut times = Vec::new();
    for step in STEPS.iter().filter(chosen) {
        eprintln!("\n== {}: {}", step.name, step.what);
        let begin = Instant::now();
        (step.run)().map_err(|Failure(reason)| {
            Failure(format!(
                "step `{}`: {reason}\nto run it alone: cargo xtask test {}",
                step.name, step.name
            ))
        })?;
        times.push((step.name, begin.elapsed().as_secs()));
    }
    eprintln!("\nall passed:");
    for (name, seconds) in times {
        eprintln!("  {name:<9} {seconds:>5} s");
    }
    Ok(())
}

fn format() -> Result<(), Failure> {
    cargo(&["fmt", "--all", "--check"]).run()
}

fn clippy() -> Result<(), Failure> {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ])
    .run()
}

fn docs() -> Result<(), Failure> {
    cargo(&["doc", "--workspace", "--no-deps", "--quiet"])
        .env(
            "RUSTDOCFLAGS",
            "-D warnings -A rustdoc::private-intra-doc-links",
        )
        .run()
}

const WASM: &str = "wasm32-unknown-unknown";

fn wasm() -> Result<(), Failure> {
    install_target(WASM)?;
    cargo(&["build", "--target", WASM, "--package", "confab-protocol"]).run()?;
    cargo(&[
        "build",
        "--target",
        WASM,
        "--package",
        "confab-client",
        "--no-default-features",
    ])
    .run()
}

fn install_target(target: &str) -> Result<(), Failure> {
    let installed = program("rustup".as_ref())
        .args(["target", "list", "--installed"])
        .output();
    let Some(installed) = installed else {
        // Without rustup the target came with the compiler, or the build says
        // that it is missing.
        return Ok(());
    };
    if installed.lines().any(|line| line == target) {
        return Ok(());
    }
    program("rustup".as_ref())
        .args(["target", "add", target])
        .run()
}

fn build() -> Result<(), Failure> {
    cargo(&["build", "--package", "confab"]).run()
}

fn tests() -> Result<(), Failure> {
    cargo(&["test", "--workspace"])
        .env("CONFAB_BIN", binary("debug"))
        .run()
}

fn deny() -> Result<(), Failure> {
    if !cargo(&["deny", "--version"]).succeeds() {
        eprintln!("cargo-deny is not installed: skipped");
        return Ok(());
    }
    cargo(&[
        "deny",
        "--log-level",
        "error",
        "check",
        "bans",
        "licenses",
        "sources",
    ])
    .run()
}
