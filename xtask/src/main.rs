//! One command for each thing a person does in this repository.
//!
//! `cargo xtask run` starts a development broker, `cargo xtask test` runs every
//! check and test. What is needed and missing is installed by the step that
//! needs it. Nothing here knows the broker's code; it starts other programs.

mod bench;
mod checks;
mod process;
mod run;
mod steps;

use std::process::ExitCode;

use process::Failure;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  run [--debug] [--data-dir DIR] [ARGUMENTS]
             build the broker and start it for development; what is not known
             here is passed to `confab serve`
  test [STEP]...
             run every check and test, or only the steps named
  ci         the same as `test`, as continuous integration runs it
  bench [ARGUMENTS]
             run the benches, then the load generator with the arguments
  docs       bring deploy/confab.toml and the generated tables of docs up to date
  steps      list the steps of `test`
";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let rest: Vec<String> = arguments.collect();
    let done = match command.as_str() {
        "run" => run::run(&rest),
        "test" => steps::test(&rest),
        "ci" => steps::test(&[]),
        "bench" => bench::bench(&rest),
        "docs" => write_docs(),
        "steps" => steps::list(),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure(reason)) => {
            eprintln!("\nxtask {command} failed: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn write_docs() -> Result<(), Failure> {
    let write = |arguments: &[&str]| {
        let mut all = vec!["test", "--quiet", "--package"];
        all.extend(arguments);
        process::cargo(&all).env("CONFAB_WRITE_DOCS", "1").run()
    };
    write(&["confab-protocol", "--test", "document"])?;
    write(&["confab-core", "--lib", "rights::tests::document"])?;
    write(&["confab-broker", "--lib", "config::documents"])
}
