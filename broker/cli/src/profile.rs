//! The device that this process is: an id that is kept from run to run.
//!
//! A device numbers what it sends, so two processes must never be the same
//! device at once. Each takes a profile file by locking it; when another process
//! has it, the next one is taken: the second terminal of a user is a second
//! device, and gets the same id again the next time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use confab_protocol::DeviceId;
use serde::{Deserialize, Serialize};

/// How many processes of one user find a profile; one more is a device that
/// nobody keeps.
const PROFILES_MAX: usize = 64;

/// No profile is larger than this, in bytes.
const PROFILE_BYTES_MAX: u64 = 4 << 10;

/// A device for as long as the process has it.
#[derive(Debug)]
pub(crate) struct Profile {
    device: DeviceId,
    /// Locked until it is dropped; `None` for a device that is not kept.
    _file: Option<File>,
}

#[derive(Deserialize, Serialize)]
struct Stored {
    device: DeviceId,
}

impl Profile {
    /// Takes the first free profile `NAME.json`, `NAME~2.json` and so on in a
    /// directory, which is made where it is missing. `~` stands in no user id.
    ///
    /// Where nothing can be written, the device is a new one.
    pub(crate) fn take(directory: &Path, name: &str) -> Self {
        match take_first(directory, name) {
            Ok(profile) => profile,
            Err(_) => Self {
                device: new_device(),
                _file: None,
            },
        }
    }

    /// The device.
    pub(crate) const fn device(&self) -> &DeviceId {
        &self.device
    }
}

/// Where profiles lie that belong to no data directory.
pub(crate) fn state_directory() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    variable("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| PathBuf::from(home).join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("confab/clients")
}

fn take_first(directory: &Path, name: &str) -> io::Result<Profile> {
    std::fs::create_dir_all(directory)?;
    for number in 1..=PROFILES_MAX {
        let file_name = match number {
            1 => format!("{name}.json"),
            number => format!("{name}~{number}.json"),
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(directory.join(file_name))?;
        match file.try_lock() {
            Ok(()) => return read_or_make(file),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::ErrorKind::ResourceBusy.into())
}

fn read_or_make(mut file: File) -> io::Result<Profile> {
    let mut text = String::new();
    // What cannot be read is no profile: it is made anew.
    let read = (&file).take(PROFILE_BYTES_MAX).read_to_string(&mut text);
    let stored = read
        .ok()
        .and_then(|_| serde_json::from_str::<Stored>(&text).ok());
    let device = match stored {
        Some(stored) => stored.device,
        None => {
            let device = new_device();
            let stored = Stored {
                device: device.clone(),
            };
            file.set_len(0)?;
            file.rewind()?;
            serde_json::to_writer(&file, &stored)?;
            file.write_all(b"\n")?;
            device
        }
    };
    Ok(Profile {
        device,
        _file: Some(file),
    })
}

fn new_device() -> DeviceId {
    let number: u128 = rand::random();
    DeviceId::new(&format!("cli-{number:032x}")).expect("36 letters, digits and a hyphen are an id")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::Profile;

    /// A device that comes back must be the same one, or what it resends would
    /// not be recognised.
    #[test]
    fn a_device_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let first = Profile::take(directory.path(), "u1").device().clone();
        let again = Profile::take(directory.path(), "u1").device().clone();
        assert_eq!(first, again);
        assert_ne!(first, *Profile::take(directory.path(), "u2").device());
    }

    /// Two processes that were one device would give two messages one number.
    #[test]
    fn two_at_once_are_two_devices() {
        let directory = tempfile::tempdir().unwrap();
        let one = Profile::take(directory.path(), "u1");
        let two = Profile::take(directory.path(), "u1");
        assert_ne!(one.device(), two.device());
        let second = two.device().clone();
        drop(two);
        assert_eq!(*Profile::take(directory.path(), "u1").device(), second);
    }

    #[test]
    fn a_damaged_profile_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("u1.json"), b"\xff{not json").unwrap();
        let made = Profile::take(directory.path(), "u1").device().clone();
        assert_eq!(*Profile::take(directory.path(), "u1").device(), made);
    }

    /// A full or read-only disk must not keep anybody from talking.
    #[test]
    fn without_a_place_the_device_is_new() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let profile = Profile::take(&file, "u1");
        assert!(profile.device().as_str().starts_with("cli-"));
    }
}
