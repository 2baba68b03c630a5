//! Durable sends a second: a fixed number in flight, the next when one is
//! acknowledged.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use confab_protocol::codec::Packed;
use confab_protocol::message::channel::{CreateGroup, Post};
use confab_protocol::message::event::Mentions;
use confab_protocol::message::{Answer, Request, frame_of};
use confab_protocol::{ChannelId, Sequence};
use hdrhistogram::Histogram;

use crate::broker::Broker;
use crate::report::{Report, histogram, record};
use crate::wire::Connection;

/// Bytes of a message's text.
const CONTENT_BYTES: usize = 128;

/// How many connections share the sends in flight, and how many each has.
const LOADS: &[(usize, usize)] = &[(1, 1), (8, 8), (16, 64)];

pub(crate) async fn run(binary: &Path, lasting: Duration, report: &mut Report) -> Result<()> {
    for (connections, in_flight) in LOADS {
        let broker = Broker::start(binary)?;
        let dialer = broker.dialer()?;
        let mut senders = Vec::new();
        for number in 0..*connections {
            let mut connection = broker.connect(&dialer, &format!("sender-{number}")).await?;
            let channel = own_group(&mut connection).await?;
            senders.push((connection, channel));
        }
        let (started, cpu) = (Instant::now(), broker.cpu_s()?);
        let mut tasks = Vec::new();
        for (connection, channel) in senders {
            tasks.push(tokio::spawn(keep_sending(
                connection, channel, *in_flight, lasting,
            )));
        }
        let mut latencies = histogram();
        for task in tasks {
            latencies.add(task.await??)?;
        }
        let elapsed = started.elapsed().as_secs_f64();
        let cpu = broker.cpu_s()? - cpu;
        let sends = latencies.len() as f64;
        report
            .line(format!("send, {} in flight", connections * in_flight))
            .number("sends_per_s", sends / elapsed)
            .number("sends_per_core_s", sends / cpu)
            .latency(&latencies)
            .print();
    }
    Ok(())
}

/// A group that nobody else is in: what is measured is the way to the disk.
async fn own_group(connection: &mut Connection) -> Result<ChannelId> {
    let group = CreateGroup {
        name: "bench".into(),
        topic: "".into(),
        private: true,
        members: Packed::default(),
        client_id: None,
    };
    match connection.ask(group).await? {
        Answer::ChannelInfo(info) => Ok(info.summary.channel),
        other => bail!("no group but {}", other.name()),
    }
}

/// A post of the usual size.
pub(crate) fn post(channel: &ChannelId, sequence: u64, content: &str) -> Post {
    Post {
        channel: channel.clone(),
        sequence: Sequence(sequence),
        client_message_id: None,
        content: content.into(),
        thread_root: None,
        attachments: Packed::default(),
        mentions: Mentions::default(),
    }
}

async fn keep_sending(
    mut connection: Connection,
    channel: ChannelId,
    in_flight: usize,
    lasting: Duration,
) -> Result<Histogram<u64>> {
    let content = "x".repeat(CONTENT_BYTES);
    let mut latencies = histogram();
    let mut sent: VecDeque<Instant> = VecDeque::with_capacity(in_flight);
    let mut sequence = 0;
    let end = Instant::now() + lasting;
    let mut frames = Vec::with_capacity(in_flight);
    loop {
        // Requests are numbered as sequences are, so answers come in order.
        if Instant::now() < end {
            while sent.len() < in_flight {
                sequence += 1;
                let request = u32::try_from(sequence)? + 10;
                frames.push(frame_of(request, &post(&channel, sequence, &content)));
                sent.push_back(Instant::now());
            }
            connection.sending.write_all_chunks(&mut frames).await?;
            frames.clear();
        } else if sent.is_empty() {
            return Ok(latencies);
        }
        connection.receiving.fill().await?;
        while let Some(frame) = connection.receiving.buffered()? {
            if frame.request == 0 {
                continue;
            }
            match Answer::from_frame(&frame)? {
                Answer::Posted(_) => {
                    let at = sent.pop_front().context("an answer to no request")?;
                    record(&mut latencies, at.elapsed());
                }
                Answer::Error(error) => bail!("a send was refused: {error}"),
                other => bail!("an answer of another kind: {}", other.name()),
            }
        }
    }
}

/// The request of a post.
pub(crate) fn post_frame(channel: &ChannelId, sequence: u64, content: &str) -> bytes::Bytes {
    Request::from(post(channel, sequence, content)).to_frame(sequence as u32 + 10)
}
