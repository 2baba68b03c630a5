//! `confab tail`: what stands in channels as JSON lines, from an offset or from
//! now, without gap or duplicate.

use std::collections::BTreeMap;

use confab_client::{Client, ClientEvent, Subscription};
use confab_protocol::{ChannelId, Offset, Position};
use futures_util::{FutureExt, StreamExt};

use crate::arguments::TailArguments;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Output, run_client};
use crate::sanitise::one_line;

pub(crate) fn run(arguments: &TailArguments) -> Result<(), Failure> {
    let result = run_client(async {
        let target = Target::find(&arguments.connection, false)?;
        let client = target.connect(&arguments.connection).await?;
        let heads = heads(&client, arguments).await?;
        let mut tail = Tail::new(arguments, heads);
        let events = client.subscribe_from(tail.from.clone()).await;
        tail.follow(events).await?;
        client.close().await;
        Ok(())
    });
    match result {
        // Being interrupted is how it ends.
        Err(failure) if failure.code() == "interrupted" => Ok(()),
        result => result,
    }
}

/// Where the channels stand.
async fn heads(
    client: &Client,
    arguments: &TailArguments,
) -> Result<BTreeMap<ChannelId, Position>, Failure> {
    let mut summaries = Vec::new();
    for channel in &arguments.channels {
        let summary = client.channel(channel.clone()).summary().await;
        summaries.push(summary.map_err(|error| Failure::from(error).of(channel))?);
    }
    if arguments.all {
        summaries = super::channels::fetch(client).await?;
    }
    let positions = summaries.into_iter().map(|summary| {
        let head = Position {
            epoch: summary.epoch,
            offset: summary.head,
        };
        (summary.channel, head)
    });
    Ok(positions.collect())
}

struct Tail {
    all: bool,
    once: bool,
    /// After these the events begin.
    from: BTreeMap<ChannelId, Position>,
    /// What is still to come, for `--once`.
    missing: BTreeMap<ChannelId, Position>,
    output: Output,
}

impl Tail {
    fn new(arguments: &TailArguments, heads: BTreeMap<ChannelId, Position>) -> Self {
        let first = match arguments.from {
            Some(from) => Some(from),
            None if arguments.once => Some(Offset(1)),
            None => None,
        };
        let start = |head: Position| Position {
            epoch: head.epoch,
            offset: match first {
                Some(first) => Offset(first.0.saturating_sub(1)),
                None => head.offset,
            },
        };
        let from: BTreeMap<_, _> = heads
            .iter()
            .map(|(channel, head)| (channel.clone(), start(*head)))
            .collect();
        let missing = heads
            .into_iter()
            .filter(|(_, head)| head.offset > start(*head).offset)
            .collect();
        Self {
            all: arguments.all,
            once: arguments.once,
            from,
            missing,
            output: Output::new(),
        }
    }

    async fn follow(&mut self, mut events: Subscription) -> Result<(), Failure> {
        while !(self.once && self.missing.is_empty()) {
            let event = match events.next().now_or_never() {
                Some(event) => event,
                // Nothing more for now: what is printed is to be seen.
                None => {
                    self.output.flush()?;
                    events.next().await
                }
            };
            let Some(event) = event else { break };
            self.hear(event)?;
        }
        self.output.flush()
    }

    fn hear(&mut self, event: ClientEvent) -> Result<(), Failure> {
        match event {
            ClientEvent::Channel(event) => {
                let begins = self.from.get(&event.channel);
                let is_old = begins.is_some_and(|begins| {
                    event.epoch < begins.epoch
                        || event.epoch == begins.epoch && event.event.offset <= begins.offset
                });
                let is_wanted = (self.all && !self.once) || begins.is_some();
                if is_wanted && !is_old && !self.is_beyond(&event.channel, event.event.offset) {
                    self.output.json(&event)?;
                }
                let reached = self.missing.get(&event.channel).is_some_and(|head| {
                    event.epoch > head.epoch || event.event.offset >= head.offset
                });
                if reached {
                    self.missing.remove(&event.channel);
                }
            }
            ClientEvent::ChannelRemoved { channel } => {
                self.missing.remove(&channel);
                let was_here = self.from.remove(&channel).is_some();
                if was_here && !self.all && self.from.is_empty() {
                    self.output.flush()?;
                    let sentence = format!("you are no longer in {channel}");
                    return Err(Failure::new("not_found", sentence));
                }
            }
            ClientEvent::Disconnected {
                reason,
                retry_in_ms,
            } => {
                let reason = one_line(&reason.to_string());
                let seconds = retry_in_ms.div_ceil(1_000);
                eprintln_quietly(&format!("confab: {reason}; next try within {seconds} s"));
            }
            ClientEvent::Closed(reason) => {
                self.output.flush()?;
                return Err(reason.into());
            }
            _ => {}
        }
        Ok(())
    }

    /// With `--once`, what came after the start is not printed.
    fn is_beyond(&self, channel: &ChannelId, offset: Offset) -> bool {
        self.once
            && self
                .missing
                .get(channel)
                .is_none_or(|head| offset > head.offset)
    }
}

/// Tells on standard error, if that is still there.
fn eprintln_quietly(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Tail;
    use crate::arguments::{Cli, Command, TailArguments};
    use clap::Parser;
    use confab_protocol::{ChannelId, Epoch, Offset, Position};

    fn arguments(line: &str) -> TailArguments {
        let line = format!("confab tail {line}");
        match Cli::try_parse_from(line.split(' ')).unwrap().command {
            Command::Tail(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    fn tail(line: &str, head: u64) -> Tail {
        let head = Position {
            epoch: Epoch(3),
            offset: Offset(head),
        };
        Tail::new(&arguments(line), [(ChannelId::general(), head)].into())
    }

    #[test]
    fn it_begins_where_it_is_told() {
        let start = |tail: Tail| tail.from[&ChannelId::general()].offset;
        assert_eq!(start(tail("general-company", 9)), Offset(9));
        assert_eq!(start(tail("general-company --from 1", 9)), Offset(0));
        assert_eq!(start(tail("general-company --from 0", 9)), Offset(0));
        assert_eq!(start(tail("general-company --once", 9)), Offset(0));
        assert_eq!(start(tail("general-company --once --from 5", 9)), Offset(4));
    }

    /// What ends at the newest event must also end when there is none.
    #[test]
    fn once_waits_only_for_what_is_there() {
        assert!(!tail("general-company --once", 9).missing.is_empty());
        assert!(tail("general-company --once", 0).missing.is_empty());
        assert!(
            tail("general-company --once --from 10", 9)
                .missing
                .is_empty()
        );
        assert!(
            !tail("general-company --once --from 9", 9)
                .missing
                .is_empty()
        );
    }
}
