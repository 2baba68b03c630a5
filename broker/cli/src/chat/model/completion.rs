//! Completing the word at the cursor with Tab: users after `@`, commands after `/`.

use super::Model;
use super::command::COMMANDS;
use super::effect::Effect;
use super::mentions::word_to_complete;

/// Most candidates that Tab goes through.
const CANDIDATES_MAX: usize = 8;

/// Most texts that users were looked for with.
const FOUND_FOR_MAX: usize = 256;

/// One way to complete a word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Candidate {
    insert: String,
    /// As it is shown.
    pub(crate) label: String,
}

/// A word that is being completed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Completion {
    /// Where the word starts, in bytes.
    start: usize,
    pub(crate) candidates: Vec<Candidate>,
    /// Which one stands in the text.
    pub(crate) taken: usize,
}

impl Model {
    /// Tab: the next candidate.
    pub(super) fn complete(&mut self, forward: bool) {
        let mut completion = match self.completion.take() {
            Some(mut completion) => {
                let count = completion.candidates.len();
                let step = if forward { 1 } else { count - 1 };
                completion.taken = (completion.taken + step) % count;
                completion
            }
            None => match self.begin_completion() {
                Some(completion) => completion,
                None => return,
            },
        };
        let insert = completion.candidates[completion.taken].insert.clone();
        self.editor
            .replace_before(completion.start, &format!("{insert} "));
        completion.start = completion.start.min(self.editor.cursor());
        if completion.candidates.len() > 1 {
            self.completion = Some(completion);
        }
    }

    fn begin_completion(&self) -> Option<Completion> {
        let (start, word) = word_to_complete(self.editor.text(), self.editor.cursor())?;
        let candidates = match word.strip_prefix('@') {
            Some(name) => self.users_for(name),
            None => COMMANDS
                .iter()
                .filter(|(command, ..)| command.starts_with(word))
                .map(|(command, arguments, _)| Candidate {
                    insert: (*command).to_owned(),
                    label: format!("{command} {arguments}").trim_end().to_owned(),
                })
                .take(CANDIDATES_MAX)
                .collect(),
        };
        (!candidates.is_empty()).then_some(Completion {
            start,
            candidates,
            taken: 0,
        })
    }

    fn users_for(&self, name: &str) -> Vec<Candidate> {
        let everybody = ["channel", "here"]
            .into_iter()
            .filter(|word| !name.is_empty() && word.starts_with(name));
        let everybody = everybody.map(|word| Candidate {
            insert: format!("@{word}"),
            label: format!("@{word}"),
        });
        let users = self
            .people
            .starting_with(name)
            .filter(|(user, _)| *user != self.me())
            .map(|(user, name)| Candidate {
                insert: format!("@{user}"),
                label: format!("{name} (@{user})"),
            });
        users.chain(everybody).take(CANDIDATES_MAX).collect()
    }

    /// Looks for users that the word at the cursor may mean.
    pub(super) fn look_for_users(&mut self) {
        let word = word_to_complete(self.editor.text(), self.editor.cursor());
        let name = word.and_then(|(_, word)| word.strip_prefix('@'));
        if let Some(name) = name.map(str::to_lowercase) {
            self.find_users(name);
        }
    }

    pub(super) fn find_users(&mut self, name: String) {
        if name.is_empty() || self.found_for.contains(&name) {
            return;
        }
        if self.found_for.len() >= FOUND_FOR_MAX {
            self.found_for.clear();
        }
        self.found_for.insert(name.clone());
        self.effect(Effect::FindUsers(name));
    }
}
