//! Deliveries: messages into channels whose members all listen.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use confab_protocol::codec::Packed;
use confab_protocol::message::channel::CreateGroup;
use confab_protocol::message::event::Change;
use confab_protocol::message::{Answer, Push};
use confab_protocol::{ChannelId, UserId};
use hdrhistogram::Histogram;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::broker::Broker;
use crate::report::{Report, histogram, record};
use crate::send::post_frame;
use crate::wire::{Connection, Receiving};

/// Connections in all; they are divided into channels.
const CONNECTIONS: usize = 100;

/// Posts that each channel's publisher keeps in flight when it may burst.
const BURST: u64 = 32;

/// Counts what arrives, and how late, on all connections.
#[derive(Default)]
struct Arrivals {
    deliveries: AtomicU64,
    acknowledged: AtomicU64,
}

/// A channel with its publisher.
struct Published {
    channel: ChannelId,
    sending: quinn::SendStream,
    /// Kept, for a connection ends with its last handle.
    _connection: quinn::Connection,
    acknowledged: Arc<AtomicU64>,
}

/// Everybody is connected and listens.
struct Crowd {
    /// When latencies' clock began.
    epoch: Instant,
    channels: Vec<Published>,
    arrivals: Arc<Arrivals>,
    latencies: Arc<Mutex<Vec<Histogram<u64>>>>,
    listeners: Vec<JoinHandle<Result<()>>>,
    _connections: Vec<(quinn::Connection, quinn::SendStream)>,
}

/// Deliveries a second with channels of 2, 10 and 50.
pub(crate) async fn bursts(binary: &Path, lasting: Duration, report: &mut Report) -> Result<()> {
    for members in [2, 10, 50] {
        let broker = Broker::start(binary)?;
        let crowd = gather(&broker, members).await?;
        let (started, cpu) = (Instant::now(), broker.cpu_s()?);
        let mut publishers = Vec::new();
        for published in crowd.channels {
            publishers.push(tokio::spawn(burst(published, lasting)));
        }
        let mut kept = Vec::new();
        for publisher in publishers {
            kept.push(publisher.await??);
        }
        let elapsed = started.elapsed().as_secs_f64();
        let cpu = broker.cpu_s()? - cpu;
        let deliveries = crowd.arrivals.deliveries.load(Ordering::Relaxed) as f64;
        let acknowledged = crowd.arrivals.acknowledged.load(Ordering::Relaxed) as f64;
        report
            .line(format!("deliveries, channels of {members}"))
            .number("deliveries_per_s", deliveries / elapsed)
            .number("deliveries_per_core_s", deliveries / cpu)
            .number("sends_per_s", acknowledged / elapsed)
            .print();
        crowd.listeners.iter().for_each(JoinHandle::abort);
    }
    Ok(())
}

/// How late messages arrive at a fixed rate into channels of 50.
pub(crate) async fn latency(
    binary: &Path,
    lasting: Duration,
    rate: u64,
    report: &mut Report,
) -> Result<()> {
    let members = 50;
    let broker = Broker::start(binary)?;
    let mut crowd = gather(&broker, members).await?;
    let (started, cpu) = (Instant::now(), broker.cpu_s()?);
    let interval = Duration::from_secs_f64(1.0 / rate as f64);
    let mut sequence = 0;
    // Open loop: a message goes when it is due, whatever became of the last.
    while started.elapsed() < lasting {
        let due = interval.mul_f64(sequence as f64);
        if let Some(wait) = due.checked_sub(started.elapsed()) {
            tokio::time::sleep(wait).await;
        }
        while interval.mul_f64(sequence as f64) <= started.elapsed() {
            let place = (sequence % crowd.channels.len() as u64) as usize;
            let published = &mut crowd.channels[place];
            let content = stamp(crowd.epoch.elapsed());
            let frame = post_frame(&published.channel, sequence + 1, &content);
            published.sending.write_chunk(frame).await?;
            sequence += 1;
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let elapsed = started.elapsed().as_secs_f64();
    let cpu = broker.cpu_s()? - cpu;
    let deliveries = crowd.arrivals.deliveries.load(Ordering::Relaxed) as f64;
    crowd.listeners.iter().for_each(JoinHandle::abort);
    let mut latencies = histogram();
    for of_one in crowd.latencies.lock().await.iter() {
        latencies.add(of_one)?;
    }
    report
        .line(format!("latency, {rate} sends/s, channels of {members}"))
        .number("deliveries_per_s", deliveries / elapsed)
        .number("broker_cores", cpu / elapsed)
        .latency(&latencies)
        .print();
    Ok(())
}

/// A text that says when it was sent, padded to the usual size.
fn stamp(since: Duration) -> String {
    format!("{:>20}{}", since.as_micros(), "x".repeat(108))
}

async fn gather(broker: &Broker, members: usize) -> Result<Crowd> {
    let dialer = broker.dialer()?;
    let arrivals = Arc::new(Arrivals::default());
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let mut listeners = Vec::new();
    let mut channels = Vec::new();
    let mut kept = Vec::new();
    let epoch = Instant::now();
    for first in (0..CONNECTIONS).step_by(members) {
        let mut connected: Vec<Connection> = Vec::new();
        for number in first..first + members {
            connected.push(broker.connect(&dialer, &format!("user-{number}")).await?);
        }
        let users: Packed<UserId> = (first + 1..first + members)
            .map(|number| UserId::new(&format!("user-{number}")))
            .collect::<Result<Vec<_>, _>>()?
            .into();
        let group = CreateGroup {
            name: "bench".into(),
            topic: "".into(),
            private: true,
            members: users,
            client_id: None,
        };
        let Answer::ChannelInfo(info) = connected[0].ask(group).await? else {
            bail!("no group");
        };
        let acknowledged = Arc::new(AtomicU64::new(0));
        for (place, connection) in connected.into_iter().enumerate() {
            let Connection {
                connection,
                sending,
                receiving,
                ..
            } = connection;
            let own = (place == 0).then(|| Arc::clone(&acknowledged));
            listeners.push(tokio::spawn(listen(
                receiving,
                Arc::clone(&arrivals),
                Arc::clone(&latencies),
                own,
                epoch,
            )));
            if place == 0 {
                channels.push(Published {
                    channel: info.summary.channel.clone(),
                    sending,
                    _connection: connection,
                    acknowledged: Arc::clone(&acknowledged),
                });
            } else {
                kept.push((connection, sending));
            }
        }
    }
    Ok(Crowd {
        epoch,
        channels,
        arrivals,
        latencies,
        listeners,
        _connections: kept,
    })
}

/// Keeps a burst in flight until the time is over and all is acknowledged.
async fn burst(mut published: Published, lasting: Duration) -> Result<Published> {
    let end = Instant::now() + lasting;
    let content = "x".repeat(128);
    let mut sent = 0;
    loop {
        let acknowledged = published.acknowledged.load(Ordering::Relaxed);
        if Instant::now() >= end {
            if acknowledged == sent {
                return Ok(published);
            }
        } else if sent - acknowledged <= BURST / 2 {
            let mut frames: Vec<_> = (sent + 1..=acknowledged + BURST)
                .map(|sequence| post_frame(&published.channel, sequence, &content))
                .collect();
            sent += frames.len() as u64;
            published.sending.write_all_chunks(&mut frames).await?;
            continue;
        }
        tokio::time::sleep(Duration::from_micros(500)).await;
    }
}

async fn listen(
    mut receiving: Receiving,
    arrivals: Arc<Arrivals>,
    latencies: Arc<Mutex<Vec<Histogram<u64>>>>,
    own: Option<Arc<AtomicU64>>,
    epoch: Instant,
) -> Result<()> {
    let place = {
        let mut latencies = latencies.lock().await;
        latencies.push(histogram());
        latencies.len() - 1
    };
    let mut arrived = Vec::new();
    loop {
        receiving.fill().await?;
        while let Some(frame) = receiving.buffered()? {
            if frame.request > 0 {
                if let Some(own) = &own
                    && let Ok(Answer::Posted(_)) = Answer::from_frame(&frame)
                {
                    own.fetch_add(1, Ordering::Relaxed);
                    arrivals.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
            if let Ok(Push::Event(event)) = Push::from_frame(&frame)
                && let Change::MessagePosted { message } = event.event.change
            {
                arrivals.deliveries.fetch_add(1, Ordering::Relaxed);
                arrived.push(message.content);
            }
        }
        if let Some(histogram) = latencies.lock().await.get_mut(place) {
            for content in arrived.drain(..) {
                // Only stamped messages start with a number.
                if let Ok(micros) = content[..20].trim().parse() {
                    let sent = Duration::from_micros(micros);
                    record(histogram, epoch.elapsed().saturating_sub(sent));
                }
            }
        }
    }
}
