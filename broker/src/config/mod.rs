//! Configuration: one TOML file, environment over it, flags over both.
//!
//! [`load`] reads all three and says for each setting where its value came
//! from. What is unknown or cannot work is refused with a sentence that says
//! what to do; nothing is silently ignored. The settings themselves, with unit,
//! default and cost, are in [`settings`]; what the services are given is made
//! in `services`, so that they know nothing of files.
//!
//! Not here: reading keys and certificates, which their owners do.

mod check;
pub mod development;
mod load;
mod nearest;
mod section;
mod services;
pub mod settings;

pub use load::{Explained, Loaded, Overrides, load};
pub use section::{Setting, Source};
pub use settings::{
    AuthConfig, Config, KeyTable, LimitsConfig, ListenConfig, LogSettings, QuicSettings,
    RaftConfig, ServerConfig, SessionSettings, StorageConfig, TlsConfig,
};

use std::path::PathBuf;

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path}, line {line}, is not TOML: {message}")]
    Syntax {
        /// Which file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What was expected.
        message: String,
    },
    /// Settings are unknown or cannot work: all of them.
    #[error("the configuration cannot be used:{}", .0.iter().map(|p| format!("\n  - {p}")).collect::<String>())]
    Invalid(Vec<Problem>),
}

/// What is wrong with one setting, or with several together.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{sentence}")]
pub struct Problem {
    /// The setting, e.g. `listen.quic`.
    pub key: String,
    /// What is wrong and what to do.
    pub sentence: String,
}

/// The whole configuration as a file, every setting with its description and
/// default, all commented out.
#[must_use]
pub fn reference() -> String {
    section::reference(&Config::default())
}

#[cfg(test)]
mod documents;
#[cfg(test)]
mod tests;
