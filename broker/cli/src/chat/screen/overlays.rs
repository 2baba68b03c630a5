//! What lies over the screen: help, lists, questions, the quick switcher.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Span;
use ratatui::widgets::{Block, Clear};

use super::{line, short, style};
use crate::chat::layout::wrap::{cut, width, wrap};
use crate::chat::layout::{self, Ink};
use crate::chat::model::overlay::{Overlay, Switcher};

/// Draws what lies over the screen.
pub(super) fn draw(frame: &mut Frame<'_>, overlay: &Overlay) {
    match overlay {
        Overlay::Text {
            title,
            lines,
            scrolled,
        } => {
            let widest = lines.iter().map(|line| width(line)).max().unwrap_or(0);
            let area = centred(frame.area(), widest + 4, lines.len() + 2);
            let is_cut = lines.len() + 2 > usize::from(area.height);
            let hint = if is_cut { ", Down shows more" } else { "" };
            let block = boxed(&format!("{title}: Esc closes{hint}"));
            let inside = block.inner(area);
            frame.render_widget(Clear, area);
            frame.render_widget(block, area);
            // The last line stops at the lower edge.
            let most = lines.len().saturating_sub(usize::from(inside.height));
            let shown = lines.iter().skip((*scrolled).min(most));
            for (text, y) in shown.zip(inside.top()..inside.bottom()) {
                let place = Rect::new(inside.x, y, inside.width, 1);
                frame.render_widget(Span::raw(text.as_str()), place);
            }
        }
        Overlay::Confirm { question, .. } => {
            let columns = width(question).min(usize::from(frame.area().width).saturating_sub(6));
            let lines = wrap(&[layout::Span::new(Ink::Plain, question)], columns);
            let area = centred(frame.area(), columns + 4, lines.len() + 2);
            let block = boxed("y: yes, n: no");
            let inside = block.inner(area);
            frame.render_widget(Clear, area);
            frame.render_widget(block, area);
            for (text, y) in lines.iter().zip(inside.top()..inside.bottom()) {
                frame.render_widget(line(text), Rect::new(inside.x, y, inside.width, 1));
            }
        }
        Overlay::Switcher(switcher) => draw_switcher(frame, switcher),
    }
}

fn draw_switcher(frame: &mut Frame<'_>, switcher: &Switcher) {
    let area = centred(frame.area(), 50, 14);
    let block = boxed("Go to: Enter goes, Esc closes");
    let inside = block.inner(area);
    frame.render_widget(Clear, area);
    frame.render_widget(block, area);
    if inside.height == 0 {
        return;
    }
    let columns = usize::from(inside.width);
    let query = format!("> {}", switcher.query.text());
    frame.render_widget(Span::raw(cut(&query, columns)), inside);
    let x = inside.x + u16::try_from(width(&query).min(columns.saturating_sub(1))).unwrap_or(0);
    frame.set_cursor_position(Position::new(x, inside.y));
    let rows = usize::from(inside.height - 1);
    let first = (switcher.chosen + 1).saturating_sub(rows);
    let choices = switcher.choices.iter().enumerate().skip(first);
    for ((place, choice), y) in choices.zip(inside.top() + 1..inside.bottom()) {
        let unread = match choice.unread {
            0 => String::new(),
            count => format!("  {} new", short(count)),
        };
        let text = cut(&format!("{}{unread}", choice.name), columns);
        let mut row = Style::new();
        if place == switcher.chosen {
            row = row.add_modifier(Modifier::REVERSED);
        }
        let text = format!("{text}{}", " ".repeat(columns.saturating_sub(width(&text))));
        frame.render_widget(
            Span::styled(text, row),
            Rect::new(inside.x, y, inside.width, 1),
        );
    }
}

fn boxed(title: &str) -> Block<'static> {
    Block::bordered()
        .border_style(style(Ink::Accent))
        .title(format!(" {title} "))
}

/// A part of the screen in its middle, as large as wanted where there is room.
fn centred(screen: Rect, columns: usize, rows: usize) -> Rect {
    let columns = u16::try_from(columns).unwrap_or(u16::MAX);
    let rows = u16::try_from(rows).unwrap_or(u16::MAX);
    let columns = columns.clamp(30.min(screen.width), screen.width);
    let rows = rows.min(screen.height.saturating_sub(1));
    let x = (screen.width - columns) / 2;
    let y = screen.height.saturating_sub(rows) / 2;
    Rect::new(x, y, columns, rows)
}
