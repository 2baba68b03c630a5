//! The table of rights in `docs/security.md`, written from the one in the code.
//!
//! To bring it up to date: `cargo xtask docs`, or this test with
//! `CONFAB_WRITE_DOCS=1`.

// The test reads and writes the document, unlike the crate.
#![allow(clippy::disallowed_methods)]

use confab_protocol::ChannelKind;
use confab_protocol::message::event::ChannelRole;

use super::super::Rule;
use super::{ACTIONS, KINDS};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
const BEGIN: &str = "<!-- rights: written by broker/core/src/rights/tests/document.rs -->\n";
const END: &str = "<!-- end of rights -->";

/// What each of [`ACTIONS`] is called there.
const NAMES: [&str; ACTIONS.len()] = [
    "know of it: name, topic, members",
    "read it, and hear what happens in it",
    "post",
    "show that one is typing",
    "edit one's own message",
    "edit another's message",
    "delete one's own message",
    "delete another's message",
    "react",
    "pin and unpin",
    "mention `@channel` and `@here`",
    "move one's cursors, follow threads",
    "invite members",
    "remove a guest",
    "remove a member",
    "remove an admin",
    "remove the owner",
    "change roles",
    "change name and topic",
    "close and open it",
    "archive it",
    "bring it back",
    "delete it",
    "join it",
    "leave it",
];

/// Who looks up here who may do what must find what is decided.
#[test]
fn the_table_of_rights_is_in_the_document() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let start = page.find(BEGIN).expect(BEGIN) + BEGIN.len();
    let stop = start + page[start..].find(END).expect(END);
    let mut expected = page.clone();
    expected.replace_range(start..stop, &table());
    if std::env::var_os("CONFAB_WRITE_DOCS").is_some() {
        return std::fs::write(PAGE, expected).unwrap();
    }
    assert!(
        page == expected,
        "docs/security.md is out of date; run `cargo xtask docs`"
    );
}

fn table() -> String {
    let mut text = String::from(
        "\n| to | least role | server administrator, not a member | where | when archived |\n\
         |---|---|---|---|---|\n",
    );
    for (action, name) in ACTIONS.into_iter().zip(NAMES) {
        let rule = action.rule();
        text.push_str(&format!(
            "| {name} | {} | {} | {} | {} |\n",
            least(&rule),
            administrators(&rule),
            places(&rule),
            yes(rule.archived)
        ));
    }
    text.push('\n');
    text
}

const fn yes(is: bool) -> &'static str {
    if is { "yes" } else { "" }
}

/// Direct messages of others are hidden from administrators, whatever the rule.
fn administrators(rule: &Rule) -> &'static str {
    match (rule.administrators, rule.kinds.hold(ChannelKind::Dm)) {
        (true, true) => "yes, but for direct messages",
        (is, _) => yes(is),
    }
}

fn least(rule: &Rule) -> String {
    let role = match rule.least {
        None => "nobody",
        Some(ChannelRole::Guest) => "guest",
        Some(ChannelRole::Member) => "member",
        Some(ChannelRole::Admin) => "admin",
        Some(ChannelRole::Owner) => "owner",
    };
    match rule.outsiders {
        true => format!("{role}; in an open group any internal user"),
        false => role.to_owned(),
    }
}

fn places(rule: &Rule) -> String {
    let mut names = Vec::new();
    for (kind, _) in KINDS {
        let name = match kind {
            ChannelKind::Dm => "direct messages",
            ChannelKind::Department => "departments",
            ChannelKind::Project => "projects",
            ChannelKind::General => "general",
            ChannelKind::Group => "groups",
        };
        if rule.kinds.hold(kind) && !names.contains(&name) {
            names.push(name);
        }
    }
    match names.len() {
        5 => "everywhere".to_owned(),
        _ => names.join(", "),
    }
}
