//! Draws the model: colours and frames around what `layout` says.

mod overlays;

use confab_protocol::message::channel::ChannelSummary;
use confab_protocol::message::presence::PresenceState;
use confab_protocol::{ChannelKind, UserId};
use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::layout::Ink;
use super::layout::areas::{Areas, SMALLEST};
use super::layout::wrap::{cut, editor_lines, width};
use super::model::Model;
use super::model::channels::{dm_peer, shown_name};
use super::model::effect::Place;
use super::model::keys::SELECTED_KEYS;
use crate::chat::layout::scroll::Scroll;
use crate::sanitise::one_line;

/// Colours that names have.
const NAME_COLOURS: [Color; 6] = [
    Color::Cyan,
    Color::Magenta,
    Color::Yellow,
    Color::Blue,
    Color::LightRed,
    Color::LightCyan,
];

fn style(ink: Ink) -> Style {
    let plain = Style::new();
    match ink {
        Ink::Plain => plain,
        Ink::Dim => plain.fg(Color::DarkGray),
        Ink::Name(number) => {
            let colour = NAME_COLOURS[usize::from(number) % NAME_COLOURS.len()];
            plain.fg(colour).add_modifier(Modifier::BOLD)
        }
        Ink::OwnName => plain.fg(Color::Green).add_modifier(Modifier::BOLD),
        Ink::Mention => plain.fg(Color::Cyan),
        Ink::MentionOfMe => plain.fg(Color::Yellow).add_modifier(Modifier::BOLD),
        Ink::Code => plain.fg(Color::LightYellow),
        Ink::Strong => plain.add_modifier(Modifier::BOLD),
        Ink::Link => plain.fg(Color::Blue).add_modifier(Modifier::UNDERLINED),
        Ink::Alert => plain.fg(Color::Red),
        Ink::Accent => plain.fg(Color::Green),
    }
}

fn line(spans: &[super::layout::Span]) -> Line<'_> {
    spans
        .iter()
        .map(|span| Span::styled(span.text.as_str(), style(span.ink)))
        .collect()
}

/// Draws everything.
pub(crate) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let areas = model.areas();
    list(frame, model, &areas);
    header(frame, model, areas.header);
    messages(frame, model, areas.messages);
    rule(frame, model, areas.rule);
    input(frame, model, areas.input);
    status(frame, model, areas.status);
    if let Some(overlay) = model.overlay() {
        overlays::draw(frame, overlay);
    }
}

fn dot(state: PresenceState) -> Span<'static> {
    match state {
        PresenceState::Online => Span::styled("●", Style::new().fg(Color::Green)),
        PresenceState::Away => Span::styled("◐", Style::new().fg(Color::Yellow)),
        PresenceState::Dnd => Span::styled("⊘", Style::new().fg(Color::Red)),
        PresenceState::Offline => Span::styled("○", style(Ink::Dim)),
    }
}

/// What stands before a channel's name.
fn mark(model: &Model, summary: &ChannelSummary) -> Span<'static> {
    match summary.kind {
        ChannelKind::Dm => {
            let peer: Option<UserId> = dm_peer(&summary.channel, model.me());
            let state = peer.map_or(PresenceState::Offline, |peer| model.people().state(&peer));
            dot(state)
        }
        ChannelKind::Group if summary.private => Span::styled("*", style(Ink::Dim)),
        _ => Span::styled("#", style(Ink::Dim)),
    }
}

fn list(frame: &mut Frame<'_>, model: &Model, areas: &Areas) {
    let area = areas.list;
    let columns = usize::from(area.width);
    if columns == 0 {
        return;
    }
    for y in areas.divider.top()..areas.divider.bottom() {
        let cell = Rect::new(areas.divider.x, y, 1, 1);
        frame.render_widget(Span::styled("│", style(Ink::Dim)), cell);
    }
    let here = model.here().map(|here| &here.channel);
    let channels = model.channels().list();
    let rows = usize::from(area.height);
    let at = channels
        .iter()
        .position(|summary| Some(&summary.channel) == here)
        .unwrap_or(0);
    let first = (at + 1).saturating_sub(rows);
    for (summary, y) in channels.iter().skip(first).zip(area.top()..area.bottom()) {
        let is_here = Some(&summary.channel) == here;
        let row = list_row(model, summary, is_here, columns);
        frame.render_widget(row, Rect::new(area.x, y, area.width, 1));
    }
    if channels.is_empty() {
        let hint = Span::styled("no channels yet", style(Ink::Dim));
        frame.render_widget(
            hint,
            Rect::new(area.x, area.y, area.width, area.height.min(1)),
        );
    }
}

fn list_row(
    model: &Model,
    summary: &ChannelSummary,
    is_here: bool,
    columns: usize,
) -> Line<'static> {
    let read_state = summary.read_state;
    let count = match (read_state.mentions, read_state.unread) {
        (0, 0) => String::new(),
        (0, unread) => short(unread),
        (mentions, _) => format!("@{}", short(mentions)),
    };
    let count_columns = if count.is_empty() {
        0
    } else {
        width(&count) + 1
    };
    let name = cut(
        &shown_name(summary),
        columns.saturating_sub(3 + count_columns),
    );
    let padding = columns.saturating_sub(2 + width(&name) + width(&count) + 1);
    let mut name_style = Style::new();
    if read_state.unread > 0 {
        name_style = name_style.add_modifier(Modifier::BOLD);
    } else if summary.archived_at_ms.is_some() {
        name_style = style(Ink::Dim);
    }
    let count_style = if read_state.mentions > 0 {
        style(Ink::Alert).add_modifier(Modifier::BOLD)
    } else {
        style(Ink::Accent)
    };
    let row = Line::from(vec![
        mark(model, summary),
        Span::raw(" "),
        Span::styled(name, name_style),
        Span::raw(" ".repeat(padding)),
        Span::styled(count, count_style),
        Span::raw(" "),
    ]);
    if is_here {
        row.style(Style::new().add_modifier(Modifier::REVERSED))
    } else {
        row
    }
}

fn short(count: u32) -> String {
    if count > 999 {
        "999+".to_owned()
    } else {
        count.to_string()
    }
}

fn header(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let Some(summary) = model.summary() else {
        return;
    };
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut spans = vec![mark(model, summary), Span::raw(" ")];
    spans.push(Span::styled(shown_name(summary), bold));
    if model.here().is_some_and(|here| here.thread.is_some()) {
        spans.push(Span::styled("  thread, Esc goes back", style(Ink::Accent)));
    }
    if summary.archived_at_ms.is_some() {
        spans.push(Span::styled("  archived", style(Ink::Alert)));
    }
    match dm_peer(&summary.channel, model.me()) {
        Some(peer) if summary.kind == ChannelKind::Dm => {
            let state = format!("{:?}", model.people().state(&peer)).to_lowercase();
            let status = model.people().status(&peer);
            spans.push(Span::styled(format!("  {state} {status}"), style(Ink::Dim)));
        }
        _ => {
            let count = match summary.member_count {
                1 => "1 member".to_owned(),
                count => format!("{count} members"),
            };
            spans.push(Span::styled(format!("  {count}"), style(Ink::Dim)));
        }
    }
    let topic = one_line(&summary.topic);
    if !topic.is_empty() {
        spans.push(Span::styled(format!("  {topic}"), style(Ink::Dim)));
    }
    frame.render_widget(Line::from(spans), area);
}

fn messages(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let height = usize::from(area.height);
    let Some(scene) = model.scene() else {
        let hint = if model.link().is_online() {
            "No channel yet. Ctrl-K finds people and channels, F1 helps."
        } else {
            ""
        };
        frame.render_widget(Span::styled(hint, style(Ink::Dim)), area);
        return;
    };
    let conversation = scene.conversation;
    if conversation.entries().is_empty() && conversation.pending().is_empty() {
        let hint = match conversation.problem() {
            Some(problem) => format!("Could not be loaded: {problem}"),
            None if conversation.is_loading() => "loading…".to_owned(),
            None => "Nothing was written here yet.".to_owned(),
        };
        frame.render_widget(Paragraph::new(hint).style(style(Ink::Dim)), area);
        return;
    }
    let rows = scene.window(model.scroll(), height);
    // What is less than a screen stands at its lower edge, as in a terminal.
    let missing = area
        .height
        .saturating_sub(u16::try_from(rows.len()).unwrap_or(u16::MAX));
    for (row, y) in rows.iter().zip(area.top() + missing..area.bottom()) {
        frame.render_widget(line(&row.line), Rect::new(area.x, y, area.width, 1));
    }
    if missing > 0 && conversation.is_fetching_older() {
        let top = Rect::new(area.x, area.y, area.width, 1);
        frame.render_widget(
            Span::styled("loading older messages…", style(Ink::Dim)),
            top,
        );
    }
}

/// The line above the input: who types, what can be completed, what Enter does.
fn rule(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    if area.height == 0 {
        return;
    }
    let (text, ink) = rule_text(model);
    let columns = usize::from(area.width);
    let text = cut(&text, columns.saturating_sub(6));
    let mut spans = vec![Span::styled("──", style(Ink::Dim))];
    let mut used = 2;
    if !text.is_empty() {
        used += width(&text) + 2;
        spans.push(Span::styled(format!(" {text} "), style(ink)));
    }
    spans.push(Span::styled(
        "─".repeat(columns.saturating_sub(used)),
        style(Ink::Dim),
    ));
    frame.render_widget(Line::from(spans), area);
}

fn rule_text(model: &Model) -> (String, Ink) {
    if let Some(completion) = model.completion() {
        let labels: Vec<String> = completion
            .candidates
            .iter()
            .enumerate()
            .map(|(place, one)| {
                if place == completion.taken {
                    format!("[{}]", one.label)
                } else {
                    one.label.clone()
                }
            })
            .collect();
        return (labels.join(" "), Ink::Accent);
    }
    if model.editing().is_some() {
        return ("editing: Enter saves, Esc leaves it".into(), Ink::Accent);
    }
    if model.selected().is_some() {
        return (SELECTED_KEYS.into(), Ink::Accent);
    }
    let typing = model
        .here()
        .map_or_else(String::new, |Place { channel, thread }| {
            model.people().typing_text(channel, *thread)
        });
    if !typing.is_empty() {
        return (typing, Ink::Dim);
    }
    if model.scroll() != Scroll::Latest {
        let unread = model
            .summary()
            .map_or(0, |summary| summary.read_state.unread);
        return match unread {
            0 => (
                "older messages; Ctrl-End goes to the newest".into(),
                Ink::Dim,
            ),
            count => (
                format!("{count} new; Ctrl-End goes to the newest"),
                Ink::Alert,
            ),
        };
    }
    (String::new(), Ink::Dim)
}

fn input(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    if area.height == 0 || area.width < 4 {
        return;
    }
    let editor = model.editor();
    let columns = usize::from(area.width - 2);
    let (lines, row, column) = editor_lines(editor.text(), editor.cursor(), columns);
    let height = usize::from(area.height);
    let first = (row + 1).saturating_sub(height);
    frame.render_widget(
        Span::styled(">", style(Ink::Accent)),
        Rect::new(area.x, area.y, 1, 1),
    );
    for (text, y) in lines.iter().skip(first).zip(area.top()..area.bottom()) {
        let place = Rect::new(area.x + 2, y, area.width - 2, 1);
        frame.render_widget(Span::raw(text.as_str()), place);
    }
    if editor.is_empty() && model.selected().is_none() {
        let hint = match model.here() {
            Some(Place {
                thread: Some(_), ..
            }) => "write a reply",
            Some(_) => "write a message; /help",
            None => "",
        };
        let place = Rect::new(area.x + 2, area.y, area.width - 2, 1);
        frame.render_widget(Span::styled(hint, style(Ink::Dim)), place);
    }
    if model.overlay().is_none() {
        let x = area.x + 2 + u16::try_from(column).unwrap_or(0);
        let y = area.y + u16::try_from(row - first).unwrap_or(0);
        frame.set_cursor_position(Position::new(x.min(area.right().saturating_sub(1)), y));
    }
}

fn status(frame: &mut Frame<'_>, model: &Model, area: Rect) {
    let columns = usize::from(area.width);
    let bar = Style::new().bg(Color::DarkGray).fg(Color::White);
    let link = model.link();
    let link_colour = if link.is_online() {
        Color::LightGreen
    } else {
        Color::LightRed
    };
    let me = model.people().name(model.me()).to_owned();
    let mut left = vec![
        Span::styled(" ● ", bar.fg(link_colour)),
        Span::styled(link.text(model.now_ms()), bar),
    ];
    if link.is_online() && model.me().as_str() != "-" {
        left.push(Span::styled(format!(" as {me}"), bar));
    }
    if let Some(said) = model.said() {
        let colour = if said.is_problem {
            Color::LightRed
        } else {
            Color::LightYellow
        };
        let text = format!("  {}", one_line(&said.text));
        left.push(Span::styled(text, bar.fg(colour)));
    } else if columns < usize::from(SMALLEST.0) || frame.area().height < SMALLEST.1 {
        let text = format!("  a terminal of {}x{} shows more", SMALLEST.0, SMALLEST.1);
        left.push(Span::styled(text, bar));
    }
    let totals = model.channels().totals();
    let right = match (totals.unread, totals.mentions) {
        (0, 0) => " F1 help ".to_owned(),
        (unread, 0) => format!(" {unread} unread · F1 help "),
        (unread, mentions) => format!(" {unread} unread, {mentions} mentions · F1 help "),
    };
    frame.render_widget(Line::default().style(bar), area);
    frame.render_widget(Block::new().style(bar), area);
    frame.render_widget(Line::from(left), area);
    let right_columns = width(&right);
    if model.said().is_none() && link.is_online() && columns > right_columns + 30 {
        let x = area.right() - u16::try_from(right_columns).unwrap_or(0);
        let place = Rect::new(x, area.y, area.right() - x, area.height);
        frame.render_widget(Span::styled(right, bar), place);
    }
}

#[cfg(test)]
mod tests;
