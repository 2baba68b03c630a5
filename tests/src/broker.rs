//! The broker, as a process of its own.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{self, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use confab_client::{Builder, Client};
use confab_protocol::DeviceId;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::command::{Finished, signal_process};
use crate::ops::{self, Reply};
use crate::ports::Ports;
use crate::wire::{Manners, Wire, WireDialer};
use crate::{PATIENCE, Token};

/// Settings that take the limits out of the way of tests that are not about
/// them; a test that is sets its own.
const OPEN_LIMITS: &[(&str, &str)] = &[
    ("limits.messages_per_second", "100000"),
    ("limits.messages_burst", "100000"),
    ("limits.channel_messages_per_second", "100000"),
    ("limits.channel_messages_burst", "100000"),
    ("limits.logins_per_second", "100000"),
    ("limits.logins_burst", "100000"),
    ("limits.requests_per_second", "100000"),
    ("limits.requests_burst", "100000"),
    // Clients of a broker that was stopped come back soon, and those of one that
    // was killed soon notice.
    ("session.reconnect_spread_ms", "200"),
    ("session.heartbeat_interval_ms", "1000"),
];

/// How much of a broker's log is shown when its test fails.
const LOG_BYTES_SHOWN: usize = 16 << 10;

/// The binary that is tested.
#[must_use]
pub fn binary() -> PathBuf {
    let beside = || {
        // Tests lie in `target/PROFILE/deps`, the binary in `target/PROFILE`.
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(path::Path::parent).unwrap();
        profile.join("confab")
    };
    let binary = std::env::var_os("CONFAB_BIN").map_or_else(beside, PathBuf::from);
    assert!(
        binary.is_file(),
        "there is no {}: build it with `cargo build --package confab`, \
         or let `cargo xtask test tests` do it",
        binary.display()
    );
    binary
}

/// How a broker is to be started.
#[derive(Clone, Debug)]
pub struct Setup {
    settings: BTreeMap<String, String>,
}

impl Default for Setup {
    fn default() -> Self {
        let settings = OPEN_LIMITS.iter();
        Self {
            settings: settings.map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        }
    }
}

impl Setup {
    /// With no limits but those that tests meet anyway.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With every setting as it comes.
    #[must_use]
    pub fn as_shipped() -> Self {
        Self {
            settings: BTreeMap::new(),
        }
    }

    /// A setting such as `limits.messages_burst`.
    #[must_use]
    pub fn set(mut self, setting: &str, value: impl ToString) -> Self {
        self.settings.insert(setting.into(), value.to_string());
        self
    }

    /// Starts a broker and waits until clients can connect.
    pub async fn start(self) -> Broker {
        let mut broker = self.prepare();
        broker.start().await;
        broker
    }

    /// A broker that is not started yet.
    #[must_use]
    pub fn prepare(self) -> Broker {
        let dir = tempfile::Builder::new().prefix("confab-test-").tempdir();
        Broker {
            setup: self,
            ports: Ports::claim(),
            child: None,
            dir: dir.unwrap(),
            starts: 0,
        }
    }
}

/// A development broker with a directory and ports of its own. It is killed,
/// and its directory removed, when it is dropped.
pub struct Broker {
    setup: Setup,
    ports: Ports,
    child: Option<Child>,
    dir: TempDir,
    starts: u32,
}

impl Broker {
    /// Starts a broker without limits and waits until clients can connect.
    pub async fn new() -> Self {
        Setup::new().start().await
    }

    // --- The process.

    /// Starts the process and waits until clients can connect.
    pub async fn start(&mut self) {
        self.spawn();
        self.ready().await;
    }

    /// Starts the process and waits for nothing.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "the broker runs already");
        self.starts += 1;
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path());
        let log = log.unwrap();
        let mut command = Command::new(binary());
        command
            .args(["serve", "--dev", "--data-dir"])
            .arg(self.data_dir())
            .args(["--quic", &self.quic().to_string()])
            .args(["--ops", &self.ops().to_string()])
            .args(["--http", &self.ports.second().to_string()])
            .args(["--peer", &self.ports.second().to_string()])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        for name in self.inherited() {
            command.env_remove(name);
        }
        command.env("CONFAB_LOG_LEVEL", "info,openraft=warn");
        for (setting, value) in &self.setup.settings {
            let name = setting.replace('.', "_").to_ascii_uppercase();
            command.env(format!("CONFAB_{name}"), value);
        }
        self.child = Some(command.spawn().unwrap());
    }

    /// What the one who runs the tests has set, which must not reach the
    /// broker; but what it logs may be chosen.
    fn inherited(&self) -> Vec<OsString> {
        let names = std::env::vars_os().map(|(name, _)| name);
        names
            .filter(|name| {
                let name = name.to_string_lossy();
                name.starts_with("CONFAB_") && name != "CONFAB_LOG"
            })
            .collect()
    }

    /// Waits until clients can connect.
    pub async fn ready(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.get("/readyz").await.is_none_or(|it| it.status != 200) {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                self.child = None;
                panic!("the broker did not start ({status}):\n{}", self.log());
            }
            assert!(
                Instant::now() < deadline,
                "the broker was not ready within {PATIENCE:?}:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Starts the process, which must refuse to go on; answers with what it
    /// said and its exit code.
    pub async fn refuses(&mut self) -> Finished {
        let before = self.log().len();
        self.spawn();
        let status = self.ended().await;
        Finished {
            code: status.code(),
            stdout: String::new(),
            stderr: self.log().split_off(before),
        }
    }

    /// Ends the process at once, as a crash would: no farewell, nothing flushed.
    pub fn kill_9(&mut self) {
        let mut child = self.child.take().expect("the broker runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks the process to end (SIGTERM).
    pub fn ask_to_end(&self) {
        let child = self.child.as_ref().expect("the broker runs");
        signal_process(child.id(), Signal::TERM);
    }

    /// Waits until the process has ended by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let child = self.child.as_mut().expect("the broker runs");
            if let Some(status) = child.try_wait().unwrap() {
                self.child = None;
                return status;
            }
            assert!(Instant::now() < deadline, "the broker does not end");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks the process to end and waits for it; it must say that all is well.
    pub async fn stop(&mut self) {
        self.ask_to_end();
        let status = self.ended().await;
        assert!(status.success(), "the broker ended with {status}");
    }

    /// Whether the process has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        let child = self.child.as_mut().expect("the broker runs");
        child.try_wait().unwrap().is_some()
    }

    // --- Where things are.

    /// Where its clients connect.
    #[must_use]
    pub fn quic(&self) -> SocketAddr {
        self.ports.first()
    }

    /// Where its operators look.
    #[must_use]
    pub fn ops(&self) -> SocketAddr {
        self.ports.first()
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A place for files of the test, gone with the broker.
    #[must_use]
    pub fn scratch(&self) -> &path::Path {
        self.dir.path()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("broker.log")
    }

    /// What the broker wrote, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The certificate authority of its certificate, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> Vec<u8> {
        fs::read(self.data_dir().join("dev-ca.pem")).unwrap()
    }

    /// The secret that its tokens are signed with.
    #[must_use]
    pub fn secret(&self) -> Vec<u8> {
        let secret = fs::read(self.data_dir().join("dev-secret")).unwrap();
        secret.trim_ascii_end().to_vec()
    }

    // --- Clients.

    /// A token as text.
    #[must_use]
    pub fn sign(&self, token: &Token) -> String {
        token.sign(&self.secret())
    }

    /// A client that is not connected yet, of an internal user.
    pub fn builder(&self, user: &str) -> Builder {
        self.builder_with(&Token::of(user))
    }

    /// A client that is not connected yet, with a token.
    pub fn builder_with(&self, token: &Token) -> Builder {
        self.builder_at(self.quic()).token(self.sign(token))
    }

    /// A client without a token that connects to another address, such as a
    /// [`Path`](crate::Path)'s.
    pub fn builder_at(&self, address: SocketAddr) -> Builder {
        Client::builder(address.to_string(), "localhost")
            .ca_pem(self.ca_pem())
            .connect_timeout(PATIENCE)
            .configure(|config| config.backoff_max_ms = 500)
    }

    /// A connected client of an internal user.
    pub async fn client(&self, user: &str) -> Client {
        self.client_with(&Token::of(user)).await
    }

    /// A connected client with a token.
    pub async fn client_with(&self, token: &Token) -> Client {
        self.builder_with(token).connect().await.unwrap()
    }

    /// A connected client of somebody who administers the server.
    pub async fn admin(&self) -> Client {
        self.client_with(&Token::of("root").admin()).await
    }

    /// A way to connect without the SDK.
    #[must_use]
    pub fn dialer(&self) -> WireDialer {
        self.dialer_with(Manners::default())
    }

    /// A way to connect without the SDK, and without its manners.
    #[must_use]
    pub fn dialer_with(&self, manners: Manners) -> WireDialer {
        WireDialer::new(self.quic(), &self.ca_pem(), manners)
    }

    /// A session without the SDK.
    pub async fn session(&self, user: &str) -> Wire {
        let mut wire = self.dialer().connect().await;
        let device = DeviceId::new(&format!("wire-{user}")).unwrap();
        let hello = crate::hello(&self.sign(&Token::of(user)), device);
        wire.hello(&hello).await.unwrap();
        wire
    }

    // --- What operators see.

    /// A page of the ops port; `None` when nobody answers.
    pub async fn get(&self, path: &str) -> Option<Reply> {
        ops::get(self.ops(), path).await
    }

    /// All metrics.
    pub async fn metrics(&self) -> Reply {
        self.get("/metrics").await.expect("the ops port answers")
    }

    /// Resident memory of the process, in bytes.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        let id = self.child.as_ref().expect("the broker runs").id();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let mut lines = status.lines();
        let line = lines.find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        kib * 1_024
    }

    /// Runs a `confab` command on this broker's data directory.
    pub async fn command(&self, arguments: &[&str]) -> Finished {
        let data_dir = self.data_dir();
        let mut all = arguments.to_vec();
        all.extend(["--data-dir", data_dir.to_str().unwrap()]);
        Finished::run(&all).await
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; its directory goes in any case.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let cut = log.len().saturating_sub(LOG_BYTES_SHOWN);
            let cut = log.ceil_char_boundary(cut);
            eprintln!(
                "--- what the broker wrote ({} starts):\n{}---",
                self.starts,
                &log[cut..]
            );
        }
    }
}
