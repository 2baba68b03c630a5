//! `docs/protocol.md` says what the code does.
//!
//! Its tables of kinds, bodies, error codes and limits are written by this test
//! from the source, and its annotated frames are read and written by the code.
//! To bring the tables up to date, run the test with `CONFAB_WRITE_DOCS=1`.

// The test reads and writes the document, unlike the crate.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod source;

use std::fmt::Write as _;

use confab_protocol::ErrorCode;
use confab_protocol::Frame;
use confab_protocol::message::{Answer, Push, Request};
use source::{Field, Item, ONLY_FIELD, last_name};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md");

/// Somebody who writes another client finds every kind, field, code and limit
/// there, with the same words as in the code.
#[test]
fn the_tables_are_those_of_the_code() {
    let document = std::fs::read_to_string(PATH).unwrap();
    let mut expected = document.clone();
    for (name, text) in [
        ("kinds", kinds()),
        ("bodies", bodies()),
        ("errors", errors()),
        ("limits", limits()),
    ] {
        let begin = format!("<!-- {name}: written by protocol/tests/document.rs -->\n");
        let end = format!("<!-- end of {name} -->");
        let start = expected.find(&begin).expect(&begin) + begin.len();
        let stop = start + expected[start..].find(&end).expect(&end);
        expected.replace_range(start..stop, &text);
    }
    if std::env::var_os("CONFAB_WRITE_DOCS").is_some() {
        std::fs::write(PATH, expected).unwrap();
        return;
    }
    let differs = document
        .lines()
        .zip(expected.lines())
        .find(|(is, should)| is != should);
    assert!(
        document == expected,
        "docs/protocol.md is out of date; set CONFAB_WRITE_DOCS=1 and run this test: {differs:?}"
    );
}

fn kinds() -> String {
    let mut text = String::new();
    let answers = source::answers();
    for (title, table, kinds) in [
        ("Requests", "Request", Request::KINDS),
        ("Answers", "Answer", Answer::KINDS),
        ("Pushes", "Push", Push::KINDS),
    ] {
        let asks = table == "Request";
        let head = if asks {
            ("| kind | name | answer |", "|---|---|---|")
        } else {
            ("| kind | name | body |", "|---|---|---|")
        };
        writeln!(text, "\n### {title}\n\n{}\n{}", head.0, head.1).unwrap();
        for (kind, name) in kinds {
            let last = if asks {
                let answer = answers.iter().find(|(request, _)| request == name);
                answer.map_or("none".to_owned(), |(_, answer)| link(answer))
            } else {
                link(&body_of(table, name))
            };
            let name = if asks { link(name) } else { (*name).to_owned() };
            writeln!(text, "| `{kind:#06x}` | {name} | {last} |").unwrap();
        }
    }
    text.push('\n');
    text
}

/// The struct that a kind carries, from the tables in the source.
fn body_of(table: &str, name: &str) -> String {
    let text = include_str!("../src/message/mod.rs");
    let (_, text) = text.split_once(&format!("    {table} {{\n")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.split_once(&format!(" {name}(")));
    last_name(line.unwrap().1.trim_end_matches("),"))
}

fn bodies() -> String {
    let mut text = String::new();
    for item in source::bodies() {
        writeln!(text, "\n#### {}\n\n{}", item.name, item.doc).unwrap();
        if item.is_enum {
            text.push_str("\n| variant | name | fields | meaning |\n|---|---|---|---|\n");
            for (place, variant) in item.variants.iter().enumerate() {
                let fields: Vec<String> = variant.fields.iter().map(inline_field).collect();
                let (name, doc) = (&variant.name, &variant.doc);
                let fields = fields.join(", ");
                writeln!(text, "| {place} | {name} | {fields} | {doc} |").unwrap();
            }
        } else if item.fields.is_empty() {
            text.push_str("\nNo fields: the body is empty.\n");
        } else {
            text.push_str("\n| field | type | meaning |\n|---|---|---|\n");
            for field in &item.fields {
                let (name, of, doc) = (&field.name, type_name(&field.of), &field.doc);
                writeln!(text, "| {name} | {of} | {doc} |").unwrap();
            }
        }
    }
    text.push('\n');
    text
}

fn inline_field(field: &Field) -> String {
    if field.name == ONLY_FIELD {
        type_name(&field.of)
    } else {
        format!("{}: {}", field.name, type_name(&field.of))
    }
}

/// A Rust type in the document's words.
fn type_name(of: &str) -> String {
    let inner = |prefix: &str| of.strip_prefix(prefix)?.strip_suffix('>');
    if let Some(item) = inner("Packed<") {
        return format!("list of {}", type_name(item));
    }
    if let Some(item) = inner("Option<") {
        return format!("option of {}", type_name(item));
    }
    match of {
        "bool" | "u16" | "u32" | "u64" => of.to_owned(),
        "Text" => "text".to_owned(),
        path => link(&last_name(path)),
    }
}

/// A link to where a type is described: bodies have a heading of their own, ids
/// share one.
fn link(name: &str) -> String {
    let body = source::bodies().iter().any(|item: &Item| item.name == name);
    let anchor = if body {
        name.to_lowercase()
    } else {
        "ids".to_owned()
    };
    format!("[{name}](#{anchor})")
}

fn errors() -> String {
    let mut text =
        String::from("\n| number | name | retry | new token | meaning |\n|---|---|---|---|---|\n");
    let yes = |flag| if flag { "yes" } else { "" };
    for (code, source) in ErrorCode::ALL.iter().zip(source::error_codes()) {
        assert_eq!(code.number().to_string(), source.value);
        assert_eq!(code.name(), source.name);
        writeln!(
            text,
            "| {} | `{}` | {} | {} | {} |",
            source.value,
            source.name,
            yes(code.is_retryable()),
            yes(code.needs_new_token()),
            source.doc
        )
        .unwrap();
    }
    text.push('\n');
    text
}

fn limits() -> String {
    let mut text = String::from("\n| name | value | meaning |\n|---|---|---|\n");
    for limit in source::limits() {
        let value = limit.value.replace('_', ",");
        let value = match value.split_once(" << 10") {
            Some((kib, "")) => format!("{kib} KiB"),
            _ => value.replace("3 + ID,BYTES,MAX + 1 + ID,BYTES,MAX", "132"),
        };
        writeln!(text, "| {} | {value} | {} |", limit.name, limit.doc).unwrap();
    }
    text.push('\n');
    text
}

/// The frames that the document takes apart byte by byte are true.
#[test]
fn the_annotated_frames_are_true() {
    let document = std::fs::read_to_string(PATH).unwrap();
    let mut blocks = 0;
    for block in document.split("```frame\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        check_block(block);
        blocks += 1;
    }
    assert!(blocks >= 6, "the document explains only {blocks} frames");
}

fn check_block(block: &str) {
    let mut lines = block.lines();
    let value = lines.next().unwrap();
    let mut bytes = Vec::new();
    for line in lines {
        let hex = line.split('|').next().unwrap();
        for pair in hex.split_whitespace() {
            bytes.push(u8::from_str_radix(pair, 16).expect(line));
        }
    }
    let mut message = bytes::Bytes::from(bytes.clone());
    let frame = Frame::take_whole(&mut message, usize::MAX)
        .unwrap()
        .unwrap();
    assert!(message.is_empty(), "bytes follow the frame: {value}");
    let (read, written) = if let Ok(request) = Request::from_frame(&frame) {
        (format!("{request:?}"), request.to_frame(frame.request))
    } else if let Ok(answer) = Answer::from_frame(&frame) {
        (format!("{answer:?}"), answer.to_frame(frame.request))
    } else {
        let push = Push::from_frame(&frame).unwrap();
        (format!("{push:?}"), push.to_frame(frame.request))
    };
    assert_eq!(read, value);
    assert_eq!(written, bytes);
}
