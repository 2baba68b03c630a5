//! Proposals a second on one node, durable, at different loads.
//!
//! `cargo run --release -p confab-replication --example throughput [SECONDS]`
//! prints, for 1 and 4 groups and for 1, 64 and 1,024 proposals in flight, how
//! many were acknowledged a second and how long one took. Data goes to a
//! temporary directory and is removed.

use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use confab_replication::{
    Admission, CommittedEntry, Group, GroupConfig, GroupId, NoPeers, NodeId, StateMachine,
};
use confab_storage::{
    DataDir, GroupState, Log, LogConfig, Marker, StateConfig, StateError, StateStore,
};

const COMMAND_BYTES: usize = 300;

/// Keeps each command under its number, as a channel keeps its messages.
struct Appender(GroupState);

impl StateMachine for Appender {
    fn apply(&self, entries: &[CommittedEntry], applied: Marker) -> Result<Vec<Bytes>, StateError> {
        let mut transaction = self.0.begin();
        let mut replies = Vec::new();
        for entry in entries {
            for (number, command) in entry.commands.iter().enumerate() {
                let mut key = Vec::with_capacity(16);
                key.extend_from_slice(&entry.index.to_be_bytes());
                key.extend_from_slice(&(number as u64).to_be_bytes());
                transaction.put(key, command.clone());
                replies.push(Bytes::new());
            }
        }
        transaction.commit(applied)?;
        Ok(replies)
    }

    fn state(&self) -> &GroupState {
        &self.0
    }

    fn restored(&self) {}
}

struct AdmitAll;

impl Admission for AdmitAll {
    type Request = Bytes;
    type Refusal = ();

    fn admit(&mut self, request: Bytes) -> Result<Bytes, ()> {
        Ok(request)
    }
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

async fn measure(group_count: u32, in_flight: usize, duration: Duration) -> Outcome<()> {
    let directory = std::env::temp_dir().join(format!("confab-throughput-{}", std::process::id()));
    let data_dir = DataDir::open(&directory)?;
    let mut log_config = LogConfig::new(data_dir.clone());
    let (written, writes) = mpsc::channel();
    log_config.on_write = Some(Arc::new(move |write| {
        // The receiver lives as long as the log.
        let _ = written.send(write.took);
    }));
    let log = Log::open(log_config)?;
    let (store, _) = StateStore::open(StateConfig::new(data_dir), &log)?;
    let mut groups = Vec::new();
    for index in 1..=group_count {
        let id = GroupId::new(0, index);
        let machine = Arc::new(Appender(store.group(id)?));
        let config = GroupConfig::new(NodeId(1));
        let group = Group::start(config, id, log.clone(), machine, AdmitAll, NoPeers).await?;
        group.initialize([NodeId(1)]).await?;
        group.wait_recovered().await;
        groups.push(group);
    }
    let started = Instant::now();
    let clients: Vec<_> = (0..in_flight)
        .map(|client| {
            let group = groups[client % groups.len()].clone();
            tokio::spawn(async move {
                let command = Bytes::from(vec![b'x'; COMMAND_BYTES]);
                let mut took = Vec::new();
                while started.elapsed() < duration {
                    let sent = Instant::now();
                    if group.propose(command.clone()).await.is_ok() {
                        took.push(sent.elapsed());
                    }
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for client in clients {
        took.extend(client.await?);
    }
    let elapsed = started.elapsed();
    let rate = took.len() as f64 / elapsed.as_secs_f64();
    let [p50, p99] = percentiles(took);
    let writes: Vec<Duration> = writes.try_iter().collect();
    let writes_per_second = writes.len() as f64 / elapsed.as_secs_f64();
    let [write_p50, write_p99] = percentiles(writes);
    println!(
        "{group_count} groups, {in_flight:>5} in flight: {rate:>9.0}/s, p50 {p50:.3} ms, p99 {p99:.3} ms; \
         {writes_per_second:.0} fsyncs/s, p50 {write_p50:.3} ms, p99 {write_p99:.3} ms"
    );
    for group in &groups {
        group.shutdown().await;
    }
    store.shutdown()?;
    drop((groups, store, log));
    // The log's threads end a moment after its last handle.
    while DataDir::open(&directory).is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

/// The median and the 99th percentile, in milliseconds.
fn percentiles(mut durations: Vec<Duration>) -> [f64; 2] {
    durations.sort_unstable();
    [0.5, 0.99].map(|part| {
        let at = (durations.len().saturating_sub(1) as f64 * part) as usize;
        durations
            .get(at)
            .map_or(0.0, |duration| duration.as_secs_f64() * 1e3)
    })
}

fn main() -> Outcome<()> {
    let seconds = std::env::args()
        .nth(1)
        .map_or(Ok(3), |seconds| seconds.parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        for group_count in [1, 4] {
            for in_flight in [1, 64, 1_024] {
                measure(group_count, in_flight, Duration::from_secs(seconds)).await?;
            }
        }
        Ok(())
    })
}
