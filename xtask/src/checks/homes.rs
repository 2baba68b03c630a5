//! Each outside library has one home: only files there name it.
//!
//! What is behind a home can be changed in one place. Tests, examples and
//! benches may use what they like.

use super::File;

/// A library's name in code, and where it may be named.
const HOMES: &[(&str, &[&str])] = &[
    ("axum", &["broker/src/gateway/http", "broker/src/ops"]),
    // Its derives name it in every crate; only the codec calls it.
    ("bincode", &["protocol/src/codec.rs", "protocol/src/id.rs"]),
    ("clap", &["broker/cli/", "bench/"]),
    ("governor", &["broker/src/limits"]),
    ("jsonwebtoken", &["broker/src/auth"]),
    ("openraft", &["broker/replication/"]),
    ("openraft_rt", &["broker/replication/"]),
    ("openraft_rt_tokio", &["broker/replication/"]),
    ("prometheus", &["broker/src/ops"]),
    ("protobuf2", &["broker/storage/src/log"]),
    (
        "quinn",
        &[
            "broker/src/gateway/quic",
            "broker/src/peers",
            "client-sdk/src/quic",
            "bench/src",
        ],
    ),
    ("raft_engine", &["broker/storage/src/log"]),
    ("ratatui", &["broker/cli/src/chat"]),
    ("sled", &["broker/storage/src/state"]),
    ("socketioxide", &["broker/src/gateway/socketio"]),
    ("toml", &["broker/src/config"]),
];

pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        if ["tests/", "benches/", "examples/", "fuzz_targets/"]
            .iter()
            .any(|free| file.path.starts_with(free) || file.path.contains(&format!("/{free}")))
        {
            continue;
        }
        let code = file.text.lines().take_while(|line| *line != "#[cfg(test)]");
        for (place, line) in code.enumerate() {
            for (library, homes) in HOMES {
                if names(line, library) && !homes.iter().any(|home| file.path.starts_with(home)) {
                    let (path, line) = (&file.path, place + 1);
                    let homes = homes.join(", ");
                    wrong.push(format!("{path}:{line}: {library} belongs in {homes}"));
                }
            }
        }
    }
    wrong
}

/// Whether a line of code names a library at the front of a path.
fn names(line: &str, library: &str) -> bool {
    let code = line.trim_start();
    if code.starts_with("//") {
        return false;
    }
    let mut rest = code;
    while let Some(at) = rest.find(library) {
        let before = rest[..at].chars().next_back();
        let after = &rest[at + library.len()..];
        // `crate::sled::`, `my_sled::` and `sledge::` are something else.
        let starts = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != ':');
        let opens_path = after.starts_with("::");
        let imported =
            code.starts_with("use ") && (after.starts_with(';') || after.starts_with(" as "));
        if starts && (opens_path || imported) {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{File, check, names};

    #[test]
    fn paths_and_imports_name_a_library() {
        for line in [
            "use sled::Db;",
            "let db: sled::Db = open();",
            "use sled;",
            "use sled as s;",
        ] {
            assert!(names(line, "sled"), "{line}");
        }
        for line in [
            "// sled::Db",
            "use crate::sled::Db;",
            "sledge::hit()",
            "let sled = 1;",
        ] {
            assert!(!names(line, "sled"), "{line}");
        }
    }

    /// A library that is named outside its home is found with its line.
    #[test]
    fn a_stray_library_is_found() {
        let file = |path: &str| File {
            path: path.to_owned(),
            text: "//! Text.\nuse sled::Db;\n".to_owned(),
        };
        let files = [
            file("broker/storage/src/state/mod.rs"),
            file("broker/src/node.rs"),
            file("broker/storage/tests/state.rs"),
        ];
        let wrong = check(&files);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with("broker/src/node.rs:2: sled"));
    }
}
