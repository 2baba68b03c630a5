#![allow(clippy::unwrap_used)]
//! What a person sees, on a terminal made of memory.

use confab_client::{ClientEvent, DownReason};
use confab_protocol::message::channel::ChannelTotals;
use confab_protocol::message::presence::{Presence, PresenceState};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use super::draw;
use crate::chat::model::effect::Input;
use crate::chat::model::tests::{Driven, NOW_MS, key, page, summary, user, wire_message, with};

/// Draws at a size; the lines as text.
fn drawn(driven: &mut Driven, width: u16, height: u16) -> Vec<String> {
    driven.give(Input::Size(width, height));
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, &driven.model)).unwrap();
    let buffer = terminal.backend().buffer();
    (0..height)
        .map(|y| {
            let mut line = String::new();
            let mut x = 0;
            while x < width {
                let symbol = buffer[(x, y)].symbol();
                line.push_str(symbol);
                x += u16::try_from(super::width(symbol).max(1)).unwrap();
            }
            line
        })
        .collect()
}

fn talking() -> Driven {
    let mut dm = summary("dm-u1-u2", 5, 2);
    dm.name = "Uma Two".into();
    dm.read_state.unread = 2;
    dm.read_state.mentions = 1;
    let mut general = summary("general-company", 9, 3);
    general.name = "General".into();
    general.topic = "All of us".into();
    let totals = ChannelTotals {
        channels: 2,
        unread_channels: 1,
        unread: 2,
        mentions: 1,
    };
    let mut driven = Driven::with_channels(vec![dm.clone(), general.clone()]);
    driven.answer_history(page(
        "general-company",
        vec![
            wire_message(1, "u1", "Good morning"),
            wire_message(2, "u2", "Hi! See https://example.org"),
            wire_message(3, "u2", "and `code`"),
        ],
        None,
        3,
    ));
    driven.give(Input::Channels(vec![dm, general], totals));
    driven.give(Input::Event(ClientEvent::Presence(vec![Presence {
        user: user("u2"),
        state: PresenceState::Away,
        status: "lunch".into(),
        last_seen_ms: NOW_MS,
    }])));
    driven
}

#[test]
fn a_conversation_is_on_the_screen() {
    let mut driven = talking();
    let lines = drawn(&mut driven, 80, 24);
    let screen = lines.join("\n");
    for expected in [
        "# General",
        "3 members  All of us",
        "◐ Uma Two",
        "@1",
        "Uma One  08:14",
        "  Good morning",
        "Uma Two  08:14",
        "and code",
        "Wednesday, 4 March 2026",
        "connected as Uma One",
        "2 unread, 1 mentions",
        "> write a message; /help",
    ] {
        assert!(screen.contains(expected), "{expected}:\n{screen}");
    }
    assert!(
        lines[21].contains("──") && lines[22].contains('>'),
        "{screen}"
    );
}

/// People have small terminals, in corners of large screens.
#[test]
fn it_is_usable_from_60_by_15() {
    let mut driven = talking();
    driven.write("a word");
    let screen = drawn(&mut driven, 60, 15).join("\n");
    for expected in [
        "General",
        "Good morning",
        "and code",
        "> a word",
        "connected",
    ] {
        assert!(screen.contains(expected), "{expected}:\n{screen}");
    }
}

/// A window that is dragged small, or opened by a script, must not end it.
#[test]
fn no_size_is_a_panic() {
    let mut driven = talking();
    for overlay in [None, Some(KeyCode::F(1)), Some(KeyCode::Char('k'))] {
        if let Some(code) = overlay {
            let modifiers = match code {
                KeyCode::F(_) => KeyModifiers::NONE,
                _ => KeyModifiers::CONTROL,
            };
            driven.give(key(KeyCode::Esc));
            driven.give(with(modifiers, code));
        }
        for width in 1..70 {
            for height in 1..20 {
                drawn(&mut driven, width, height);
            }
        }
    }
}

#[test]
fn help_shows_every_command() {
    let mut driven = talking();
    driven.enter("/help");
    let screen = drawn(&mut driven, 100, 60).join("\n");
    for expected in ["/dm USER", "Ctrl-K", "/quit", "Esc closes"] {
        assert!(screen.contains(expected), "{expected}:\n{screen}");
    }
    // Where it does not fit, it scrolls to its end.
    for _ in 0..10 {
        driven.give(key(KeyCode::PageDown));
    }
    assert!(drawn(&mut driven, 60, 15).join("\n").contains("/quit"));
}

#[test]
fn the_switcher_shows_what_is_unread_first() {
    let mut driven = talking();
    driven.give(with(KeyModifiers::CONTROL, KeyCode::Char('k')));
    let lines = drawn(&mut driven, 80, 24);
    let find = |text: &str| lines.iter().position(|line| line.contains(text)).unwrap();
    assert!(find("Uma Two  2 new") < find("General  ").max(find("Go to") + 3));
    assert!(find("Go to: Enter goes") < find("Uma Two  2 new"));
}

#[test]
fn what_is_wrong_with_the_connection_is_told() {
    let mut driven = talking();
    driven.give(Input::Event(ClientEvent::Disconnected {
        reason: DownReason::Lost,
        retry_in_ms: 7_000,
    }));
    let lines = drawn(&mut driven, 80, 24);
    assert!(
        lines[23].contains("not connected, next try in 7 s"),
        "{}",
        lines[23]
    );
    assert!(
        lines.join("\n").contains("○ Uma Two"),
        "nobody is known to be there"
    );
}

/// Nobody may draw on somebody else's terminal.
#[test]
fn hostile_text_stays_text() {
    let hostile = "a\x1b[2J\x07\u{9b}31m\u{202e}b";
    let mut general = summary("general-company", 9, 1);
    general.name = hostile.into();
    general.topic = hostile.into();
    let mut driven = Driven::with_channels(vec![general]);
    let mut message = wire_message(1, "u2", hostile);
    message.attachments = vec![confab_protocol::message::event::Attachment {
        name: hostile.into(),
        media_type: "x/y".into(),
        bytes: 1,
        url: hostile.into(),
    }]
    .into();
    driven.answer_history(page("general-company", vec![message], None, 1));
    driven.give(Input::Event(ClientEvent::Typing(
        confab_protocol::message::presence::TypingChanged {
            channel: confab_protocol::ChannelId::general(),
            thread: None,
            user: user("u3"),
            name: hostile.into(),
            on: true,
        },
    )));
    for line in drawn(&mut driven, 100, 30) {
        assert!(
            line.chars().all(|c| !c.is_control() && c != '\u{202e}'),
            "{line:?}"
        );
    }
}

#[test]
fn several_lines_are_written_in_a_growing_input() {
    let mut driven = talking();
    for line in ["one", "two", "three"] {
        driven.write(line);
        driven.give(with(KeyModifiers::ALT, KeyCode::Enter));
    }
    let lines = drawn(&mut driven, 80, 24);
    assert!(
        lines[19].contains("> one") && lines[21].contains("three"),
        "{lines:?}"
    );
}
