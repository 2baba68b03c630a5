//! What the keys do.

use confab_protocol::Offset;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::Model;
use super::effect::{Effect, Place};
use super::overlay::{Confirmed, Overlay, Switcher, Target};
use crate::chat::layout::scroll::Scroll;

/// How often the client is told that the user does something.
const ACTIVE_INTERVAL_MS: u64 = 10_000;

/// What the keys do, for help.
pub(crate) const KEYS: &[(&str, &str)] = &[
    ("Enter", "send"),
    ("Alt-Enter, Ctrl-J", "a new line"),
    ("Tab", "complete @user or /command; again for the next"),
    ("Ctrl-K", "go to a channel or user by a few letters"),
    ("Alt-Up, Alt-Down", "the channel above or below"),
    ("Alt-U", "the next channel with something unread"),
    ("PageUp, PageDown", "scroll"),
    ("Ctrl-End", "go to the newest message"),
    ("Up", "select a message, when nothing is written"),
    ("Esc", "back: what is open, selected or edited is left"),
    (
        "Ctrl-C",
        "clear what is written; end, when there is nothing",
    ),
];

/// What the keys do while a message is selected.
pub(crate) const SELECTED_KEYS: &str =
    "Enter thread · e edit · d delete · r react · p pin · u unread · Esc back";

impl Model {
    pub(super) fn key(&mut self, key: KeyEvent) {
        if key.kind == KeyEventKind::Release {
            return;
        }
        self.said = None;
        if self.now_ms.saturating_sub(self.active_at_ms) >= ACTIVE_INTERVAL_MS {
            self.active_at_ms = self.now_ms;
            self.effect(Effect::Active);
        }
        match self.overlay.take() {
            Some(overlay) => self.overlay_key(overlay, key),
            None if self.global_key(key) => {}
            None if self.selected.is_some() && self.editor.is_empty() => self.selection_key(key),
            None => self.editor_key(key),
        }
    }

    pub(super) fn paste(&mut self, text: &str) {
        match &mut self.overlay {
            Some(Overlay::Switcher(switcher)) => {
                switcher.query.insert(&text.replace(['\n', '\r'], " "));
                self.refresh_switcher();
            }
            Some(_) => {}
            None => {
                self.selected = None;
                self.completion = None;
                self.editor.insert(text);
                self.typed();
            }
        }
    }

    /// Keys that mean the same everywhere. Answers whether this was one.
    fn global_key(&mut self, key: KeyEvent) -> bool {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let page = usize::from(self.areas().messages.height.saturating_sub(1));
        match key.code {
            KeyCode::Char('c') if control => self.interrupt(),
            KeyCode::Char('q') if control => self.quit = true,
            KeyCode::Char('k') if control => self.open_switcher(),
            KeyCode::Up if alt => self.step(-1),
            KeyCode::Down if alt => self.step(1),
            KeyCode::Char('p') if control => self.step(-1),
            KeyCode::Char('n') if control => self.step(1),
            KeyCode::Char('u') if alt => self.go_to_unread(),
            KeyCode::PageUp => self.scroll_up(page),
            KeyCode::PageDown => self.scroll_down(page),
            KeyCode::Up if control => self.scroll_up(1),
            KeyCode::Down if control => self.scroll_down(1),
            KeyCode::End if control => self.go_to_latest(),
            KeyCode::F(1) => self.show_help(),
            KeyCode::Esc => self.escape(),
            _ => return false,
        }
        true
    }

    fn interrupt(&mut self) {
        if self.editor.is_empty() && self.editing.is_none() {
            self.quit = true;
            return;
        }
        self.editing = None;
        self.editor.take();
        self.typed();
        self.say("Ctrl-C again ends.");
    }

    fn escape(&mut self) {
        self.completion = None;
        if self.editing.take().is_some() {
            self.editor.take();
        } else if self.selected.take().is_some() {
        } else if self.scroll != Scroll::Latest {
            self.go_to_latest();
        } else if let Some(here) = self.here.clone()
            && here.thread.is_some()
        {
            self.go(Place::channel(here.channel));
        }
    }

    fn editor_key(&mut self, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        let shift = key.modifiers.contains(KeyModifiers::SHIFT);
        if !matches!(key.code, KeyCode::Tab | KeyCode::BackTab) {
            self.completion = None;
        }
        let before = self.editor.text().len();
        match key.code {
            KeyCode::Enter if alt || shift => self.editor.insert("\n"),
            KeyCode::Char('j') if control => self.editor.insert("\n"),
            KeyCode::Enter => return self.enter(),
            KeyCode::Tab => self.complete(true),
            KeyCode::BackTab => self.complete(false),
            KeyCode::Backspace if alt || control => self.editor.delete_word(),
            KeyCode::Backspace => self.editor.backspace(),
            KeyCode::Delete => self.editor.delete(),
            KeyCode::Left if alt || control => self.editor.word_left(),
            KeyCode::Right if alt || control => self.editor.word_right(),
            KeyCode::Left => self.editor.left(),
            KeyCode::Right => self.editor.right(),
            KeyCode::Home => self.editor.home(),
            KeyCode::End => self.editor.end(),
            KeyCode::Up => self.line_up(),
            KeyCode::Down => self.line_down(),
            KeyCode::Char('d') if control && self.editor.is_empty() => self.quit = true,
            KeyCode::Char(c) if control => self.control_key(c),
            KeyCode::Char('b') if alt => self.editor.word_left(),
            KeyCode::Char('f') if alt => self.editor.word_right(),
            KeyCode::Char(c) if !alt => self.editor.insert(c.encode_utf8(&mut [0; 4])),
            _ => {}
        }
        if self.editor.text().len() != before {
            self.typed();
        }
    }

    /// What readline's users expect.
    fn control_key(&mut self, c: char) {
        match c {
            'a' => self.editor.home(),
            'e' => self.editor.end(),
            'b' => self.editor.left(),
            'f' => self.editor.right(),
            'd' => self.editor.delete(),
            'h' => self.editor.backspace(),
            'w' => self.editor.delete_word(),
            'u' => self.editor.delete_to_line_start(),
            _ => {}
        }
    }

    /// The text has changed: others are told that the user types.
    fn typed(&mut self) {
        self.look_for_users();
        let Some(here) = self.here.clone() else {
            return;
        };
        let text = self.editor.text();
        if self.editing.is_some() || text.starts_with('/') && !text.starts_with("//") {
            return;
        }
        if text.is_empty() {
            self.effect(Effect::StopTyping(here));
        } else {
            self.effect(Effect::Typing(here));
        }
    }

    fn line_up(&mut self) {
        if !self.editor.up() && self.editor.is_empty() {
            self.select(true);
        }
    }

    fn line_down(&mut self) {
        if !self.editor.down() && self.editor.is_empty() && self.scroll != Scroll::Latest {
            self.scroll_down(1);
        }
    }

    fn selection_key(&mut self, key: KeyEvent) {
        match key.code {
            KeyCode::Up | KeyCode::Char('k') => self.select(true),
            KeyCode::Down | KeyCode::Char('j') => self.select(false),
            KeyCode::Enter | KeyCode::Char('t') => self.open_thread(),
            KeyCode::Char('e') => self.edit(None),
            KeyCode::Char('d') | KeyCode::Delete => self.ask_delete(),
            KeyCode::Char('p') => self.pin(),
            KeyCode::Char('u') => self.mark_unread(),
            KeyCode::Char('r') => self.editor.set("/react "),
            // Whoever begins to write wants to write.
            KeyCode::Char('/') => {
                self.editor.set("/");
            }
            _ => {}
        }
    }

    /// Selects the message above or below.
    fn select(&mut self, up: bool) {
        let Some(conversation) = self.conversation() else {
            return;
        };
        let next = {
            let mut offsets = conversation.messages().map(|message| message.offset);
            match (self.selected, up) {
                (None, _) => offsets.next_back(),
                (Some(selected), true) => offsets
                    .rfind(|offset| *offset < selected)
                    .or(Some(selected)),
                (Some(selected), false) => offsets.find(|offset| *offset > selected),
            }
        };
        let moved_up = up && next == self.selected;
        self.selected = next;
        match next {
            Some(offset) => self.reveal(offset),
            None => self.go_to_latest(),
        }
        if moved_up {
            self.scroll_up(1);
        }
    }

    fn reveal(&mut self, offset: Offset) {
        let height = usize::from(self.areas().messages.height);
        if let Some(scene) = self.scene() {
            self.scroll = scene.reveal(self.scroll, offset, height);
        }
        self.fill();
    }

    fn scroll_up(&mut self, rows: usize) {
        let height = usize::from(self.areas().messages.height);
        if let Some(scene) = self.scene() {
            (self.scroll, _) = scene.up(self.scroll, rows, height);
        }
        self.fill();
    }

    fn scroll_down(&mut self, rows: usize) {
        if let Some(scene) = self.scene() {
            self.scroll = scene.down(self.scroll, rows);
        }
        self.fill();
    }

    /// Asks for what lies beyond the stretch, when its edge comes near.
    pub(super) fn fill(&mut self) {
        let height = usize::from(self.areas().messages.height);
        let (Some(scene), Some(here)) = (self.scene(), self.here.clone()) else {
            return;
        };
        let (_, near_top) = scene.up(self.scroll, height, height);
        let near_bottom = scene.down(self.scroll, height) == Scroll::Latest;
        let Some(conversation) = self.conversation_mut(&here) else {
            return;
        };
        let older = near_top.then(|| conversation.older()).flatten();
        let newer = near_bottom.then(|| conversation.newer()).flatten();
        for wanted in older.into_iter().chain(newer) {
            self.effect(Effect::History(here.clone(), wanted));
        }
    }

    /// Jumps to the newest message.
    pub(super) fn go_to_latest(&mut self) {
        self.scroll = Scroll::Latest;
        self.selected = None;
        let Some(here) = self.here.clone() else {
            return;
        };
        let wanted = match self.conversation_mut(&here) {
            Some(conversation) if !conversation.has_end() && !conversation.is_loading() => {
                conversation.load()
            }
            _ => return,
        };
        self.effect(Effect::History(here, wanted));
    }

    fn step(&mut self, steps: isize) {
        let from = self.here.as_ref().map(|here| here.channel.clone());
        if let Some(next) = self.channels.step(from.as_ref(), steps).cloned() {
            self.go(Place::channel(next));
        }
    }

    fn go_to_unread(&mut self) {
        let here = self.here.as_ref().map(|here| here.channel.clone());
        match self.channels.next_unread(here.as_ref()).cloned() {
            Some(next) => self.go(Place::channel(next)),
            None => self.say("Nothing is unread."),
        }
    }

    fn open_switcher(&mut self) {
        self.overlay = Some(Overlay::Switcher(Switcher::default()));
        self.refresh_switcher();
    }

    pub(super) fn refresh_switcher(&mut self) {
        if let Some(Overlay::Switcher(mut switcher)) = self
            .overlay
            .take_if(|overlay| matches!(overlay, Overlay::Switcher(_)))
        {
            let me = self.me().clone();
            let here = self.here.as_ref().map(|here| &here.channel);
            switcher.refresh(&self.channels, &self.people, &me, here);
            self.overlay = Some(Overlay::Switcher(switcher));
        }
    }

    fn overlay_key(&mut self, overlay: Overlay, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let leaves = key.code == KeyCode::Esc || control && key.code == KeyCode::Char('c');
        if leaves {
            return;
        }
        match overlay {
            Overlay::Confirm { question, then } => match key.code {
                KeyCode::Char('y' | 'Y') | KeyCode::Enter => self.confirmed(then),
                KeyCode::Char('n' | 'N') => {}
                _ => self.overlay = Some(Overlay::Confirm { question, then }),
            },
            Overlay::Text {
                title,
                lines,
                scrolled,
            } => {
                let last = lines.len().saturating_sub(1);
                let scrolled = match key.code {
                    KeyCode::Up => scrolled.saturating_sub(1),
                    KeyCode::Down => (scrolled + 1).min(last),
                    KeyCode::PageUp => scrolled.saturating_sub(10),
                    KeyCode::PageDown | KeyCode::Char(' ') => (scrolled + 10).min(last),
                    _ => return,
                };
                self.overlay = Some(Overlay::Text {
                    title,
                    lines,
                    scrolled,
                });
            }
            Overlay::Switcher(switcher) => self.switcher_key(switcher, key),
        }
    }

    fn switcher_key(&mut self, mut switcher: Switcher, key: KeyEvent) {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Enter => {
                match switcher.target().cloned() {
                    Some(Target::Channel(channel)) => self.go(Place::channel(channel)),
                    Some(Target::User(user)) => self.effect(Effect::OpenDm(user)),
                    None => self.complain("Nothing fits."),
                }
                return;
            }
            KeyCode::Up | KeyCode::BackTab => switcher.step(false),
            KeyCode::Down | KeyCode::Tab => switcher.step(true),
            KeyCode::Char('p') if control => switcher.step(false),
            KeyCode::Char('n' | 'k') if control => switcher.step(true),
            KeyCode::Char('u') if control => switcher.query.delete_to_line_start(),
            KeyCode::Char('w') if control => switcher.query.delete_word(),
            KeyCode::Backspace => switcher.query.backspace(),
            KeyCode::Char(c) if !control => switcher.query.insert(c.encode_utf8(&mut [0; 4])),
            _ => {}
        }
        let query = switcher.query.text().trim().to_lowercase();
        self.overlay = Some(Overlay::Switcher(switcher));
        self.refresh_switcher();
        self.find_users(query);
    }

    fn confirmed(&mut self, then: Confirmed) {
        match then {
            Confirmed::Delete(channel, message) => self.effect(Effect::Delete(channel, message)),
            Confirmed::Leave(channel) => self.effect(Effect::Leave(channel)),
        }
        self.selected = None;
    }
}
