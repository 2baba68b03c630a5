//! Nothing acknowledged is lost in a power cut either: a node that only finds
//! what had been fsynced, and some of the rest, serves the same messages in the
//! same order, and comes up by itself.
//!
//! The node runs in this process, for each fsync must be known. The cut is made
//! on paper: clients hear nothing more, an image of what the disk would hold is
//! taken, the node goes on in the image.
#![allow(clippy::unwrap_used)]

#[path = "../../broker/storage/tests/support/power.rs"]
mod power;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use confab_broker::config::{self, Overrides, development};
use confab_broker::node::{self, NodeError};
use confab_client::{Builder, Client};
use confab_protocol::message::channel::Anchor;
use confab_protocol::{ChannelId, Offset};
use confab_storage::{DataDir, SyncObserver};
use confab_tests::{
    Path as Way, Ports, Senders, Token, Witness, eventually, found, general, seed, user, within,
};
use futures_util::TryStreamExt;
use parking_lot::Mutex;
use power::Power;
use rand::rngs::{SmallRng, StdRng};
use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, block_in_place};
use tokio_util::sync::CancellationToken;

const SENDERS: usize = 8;
const CUTS: usize = 16;

/// No limits that are met, and checkpoints, purges and flushes all the time.
const SETTINGS: &[(&str, &str)] = &[
    ("LIMITS_MESSAGES_PER_SECOND", "100000"),
    ("LIMITS_MESSAGES_BURST", "100000"),
    ("LIMITS_CHANNEL_MESSAGES_PER_SECOND", "100000"),
    ("LIMITS_CHANNEL_MESSAGES_BURST", "100000"),
    ("LIMITS_LOGINS_PER_SECOND", "100000"),
    ("LIMITS_LOGINS_BURST", "100000"),
    ("LIMITS_REQUESTS_PER_SECOND", "100000"),
    ("LIMITS_REQUESTS_BURST", "100000"),
    ("SESSION_HEARTBEAT_INTERVAL_MS", "1000"),
    ("SESSION_RECONNECT_SPREAD_MS", "100"),
    ("SERVER_DRAIN_TIMEOUT_MS", "0"),
    ("RAFT_CHECKPOINT_ENTRIES_MAX", "100"),
    ("RAFT_CHECKPOINT_BYTES_MIN", "65536"),
    ("RAFT_ENTRIES_KEPT_MAX", "0"),
    ("STORAGE_WINDOW_AGE_MS", "10"),
    ("STORAGE_SLED_CACHE_BYTES", "16777216"),
    ("STORAGE_LOG_CACHE_BYTES_MAX", "1048576"),
    ("STORAGE_LOG_FILE_BYTES", "1048576"),
    ("STORAGE_LOG_DISK_BYTES_TARGET", "1048576"),
];

/// What nodes wrote into their log, warnings and worse.
static LOGGED: Mutex<String> = Mutex::new(String::new());

struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.lock().push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a node's tasks run on. Its end is theirs, as that of a process: also of
/// connections to clients that cannot be reached to say farewell.
struct Tasks(Option<Runtime>);

impl Tasks {
    fn new() -> Self {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        Self(Some(runtime.unwrap()))
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A node in this process, on a directory of which each fsync is known.
struct Node {
    dir: TempDir,
    power: Arc<Power>,
    end: CancellationToken,
    running: JoinHandle<Result<(), NodeError>>,
    ready: oneshot::Receiver<()>,
    tasks: Tasks,
}

impl Node {
    /// Starts a node on what lies in `dir`, all of it durable.
    async fn start(dir: TempDir, ports: &Ports) -> Self {
        // The one before has ended, but its tasks may linger for a moment.
        eventually("the port is free", async || {
            UdpSocket::bind(ports.first()).ok().map(drop)
        })
        .await;
        let overrides = Overrides {
            dev: true,
            data_dir: Some(dir.path().to_path_buf()),
            quic: Some(ports.first()),
            ops: Some(ports.first()),
            http: Some(ports.second()),
            peer: Some(ports.second()),
            settings: Vec::new(),
        };
        let settings = SETTINGS
            .iter()
            .map(|(name, value)| (format!("CONFAB_{name}"), (*value).to_owned()));
        let mut loaded = config::load(None, settings, &overrides).unwrap();
        // Certificate and secret are the test's own; what is cut is the node.
        let files = development::prepare(dir.path(), SystemTime::now()).unwrap();
        development::apply(&mut loaded, &files);
        let power = Power::of(dir.path());
        let data_dir = DataDir::open_observed(dir.path(), power.clone()).unwrap();
        let end = CancellationToken::new();
        let (tell, ready) = oneshot::channel();
        let ended = end.clone();
        let tasks = Tasks::new();
        let runtime = tasks.0.as_ref().expect("it is taken when dropped");
        let running = runtime.spawn(async move {
            let ready = |_| {
                // Nobody waits for a node that is cut while it starts.
                let _ = tell.send(());
            };
            node::run_in(data_dir, loaded.config, ready, ended).await
        });
        Self {
            dir,
            power,
            end,
            running,
            ready,
            tasks,
        }
    }

    /// Waits until clients can connect: without help, or the test fails.
    async fn ready(&mut self) {
        if within("a node that is ready", &mut self.ready)
            .await
            .is_err()
        {
            let ended = (&mut self.running).await;
            panic!("the node did not start: {ended:?}\n{}", LOGGED.lock());
        }
    }

    /// What a power cut now would leave. The node itself is ended, and its
    /// directory given to `left`, for threads of it may still look there.
    async fn cut(self, random: &mut StdRng, left: &mut Vec<TempDir>) -> TempDir {
        let image = tempfile::tempdir().unwrap();
        block_in_place(|| {
            // Fsynced before it got its name, but not by storage.
            self.power.synced(&self.dir.path().join("quic-reset-key"));
            let mut random = SmallRng::seed_from_u64(random.random());
            self.power
                .cut(self.dir.path(), image.path(), &mut random, || ());
        });
        self.end.cancel();
        within("the end of a node", self.running)
            .await
            .unwrap()
            .unwrap();
        drop(self.tasks);
        left.push(self.dir);
        image
    }

    fn builder(&self, user: &str, address: SocketAddr) -> Builder {
        let read = |name: &str| std::fs::read(self.dir.path().join(name)).unwrap();
        let secret = read("dev-secret");
        Client::builder(address.to_string(), "localhost")
            .ca_pem(read("dev-ca.pem"))
            .token(Token::of(user).sign(secret.trim_ascii_end()))
            .connect_timeout(confab_tests::PATIENCE)
            .configure(|config| config.backoff_max_ms = 300)
    }
}

/// All that is stored of a channel's messages, as `offset, sender, content`.
async fn stored(reader: &Client, channel: &ChannelId) -> Vec<(Offset, String, String)> {
    let history = reader
        .channel(channel.clone())
        .history_stream(Anchor::After(Offset(0)));
    let messages: Vec<_> = within("the history", history.try_collect()).await.unwrap();
    let messages = messages.iter();
    messages
        .map(|it| (it.offset, it.sender.to_string(), it.content.to_string()))
        .collect()
}

/// Whatever a node keeps beside what it acknowledges; counted, to see that the
/// cuts met something.
fn checkpoints(dir: &Path) -> usize {
    let groups = std::fs::read_dir(dir.join("checkpoints"));
    let groups = groups.into_iter().flatten().flatten();
    let files = groups.flat_map(|group| std::fs::read_dir(group.path()).into_iter().flatten());
    let names: Vec<PathBuf> = files.flatten().map(|file| file.path()).collect();
    names.len()
}

/// Eight clients send into two channels of different shards and two read, over
/// cuts of which each finds what the one before has left, some while the node
/// still recovers from that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_power_cuts() {
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_ansi(false)
        .with_writer(|| Log)
        .init();
    let mut random = StdRng::seed_from_u64(seed());
    let started = Instant::now();
    let ports = Ports::claim();
    let mut node = Node::start(tempfile::tempdir().unwrap(), &ports).await;
    node.ready().await;
    let way = Way::to(ports.first()).await;

    let names: Vec<_> = (0..SENDERS).map(|number| format!("s{number}")).collect();
    let mut clients = Vec::new();
    for name in names.iter().map(String::as_str).chain(["r1", "r2"]) {
        let client = node.builder(name, way.address()).connect().await;
        clients.push(client.unwrap());
    }
    let readers = clients.split_off(SENDERS);
    let members = names.iter().map(|name| user(name));
    let members = members.chain([user("r2")]);
    let group = readers[0].create_group("Busy", "", true, members, None);
    let channels = [general(), group.await.unwrap().channel];
    let witnesses = [
        Witness::of(&readers[0]).await,
        Witness::of(&readers[1]).await,
    ];
    let named = names.iter().map(String::as_str).zip(&clients);
    let senders = Senders::start(named, &channels, &mut random);

    let (mut cuts, mut in_recovery, mut most_checkpoints) = (0, 0, 0);
    let mut left = Vec::new();
    while cuts < CUTS {
        // Something is acknowledged between any two cuts.
        let wanted = senders.count() + random.random_range(1..200);
        eventually("more acknowledgements", async || {
            (senders.count() >= wanted).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random.random_range(0..300))).await;

        // Nobody hears more than was durable before the image is taken.
        way.cut();
        let acknowledged = senders.acknowledged();
        let mut image = node.cut(&mut random, &mut left).await;
        cuts += 1;
        while random.random_ratio(1, 4) {
            let recovering = Node::start(image, &ports).await;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..200))).await;
            image = recovering.cut(&mut random, &mut left).await;
            cuts += 1;
            in_recovery += 1;
        }
        most_checkpoints = most_checkpoints.max(checkpoints(image.path()));
        node = Node::start(image, &ports).await;
        node.ready().await;

        let late = node.builder("r2", ports.first()).connect().await.unwrap();
        for channel in &channels {
            let stored = stored(&late, channel).await;
            found(channel, &stored, &acknowledged);
            for witness in &witnesses {
                let seen = witness.messages(channel);
                assert!(
                    stored.starts_with(&seen),
                    "after {cuts} cuts {channel} is not as it was seen: {seen:?}, now {stored:?}"
                );
            }
        }
        drop(late);
        way.mend();
    }

    let acknowledged = senders.stop().await;
    let late = node.builder("r2", ports.first()).connect().await.unwrap();
    for channel in &channels {
        let last = late.channel(channel.clone()).summary().await.unwrap().head;
        let stored = stored(&late, channel).await;
        for witness in &witnesses {
            witness.reaches(channel, last).await;
            assert_eq!(witness.messages(channel), stored, "one order for all");
        }
        let found = found(channel, &stored, &acknowledged);
        let here = acknowledged.iter().filter(|(_, (at, _))| at == channel);
        assert_eq!(
            found.len(),
            here.count(),
            "all in {channel} is acknowledged"
        );
    }
    assert!(most_checkpoints > 0, "no cut met a checkpoint");
    let rebuilds = LOGGED.lock().matches("was rebuilt").count();
    eprintln!(
        "{} messages over {cuts} cuts, {in_recovery} of them in recovery: {rebuilds} rebuilds, \
         up to {most_checkpoints} checkpoints, {:?}",
        acknowledged.len(),
        started.elapsed()
    );
    node.end.cancel();
    within("the end of the node", node.running)
        .await
        .unwrap()
        .unwrap();
}
