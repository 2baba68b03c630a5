//! `confab history`: messages of a channel, oldest first.

use std::collections::BTreeMap;

use confab_client::Client;
use confab_protocol::limits::{PAGE_ITEMS_MAX, USERS_PER_REQUEST_MAX};
use confab_protocol::message::channel::{Anchor, History};
use confab_protocol::message::event::Message;
use confab_protocol::{Epoch, MessageId, UserId};
use serde::Serialize;

use crate::arguments::HistoryArguments;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Output, run_client};
use crate::sanitise;
use crate::stamp::Clock;

/// A message with its public name.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Named<'a> {
    id: MessageId,
    channel_id: &'a str,
    #[serde(flatten)]
    message: &'a Message,
}

pub(crate) fn run(arguments: &HistoryArguments, json: bool) -> Result<(), Failure> {
    run_client(async {
        let target = Target::find(&arguments.connection, false)?;
        let client = target.connect(&arguments.connection).await?;
        let (epoch, messages) = fetch(&client, arguments).await?;
        let mut output = Output::new();
        if json {
            for message in &messages {
                output.json(&Named {
                    id: MessageId::new(epoch, message.offset),
                    channel_id: arguments.channel.as_str(),
                    message,
                })?;
            }
        } else {
            let names = names(&client, &messages).await;
            let clock = Clock::system();
            for message in &messages {
                output.text(&text(message, &names, &clock))?;
            }
        }
        output.flush()?;
        client.close().await;
        Ok(())
    })
}

/// Fetches pages until there are as many as asked for, or no more.
async fn fetch(
    client: &Client,
    arguments: &HistoryArguments,
) -> Result<(Epoch, Vec<Message>), Failure> {
    let mut anchor = match (arguments.before, arguments.after, arguments.since) {
        (Some(before), ..) => Anchor::Before(before),
        (_, Some(after), _) => Anchor::After(after),
        (.., Some(since)) => Anchor::AtTime(since),
        _ => Anchor::Latest,
    };
    let backwards = matches!(anchor, Anchor::Latest | Anchor::Before(_));
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let mut messages: Vec<Message> = Vec::new();
    loop {
        let missing = limit - messages.len();
        let page = client
            .request(History {
                channel: arguments.channel.clone(),
                thread: arguments.thread,
                anchor,
                limit: u16::try_from(missing).map_or(PAGE_ITEMS_MAX, |one| one.min(PAGE_ITEMS_MAX)),
            })
            .await?;
        let fetched = page.messages.to_vec();
        let next = if backwards {
            messages.splice(..0, fetched);
            page.next_before.map(Anchor::Before)
        } else {
            messages.extend(fetched);
            page.next_after.map(Anchor::After)
        };
        match next {
            Some(next) if messages.len() < limit => anchor = next,
            _ => return Ok((page.epoch, messages)),
        }
    }
}

/// Display names of whoever wrote; an id is good enough where there is none.
async fn names(client: &Client, messages: &[Message]) -> BTreeMap<UserId, String> {
    let mut senders: Vec<UserId> = messages.iter().map(|one| one.sender.clone()).collect();
    senders.sort();
    senders.dedup();
    let mut names = BTreeMap::new();
    for some in senders.chunks(USERS_PER_REQUEST_MAX) {
        let Ok(profiles) = client.users(some.iter().cloned()).await else {
            break;
        };
        names.extend(
            profiles
                .into_iter()
                .map(|profile| (profile.id, sanitise::one_line(&profile.name))),
        );
    }
    names
}

/// A message for people: a line with when, who and what; further lines of its
/// text are indented.
fn text(message: &Message, names: &BTreeMap<UserId, String>, clock: &Clock) -> String {
    let when = clock.day_and_time(message.created_at_ms);
    let name = names
        .get(&message.sender)
        .map_or(message.sender.as_str(), String::as_str);
    let content = if message.deleted_at_ms.is_some() {
        "(deleted)".to_owned()
    } else {
        sanitise::lines(&message.content).replace('\n', "\n      ")
    };
    let mut marks = String::new();
    if message.edited_at_ms.is_some() {
        marks.push_str(" (edited)");
    }
    if message.pinned {
        marks.push_str(" (pinned)");
    }
    for attachment in message.attachments.iter() {
        let file = format!("{} ({})", attachment.name, attachment.url);
        marks.push_str(&format!("\n      [file] {}", sanitise::one_line(&file)));
    }
    let reactions: Vec<String> = message
        .reactions
        .iter()
        .map(|reaction| {
            let emoji = sanitise::one_line(reaction.emoji.as_str());
            format!("{emoji} {}", reaction.count)
        })
        .collect();
    if !reactions.is_empty() {
        marks.push_str(&format!("\n      {}", reactions.join("  ")));
    }
    match message.reply_count {
        0 => {}
        1 => marks.push_str("\n      1 reply"),
        count => marks.push_str(&format!("\n      {count} replies")),
    }
    format!(
        "{:>5}  {when}  {name}: {content}{marks}\n",
        message.offset.0
    )
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::chat::model::tests::wire_message;
    use crate::stamp::Clock;

    #[test]
    fn a_message_is_a_clean_line() {
        let mut message = wire_message(7, "u1", "one\ntwo \x1b[31m");
        message.created_at_ms = 1_772_612_040_000;
        message.reply_count = 2;
        let text = text(&message, &std::collections::BTreeMap::new(), &Clock::utc());
        assert_eq!(
            text,
            "    7  2026-03-04 08:14  u1: one\n      two \u{fffd}[31m\n      2 replies\n"
        );
    }
}
