//! Finding a server and opening a session with it.

use std::path::{Path, PathBuf};

use confab_broker::auth::{ClaimsSpec, Secret, issue, read_secret_file};
use confab_broker::config::development;
use confab_client::{Builder, Client, ConnectError, CoreConfig, TokenError};
use confab_protocol::UserId;
use confab_protocol::message::session::UserKind;

use crate::arguments::ConnectionArguments;
use crate::failure::Failure;
use crate::profile::{Profile, state_directory};
use crate::stamp::now_ms;

/// For how long the tokens are valid that a command signs for itself; it signs
/// the next one in time.
const TOKEN_TTL_S: u64 = 3_600;

/// Largest file with certificates, in bytes.
const CA_BYTES_MAX: u64 = 4 << 20;

/// Where systems keep the authorities that they trust.
const SYSTEM_CA: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What signs tokens for a development server.
#[derive(Clone, Debug)]
struct Signer {
    secret: Secret,
    user: UserId,
    admin: bool,
}

impl Signer {
    fn token(&self) -> String {
        let spec = ClaimsSpec {
            ttl_s: TOKEN_TTL_S,
            // Whoever is on this machine is of the company, unless the directory
            // knows better.
            kind: Some(UserKind::Internal),
            roles: self.admin.then(|| "admin".to_owned()).into_iter().collect(),
            ..ClaimsSpec::new(self.user.clone())
        };
        issue(&self.secret, &spec, now_ms() / 1_000)
    }
}

/// A server that was found, and how to get in.
#[derive(Debug)]
pub(crate) struct Target {
    server: String,
    server_name: String,
    ca_pem: Vec<u8>,
    entry: Entry,
    /// The device, for as long as this lives.
    profile: Profile,
    /// Where the development server's data is.
    data_dir: Option<PathBuf>,
}

#[derive(Debug)]
enum Entry {
    Token(String),
    Sign(Signer),
}

impl Target {
    /// Finds the server that flags or environment name.
    ///
    /// `admin` asks for the right to administer, where the command signs its
    /// token itself.
    pub(crate) fn find(arguments: &ConnectionArguments, admin: bool) -> Result<Self, Failure> {
        match &arguments.data_dir {
            Some(data_dir) => Self::development(data_dir, arguments, admin),
            None => Self::elsewhere(arguments),
        }
    }

    fn development(
        data_dir: &Path,
        arguments: &ConnectionArguments,
        admin: bool,
    ) -> Result<Self, Failure> {
        let found = development::find(data_dir)
            .map_err(|error| Failure::new("no_server", error.to_string()))?;
        let (entry, name) = match (&arguments.token, user(arguments)?) {
            (Some(token), user) => (
                Entry::Token(token.clone()),
                user.map_or_else(|| "token".to_owned(), |user| user.to_string()),
            ),
            (None, Some(user)) => {
                let secret = read_secret_file(&found.files.secret)
                    .map_err(|error| Failure::new("no_secret", error.to_string()))?;
                let name = user.to_string();
                let signer = Signer {
                    secret,
                    user,
                    admin,
                };
                (Entry::Sign(signer), name)
            }
            (None, None) => {
                return Err(Failure::usage(
                    "say who you want to be: --user USER, or CONFAB_USER",
                ));
            }
        };
        let address = found.addresses.quic;
        Ok(Self {
            server: address.to_string(),
            server_name: address.ip().to_string(),
            ca_pem: read_ca(&found.files.ca)?,
            entry,
            profile: Profile::take(&data_dir.join("clients"), &name),
            data_dir: Some(data_dir.to_path_buf()),
        })
    }

    fn elsewhere(arguments: &ConnectionArguments) -> Result<Self, Failure> {
        let Some(server) = arguments
            .server
            .clone()
            .or_else(|| variable("CONFAB_SERVER"))
        else {
            return Err(Failure::usage(
                "say which server: --server HOST:PORT (or CONFAB_SERVER), or --data-dir DIR of a development server",
            ));
        };
        let Some(token) = arguments.token.clone().or_else(|| variable("CONFAB_TOKEN")) else {
            return Err(Failure::usage(
                "a token is needed: set CONFAB_TOKEN to one (`confab token` signs them), or give --token",
            ));
        };
        let (server, server_name) = split_address(&server)?;
        let ca = arguments
            .ca
            .clone()
            .or_else(|| variable("CONFAB_CA").map(PathBuf::from));
        let ca_pem = match ca {
            Some(path) => read_ca(&path)?,
            None => system_ca()?,
        };
        Ok(Self {
            server,
            server_name,
            ca_pem,
            entry: Entry::Token(token),
            profile: Profile::take(&state_directory(), "device"),
            data_dir: None,
        })
    }

    /// The client, ready to be started.
    pub(crate) fn builder(&self) -> Builder {
        let builder = Client::builder(self.server.clone(), self.server_name.clone())
            .ca_pem(self.ca_pem.clone())
            .device(self.profile.device().clone())
            .agent(concat!("confab/", env!("CARGO_PKG_VERSION")));
        match &self.entry {
            Entry::Token(token) => builder.token(token.clone()),
            Entry::Sign(signer) => {
                let signer = signer.clone();
                builder.token_provider(move || {
                    let token = signer.token();
                    async move { Ok::<_, TokenError>(token) }
                })
            }
        }
    }

    /// Opens a session, for as long as the arguments allow.
    pub(crate) async fn connect(&self, arguments: &ConnectionArguments) -> Result<Client, Failure> {
        self.connect_with(arguments, |_| {}).await
    }

    /// As [`Self::connect`], with other limits and timers.
    pub(crate) async fn connect_with(
        &self,
        arguments: &ConnectionArguments,
        configure: impl FnOnce(&mut CoreConfig) + Send + 'static,
    ) -> Result<Client, Failure> {
        self.builder()
            .configure(configure)
            .connect_timeout(arguments.timeout)
            .connect()
            .await
            .map_err(|error| self.failure(error))
    }

    /// Why there is no session, in words.
    pub(crate) fn failure(&self, error: ConnectError) -> Failure {
        let server = &self.server;
        match error {
            ConnectError::TimedOut => {
                let hint = match &self.data_dir {
                    Some(data_dir) => format!(
                        "is it running? `confab serve --dev --data-dir {}` starts it",
                        data_dir.display()
                    ),
                    None => "check the address, and that UDP gets through".to_owned(),
                };
                Failure::new(
                    "unreachable",
                    format!("nothing answers at {server}: {hint}"),
                )
            }
            ConnectError::Authority => Failure::new(
                "no_ca",
                "the file with the authority holds no certificate: --ca must name a PEM file",
            ),
            ConnectError::ServerName => {
                Failure::usage(format!("{server} is no server: write --server HOST:PORT"))
            }
            ConnectError::Closed(reason) => Failure::from(reason),
            other => Failure::new("client", other.to_string()),
        }
    }
}

/// Who to be with a development server.
fn user(arguments: &ConnectionArguments) -> Result<Option<UserId>, Failure> {
    if arguments.user.is_some() {
        return Ok(arguments.user.clone());
    }
    variable("CONFAB_USER")
        .map(|user| {
            UserId::new(&user).map_err(|error| Failure::usage(format!("CONFAB_USER: {error}")))
        })
        .transpose()
}

/// A variable of the environment that is set to something.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `HOST:PORT`, and the name that the certificate must have. The port may be
/// left out.
fn split_address(server: &str) -> Result<(String, String), Failure> {
    let wrong = || Failure::usage(format!("{server} is no server: write --server HOST:PORT"));
    // An IPv6 address without a port, with or without brackets.
    let bare = server.trim_start_matches('[').trim_end_matches(']');
    if bare.parse::<std::net::Ipv6Addr>().is_ok() {
        return Ok((format!("[{bare}]:4433"), bare.to_owned()));
    }
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) => (host, port.parse::<u16>().map_err(|_| wrong())?),
        None => (server, 4433),
    };
    let name = host.trim_start_matches('[').trim_end_matches(']');
    if name.is_empty() || name.contains([':', '/']) && !host.starts_with('[') {
        return Err(wrong());
    }
    Ok((format!("{host}:{port}"), name.to_owned()))
}

fn read_ca(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed = |error: std::io::Error| {
        let sentence = format!(
            "cannot read the authority's certificate {}: {error}",
            path.display()
        );
        Failure::new("no_ca", sentence)
    };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > CA_BYTES_MAX {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    std::fs::read(path).map_err(failed)
}

fn system_ca() -> Result<Vec<u8>, Failure> {
    let named = variable("SSL_CERT_FILE").map(PathBuf::from);
    let usual = SYSTEM_CA.iter().map(PathBuf::from);
    let found = named.into_iter().chain(usual).find(|path| path.is_file());
    match found {
        Some(path) => read_ca(&path),
        None => Err(Failure::usage(
            "this system has no list of authorities that it trusts: name the one that signed the server's certificate with --ca FILE",
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::split_address;

    #[test]
    fn addresses_are_taken_as_people_write_them() {
        for (text, server, name) in [
            (
                "chat.example.com:4433",
                "chat.example.com:4433",
                "chat.example.com",
            ),
            (
                "chat.example.com",
                "chat.example.com:4433",
                "chat.example.com",
            ),
            ("127.0.0.1:5000", "127.0.0.1:5000", "127.0.0.1"),
            ("[::1]:5000", "[::1]:5000", "::1"),
            ("::1", "[::1]:4433", "::1"),
        ] {
            let found = split_address(text).unwrap();
            assert_eq!(found, (server.to_owned(), name.to_owned()), "{text}");
        }
        for wrong in [
            "",
            ":4433",
            "host:",
            "host:x",
            "host:70000",
            "https://host",
            "a:b:1",
        ] {
            assert!(split_address(wrong).is_err(), "{wrong}");
        }
    }
}
