//! Starting other programs, showing how, and telling which one failed.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a command of xtask did not succeed, for a person.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) String);

impl Failure {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in a directory of the repository")
}

/// Where cargo puts what it builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The broker's binary in a profile's directory, `debug` or `release`.
pub(crate) fn binary(profile_dir: &str) -> PathBuf {
    let name = format!("confab{}", std::env::consts::EXE_SUFFIX);
    target_dir().join(profile_dir).join(name)
}

/// A program to start in the repository's root.
pub(crate) struct Program {
    command: Command,
    shown: String,
}

/// A cargo command, with the cargo that runs this xtask.
pub(crate) fn cargo(arguments: &[&str]) -> Program {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut program = program(&cargo);
    program.shown = "cargo".to_owned();
    program.args(arguments)
}

/// Any program.
pub(crate) fn program(name: &OsStr) -> Program {
    let mut command = Command::new(name);
    command.current_dir(root());
    // Cargo tells its children which package runs; ours are to find out anew.
    for variable in [
        "CARGO_MANIFEST_DIR",
        "CARGO_PKG_NAME",
        "CARGO_MANIFEST_PATH",
    ] {
        command.env_remove(variable);
    }
    Program {
        command,
        shown: name.to_string_lossy().into_owned(),
    }
}

impl Program {
    pub(crate) fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, arguments: I) -> Self {
        for argument in arguments {
            self.shown.push(' ');
            self.shown.push_str(&argument.as_ref().to_string_lossy());
            self.command.arg(argument);
        }
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.shown = format!("{name}={:?} {}", value.as_ref(), self.shown);
        self.command.env(name, value);
        self
    }

    /// Runs it to its end, its output on the terminal.
    ///
    /// # Errors
    /// When it cannot be started, or does not succeed.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        eprintln!("$ {}", self.shown);
        let status = self
            .command
            .status()
            .map_err(|error| Failure(format!("`{}` did not start: {error}", self.shown)))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure(format!("`{}` ended with {status}", self.shown)))
    }

    /// Whether it runs and succeeds; its output is not shown.
    pub(crate) fn succeeds(mut self) -> bool {
        let command = self.command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// What it prints, when it succeeds.
    pub(crate) fn output(mut self) -> Option<String> {
        let output = self.command.stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then_some(text)
    }

    /// Goes on as that program, where the system can do so, so that signals
    /// reach it and nobody waits in between.
    ///
    /// # Errors
    /// When it cannot be started, or, where it ran as a child, did not succeed.
    #[cfg(unix)]
    pub(crate) fn become_it(mut self) -> Result<(), Failure> {
        use std::os::unix::process::CommandExt as _;
        eprintln!("$ {}", self.shown);
        let error = self.command.exec();
        Err(Failure(format!("`{}` did not start: {error}", self.shown)))
    }

    #[cfg(not(unix))]
    pub(crate) fn become_it(self) -> Result<(), Failure> {
        self.run()
    }
}
