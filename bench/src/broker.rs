//! A broker of our own: the real binary on loopback, in a directory that goes
//! with it, without rate limits.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use confab_broker::auth::{ClaimsSpec, Secret, issue};
use confab_protocol::UserId;
use serde::Deserialize;

use crate::wire::{Connection, Dialer};

/// What a development server writes about itself into its data directory.
#[derive(Deserialize)]
struct DevInfo {
    quic: SocketAddr,
}

/// Ticks of /proc's CPU times in a second; fixed on Linux.
const TICKS_PER_S: f64 = 100.0;

/// Settings that take every limit out of a measurement's way.
const SETTINGS: &[(&str, &str)] = &[
    ("CONFAB_LIMITS_MESSAGES_PER_SECOND", "1000000"),
    ("CONFAB_LIMITS_MESSAGES_BURST", "1000000"),
    ("CONFAB_LIMITS_CHANNEL_MESSAGES_PER_SECOND", "1000000"),
    ("CONFAB_LIMITS_CHANNEL_MESSAGES_BURST", "1000000"),
    ("CONFAB_LIMITS_LOGINS_PER_SECOND", "1000000"),
    ("CONFAB_LIMITS_LOGINS_BURST", "1000000"),
    ("CONFAB_LIMITS_REQUESTS_PER_SECOND", "1000000"),
    ("CONFAB_LIMITS_REQUESTS_BURST", "1000000"),
    ("CONFAB_LIMITS_CONNECTIONS_PER_ADDRESS_MAX", "100000"),
];

/// A broker that runs until it is dropped.
pub(crate) struct Broker {
    child: Child,
    directory: tempfile::TempDir,
    secret: Secret,
    address: SocketAddr,
}

/// The binary to load.
pub(crate) fn binary(asked: Option<PathBuf>) -> Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("confab");
    let binary = asked
        .or_else(|| std::env::var_os("CONFAB_BIN").map(PathBuf::from))
        .unwrap_or(beside);
    if !binary.exists() {
        bail!(
            "there is no {}: build it with `cargo build --release --package confab`",
            binary.display()
        );
    }
    Ok(binary)
}

impl Broker {
    pub(crate) fn start(binary: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let log = std::fs::File::create(directory.path().join("broker.log"))?;
        let child = Command::new(binary)
            .args(["serve", "--dev", "--quic", "127.0.0.1:0"])
            .args(["--http", "127.0.0.1:0", "--ops", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(directory.path())
            .envs(SETTINGS.iter().copied())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", binary.display()))?;
        let info_path = directory.path().join("dev.json");
        let deadline = Instant::now() + Duration::from_secs(20);
        let info: DevInfo = loop {
            if let Ok(text) = std::fs::read(&info_path)
                && let Ok(info) = serde_json::from_slice(&text)
            {
                break info;
            }
            if Instant::now() > deadline {
                let log = std::fs::read_to_string(directory.path().join("broker.log"))?;
                bail!("the broker did not start: {log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let secret = std::fs::read_to_string(directory.path().join("dev-secret"))?;
        let secret = Secret::new(secret.trim());
        Ok(Self {
            child,
            directory,
            secret,
            address: info.quic,
        })
    }

    pub(crate) fn dialer(&self) -> Result<Dialer> {
        Dialer::new(self.address, &self.directory.path().join("dev-ca.pem"))
    }

    pub(crate) fn token(&self, user: &str, admin: bool) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut claims = ClaimsSpec::new(UserId::new(user)?);
        if admin {
            claims.roles.push("admin".to_owned());
        }
        Ok(issue(&self.secret, &claims, now))
    }

    /// Connects a user.
    pub(crate) async fn connect(&self, dialer: &Dialer, user: &str) -> Result<Connection> {
        dialer.connect(&self.token(user, false)?, "bench").await
    }

    /// CPU time that the broker has used, in seconds.
    pub(crate) fn cpu_s(&self) -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(") ").next().context("a process has a name")?;
        let mut fields = fields.split(' ').skip(11);
        let mut ticks = || -> Result<f64> {
            let field = fields.next().context("stat has CPU times")?;
            Ok(field.parse::<f64>()?)
        };
        Ok((ticks()? + ticks()?) / TICKS_PER_S)
    }

    /// Resident memory of the broker, in bytes.
    pub(crate) fn resident_bytes(&self) -> Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .context("status has VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1_024.0)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It is ours and its directory goes with it: no farewell needed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
