//! A model of what a power cut leaves of a directory.
//!
//! Of each file: what the last fsync saw, with any of the 4 KiB blocks written
//! since, and any length between the two. Of each directory: the entries of its
//! last fsync, with any of the changes since. Files are told apart by inode, so
//! that a rename without an fsync of its directory can be undone; but a renamed
//! file is there under one of its names, which all file systems grant.
#![allow(unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use confab_storage::SyncObserver;
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::SmallRng;

const BLOCK: usize = 4096;

/// What is known to survive.
#[derive(Default)]
struct Durable {
    files: BTreeMap<u64, (Arc<Vec<u8>>, File)>,
    directories: BTreeMap<u64, (BTreeMap<String, u64>, File)>,
    is_directory: BTreeSet<u64>,
}

/// The observer to open a data directory with.
#[derive(Default)]
pub struct Power {
    durable: Mutex<Durable>,
}

impl Power {
    /// For a directory that was lying there, all of it durable.
    pub fn of(root: &Path) -> Arc<Self> {
        let power = Arc::new(Self::default());
        power.durable.lock().record_tree(root);
        power
    }

    /// Writes what a power cut at this moment would leave of `root` to `image`.
    /// `acknowledged` is called at the moment of the cut.
    pub fn cut<T>(
        &self,
        root: &Path,
        image: &Path,
        random: &mut SmallRng,
        acknowledged: impl FnOnce() -> T,
    ) -> T {
        // No fsync ends while this is held.
        let durable = self.durable.lock();
        let acknowledged = acknowledged();
        let inode = fs::metadata(root).unwrap().ino();
        durable.write_directory(inode, Some(root), image, random);
        acknowledged
    }
}

impl SyncObserver for Power {
    fn synced(&self, path: &Path) {
        self.durable.lock().record(path);
    }
}

fn listing(path: &Path) -> io::Result<BTreeMap<String, u64>> {
    let mut names = BTreeMap::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap();
        // What is removed in this very moment is not there.
        if let Ok(metadata) = entry.metadata() {
            names.insert(name, metadata.ino());
        }
    }
    Ok(names)
}

impl Durable {
    fn record(&mut self, path: &Path) {
        // Kept open: an inode that is in use is not given to another file.
        let Ok(file) = File::open(path) else { return };
        let metadata = file.metadata().unwrap();
        let inode = metadata.ino();
        if metadata.is_dir() {
            let names = listing(path).unwrap();
            for (name, inode) in &names {
                if path.join(name).is_dir() {
                    self.is_directory.insert(*inode);
                }
            }
            self.directories.insert(inode, (names, file));
        } else {
            let content = Arc::new(fs::read(path).unwrap());
            self.files.insert(inode, (content, file));
        }
    }

    fn record_tree(&mut self, path: &Path) {
        self.record(path);
        if path.is_dir() {
            for name in listing(path).unwrap().keys() {
                self.record_tree(&path.join(name));
            }
        }
    }

    fn write_directory(&self, inode: u64, now: Option<&Path>, to: &Path, random: &mut SmallRng) {
        fs::create_dir_all(to).unwrap();
        let before = self.directories.get(&inode).map(|(names, _)| names);
        let current = now.and_then(|path| listing(path).ok()).unwrap_or_default();
        let names: BTreeSet<_> = before.into_iter().flatten().map(|(name, _)| name).collect();
        let names: BTreeSet<_> = names.into_iter().chain(current.keys()).collect();
        let mut chosen = BTreeMap::new();
        for name in names {
            let old = before.and_then(|names| names.get(name)).copied();
            let new = current.get(name).copied();
            if let Some(inode) = if random.random() { old } else { new } {
                chosen.insert(name, inode);
            }
        }
        for (name, inode) in before.into_iter().flatten() {
            let was_renamed = current.values().any(|now| now == inode);
            if was_renamed && !chosen.values().any(|chosen| chosen == inode) {
                chosen.entry(name).or_insert(*inode);
            }
        }
        for (name, inode) in chosen {
            let new = current.get(name).copied();
            let path = now.map(|path| path.join(name));
            let path = path.filter(|_| new == Some(inode));
            let is_directory = path.as_ref().is_some_and(|path| path.is_dir())
                || self.is_directory.contains(&inode);
            if is_directory {
                self.write_directory(inode, path.as_deref(), &to.join(name), random);
            } else {
                let content = self.torn(inode, path.as_deref(), random);
                fs::write(to.join(name), content).unwrap();
            }
        }
    }

    fn torn(&self, inode: u64, now: Option<&Path>, random: &mut SmallRng) -> Vec<u8> {
        let synced = self.files.get(&inode).map(|(content, _)| &content[..]);
        let synced = synced.unwrap_or_default();
        let Some(current) = now.and_then(|path| fs::read(path).ok()) else {
            return synced.to_vec();
        };
        let (short, long) = (
            synced.len().min(current.len()),
            synced.len().max(current.len()),
        );
        let length = match random.random_range(0..4) {
            0 => short,
            1 => long,
            _ => random.random_range(short..=long),
        };
        let mut content = synced.to_vec();
        content.resize(length, 0);
        // All, none, or some of what was written since.
        let chance = [0.0, 1.0, 0.5, 0.9, 0.1][random.random_range(0..5)];
        for start in (0..length.min(current.len())).step_by(BLOCK) {
            let end = (start + BLOCK).min(length).min(current.len());
            if random.random_bool(chance) {
                content[start..end].copy_from_slice(&current[start..end]);
            }
        }
        content
    }
}
