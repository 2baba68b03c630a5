//! Links between documents lead somewhere.

use std::collections::HashMap;

use super::File;
use crate::process::root;

pub(super) fn check(files: &[File]) -> Vec<String> {
    let documents: HashMap<&str, Vec<String>> = files
        .iter()
        .filter(|file| file.path.ends_with(".md"))
        .map(|file| (file.path.as_str(), anchors(&file.text)))
        .collect();
    let mut wrong = Vec::new();
    for file in files
        .iter()
        .filter(|file| documents.contains_key(file.path.as_str()))
    {
        for target in links(&file.text) {
            if let Some(reason) = broken(&file.path, &target, &documents) {
                wrong.push(format!("{}: ({target}) {reason}", file.path));
            }
        }
    }
    wrong
}

/// Why a link is broken, if it is.
fn broken(
    from: &str,
    target: &str,
    documents: &HashMap<&str, Vec<String>>,
) -> Option<&'static str> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        from.to_owned()
    } else {
        resolve(from, path)
    };
    if !documents.contains_key(path.as_str()) && !root().join(&path).exists() {
        return Some("does not exist");
    }
    let known = anchor.is_empty()
        || documents
            .get(path.as_str())
            .is_none_or(|anchors| anchors.iter().any(|known| known == anchor));
    (!known).then_some("has no such heading")
}

/// A path that stands in a file, from the root.
fn resolve(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The lines that are not code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// Targets of `[text](target)`.
fn links(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(text) {
        for part in line.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                targets.push(target.to_owned());
            }
        }
    }
    targets
}

/// What a link may name in a document: its headings, as code hosts spell them.
fn anchors(text: &str) -> Vec<String> {
    prose(text)
        .filter_map(|line| {
            let title = line.trim_start_matches('#').strip_prefix(' ')?;
            line.starts_with('#').then(|| anchor(title))
        })
        .collect()
}

fn anchor(title: &str) -> String {
    title
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{File, check};

    #[test]
    fn broken_links_are_found() {
        let files = [
            File {
                path: "README.md".to_owned(),
                text: "[a](docs/a.md#the-first-part) [b](docs/b.md) [c](#gone) [d](https://x.y)\n\
                       ```\n[e](nowhere.md)\n```\n"
                    .to_owned(),
            },
            File {
                path: "docs/a.md".to_owned(),
                text: "# The first part!\n[back](../README.md)\n".to_owned(),
            },
        ];
        let wrong = check(&files);
        assert_eq!(
            wrong,
            [
                "README.md: (docs/b.md) does not exist",
                "README.md: (#gone) has no such heading"
            ]
        );
    }
}
