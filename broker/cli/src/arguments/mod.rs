//! What may be typed: every command with its flags.
//!
//! Only shapes are checked here; what a value means is up to its command.

mod client;
mod duration;
mod server;

use clap::{Parser, Subcommand};

pub(crate) use client::{
    ChannelsArguments, ChatArguments, ConnectionArguments, DirectoryArguments, DirectoryCommand,
    HistoryArguments, ImportArguments, SendArguments, TailArguments,
};
pub(crate) use server::{
    CheckArguments, Kind, Role, ServeArguments, ServerArguments, TokenArguments, VerifyArguments,
};

/// Confab: a chat server, and its clients for the terminal.
#[derive(Debug, Parser)]
#[command(name = "confab", version, max_term_width = 100)]
#[command(after_help = "\
Example:
  confab serve --dev --data-dir dev-data
  confab chat --data-dir dev-data --user u1

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.")]
pub(crate) struct Cli {
    /// Print results and errors as JSON, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Every command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the broker.
    Serve(ServeArguments),
    /// Sign a token with a server's shared secret and print it.
    Token(TokenArguments),
    /// Chat in the terminal.
    Chat(ChatArguments),
    /// Send messages, one or a line each.
    Send(SendArguments),
    /// Print what happens in channels as JSON lines, as it comes.
    Tail(TailArguments),
    /// Print messages of a channel.
    History(HistoryArguments),
    /// List your channels with unread and mention counts.
    Channels(ChannelsArguments),
    /// Change users, departments and projects.
    Directory(DirectoryArguments),
    /// Check a data directory, or make a damaged one usable.
    Verify(VerifyArguments),
    /// Explain a configuration, or say everything that is wrong with it.
    Check(CheckArguments),
    /// Print the version.
    #[command(after_help = "Example:\n  confab version --json")]
    Version,
}

#[cfg(test)]
mod tests;
