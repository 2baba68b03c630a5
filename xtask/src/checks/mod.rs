//! Checks of the repository itself that no compiler makes.
//!
//! Each check answers what it found wrong, a line for each; an empty list is
//! a pass. They read text files only and need nothing but a checkout.

mod crates;
mod files;
mod homes;
mod links;
mod versions;

use std::path::{Path, PathBuf};

use crate::process::{Failure, root};

/// A file of the repository, with its path from the root, `/` between parts.
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Where crates, libraries, files and links lie.
pub(crate) fn layout() -> Result<(), Failure> {
    let files = read_all(root())?;
    let mut wrong = Vec::new();
    wrong.extend(crates::check(&files));
    wrong.extend(homes::check(&files));
    wrong.extend(files::check(&files));
    wrong.extend(links::check(&files));
    report(wrong)
}

/// The versions in `Cargo.lock` against the floors in `deny.toml`.
pub(crate) fn versions() -> Result<(), Failure> {
    let lock = std::fs::read_to_string(root().join("Cargo.lock"))?;
    let deny = std::fs::read_to_string(root().join("deny.toml"))?;
    report(versions::check(&lock, &deny)?)
}

fn report(wrong: Vec<String>) -> Result<(), Failure> {
    for line in &wrong {
        eprintln!("  {line}");
    }
    match wrong.len() {
        0 => Ok(()),
        count => Err(Failure(format!("{count} things are wrong, see above"))),
    }
}

/// Directories that hold nothing of ours.
const SKIPPED: &[&str] = &["target", "node_modules", "corpus", "artifacts"];

/// Every text file of ours that a check reads.
fn read_all(root: &Path) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') || SKIPPED.contains(&&*name) {
                continue;
            }
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else if ["rs", "md", "toml"]
                .iter()
                .any(|end| has_extension(&path, end))
            {
                let text = std::fs::read_to_string(&path)?;
                files.push(File {
                    path: shown(root, &path),
                    text,
                });
            }
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

fn shown(root: &Path, path: &Path) -> String {
    let path: PathBuf = path.strip_prefix(root).unwrap_or(path).to_owned();
    path.to_string_lossy().replace('\\', "/")
}
