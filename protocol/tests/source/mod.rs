//! Reads this crate's own source for what the document must say of it: bodies
//! with their fields, the answers that belong to requests, limits, error codes.
//!
//! It knows only what rustfmt makes of the files it is given; what it does not
//! understand it refuses.

#![allow(clippy::unwrap_used)]

/// A struct or an enum of the wire, or one variant of an enum.
#[derive(Clone, Debug, Default)]
pub(crate) struct Item {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) is_enum: bool,
    pub(crate) fields: Vec<Field>,
    pub(crate) variants: Vec<Item>,
}

#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) of: String,
    pub(crate) doc: String,
}

/// A number with a name: a limit or an error code.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) doc: String,
}

/// Where the bodies are written, in the document's order.
const BODIES: &[&str] = &[
    include_str!("../../src/error.rs"),
    include_str!("../../src/id.rs"),
    include_str!("../../src/position.rs"),
    include_str!("../../src/message/session.rs"),
    include_str!("../../src/message/channel.rs"),
    include_str!("../../src/message/channel/posting.rs"),
    include_str!("../../src/message/channel/cursor.rs"),
    include_str!("../../src/message/channel/history.rs"),
    include_str!("../../src/message/event.rs"),
    include_str!("../../src/message/presence.rs"),
    include_str!("../../src/message/directory.rs"),
    include_str!("../../src/message/mod.rs"),
];

/// The name of a field that has none.
pub(crate) const ONLY_FIELD: &str = "the only field";

/// What is public in those files and is no body.
const NOT_BODIES: &[&str] = &["ErrorCode", "BodyError", "MessageId", "InvalidId"];

/// Every struct and enum of the wire.
pub(crate) fn bodies() -> Vec<Item> {
    BODIES.iter().flat_map(|text| items(text)).collect()
}

/// `(request, answer)` in the order of the source.
pub(crate) fn answers() -> Vec<(String, String)> {
    let text = include_str!("../../src/message/mod.rs");
    let (_, list) = text.split_once("asks! {\n    session").unwrap();
    let lines = list.lines().map_while(|line| line.split_once(" => "));
    lines
        .map(|(request, answer)| (last_name(request), last_name(answer.trim_end_matches(','))))
        .collect()
}

/// The constants of `limits.rs`.
pub(crate) fn limits() -> Vec<Constant> {
    documented(include_str!("../../src/limits.rs"), |line| {
        let (name, value) = line.strip_prefix("pub const ")?.split_once(" = ")?;
        Some((name.split(':').next()?, value.trim_end_matches(';')))
    })
}

/// The error codes: number and name.
pub(crate) fn error_codes() -> Vec<Constant> {
    let text = include_str!("../../src/error.rs");
    let (_, list) = text.split_once("\ncodes! {\n").unwrap();
    let (list, _) = list.split_once("\n}\n").unwrap();
    documented(list, |line| {
        let (number, name) = line.split_once(" = ")?.1.split_once(", \"")?;
        Some((name.trim_end_matches("\";"), number))
    })
}

/// Lines that `read` understands, with the doc comment before each.
fn documented<'a>(
    text: &'a str,
    read: impl Fn(&'a str) -> Option<(&'a str, &'a str)>,
) -> Vec<Constant> {
    let mut doc = Doc::default();
    let mut constants = Vec::new();
    for line in text.lines() {
        if doc.takes(line.trim()) {
            continue;
        }
        let doc = doc.take();
        if let Some((name, value)) = read(line.trim()) {
            constants.push(Constant {
                name: name.to_owned(),
                value: value.to_owned(),
                doc,
            });
        }
    }
    constants
}

/// Gathers the lines of a doc comment into paragraphs; skips the attributes
/// that may stand between it and its item.
#[derive(Default)]
struct Doc {
    text: String,
    in_attribute: bool,
}

impl Doc {
    fn takes(&mut self, line: &str) -> bool {
        if self.in_attribute || line.starts_with("#[") {
            self.in_attribute = !line.ends_with(']');
            return true;
        }
        let Some(line) = line.strip_prefix("///") else {
            return false;
        };
        let line = line.trim();
        if !self.text.is_empty() {
            self.text
                .push_str(if line.is_empty() { "<br>" } else { " " });
        }
        self.text.push_str(line);
        true
    }

    fn take(&mut self) -> String {
        let text = std::mem::take(&mut self.text).replace("<br> ", "<br>");
        text.replace("[`", "`").replace("`]", "`")
    }
}

fn items(text: &str) -> Vec<Item> {
    let mut doc = Doc::default();
    let mut items = Vec::new();
    let mut lines = text.lines();
    let mut in_macro = false;
    while let Some(line) = lines.next() {
        // What stands inside a macro's definition is a pattern, not an item.
        in_macro = (in_macro || line.starts_with("macro_rules!")) && line != "}";
        if in_macro || doc.takes(line.trim()) {
            continue;
        }
        let doc = doc.take();
        if let Some(item) = item(line.trim(), doc, &mut lines) {
            items.push(item);
        }
    }
    items.retain(|item| !NOT_BODIES.contains(&item.name.as_str()));
    items
}

fn item<'a>(line: &str, doc: String, lines: &mut impl Iterator<Item = &'a str>) -> Option<Item> {
    if let Some(rest) = line.strip_prefix("pub struct ") {
        let mut item = named(rest.split([' ', '(']).next()?, doc, false);
        if rest.ends_with(" {") {
            item.fields = fields(lines, "}");
        }
        return Some(item);
    }
    if let Some(rest) = line.strip_prefix("pub enum ") {
        let mut item = named(rest.strip_suffix(" {")?, doc, true);
        item.variants = variants(lines);
        return Some(item);
    }
    // Items that macros make of one line each.
    if let Some((name, body)) = line.split_once('(')
        && let Some(of) = body.strip_suffix("),")
        && !doc.is_empty()
        && name.chars().all(char::is_alphanumeric)
    {
        let mut item = named(name, doc, false);
        item.fields.push(Field {
            name: ONLY_FIELD.to_owned(),
            of: of.to_owned(),
            doc: String::new(),
        });
        return Some(item);
    }
    None
}

fn named(name: &str, doc: String, is_enum: bool) -> Item {
    Item {
        name: name.to_owned(),
        doc,
        is_enum,
        ..Item::default()
    }
}

fn fields<'a>(lines: &mut impl Iterator<Item = &'a str>, end: &str) -> Vec<Field> {
    let mut doc = Doc::default();
    let mut fields = Vec::new();
    for line in lines {
        if line.trim_end_matches(',').trim() == end {
            break;
        }
        if doc.takes(line.trim()) {
            continue;
        }
        let (name, of) = line.trim().split_once(": ").unwrap();
        fields.push(Field {
            name: name.trim_start_matches("pub ").to_owned(),
            of: of.trim_end_matches(',').to_owned(),
            doc: doc.take(),
        });
    }
    fields
}

fn variants<'a>(lines: &mut impl Iterator<Item = &'a str>) -> Vec<Item> {
    let mut doc = Doc::default();
    let mut variants = Vec::new();
    while let Some(line) = lines.next() {
        if line == "}" {
            break;
        }
        let line = line.trim();
        if doc.takes(line) {
            continue;
        }
        let mut variant = named(
            line.split([' ', '(', ',']).next().unwrap(),
            doc.take(),
            false,
        );
        if line.ends_with('{') {
            variant.fields = fields(lines, "}");
        } else if let Some((_, of)) = line.split_once('(') {
            variant.fields.push(Field {
                name: ONLY_FIELD.to_owned(),
                of: of.trim_end_matches("),").to_owned(),
                doc: String::new(),
            });
        }
        variants.push(variant);
    }
    variants
}

/// The last part of a path.
pub(crate) fn last_name(path: &str) -> String {
    path.rsplit("::").next().unwrap().to_owned()
}
