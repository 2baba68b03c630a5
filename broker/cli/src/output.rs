//! Standard output and the async runtime of the client commands.

use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

use crate::failure::Failure;
use crate::sanitise::json_line;

/// Standard output. A reader that has gone ends the command quietly.
pub(crate) struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Standard output, for this command alone.
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Prints a line.
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.0.write_all(line.as_bytes()).map_err(failure)?;
        self.0.write_all(b"\n").map_err(failure)
    }

    /// Prints text that has its line ends.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.0.write_all(text.as_bytes()).map_err(failure)
    }

    /// Prints a value as a line of JSON.
    pub(crate) fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Failure> {
        self.line(&json_line(value))
    }

    /// Shows what was printed.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.0.flush().map_err(failure)
    }
}

fn failure(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        Failure::reader_gone()
    } else {
        Failure::new("output", format!("cannot write the output: {error}"))
    }
}

/// Runs a client command until it is done or interrupted.
pub(crate) fn run_client(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("system", format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = work => result,
            interrupted = interrupted() => Err(interrupted),
        }
    });
    // A thread may still be reading standard input; it must not hold us.
    runtime.shutdown_background();
    result
}

/// Comes back at Ctrl-C or SIGTERM.
async fn interrupted() -> Failure {
    let signals = signals();
    match signals {
        Ok(mut signals) => {
            signals.next().await;
            Failure::interrupted()
        }
        Err(error) => Failure::new("system", format!("cannot listen for signals: {error}")),
    }
}

/// The signals that ask to end.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

/// From now on the signals are ours.
pub(crate) fn signals() -> io::Result<Signals> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok(Signals {
        interrupt: signal(SignalKind::interrupt())?,
        terminate: signal(SignalKind::terminate())?,
        hang_up: signal(SignalKind::hangup())?,
    })
}

impl Signals {
    /// The next one, by name.
    pub(crate) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
