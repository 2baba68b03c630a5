//! Which files the log consists of, written down beside them.
//!
//! The engine takes whatever files it finds: without the newest it would begin
//! at an older end, without the oldest it would miss what they held. The file
//! `FILES` says which there must be. A file enters it after it was created and
//! before anything is written to it, and leaves it before it is removed, so a
//! power cut can leave a file too many but never one too few.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::file_format::{LogFile, Queue};
use crate::disk::Disk;

const TITLE: &str = "confab log files";

/// Numbers of the files that must be there, inclusive.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) struct Span {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Catalogue {
    pub(crate) append: Option<Span>,
    pub(crate) rewrite: Option<Span>,
    /// The newest rewritten file and how much of it was fsynced: damage before
    /// that is damage, behind it a rewrite that a power cut interrupted.
    pub(crate) rewrite_synced: Option<(u64, u64)>,
}

/// Why there is no catalogue to go by.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogueError {
    #[error("{0} is damaged")]
    Damaged(PathBuf),
    #[error("cannot read {0}: {1}")]
    Io(PathBuf, io::Error),
}

impl Catalogue {
    pub(crate) fn path_in(log: &Path) -> PathBuf {
        log.join("FILES")
    }

    /// `None` when there is none.
    pub(crate) fn read(log: &Path) -> Result<Option<Self>, CatalogueError> {
        let path = Self::path_in(log);
        match fs::read(&path) {
            Ok(bytes) => match std::str::from_utf8(&bytes).ok().and_then(Self::decode) {
                Some(catalogue) => Ok(Some(catalogue)),
                None => Err(CatalogueError::Damaged(path)),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(CatalogueError::Io(path, e)),
        }
    }

    pub(crate) fn write(&self, log: &Path, disk: &Disk) -> io::Result<()> {
        disk.replace_file(&Self::path_in(log), self.encode().as_bytes())
    }

    /// The catalogue of the files as they are: where none was kept, or after a repair.
    pub(crate) fn of_files(files: &[LogFile]) -> Self {
        let mut catalogue = Self::default();
        for file in files {
            let span = catalogue.span_mut(file.queue);
            let first = span.map_or(file.number, |span| span.first.min(file.number));
            *span = Some(Span {
                first,
                last: file.number,
            });
        }
        catalogue
    }

    pub(crate) fn span_mut(&mut self, queue: Queue) -> &mut Option<Span> {
        match queue {
            Queue::Append => &mut self.append,
            Queue::Rewrite => &mut self.rewrite,
        }
    }

    pub(crate) fn created(&mut self, file: &LogFile) {
        let span = self.span_mut(file.queue);
        let first = span.map_or(file.number, |span| span.first);
        let last = span.map_or(file.number, |span| span.last.max(file.number));
        *span = Some(Span { first, last });
    }

    pub(crate) fn removed(&mut self, file: &LogFile) {
        if let Some(span) = self.span_mut(file.queue) {
            span.first = span.first.max(file.number + 1);
        }
    }

    /// The first file that should be there and is not.
    pub(crate) fn missing(&self, log: &Path, files: &[LogFile]) -> Option<PathBuf> {
        let spans = [(Queue::Append, self.append), (Queue::Rewrite, self.rewrite)];
        for (queue, span) in spans {
            let Some(span) = span else { continue };
            for number in span.first..=span.last {
                let there = files
                    .iter()
                    .any(|file| file.queue == queue && file.number == number);
                if !there {
                    return Some(LogFile::path_of(log, queue, number));
                }
            }
        }
        None
    }

    fn encode(&self) -> String {
        let mut text = format!("{TITLE}\n");
        if let Some(span) = self.append {
            let _ = writeln!(text, "append {} {}", span.first, span.last);
        }
        if let Some(span) = self.rewrite {
            let _ = writeln!(text, "rewrite {} {}", span.first, span.last);
        }
        if let Some((file, bytes)) = self.rewrite_synced {
            let _ = writeln!(text, "rewrite-synced {file} {bytes}");
        }
        let checksum = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "checksum {checksum:08x}");
        text
    }

    fn decode(text: &str) -> Option<Self> {
        let (body, checksum) = text.split_at(text.rfind("checksum ")?);
        let checksum = checksum.strip_prefix("checksum ")?.strip_suffix('\n')?;
        if u32::from_str_radix(checksum, 16).ok()? != crc32fast::hash(body.as_bytes()) {
            return None;
        }
        let mut lines = body.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let mut catalogue = Self::default();
        for line in lines {
            let mut words = line.split(' ');
            let kind = words.next()?;
            let first = words.next()?.parse().ok()?;
            let last = words.next()?.parse().ok()?;
            match kind {
                "append" => catalogue.append = Some(Span { first, last }),
                "rewrite" => catalogue.rewrite = Some(Span { first, last }),
                "rewrite-synced" => catalogue.rewrite_synced = Some((first, last)),
                _ => return None,
            }
        }
        Some(catalogue)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_created_and_not_removed_must_be_there() {
        let log = Path::new("/log");
        let file = |number| LogFile {
            queue: Queue::Append,
            number,
            path: LogFile::path_of(log, Queue::Append, number),
        };
        let mut catalogue = Catalogue::default();
        for number in 1..=4 {
            catalogue.created(&file(number));
        }
        catalogue.removed(&file(1));
        catalogue.rewrite_synced = Some((1, 77));
        let catalogue = Catalogue::decode(&catalogue.encode()).unwrap();
        assert_eq!(catalogue.missing(log, &[file(2), file(3), file(4)]), None);
        assert_eq!(
            catalogue.missing(log, &[file(2), file(4)]),
            Some(file(3).path)
        );
        assert_eq!(catalogue.rewrite_synced, Some((1, 77)));
    }
}
