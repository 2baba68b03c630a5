//! `confab send`: one message, or one for each line of standard input.

use std::collections::VecDeque;

use confab_client::{Client, Sending};
use confab_protocol::message::channel::Posted;
use confab_protocol::{ChannelId, MessageId, Offset, UserId};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

use crate::arguments::SendArguments;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Output, run_client};

/// Messages on their way at once.
const IN_FLIGHT_MAX: usize = 256;

/// Longest line that is read, in bytes; the server takes less.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// How long a message may wait for its turn: the server's rate limit makes it.
const TURN_MS: u64 = 120_000;

/// A message that stands in its channel.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    id: MessageId,
    channel_id: ChannelId,
    offset: Offset,
    created_at_ms: u64,
    duplicate: bool,
}

/// Where to, and what.
struct Order {
    channel: Option<ChannelId>,
    /// `None`: the lines of standard input.
    text: Option<String>,
}

pub(crate) fn run(arguments: &SendArguments, json: bool) -> Result<(), Failure> {
    let order = order(arguments)?;
    run_client(async {
        let target = Target::find(&arguments.connection, false)?;
        let patience_ms = u64::try_from(arguments.connection.timeout.as_millis())
            .unwrap_or(u64::MAX)
            .saturating_add(TURN_MS);
        let client = target
            .connect_with(&arguments.connection, move |config| {
                config.post_timeout_ms = patience_ms;
            })
            .await?;
        let channel = match (order.channel, &arguments.dm) {
            (Some(channel), _) => channel,
            (None, Some(user)) => client.open_dm(user.clone()).await?.channel,
            (None, None) => return Err(Failure::usage("say which channel, or --dm USER")),
        };
        let mut sender = Sender {
            client: client.clone(),
            channel,
            thread: arguments.thread,
            mentions: arguments.mentions.clone(),
            output: Output::new(),
            json,
            under_way: VecDeque::new(),
        };
        match order.text {
            Some(text) => sender.send(text).await?,
            None => sender.send_lines().await?,
        }
        sender.settle(0).await?;
        sender.output.flush()?;
        client.close().await;
        Ok(())
    })
}

fn order(arguments: &SendArguments) -> Result<Order, Failure> {
    let (channel, text) = match (&arguments.dm, &arguments.first, &arguments.second) {
        (Some(_), Some(_), Some(_)) => {
            return Err(Failure::usage("give a channel or --dm, not both"));
        }
        (Some(_), text, None) => (None, text.clone()),
        (_, Some(channel), text) => {
            let channel = ChannelId::new(channel)
                .map_err(|error| Failure::usage(format!("{channel}: {error}")))?;
            (Some(channel), text.clone())
        }
        (_, None, _) => return Err(Failure::usage("say which channel, or --dm USER")),
    };
    let text = text.filter(|text| text != "-");
    if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
        return Err(Failure::usage("the message is empty"));
    }
    Ok(Order { channel, text })
}

/// Messages on their way, in order.
struct Sender {
    client: Client,
    channel: ChannelId,
    thread: Option<Offset>,
    mentions: Vec<UserId>,
    output: Output,
    json: bool,
    under_way: VecDeque<Sending>,
}

impl Sender {
    async fn send_lines(&mut self) -> Result<(), Failure> {
        let mut input = BufReader::new(tokio::io::stdin());
        let mut number: u64 = 0;
        loop {
            let mut line = Vec::new();
            number += 1;
            let read = (&mut input)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line)
                .await
                .map_err(|error| {
                    Failure::new("input", format!("cannot read the input: {error}"))
                })?;
            if read == 0 {
                return Ok(());
            }
            let line = String::from_utf8(line)
                .map_err(|_| Failure::new("input", format!("line {number} is not UTF-8")))?;
            let text = line.trim_end_matches(['\n', '\r']);
            if !text.trim().is_empty() {
                let sent = self.send(text.to_owned()).await;
                sent.map_err(|failure| failure.of(format!("up to line {number}")))?;
            }
            // What is typed by hand, or comes slowly, is told at once.
            if input.buffer().is_empty() {
                self.settle(0).await?;
                self.output.flush()?;
            }
        }
    }

    async fn send(&mut self, text: String) -> Result<(), Failure> {
        let message = self.client.channel(self.channel.clone()).send(text);
        let message = match self.thread {
            Some(root) => message.thread(root),
            None => message,
        };
        let mentions = self.mentions.iter().cloned();
        let message = mentions.fold(message, |message, user| message.mention(user));
        self.under_way.push_back(message.enqueue().await?);
        self.settle(IN_FLIGHT_MAX - 1).await
    }

    /// Waits until no more than so many are on their way.
    async fn settle(&mut self, left: usize) -> Result<(), Failure> {
        while self.under_way.len() > left {
            let Some(sending) = self.under_way.pop_front() else {
                break;
            };
            let posted = sending.await?;
            self.tell(&posted)?;
        }
        Ok(())
    }

    fn tell(&mut self, posted: &Posted) -> Result<(), Failure> {
        let sent = Sent {
            id: MessageId::new(posted.position.epoch, posted.position.offset),
            channel_id: self.channel.clone(),
            offset: posted.position.offset,
            created_at_ms: posted.created_at_ms,
            duplicate: posted.duplicate,
        };
        if self.json {
            self.output.json(&sent)
        } else {
            self.output.line(&format!(
                "{}\t{}\t{}",
                sent.channel_id, sent.offset, sent.id
            ))
        }
    }
}
