//! The `confab` command: starts the broker, and is a client of one.
//!
//! Each subcommand is a module of [`commands`]; the terminal client is
//! [`chat`]. What goes wrong ends up as a [`Failure`], is told in one sentence
//! and sets the exit code.

mod arguments;
mod chat;
mod commands;
mod connect;
mod failure;
mod output;
mod profile;
mod sanitise;
mod stamp;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Cli, Command};
use failure::Failure;

/// The system's allocator takes longer for a send, mimalloc keeps a quarter more
/// memory for a connection that does nothing.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&error),
    };
    let json = cli.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}

/// Help and version are no errors; what is one is told as the caller wants it.
fn refuse_arguments(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    if error.use_stderr() && wants_json {
        return Failure::usage(usage_sentence(&error.to_string())).report(true);
    }
    // A terminal that is gone needs no help text.
    let _ = error.print();
    if error.use_stderr() {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    }
}

/// What clap says is wrong, without how the command is used.
fn usage_sentence(text: &str) -> String {
    let lines = text.lines().map(str::trim);
    let wrong = lines.take_while(|line| !line.starts_with("Usage:"));
    let words: Vec<&str> = wrong.filter(|line| !line.is_empty()).collect();
    words.join(" ").trim_start_matches("error: ").to_owned()
}

fn run(cli: Cli) -> Result<(), Failure> {
    let json = cli.json;
    match cli.command {
        Command::Serve(arguments) => commands::serve::run(&arguments, json),
        Command::Token(arguments) => commands::token::run(&arguments, json),
        Command::Chat(arguments) => chat::run(&arguments),
        Command::Send(arguments) => commands::send::run(&arguments, json),
        Command::Tail(arguments) => commands::tail::run(&arguments),
        Command::History(arguments) => commands::history::run(&arguments, json),
        Command::Channels(arguments) => commands::channels::run(&arguments, json),
        Command::Directory(arguments) => commands::directory::run(&arguments, json),
        Command::Verify(arguments) => commands::verify::run(&arguments, json),
        Command::Check(arguments) => commands::check::run(&arguments, json),
        Command::Version => commands::version::run(json),
    }
}

#[cfg(test)]
mod tests {
    use super::usage_sentence;

    #[test]
    fn a_program_is_told_what_is_missing() {
        let text = "error: the following required arguments were not provided:\n  <CHANNEL>\n\nUsage: confab tail <CHANNEL>\n";
        assert_eq!(
            usage_sentence(text),
            "the following required arguments were not provided: <CHANNEL>"
        );
    }
}
