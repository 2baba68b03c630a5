#![allow(clippy::unwrap_used)]
use clap::{CommandFactory, Parser};

use super::{Cli, Command};

fn parse(line: &str) -> Result<Command, clap::Error> {
    Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
}

#[test]
fn the_definitions_hold_together() {
    Cli::command().debug_assert();
}

/// The README, the docs and `cargo xtask run` tell people to type these.
#[test]
fn what_the_documents_promise_can_be_typed() {
    for line in [
        "confab serve --dev --data-dir target/dev-data",
        "confab serve --dev --data-dir d --quic 127.0.0.1:0 --http 127.0.0.1:0 --ops 127.0.0.1:0 --peer 127.0.0.1:0",
        "confab chat --data-dir target/dev-data --user u1",
        "confab tail general-company --data-dir target/dev-data --user u2 --from 1",
        "confab tail general-company dept-sales --once",
        "confab tail --all --json",
        "confab send general-company hello --data-dir target/dev-data --user u1",
        "confab send general-company -",
        "confab send --dm u2 hello",
        "confab history general-company --data-dir target/dev-data --user u1",
        "confab history general-company --before 7 --limit 3 --thread 2",
        "confab channels --data-dir target/dev-data --user u1 --json",
        "confab token --data-dir d --user u3 --name Uma --kind client --role admin --ttl 8h",
        "confab chat --server chat.example.com:4433 --ca ca.pem",
        "confab directory import - --dry-run",
        "confab verify --data-dir d",
        "confab verify --data-dir d --repair --accept-loss",
        "confab check --config confab.toml",
        "confab version",
        "confab --json version",
    ] {
        assert!(parse(line).is_ok(), "{line}: {:?}", parse(line).err());
    }
}

#[test]
fn wrong_usage_is_refused_with_code_2() {
    for line in [
        "confab",
        "confab tail",
        "confab tail general-company --all",
        "confab tail no-such-kind",
        "confab send",
        "confab history general-company --before 1 --after 2",
        "confab history general-company --limit 0",
        "confab token --user u1",
        "confab token --data-dir d --user a/b",
        "confab token --data-dir d --user u1 --ttl 8",
        "confab verify --data-dir d --accept-loss",
        "confab chat --user u1",
        "confab chat --data-dir d --server h:1",
        "confab directory import f --batch 1001",
    ] {
        let error = parse(line).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
    }
}

/// Help without an example is no help.
#[test]
fn every_command_has_help_with_an_example() {
    fn check(command: &clap::Command) {
        if command.get_subcommands().next().is_none() {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{}", command.get_name());
            let example = format!("confab {}", command.get_name());
            let nested = format!("confab directory {}", command.get_name());
            assert!(help.contains(&example) || help.contains(&nested), "{help}");
        }
        command
            .get_subcommands()
            .filter(|command| command.get_name() != "help")
            .for_each(check);
    }
    check(&Cli::command());
}
