//! How things lie on the screen, without colours: pure functions of the model.
//!
//! The model asks it how far to scroll, `screen` draws what it says.

pub(crate) mod areas;
pub(crate) mod markup;
pub(crate) mod rows;
pub(crate) mod scroll;
pub(crate) mod wrap;

/// What a piece of text is, from which its colour follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Ink {
    /// Plain text.
    Plain,
    /// Of lesser weight: times, hints.
    Dim,
    /// Somebody's name; the number picks one of a few colours.
    Name(u8),
    /// Our own name.
    OwnName,
    /// Calls on somebody.
    Mention,
    /// Calls on us.
    MentionOfMe,
    /// Code.
    Code,
    /// Emphasised.
    Strong,
    /// A link.
    Link,
    /// Where new messages begin, and what went wrong.
    Alert,
    /// What can be opened or is ours.
    Accent,
}

/// A piece of a line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) text: String,
    pub(crate) ink: Ink,
}

impl Span {
    pub(crate) fn new(ink: Ink, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ink,
        }
    }
}

/// A line of the screen.
pub(crate) type Line = Vec<Span>;

/// The text of a line.
#[cfg(test)]
pub(crate) fn text_of(line: &[Span]) -> String {
    line.iter().map(|span| span.text.as_str()).collect()
}
