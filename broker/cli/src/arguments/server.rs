//! Commands beside the server, on its machine.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use confab_protocol::{DepartmentId, UserId};

use super::duration;

/// What of a configuration can be said on the command line; it counts more than
/// the environment, which counts more than the file.
#[derive(Args, Debug)]
pub(crate) struct ServerArguments {
    /// The configuration file [env: CONFAB_CONFIG].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Run for development: on this machine only, with a certificate and a
    /// secret made in the data directory.
    #[arg(long)]
    pub(crate) dev: bool,
    /// Where everything that must last is kept.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where to listen for native clients (UDP); default port 4433.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) quic: Option<SocketAddr>,
    /// Where to listen for HTTP and browsers (TCP); default port 8080.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) http: Option<SocketAddr>,
    /// Where to listen for metrics and health (TCP); default 127.0.0.1:9464.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) ops: Option<SocketAddr>,
    /// Where to listen for the other nodes (UDP); default port 4434.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub(crate) peer: Option<SocketAddr>,
    /// Any other setting, such as limits.messages_per_second=50; can be repeated.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub(crate) settings: Vec<String>,
}

/// A place to listen at; a name stands for the first address that it has.
fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found
        .into_iter()
        .next()
        .ok_or_else(|| "the name has no address".to_owned())
}

/// `confab serve`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  confab serve --dev --data-dir dev-data
  confab serve --config /etc/confab.toml

SIGTERM or Ctrl-C drains: clients are told, what was taken is finished. A second one stops at once.")]
pub(crate) struct ServeArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// `confab check`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  confab check --config /etc/confab.toml
  confab check --reference > confab.toml

Prints each setting with its value and where that comes from. Exit code 1 says that a broker would \
not start with it; everything that is wrong is listed.")]
pub(crate) struct CheckArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// Print a file with all settings, described and commented out, instead.
    #[arg(long)]
    pub(crate) reference: bool,
}

/// `confab verify`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  confab verify --data-dir /var/lib/confab
  confab verify --data-dir /var/lib/confab --repair --accept-loss

The broker of that directory must be stopped. Checking changes nothing. Exit code 1 says that \
something is wrong.")]
pub(crate) struct VerifyArguments {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Make a damaged directory usable again. Says first what would be lost, and
    /// stops there unless --accept-loss is given.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Give up what cannot be read.
    #[arg(long, requires = "repair")]
    pub(crate) accept_loss: bool,
}

/// Whether a user is of the company.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Kind {
    /// Of the company.
    Internal,
    /// A client of it.
    Client,
}

/// A role on the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Role {
    /// Administers the server.
    Admin,
}

/// `confab token`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  confab token --data-dir dev-data --user u3 --name 'Uma Three' --ttl 8h
  confab token --secret-file /etc/confab/secret --user crm --role admin --ttl 30d")]
pub(crate) struct TokenArguments {
    /// The data directory of a development server, where its secret lies.
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "secret_file",
        conflicts_with = "secret_file"
    )]
    pub(crate) data_dir: Option<PathBuf>,
    /// A file with the server's HS256 secret.
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
    /// Whose token it is.
    #[arg(long, env = "CONFAB_USER", value_name = "USER")]
    pub(crate) user: UserId,
    /// The user's display name.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Whether the user is of the company.
    #[arg(long, value_enum, default_value = "internal")]
    pub(crate) kind: Kind,
    /// A role on the server.
    #[arg(long, value_enum)]
    pub(crate) role: Option<Role>,
    /// A department that the user belongs to; can be repeated.
    #[arg(long = "department", value_name = "ID")]
    pub(crate) departments: Vec<DepartmentId>,
    /// For how long it is valid.
    #[arg(long, default_value = "1h", value_parser = duration::parse)]
    pub(crate) ttl: Duration,
    /// Names the token, so that it can be revoked.
    #[arg(long, value_name = "ID")]
    pub(crate) token_id: Option<String>,
    /// `aud`, for servers that ask for one.
    #[arg(long)]
    pub(crate) audience: Option<String>,
    /// `iss`, for servers that ask for one.
    #[arg(long)]
    pub(crate) issuer: Option<String>,
}
