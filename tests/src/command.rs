//! The `confab` command as a person or a script uses it.

use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::{binary, within};

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

impl Finished {
    /// The command's lines, for one that has done what it should.
    pub fn done(&self) -> Vec<&str> {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout.lines().collect()
    }
}

/// A command that runs. Killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // What the one who runs the tests has set must not reach them.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CONFAB_") {
            command.env_remove(name);
        }
    }
    command
}

impl Finished {
    /// Runs a command to its end.
    pub async fn run(arguments: &[&str]) -> Self {
        Self::run_with(arguments, &[], "").await
    }

    /// Runs a command with an environment and with `input` to read.
    pub async fn run_with(arguments: &[&str], environment: &[(&str, &str)], input: &str) -> Self {
        let mut command = command(arguments);
        command
            .envs(environment.iter().copied())
            .stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that reads nothing closes the pipe.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = within(&arguments.join(" "), child.wait_with_output()).await;
        let output = output.unwrap();
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Running {
    /// Starts a command.
    #[must_use]
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments).stdin(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line that it prints.
    pub async fn line(&mut self) -> String {
        let line = within("a line of output", self.lines.next_line()).await;
        match line.unwrap() {
            Some(line) => line,
            None => panic!("the command ended: {}", self.complaint().await),
        }
    }

    /// Sends a signal and waits for the end.
    pub async fn end(mut self, signal: Signal) -> ExitStatus {
        signal_process(self.child.id().expect("it was not waited for"), signal);
        within("the command's end", self.child.wait())
            .await
            .unwrap()
    }

    async fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            // What cannot be read is not shown.
            let _ = stderr.read_to_string(&mut text).await;
        }
        text
    }
}

/// Sends a signal to a process that is ours.
pub(crate) fn signal_process(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).unwrap();
    kill_process(id, signal).unwrap();
}
