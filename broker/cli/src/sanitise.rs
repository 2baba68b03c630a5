//! What others wrote, made safe for a terminal.
//!
//! No control character or escape sequence of somebody else's reaches the
//! terminal: they could move the cursor, change its title or answer for the
//! user. Marks that reorder text go as well, for they make it read as what it
//! is not.

use std::io;

use serde::Serialize;

/// What stands for something taken out.
const REPLACEMENT: char = '\u{fffd}';

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            // Line separators, and marks that reorder text.
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}'
        )
        // Tags and other invisible text.
        || matches!(c, '\u{e0000}'..='\u{e001f}' | '\u{feff}')
}

/// Text of several lines: line ends stay, tabs become spaces.
pub(crate) fn lines(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\n' => clean.push('\n'),
            '\r' if chars.peek() == Some(&'\n') => {}
            '\r' => clean.push('\n'),
            '\t' => clean.push_str("    "),
            c if is_unsafe(c) => clean.push(REPLACEMENT),
            c => clean.push(c),
        }
    }
    clean
}

/// Text for one line: line ends become spaces.
pub(crate) fn one_line(text: &str) -> String {
    lines(text).replace('\n', " ")
}

/// JSON that is safe to show: also DEL and the C1 control characters, which
/// JSON allows as they are and terminals obey, are escaped.
struct TerminalSafe;

impl serde_json::ser::Formatter for TerminalSafe {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_unsafe(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// One line of JSON, without its line end.
pub(crate) fn json_line<T: Serialize + ?Sized>(value: &T) -> String {
    let mut bytes = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, TerminalSafe);
    value
        .serialize(&mut serializer)
        .expect("what is printed has text keys and no value that JSON lacks");
    String::from_utf8(bytes).expect("the serializer writes text")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{json_line, lines, one_line};

    #[test]
    fn escape_sequences_do_not_get_through() {
        let hostile = "a\x1b]0;owned\x07b\u{9b}2Jc\x7fd\u{202e}e\0";
        let clean = lines(hostile);
        assert!(clean.chars().all(|c| !c.is_control()), "{clean:?}");
        assert!(!clean.contains('\u{202e}'));
        assert!(clean.starts_with('a') && clean.contains("]0;owned"));
    }

    #[test]
    fn lines_and_tabs_stay_readable() {
        assert_eq!(lines("a\r\nb\rc\td"), "a\nb\nc    d");
        assert_eq!(one_line("a\nb"), "a b");
        assert_eq!(lines("Zoë 👩‍👩‍👧 東京"), "Zoë 👩‍👩‍👧 東京");
    }

    /// A program reads back exactly what was written, and a terminal sees no
    /// control character on the way.
    #[test]
    fn json_is_clean_and_lossless() {
        let text = "a\x1b[2J\u{9b}31m\x7f\u{202e}\u{e0001}ü\"\\\n";
        let line = json_line(text);
        assert!(line.chars().all(|c| !c.is_control()), "{line:?}");
        assert!(!line.contains('\u{202e}'));
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
    }
}
