//! The little of Markdown that a terminal can show: code, strong text, links and
//! mentions. Everything else stays as it was written.

use confab_protocol::UserId;

use super::{Ink, Span};
use crate::chat::model::mentions;
use crate::chat::model::message::ShownMessage;
use crate::chat::model::people::People;

/// A line as it was written, which is code when it stands between fences.
struct Source<'a> {
    text: &'a str,
    is_code: bool,
}

/// The paragraphs of a message.
pub(crate) fn paragraphs(message: &ShownMessage, people: &People, me: &UserId) -> Vec<Vec<Span>> {
    let mut fenced = false;
    let mut sources = Vec::new();
    for text in message.content.split('\n') {
        if text.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        sources.push(Source {
            text,
            is_code: fenced,
        });
    }
    let shown = |source: &Source<'_>| {
        if source.is_code {
            vec![Span::new(Ink::Code, source.text)]
        } else {
            inline(source.text, message, people, me)
        }
    };
    let mut paragraphs: Vec<_> = sources.iter().map(shown).collect();
    if paragraphs.is_empty() {
        paragraphs.push(Vec::new());
    }
    paragraphs
}

fn inline(text: &str, message: &ShownMessage, people: &People, me: &UserId) -> Vec<Span> {
    let mut spans = Vec::new();
    for piece in emphasised(text) {
        if piece.ink == Ink::Plain {
            links_and_mentions(&piece.text, message, people, me, &mut spans);
        } else {
            spans.push(piece);
        }
    }
    spans
}

/// Cuts out `code` and **strong** text; a mark without a partner is text.
fn emphasised(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let code = enclosed(rest, "`");
        let strong = enclosed(rest, "**");
        let first = match (code, strong) {
            (Some(code), Some(strong)) if strong.0 < code.0 => Some((strong, 2, Ink::Strong)),
            (Some(code), _) => Some((code, 1, Ink::Code)),
            (None, Some(strong)) => Some((strong, 2, Ink::Strong)),
            (None, None) => None,
        };
        let Some(((start, end), mark, ink)) = first else {
            break;
        };
        spans.push(Span::new(Ink::Plain, &rest[..start - mark]));
        spans.push(Span::new(ink, &rest[start..end]));
        rest = &rest[end + mark..];
    }
    spans.push(Span::new(Ink::Plain, rest));
    spans.retain(|span| !span.text.is_empty());
    spans
}

/// What stands between two marks: from where to where.
fn enclosed(text: &str, mark: &str) -> Option<(usize, usize)> {
    let start = text.find(mark)? + mark.len();
    let length = text[start..].find(mark)?;
    let inside = &text[start..start + length];
    (!inside.trim().is_empty()).then_some((start, start + length))
}

fn links_and_mentions(
    text: &str,
    message: &ShownMessage,
    people: &People,
    me: &UserId,
    spans: &mut Vec<Span>,
) {
    let mut rest = text;
    while let Some((start, end, span)) = next_special(rest, message, people, me) {
        if start > 0 {
            spans.push(Span::new(Ink::Plain, &rest[..start]));
        }
        spans.push(span);
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        spans.push(Span::new(Ink::Plain, rest));
    }
}

/// The first link or mention: where it starts and ends, and how it is shown.
fn next_special(
    text: &str,
    message: &ShownMessage,
    people: &People,
    me: &UserId,
) -> Option<(usize, usize, Span)> {
    let link = ["https://", "http://"]
        .iter()
        .filter_map(|scheme| text.find(scheme))
        .min()
        .map(|start| {
            let rest = &text[start..];
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let url = rest[..end].trim_end_matches(['.', ',', ')', ';', '!', '?']);
            (start, start + url.len(), Span::new(Ink::Link, url))
        });
    let mention = mentions::places(text).find_map(|(start, word)| {
        let end = start + 1 + word.len();
        let everyone = matches!(word, "channel" | "here") && message.mentions_all;
        if everyone {
            return Some((start, end, Span::new(Ink::MentionOfMe, format!("@{word}"))));
        }
        let user = message
            .mentioned
            .iter()
            .find(|user| user.as_str() == word)?;
        let ink = if user == me {
            Ink::MentionOfMe
        } else {
            Ink::Mention
        };
        let name = format!("@{}", people.name(user));
        Some((start, end, Span::new(ink, name)))
    });
    match (link, mention) {
        (Some(link), Some(mention)) if mention.0 < link.0 => Some(mention),
        (Some(link), _) => Some(link),
        (None, mention) => mention,
    }
}

#[cfg(test)]
mod tests {
    use super::{emphasised, paragraphs};
    use crate::chat::layout::{Ink, Span, text_of};
    use crate::chat::model::people::People;
    use crate::chat::model::tests::{message, user};

    #[test]
    fn code_and_strong_text_stand_out() {
        let spans = emphasised("a `b` **c** d` **");
        let expected = [
            Span::new(Ink::Plain, "a "),
            Span::new(Ink::Code, "b"),
            Span::new(Ink::Plain, " "),
            Span::new(Ink::Strong, "c"),
            Span::new(Ink::Plain, " d` **"),
        ];
        assert_eq!(spans, expected);
        for odd in ["``", "****", "`", "**", "", "***a", "é`é`"] {
            let shown = text_of(&emphasised(odd));
            assert_eq!(shown.replace('`', ""), odd.replace('`', ""), "{odd}");
        }
    }

    #[test]
    fn a_mention_shows_the_name() {
        let mut people = People::default();
        people.learn(user("u2"), "Uma Two");
        let mut shown = message(1, "u1", "ask @u2, not @u3: https://x.org/a).");
        shown.mentioned = vec![user("u2")];
        let lines = paragraphs(&shown, &people, &user("u2"));
        assert_eq!(
            text_of(&lines[0]),
            "ask @Uma Two, not @u3: https://x.org/a)."
        );
        let inks: Vec<Ink> = lines[0].iter().map(|span| span.ink).collect();
        assert!(inks.contains(&Ink::MentionOfMe) && inks.contains(&Ink::Link));
    }

    #[test]
    fn fences_are_not_shown_and_keep_code_as_it_is() {
        let shown = message(1, "u1", "look:\n```rust\nlet **a** = 1;\n```");
        let lines = paragraphs(&shown, &People::default(), &user("u1"));
        let texts: Vec<String> = lines.iter().map(|line| text_of(line)).collect();
        assert_eq!(texts, ["look:", "let **a** = 1;"]);
        assert_eq!(lines[1][0].ink, Ink::Code);
    }
}
