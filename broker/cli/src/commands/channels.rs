//! `confab channels`: the user's channels.

use confab_client::Client;
use confab_protocol::limits::PAGE_ITEMS_MAX;
use confab_protocol::message::channel::ChannelSummary;

use crate::arguments::ChannelsArguments;
use crate::chat::layout::wrap::{cut, width};
use crate::chat::model::channels::shown_name;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Output, run_client};
use crate::stamp::Clock;

/// Widest name in the table, in columns.
const NAME_COLUMNS: usize = 32;

pub(crate) fn run(arguments: &ChannelsArguments, json: bool) -> Result<(), Failure> {
    run_client(async {
        let target = Target::find(&arguments.connection, false)?;
        let client = target.connect(&arguments.connection).await?;
        let mut channels = fetch(&client).await?;
        if arguments.unread {
            channels.retain(|one| one.read_state.unread > 0);
        }
        let mut output = Output::new();
        if json {
            for channel in &channels {
                output.json(channel)?;
            }
        } else {
            output.text(&table(&channels, &Clock::system()))?;
        }
        output.flush()?;
        client.close().await;
        Ok(())
    })
}

/// All of them, however many.
pub(super) async fn fetch(client: &Client) -> Result<Vec<ChannelSummary>, Failure> {
    let mut channels = Vec::new();
    let mut after = None;
    loop {
        let page = client.channel_page(after, PAGE_ITEMS_MAX).await?;
        channels.extend(page.channels.iter());
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(channels),
        }
    }
}

fn table(channels: &[ChannelSummary], clock: &Clock) -> String {
    if channels.is_empty() {
        return "No channels.\n".to_owned();
    }
    let mut rows = vec![
        [
            "UNREAD", "MENTIONS", "MEMBERS", "ACTIVITY", "NAME", "CHANNEL",
        ]
        .map(str::to_owned),
    ];
    let number = |number: u32| match number {
        0 => "-".to_owned(),
        number => number.to_string(),
    };
    for channel in channels {
        rows.push([
            number(channel.read_state.unread),
            number(channel.read_state.mentions),
            channel.member_count.to_string(),
            clock.day_and_time(channel.last_activity_ms),
            cut(&shown_name(channel), NAME_COLUMNS),
            channel.channel.to_string(),
        ]);
    }
    let columns: Vec<usize> = (0..6)
        .map(|column| {
            rows.iter()
                .map(|row| width(&row[column]))
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            let padding = " ".repeat(columns[column] - width(cell));
            match column {
                0..=2 => text.push_str(&format!("{padding}{cell}  ")),
                5 => text.push_str(cell),
                _ => text.push_str(&format!("{cell}{padding}  ")),
            }
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::chat::model::tests::summary;
    use crate::stamp::Clock;

    #[test]
    fn columns_line_up() {
        let mut one = summary("general-company", 1_772_612_040_000, 3);
        one.name = "東京 \x1b[2J".into();
        one.read_state.unread = 12;
        let text = table(&[one, summary("dept-sales", 0, 1)], &Clock::utc());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].starts_with("    12         -        3  2026-03-04 08:14  東京"));
        assert!(lines[1].ends_with("general-company"));
        assert!(!text.contains('\x1b'));
        assert_eq!(table(&[], &Clock::utc()), "No channels.\n");
    }
}
