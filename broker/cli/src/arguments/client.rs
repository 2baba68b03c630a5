//! Commands that are clients of a server.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use confab_protocol::{ChannelId, Offset, UserId};

use super::duration;

/// Which server, and as whom.
///
/// The environment is looked at by `connect`, not by clap, so that a variable
/// never gets in the way of a flag that says something else.
#[derive(Args, Debug)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArguments {
    /// The server [env: CONFAB_SERVER].
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "data_dir")]
    pub(crate) server: Option<String>,
    /// A token, see `confab token` [env: CONFAB_TOKEN, which others cannot read
    /// off the process list].
    #[arg(long, value_name = "TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// A PEM file with the authority that signed the server's certificate
    /// [env: CONFAB_CA]. Default: those that the system trusts.
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    pub(crate) ca: Option<PathBuf>,
    /// The data directory of a development server: address, certificate and
    /// secret are found there.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Who to be, with --data-dir [env: CONFAB_USER].
    #[arg(long, value_name = "USER", requires = "data_dir")]
    pub(crate) user: Option<UserId>,
    /// How long to wait for the server.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
}

/// `confab chat`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  confab chat --data-dir dev-data --user u1
  confab chat --server chat.example.com:4433

Type /help inside for what the keys do.")]
pub(crate) struct ChatArguments {
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
    /// The channel to open first; default is the one with the newest activity.
    #[arg(long, value_name = "CHANNEL")]
    pub(crate) channel: Option<ChannelId>,
}

/// `confab send`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  confab send general-company 'hello' --data-dir dev-data --user u1
  confab send --dm u2 'are you there?' --data-dir dev-data --user u1
  journalctl -f | confab send group-1700000000000-abcdefg2 -

Prints where each message stands once it is durable.")]
pub(crate) struct SendArguments {
    /// The channel, unless --dm is given.
    #[arg(value_name = "CHANNEL", required_unless_present = "dm")]
    pub(crate) first: Option<String>,
    /// The text; `-`, or nothing, reads standard input and sends a message for
    /// each line.
    #[arg(value_name = "TEXT")]
    pub(crate) second: Option<String>,
    /// Send to a user instead of a channel.
    #[arg(long, value_name = "USER")]
    pub(crate) dm: Option<UserId>,
    /// Reply in the thread of the message at this offset.
    #[arg(long, value_name = "OFFSET", value_parser = offset)]
    pub(crate) thread: Option<Offset>,
    /// Call on a user; can be repeated.
    #[arg(long = "mention", value_name = "USER")]
    pub(crate) mentions: Vec<UserId>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// `confab tail`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  confab tail general-company --from 1 --data-dir dev-data --user u2
  confab tail general-company --from 1 --once | jq -r .event.change.message.content
  confab tail --all

Each line is one event with its channel and offset; none is missing or comes twice, also when the \
connection is lost and comes back.")]
pub(crate) struct TailArguments {
    /// The channels.
    #[arg(value_name = "CHANNEL", required_unless_present = "all")]
    pub(crate) channels: Vec<ChannelId>,
    /// All channels that you are in, also those that you come into.
    #[arg(long, conflicts_with = "channels")]
    pub(crate) all: bool,
    /// Begin at this offset, from what is kept; without it with what comes next.
    #[arg(long, value_name = "OFFSET", value_parser = offset)]
    pub(crate) from: Option<Offset>,
    /// End when the channels' newest events are printed; begins at 1 unless
    /// --from says otherwise.
    #[arg(long)]
    pub(crate) once: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// `confab history`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  confab history general-company --limit 20 --data-dir dev-data --user u1
  confab history general-company --after 120 --json
  confab history general-company --since 2026-03-01T08:00:00Z")]
pub(crate) struct HistoryArguments {
    /// The channel.
    #[arg(value_name = "CHANNEL")]
    pub(crate) channel: ChannelId,
    /// How many messages at most.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) limit: u32,
    /// The newest before this offset.
    #[arg(long, value_name = "OFFSET", value_parser = offset, group = "anchor")]
    pub(crate) before: Option<Offset>,
    /// The oldest after this offset.
    #[arg(long, value_name = "OFFSET", value_parser = offset, group = "anchor")]
    pub(crate) after: Option<Offset>,
    /// The oldest from this time on, such as 2026-03-01T08:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = crate::stamp::parse_ms, group = "anchor")]
    pub(crate) since: Option<u64>,
    /// A thread, by its root's offset: the root and its replies.
    #[arg(long, value_name = "OFFSET", value_parser = offset)]
    pub(crate) thread: Option<Offset>,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// `confab channels`.
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  confab channels --data-dir dev-data --user u1")]
pub(crate) struct ChannelsArguments {
    /// Only those with something unread.
    #[arg(long)]
    pub(crate) unread: bool,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

/// `confab directory`.
#[derive(Args, Debug)]
pub(crate) struct DirectoryArguments {
    #[command(subcommand)]
    pub(crate) command: DirectoryCommand,
}

/// What can be done with the directory.
#[derive(Debug, Subcommand)]
pub(crate) enum DirectoryCommand {
    /// Import users, departments and projects from JSON lines.
    Import(ImportArguments),
}

/// `confab directory import`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  confab directory import company.jsonl --data-dir dev-data
  crm-export | confab directory import - --server chat.example.com:4433
  confab directory import company.jsonl --dry-run

A line is one change, such as
  {\"change\":\"put_user\",\"id\":\"u1\",\"name\":\"Uma One\",\"kind\":\"internal\"}
Changes are idempotent: a file can be imported again. docs/directory-import.md lists them all.")]
pub(crate) struct ImportArguments {
    /// The file; `-` reads standard input.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only check the file: nothing is sent, no server is needed.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// How many changes go in one step, which is done whole or not at all.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) batch: u16,
    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,
}

fn offset(text: &str) -> Result<Offset, std::num::ParseIntError> {
    text.parse().map(Offset)
}
