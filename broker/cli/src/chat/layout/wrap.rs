//! Breaking text into lines of a width, at spaces where there are some.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

use super::{Line, Span};

/// Larger graphemes, which only a joker writes, are shown as a replacement.
const GRAPHEME_BYTES_MAX: usize = 64;

/// The columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// Cuts a text to a width, with an ellipsis where something was cut.
pub(crate) fn cut(text: &str, width_max: usize) -> String {
    if width(text) <= width_max {
        return text.to_owned();
    }
    let mut cut = String::new();
    let mut used = 1;
    for grapheme in text.graphemes(true) {
        used += width(grapheme);
        if used > width_max {
            break;
        }
        cut.push_str(grapheme);
    }
    if width_max > 0 {
        cut.push('…');
    }
    cut
}

/// Breaks one paragraph into lines. Spaces at a break stay on the line before.
/// There is always at least one line.
pub(crate) fn wrap(paragraph: &[Span], width_max: usize) -> Vec<Line> {
    let width_max = width_max.max(1);
    let mut lines: Vec<Vec<(&str, usize)>> = Vec::new();
    let mut line: Vec<(&str, usize)> = Vec::new();
    let (mut used, mut after_space) = (0, 0);
    for (index, span) in paragraph.iter().enumerate() {
        for grapheme in span.text.graphemes(true) {
            let grapheme = if grapheme.len() > GRAPHEME_BYTES_MAX {
                "\u{fffd}"
            } else {
                grapheme
            };
            let columns = width(grapheme);
            let is_space = grapheme == " ";
            // A space may hang over the edge; it is not seen there.
            if used + columns > width_max && !is_space && !line.is_empty() {
                let keep = if after_space > 0 {
                    after_space
                } else {
                    line.len()
                };
                let rest = line.split_off(keep);
                lines.push(std::mem::replace(&mut line, rest));
                used = line.iter().map(|(grapheme, _)| width(grapheme)).sum();
                after_space = 0;
            }
            line.push((grapheme, index));
            used += columns;
            if is_space {
                after_space = line.len();
            }
        }
    }
    lines.push(line);
    lines
        .into_iter()
        .map(|line| joined(&line, paragraph, width_max))
        .collect()
}

/// Joins graphemes of one span again, without spaces that hang over the edge.
fn joined(line: &[(&str, usize)], paragraph: &[Span], width_max: usize) -> Line {
    let mut spans: Line = Vec::new();
    let mut last = None;
    let mut used = 0;
    for (grapheme, index) in line {
        used += width(grapheme);
        if used > width_max && *grapheme == " " {
            continue;
        }
        if last != Some(*index) {
            spans.push(Span::new(paragraph[*index].ink, ""));
            last = Some(*index);
        }
        if let Some(span) = spans.last_mut() {
            span.text.push_str(grapheme);
        }
    }
    spans
}

/// Where the cursor of a text of several lines stands, when each is broken hard
/// at a width: the lines, and the cursor's row and column.
pub(crate) fn editor_lines(
    text: &str,
    cursor: usize,
    width_max: usize,
) -> (Vec<String>, usize, usize) {
    let width_max = width_max.max(2);
    let mut lines = vec![String::new()];
    let (mut used, mut row, mut column) = (0, 0, 0);
    for (at, grapheme) in text.grapheme_indices(true) {
        if at == cursor {
            (row, column) = (lines.len() - 1, used);
        }
        if grapheme == "\n" {
            lines.push(String::new());
            used = 0;
            continue;
        }
        let columns = width(grapheme);
        if used + columns > width_max - 1 {
            lines.push(String::new());
            used = 0;
            if at == cursor {
                (row, column) = (lines.len() - 1, 0);
            }
        }
        if let Some(line) = lines.last_mut() {
            line.push_str(grapheme);
        }
        used += columns;
    }
    if cursor >= text.len() {
        (row, column) = (lines.len() - 1, used);
    }
    (lines, row, column)
}

#[cfg(test)]
mod tests {
    use super::{cut, editor_lines, width, wrap};
    use crate::chat::layout::{Ink, Span, text_of};

    fn wrapped(text: &str, columns: usize) -> Vec<String> {
        wrap(&[Span::new(Ink::Plain, text)], columns)
            .iter()
            .map(|line| text_of(line))
            .collect()
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("one two three", 8), ["one two ", "three"]);
        assert_eq!(wrapped("one two", 3), ["one", "two"]);
        assert_eq!(wrapped("", 8), [""]);
        assert_eq!(wrapped("  indented text", 10), ["  indented", "text"]);
    }

    #[test]
    fn a_long_word_is_broken_hard() {
        assert_eq!(wrapped("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrapped("a bcdefgh", 3), ["a ", "bcd", "efg", "h"]);
    }

    /// Nothing may be wider than the pane, whatever is written.
    #[test]
    fn wide_and_joined_characters_fit() {
        for text in [
            "東京都庁舎",
            "👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧",
            "aa東b東",
            "e\u{301}e\u{301}e\u{301}",
            "🇩🇪🇫🇷",
        ] {
            for columns in 2..6 {
                for line in wrapped(text, columns) {
                    assert!(width(&line) <= columns, "{text} in {columns}: {line}");
                }
            }
        }
        // A tower of marks is one character; it does not get to be a kilobyte.
        let tower = format!("a{}", "\u{301}".repeat(1_000));
        assert!(wrapped(&tower, 10).concat().len() < 10);
    }

    #[test]
    fn inks_survive_a_break() {
        let spans = [
            Span::new(Ink::Plain, "see "),
            Span::new(Ink::Code, "some code"),
        ];
        let lines = wrap(&spans, 8);
        assert_eq!(text_of(&lines[0]), "see some");
        assert_eq!(lines[0][1].ink, Ink::Code);
        assert_eq!(lines[1][0].ink, Ink::Code);
    }

    #[test]
    fn a_cut_text_says_so() {
        assert_eq!(cut("general", 7), "general");
        assert_eq!(cut("general", 4), "gen…");
        assert_eq!(cut("東京都", 4), "東…");
        assert_eq!(cut("x", 0), "");
    }

    #[test]
    fn the_cursor_is_found_again() {
        let (lines, row, column) = editor_lines("ab\ncd", 4, 10);
        assert_eq!((lines.len(), row, column), (2, 1, 1));
        let (lines, row, column) = editor_lines("abcdef", 6, 4);
        assert_eq!(
            (lines, row, column),
            (vec!["abc".into(), "def".into()], 1, 3)
        );
        let (_, row, column) = editor_lines("abcdef", 3, 4);
        assert_eq!((row, column), (1, 0));
        let (lines, row, column) = editor_lines("", 0, 4);
        assert_eq!((lines.len(), row, column), (1, 0, 0));
    }
}
