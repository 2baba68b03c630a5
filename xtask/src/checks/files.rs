//! Sizes and names of source files.

use super::File;

/// Code lines past which a file has to be split, tests apart.
const LINES_MAX: usize = 800;

/// Code lines past which a file should have a reason.
const LINES_MANY: usize = 400;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &[
    "common", "helper", "helpers", "impls", "manager", "misc", "util", "utils", "v2",
];

pub(super) fn check(files: &[File]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut many = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".rs")) {
        for part in file.path.trim_end_matches(".rs").split('/') {
            if EMPTY_NAMES.contains(&part) {
                wrong.push(format!(
                    "{}: `{part}` says nothing; name what it holds",
                    file.path
                ));
            }
        }
        if is_test(&file.path) {
            continue;
        }
        let lines = code_lines(&file.text);
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines, at most {LINES_MAX}", file.path));
        } else if lines > LINES_MANY {
            many.push(format!("{} ({lines})", file.path));
        }
    }
    if !many.is_empty() {
        eprintln!("  past {LINES_MANY} lines: {}", many.join(", "));
    }
    wrong
}

fn is_test(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

/// Lines before the file's own tests.
fn code_lines(text: &str) -> usize {
    text.lines()
        .take_while(|line| *line != "#[cfg(test)]")
        .count()
}

#[cfg(test)]
mod tests {
    use super::{File, check};

    #[test]
    fn long_files_and_empty_names_are_found() {
        let file = |path: &str, lines: usize, tests: usize| File {
            path: path.to_owned(),
            text: "x\n".repeat(lines) + "#[cfg(test)]\n" + &"y\n".repeat(tests),
        };
        let files = [
            file("broker/src/long.rs", 801, 0),
            file("broker/src/tested.rs", 500, 900),
            file("broker/tests/journey.rs", 900, 0),
            file("broker/src/utils.rs", 1, 0),
            file("broker/src/utilisation.rs", 1, 0),
        ];
        let wrong = check(&files);
        assert_eq!(wrong.len(), 2, "{wrong:?}");
        assert!(wrong[0].starts_with("broker/src/long.rs"));
        assert!(wrong[1].starts_with("broker/src/utils.rs"));
    }
}
