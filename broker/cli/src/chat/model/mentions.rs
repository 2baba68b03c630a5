//! `@` in what is written: whom it calls on, and completing it.

use confab_protocol::UserId;
use confab_protocol::limits::MENTIONS_MAX;

/// Whom a text calls on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Mentioned {
    pub(crate) users: Vec<UserId>,
    pub(crate) channel: bool,
    pub(crate) here: bool,
}

/// Finds the places where a text may call on somebody: the byte of the `@` and
/// the word after it, which is shaped like a user id.
pub(crate) fn places(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.match_indices('@').filter_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        // `ann@example.com` calls on nobody.
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@')) {
            return None;
        }
        let rest = &text[at + 1..];
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '@' | '-');
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        // A full stop ends the sentence, not the id.
        let word = rest[..end].trim_end_matches(['.', '-', '@']);
        (!word.is_empty()).then_some((at, word))
    })
}

/// Whom a text calls on, of those that `is_known` knows.
pub(crate) fn find(text: &str, is_known: impl Fn(&UserId) -> bool) -> Mentioned {
    let mut found = Mentioned::default();
    for (_, word) in places(text) {
        match word {
            "channel" => found.channel = true,
            "here" => found.here = true,
            word => {
                if let Ok(user) = UserId::new(word)
                    && is_known(&user)
                    && !found.users.contains(&user)
                    && found.users.len() < MENTIONS_MAX
                {
                    found.users.push(user);
                }
            }
        }
    }
    found
}

/// The word before the cursor that could be completed: where it starts, and
/// the word with its `@` or `/`.
pub(crate) fn word_to_complete(text: &str, cursor: usize) -> Option<(usize, &str)> {
    let before = &text[..cursor];
    let start = before.rfind(char::is_whitespace).map_or(0, |space| {
        space + before[space..].chars().next().map_or(0, char::len_utf8)
    });
    let word = &before[start..];
    let is_command = start == 0 && word.starts_with('/');
    (word.starts_with('@') || is_command).then_some((start, word))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{find, word_to_complete};

    #[test]
    fn a_mention_is_a_known_user_after_an_at() {
        let is_known = |user: &confab_protocol::UserId| user.as_str() != "nobody";
        let found = find("@u1, ask @u2. (@u3) not a@u4 @nobody @u1 @here", is_known);
        let users: Vec<&str> = found.users.iter().map(|user| user.as_str()).collect();
        assert_eq!(users, ["u1", "u2", "u3"]);
        assert!(found.here && !found.channel);
        assert!(find("@channel!", is_known).channel);
        assert_eq!(find("@ @@ @é", is_known), super::Mentioned::default());
    }

    #[test]
    fn only_the_word_at_the_cursor_is_completed() {
        assert_eq!(word_to_complete("hi @u", 5), Some((3, "@u")));
        assert_eq!(word_to_complete("@u hi", 2), Some((0, "@u")));
        assert_eq!(word_to_complete("/dm", 3), Some((0, "/dm")));
        assert_eq!(word_to_complete("/dm @", 5), Some((4, "@")));
        assert_eq!(word_to_complete("a /dm", 5), None);
        assert_eq!(word_to_complete("hi", 2), None);
        assert_eq!(word_to_complete("é\u{3000}@u", 7), Some((5, "@u")));
    }
}
