//! A conversation as rows of text.
//!
//! Each entry is a *block* of rows: what separates it from the one before (a new
//! day, the line above new messages), the sender, the text, and what hangs on it
//! (attachments, reactions, replies, who has seen it). How a block looks depends
//! on nothing but its entry and the one before.

use confab_protocol::{Offset, UserId};

use super::wrap::{cut, width, wrap};
use super::{Ink, Line, Span, markup};
use crate::chat::model::conversation::Conversation;
use crate::chat::model::entry::{Entry, Pending, Sending};
use crate::chat::model::message::ShownMessage;
use crate::chat::model::people::People;
use crate::stamp::{Clock, day_name};

/// Messages of one sender that follow within this time have one heading.
const GROUP_MS: u64 = 5 * 60_000;

/// Rows of one message that are shown; the rest would be a wall.
const MESSAGE_ROWS_MAX: usize = 400;

/// Names in `seen by`.
const SEEN_NAMES_MAX: usize = 5;

/// One row of the message pane.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Row {
    /// The entry that it is of.
    pub(crate) offset: Option<Offset>,
    pub(crate) line: Line,
}

/// Everything that rows are made of.
pub(crate) struct Scene<'a> {
    pub(crate) conversation: &'a Conversation,
    pub(crate) people: &'a People,
    pub(crate) me: &'a UserId,
    pub(crate) clock: &'a Clock,
    pub(crate) width: usize,
    /// The message that commands are for.
    pub(crate) selected: Option<Offset>,
    /// The first new message, above which that is said.
    new_from: Option<Offset>,
    /// Our newest message that others have seen, under which that is said.
    seen_under: Option<Offset>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(
        conversation: &'a Conversation,
        people: &'a People,
        me: &'a UserId,
        clock: &'a Clock,
        width: usize,
    ) -> Self {
        Self {
            conversation,
            people,
            me,
            clock,
            width,
            selected: None,
            new_from: conversation.new_from(me),
            seen_under: conversation.seen_under(me),
        }
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        self.conversation.entries().len() + self.conversation.pending().len()
    }

    /// The offset of a block's entry; a pending message has none.
    pub(crate) fn offset(&self, block: usize) -> Option<Offset> {
        self.conversation.entries().get(block).map(Entry::offset)
    }

    /// The block of an entry, or the one after it.
    pub(crate) fn block_at_or_after(&self, offset: Offset) -> Option<usize> {
        let entries = self.conversation.entries();
        let block = entries.partition_point(|entry| entry.offset() < offset);
        let last = self.blocks().checked_sub(1)?;
        Some(block.min(last))
    }

    /// The rows of a block; at least one.
    pub(crate) fn block(&self, block: usize) -> Vec<Row> {
        let entries = self.conversation.entries();
        let Some(entry) = entries.get(block) else {
            let pending = &self.conversation.pending()[block - entries.len()];
            return self.pending(pending);
        };
        let previous = block.checked_sub(1).and_then(|before| entries.get(before));
        let mut lines = Vec::new();
        if previous.is_none() && self.conversation.has_beginning() {
            lines.push(vec![Span::new(Ink::Dim, "This is where it begins.")]);
        }
        let day = self.clock.day(entry.at_ms());
        let is_new_day = previous.is_none_or(|before| self.clock.day(before.at_ms()) != day);
        if is_new_day {
            lines.push(self.rule(Ink::Dim, &day_name(day)));
        }
        let begins_new = self.new_from == Some(entry.offset());
        if begins_new {
            lines.push(self.rule(Ink::Alert, "new messages"));
        }
        match entry {
            Entry::Notice { text, .. } => lines.extend(self.indented(&[Span::new(Ink::Dim, text)])),
            Entry::Message(message) => {
                let heading = is_new_day || begins_new || !continues(message, previous);
                self.message(message, heading, &mut lines);
            }
        }
        let offset = Some(entry.offset());
        lines.into_iter().map(|line| Row { offset, line }).collect()
    }

    fn message(&self, message: &ShownMessage, heading: bool, lines: &mut Vec<Line>) {
        if heading {
            let ink = if message.sender == *self.me {
                Ink::OwnName
            } else {
                Ink::Name(colour(&message.sender))
            };
            let name = cut(
                self.people.name(&message.sender),
                self.width.saturating_sub(7),
            );
            lines.push(vec![
                Span::new(ink, name),
                Span::new(
                    Ink::Dim,
                    format!("  {}", self.clock.time(message.created_at_ms)),
                ),
            ]);
        }
        lines.extend(self.body(message));
        for attachment in &message.attachments {
            let text = format!("[file] {attachment}");
            lines.extend(self.marked(message, &[Span::new(Ink::Link, text)]));
        }
        if !message.reactions.is_empty() {
            lines.extend(self.marked(message, &self.reactions(message)));
        }
        if message.reply_count > 0 && !self.conversation.is_thread() {
            let text = match message.reply_count {
                1 => "↳ 1 reply".to_owned(),
                count => format!("↳ {count} replies"),
            };
            lines.extend(self.marked(message, &[Span::new(Ink::Accent, text)]));
        }
        if self.seen_under == Some(message.offset) {
            let text = self.seen(message.offset);
            lines.extend(self.marked(message, &[Span::new(Ink::Dim, text)]));
        }
    }

    fn body(&self, message: &ShownMessage) -> Vec<Line> {
        if message.deleted {
            return self.marked(message, &[Span::new(Ink::Dim, "this message was deleted")]);
        }
        let mut paragraphs = markup::paragraphs(message, self.people, self.me);
        if let Some(last) = paragraphs.last_mut() {
            if message.edited {
                last.push(Span::new(Ink::Dim, " (edited)"));
            }
            if message.pinned {
                last.push(Span::new(Ink::Accent, " (pinned)"));
            }
        }
        let mut lines: Vec<Line> = paragraphs
            .iter()
            .flat_map(|paragraph| self.marked(message, paragraph))
            .collect();
        if lines.len() > MESSAGE_ROWS_MAX {
            let more = lines.len() - MESSAGE_ROWS_MAX;
            lines.truncate(MESSAGE_ROWS_MAX);
            let text = format!("… {more} more lines: `confab history` shows them");
            lines.extend(self.marked(message, &[Span::new(Ink::Dim, text)]));
        }
        lines
    }

    fn reactions(&self, message: &ShownMessage) -> Vec<Span> {
        let mut spans = Vec::new();
        for reaction in &message.reactions {
            let ink = if reaction.is_by(self.me) {
                Ink::Accent
            } else {
                Ink::Dim
            };
            let text = format!(
                "{} {}  ",
                crate::sanitise::one_line(reaction.emoji.as_str()),
                reaction.count
            );
            spans.push(Span::new(ink, text));
        }
        spans
    }

    fn seen(&self, message: Offset) -> String {
        let mut names: Vec<&str> = self
            .conversation
            .seen_by(message)
            .filter(|user| *user != self.me)
            .map(|user| self.people.name(user))
            .collect();
        let more = names.len().saturating_sub(SEEN_NAMES_MAX);
        names.truncate(SEEN_NAMES_MAX);
        match more {
            0 => format!("seen by {}", names.join(", ")),
            more => format!("seen by {} and {more} more", names.join(", ")),
        }
    }

    fn pending(&self, pending: &Pending) -> Vec<Row> {
        let mut lines = Vec::new();
        for paragraph in pending.content.split('\n') {
            lines.extend(self.indented(&[Span::new(Ink::Dim, crate::sanitise::lines(paragraph))]));
        }
        let state = match &pending.sending {
            Sending::UnderWay => Span::new(Ink::Dim, "sending…"),
            Sending::Acknowledged(_) => Span::new(Ink::Dim, "sent"),
            Sending::Failed(problem) => Span::new(
                Ink::Alert,
                format!("not sent: {problem}; /retry sends it again"),
            ),
        };
        lines.extend(self.indented(&[state]));
        lines
            .into_iter()
            .map(|line| Row { offset: None, line })
            .collect()
    }

    /// A paragraph with the margin that says what is special about a message.
    fn marked(&self, message: &ShownMessage, paragraph: &[Span]) -> Vec<Line> {
        let margin = if self.selected == Some(message.offset) {
            Span::new(Ink::Accent, "▌ ")
        } else if message.sender != *self.me && message.mentions(self.me) && !message.deleted {
            Span::new(Ink::MentionOfMe, "▎ ")
        } else {
            Span::new(Ink::Plain, "  ")
        };
        self.with_margin(&margin, paragraph)
    }

    fn indented(&self, paragraph: &[Span]) -> Vec<Line> {
        self.with_margin(&Span::new(Ink::Plain, "  "), paragraph)
    }

    fn with_margin(&self, margin: &Span, paragraph: &[Span]) -> Vec<Line> {
        wrap(paragraph, self.width.saturating_sub(2))
            .into_iter()
            .map(|mut line| {
                line.insert(0, margin.clone());
                line
            })
            .collect()
    }

    /// `── text ─────`.
    fn rule(&self, ink: Ink, text: &str) -> Line {
        let text = cut(text, self.width.saturating_sub(6));
        let rest = self.width.saturating_sub(width(&text) + 4);
        vec![Span::new(ink, format!("── {text} {}", "─".repeat(rest)))]
    }
}

/// Whether a message needs no heading, for it follows the one before.
fn continues(message: &ShownMessage, previous: Option<&Entry>) -> bool {
    previous.and_then(Entry::message).is_some_and(|before| {
        before.sender == message.sender
            && message.created_at_ms.saturating_sub(before.created_at_ms) < GROUP_MS
    })
}

/// One of a few colours, always the same for a user.
fn colour(user: &UserId) -> u8 {
    user.as_str()
        .bytes()
        .fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte))
}
