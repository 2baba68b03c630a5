//! The line editor: text of several lines and a cursor between its characters.
//!
//! The cursor stands between graphemes, so a family emoji is one step and one
//! backspace.

use confab_protocol::limits::CONTENT_CHARS_MAX;
use unicode_segmentation::UnicodeSegmentation;

use crate::sanitise;

/// What is being written.
///
/// Invariants: `cursor` is at the boundary of a grapheme; `text` has at most
/// [`CONTENT_CHARS_MAX`] characters and no control character but line ends.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Editor {
    text: String,
    cursor: usize,
}

impl Editor {
    /// The text.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The cursor, in bytes from the start.
    pub(crate) const fn cursor(&self) -> usize {
        self.cursor
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Replaces the text; the cursor goes to its end.
    pub(crate) fn set(&mut self, text: &str) {
        self.text.clear();
        self.cursor = 0;
        self.insert(text);
    }

    /// Takes the text out.
    pub(crate) fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Inserts at the cursor what there is room for.
    pub(crate) fn insert(&mut self, text: &str) {
        let clean = sanitise::lines(text);
        let room = CONTENT_CHARS_MAX.saturating_sub(self.text.chars().count());
        let end = clean
            .char_indices()
            .nth(room)
            .map_or(clean.len(), |(end, _)| end);
        self.text.insert_str(self.cursor, &clean[..end]);
        self.cursor += end;
        // What was inserted may have joined with what follows.
        self.cursor = self.boundary_at_or_after(self.cursor);
    }

    /// Replaces the bytes from `start` to the cursor.
    pub(crate) fn replace_before(&mut self, start: usize, text: &str) {
        self.text.replace_range(start..self.cursor, "");
        self.cursor = start;
        self.insert(text);
    }

    pub(crate) fn left(&mut self) {
        self.cursor = self.previous(self.cursor);
    }

    pub(crate) fn right(&mut self) {
        self.cursor = self.next(self.cursor);
    }

    /// To the start of the line.
    pub(crate) fn home(&mut self) {
        self.cursor = self.line_start(self.cursor);
    }

    /// To the end of the line.
    pub(crate) fn end(&mut self) {
        self.cursor = self.line_end(self.cursor);
    }

    /// To the same place in the line above; answers whether there is one.
    pub(crate) fn up(&mut self) -> bool {
        let start = self.line_start(self.cursor);
        if start == 0 {
            return false;
        }
        let column = self.column();
        self.go_to_column(self.line_start(start - 1), column);
        true
    }

    /// To the same place in the line below; answers whether there is one.
    pub(crate) fn down(&mut self) -> bool {
        let end = self.line_end(self.cursor);
        if end == self.text.len() {
            return false;
        }
        let column = self.column();
        self.go_to_column(end + 1, column);
        true
    }

    pub(crate) fn word_left(&mut self) {
        self.cursor = self.word_start();
    }

    pub(crate) fn word_right(&mut self) {
        let rest = &self.text[self.cursor..];
        let skipped = rest.len() - rest.trim_start().len();
        let word = rest[skipped..].find(char::is_whitespace);
        self.cursor = word.map_or(self.text.len(), |word| self.cursor + skipped + word);
    }

    pub(crate) fn backspace(&mut self) {
        let start = self.previous(self.cursor);
        self.replace_before(start, "");
    }

    pub(crate) fn delete(&mut self) {
        let end = self.next(self.cursor);
        self.text.replace_range(self.cursor..end, "");
    }

    pub(crate) fn delete_word(&mut self) {
        let start = self.word_start();
        self.replace_before(start, "");
    }

    pub(crate) fn delete_to_line_start(&mut self) {
        let start = self.line_start(self.cursor);
        self.replace_before(start, "");
    }

    fn word_start(&self) -> usize {
        let before = self.text[..self.cursor].trim_end();
        before
            .rfind(char::is_whitespace)
            .map_or(0, |space| self.next(space))
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |end| end + 1)
    }

    fn line_end(&self, at: usize) -> usize {
        self.text[at..]
            .find('\n')
            .map_or(self.text.len(), |end| at + end)
    }

    /// Graphemes between the start of the line and the cursor.
    fn column(&self) -> usize {
        let start = self.line_start(self.cursor);
        self.text[start..self.cursor].graphemes(true).count()
    }

    fn go_to_column(&mut self, line: usize, column: usize) {
        let end = self.line_end(line);
        let place = self.text[line..end].grapheme_indices(true).nth(column);
        self.cursor = place.map_or(end, |(at, _)| line + at);
    }

    fn previous(&self, at: usize) -> usize {
        self.text[..at]
            .grapheme_indices(true)
            .next_back()
            .map_or(0, |(start, _)| start)
    }

    fn next(&self, at: usize) -> usize {
        self.text[at..]
            .graphemes(true)
            .next()
            .map_or(self.text.len(), |grapheme| at + grapheme.len())
    }

    fn boundary_at_or_after(&self, at: usize) -> usize {
        let starts = self.text.grapheme_indices(true).map(|(start, _)| start);
        starts
            .chain([self.text.len()])
            .find(|start| *start >= at)
            .unwrap_or(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Editor;
    use confab_protocol::limits::CONTENT_CHARS_MAX;

    fn with(text: &str) -> Editor {
        let mut editor = Editor::default();
        editor.insert(text);
        editor
    }

    #[test]
    fn a_family_is_one_step() {
        let mut editor = with("a👩‍👩‍👧b");
        editor.left();
        editor.left();
        assert_eq!(editor.cursor(), 1);
        editor.right();
        editor.backspace();
        assert_eq!(editor.text(), "ab");
    }

    #[test]
    fn words_and_lines_can_be_deleted() {
        let mut editor = with("one two  three\nfour");
        editor.delete_word();
        assert_eq!(editor.text(), "one two  three\n");
        editor.backspace();
        editor.word_left();
        editor.delete_word();
        assert_eq!(editor.text(), "one three");
        editor.word_right();
        editor.delete_to_line_start();
        assert!(editor.is_empty());
        editor.backspace();
        editor.delete();
        editor.delete_word();
        assert!(editor.is_empty());
    }

    #[test]
    fn the_cursor_keeps_its_column_over_lines() {
        let mut editor = with("länger\nku\nlang genug");
        assert!(editor.up());
        assert_eq!(&editor.text()[editor.cursor()..], "\nlang genug");
        assert!(editor.up());
        assert_eq!(&editor.text()[..editor.cursor()], "lä");
        assert!(!editor.up());
        assert!(editor.down() && editor.down() && !editor.down());
        editor.home();
        assert_eq!(&editor.text()[editor.cursor()..], "lang genug");
        editor.end();
        assert_eq!(editor.cursor(), editor.text().len());
    }

    /// What is pasted may hold anything, and be of any length.
    #[test]
    fn a_paste_is_cleaned_and_cut() {
        let editor = with("a\x1b[31mb\r\nc\td");
        assert!(editor.text().chars().all(|c| c == '\n' || !c.is_control()));
        let mut editor = with(&"ü".repeat(CONTENT_CHARS_MAX + 10));
        editor.insert("more");
        assert_eq!(editor.text().chars().count(), CONTENT_CHARS_MAX);
        assert_eq!(editor.cursor(), editor.text().len());
    }

    #[test]
    fn a_combining_mark_joins_what_is_before() {
        let mut editor = with("e");
        editor.left();
        editor.insert("x");
        editor.insert("\u{301}");
        editor.backspace();
        assert_eq!(editor.text(), "e");
    }
}
