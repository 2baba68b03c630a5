//! `deploy/confab.toml` and `docs/configuration.md` say what the settings are.
//!
//! The file and the tables are written by a test here from the source. To bring
//! them up to date: `cargo xtask docs`, or this test with `CONFAB_WRITE_DOCS=1`.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;

use super::section::{Setting, grouped};
use super::{Config, Overrides, load, reference};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/confab.toml");
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md");
const BEGIN: &str = "<!-- settings: written by broker/src/config/documents.rs -->\n";
const END: &str = "<!-- end of settings -->";

#[track_caller]
fn is_or_becomes(path: &str, document: &str, expected: &str) {
    if std::env::var_os("CONFAB_WRITE_DOCS").is_some() {
        return std::fs::write(path, expected).unwrap();
    }
    let differs = document
        .lines()
        .zip(expected.lines())
        .find(|(is, should)| is != should);
    assert!(
        document == expected,
        "{path} is out of date; run `cargo xtask docs`: {differs:?}"
    );
}

/// Who sets something looks here for its unit and cost.
#[test]
fn the_file_is_the_reference() {
    let file = std::fs::read_to_string(FILE).unwrap_or_default();
    is_or_becomes(FILE, &file, &reference());
}

#[test]
fn the_page_has_every_setting() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let start = page.find(BEGIN).expect(BEGIN) + BEGIN.len();
    let stop = start + page[start..].find(END).expect(END);
    let mut expected = page.clone();
    expected.replace_range(start..stop, &tables());
    is_or_becomes(PAGE, &page, &expected);
}

/// What people copy must work.
#[test]
fn the_examples_on_the_page_are_configurations() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let examples: Vec<_> = page
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!examples.is_empty());
    for (place, example) in examples.iter().enumerate() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), example).unwrap();
        let loaded = load(Some(file.path()), [], &Overrides::default()).unwrap();
        // The first is whole; the others show a part.
        if place == 0 {
            loaded.require_serving().unwrap();
        }
    }
}

fn tables() -> String {
    let mut text = String::new();
    for section in Config::default().sections() {
        let (name, about) = (section.name(), joined(section.about()));
        write!(text, "\n### {name}\n\n{about}\n\n").unwrap();
        text.push_str("| setting | range | meaning |\n|---|---|---|\n");
        for setting in section.settings() {
            text.push_str(&row(setting));
        }
    }
    text.push('\n');
    text
}

fn row(setting: &Setting) -> String {
    let range = setting.range.map_or(String::new(), |(min, max)| {
        format!("{} to {}", grouped(min), grouped(max))
    });
    format!(
        "| `{}` | {range} | {} |\n",
        setting.key,
        joined(setting.doc).replace('|', "\\|")
    )
}

fn joined(lines: &[&str]) -> String {
    let lines: Vec<_> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}
