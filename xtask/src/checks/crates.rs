//! Which of our crates may use which, and what a pure crate may use at all.

use super::File;

/// Who may depend on whom. What is not listed is free: tests and benches see
/// everything.
const MAY_USE: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("broker/core", &["confab-protocol"]),
    ("broker/storage", &[]),
    ("broker/replication", &["confab-storage"]),
    (
        "broker",
        &[
            "confab-core",
            "confab-protocol",
            "confab-replication",
            "confab-storage",
        ],
    ),
    (
        "broker/cli",
        &["confab-broker", "confab-client", "confab-protocol"],
    ),
    ("client-sdk", &["confab-protocol"]),
    ("wasm-bridge", &["confab-client", "confab-protocol"]),
    ("xtask", &[]),
];

/// The pure crates with all that they may depend on: nothing that reads a
/// clock, draws at random, or does input and output.
const PURE: &[(&str, &[&str])] = &[
    ("protocol", &["bincode", "bytes", "serde", "thiserror"]),
    (
        "broker/core",
        &["confab-protocol", "bincode", "bytes", "thiserror"],
    ),
];

pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files {
        let Some(dir) = file.path.strip_suffix("/Cargo.toml") else {
            continue;
        };
        let used = dependencies(&file.text);
        let listed = |table: &[(&'static str, &'static [&'static str])]| {
            table
                .iter()
                .find(|(name, _)| *name == dir)
                .map(|(_, may)| *may)
        };
        if let Some(may) = listed(MAY_USE) {
            for name in used.iter().filter(|name| name.starts_with("confab-")) {
                if !may.contains(&name.as_str()) {
                    wrong.push(format!("{}: may not depend on {name}", file.path));
                }
            }
        }
        if let Some(may) = listed(PURE) {
            for name in used.iter().filter(|name| !may.contains(&name.as_str())) {
                wrong.push(format!(
                    "{}: is pure and may not depend on {name}",
                    file.path
                ));
            }
        }
    }
    wrong
}

/// The names under `[dependencies]`, also those for some targets only.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section == "dependencies"
                || (section.starts_with("target.") && section.ends_with(".dependencies"));
        } else if inside
            && let Some((name, _)) = line.split_once(['.', '=', ' '])
            && !name.is_empty()
            && !name.starts_with('#')
        {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{File, check};

    fn manifest(path: &str, text: &str) -> Vec<File> {
        vec![File {
            path: path.to_owned(),
            text: text.to_owned(),
        }]
    }

    /// The broker must not know the client, whose bugs would hide its own.
    #[test]
    fn the_broker_does_not_use_the_client() {
        let text = "[dependencies]\nconfab-core.workspace = true\nconfab-client.workspace = true\n";
        let wrong = check(&manifest("broker/Cargo.toml", text));
        assert_eq!(
            wrong,
            ["broker/Cargo.toml: may not depend on confab-client"]
        );
    }

    #[test]
    fn a_pure_crate_uses_what_is_listed() {
        let text = "[dependencies]\n# why\nbytes = \"1\"\ntokio = { version = \"1\" }\n\
                    [dev-dependencies]\nproptest = \"1\"\n";
        let wrong = check(&manifest("protocol/Cargo.toml", text));
        assert_eq!(wrong.len(), 1, "{wrong:?}");
    }
}
