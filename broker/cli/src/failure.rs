//! What went wrong, as a person or a program is told.
//!
//! The outermost error: whatever a command met has been turned into one
//! sentence that says what to do, a code, and an exit code.

use std::io::Write;
use std::process::ExitCode;

use confab_client::{CloseReason, DownReason, RequestError, SendError};
use confab_protocol::WireError;

use crate::sanitise::{json_line, lines, one_line};

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    code: &'static str,
    sentence: String,
    retry_after_ms: Option<u32>,
    exit: u8,
    /// What exactly is wrong, when it is more than one thing.
    details: Vec<String>,
    /// Whoever reads the output has gone: nothing needs to be said.
    quiet: bool,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    details: &'a [String],
}

#[derive(serde::Serialize)]
struct Envelope<'a> {
    error: Report<'a>,
}

impl Failure {
    /// Something was refused or failed: exit code 1. `code` is a word for
    /// programs, `sentence` says what to do.
    pub(crate) fn new(code: &'static str, sentence: impl Into<String>) -> Self {
        Self {
            code,
            sentence: sentence.into(),
            retry_after_ms: None,
            exit: 1,
            details: Vec::new(),
            quiet: false,
        }
    }

    /// The command was used in a wrong way: exit code 2.
    pub(crate) fn usage(sentence: impl Into<String>) -> Self {
        Self {
            exit: 2,
            ..Self::new("usage", sentence)
        }
    }

    /// The reader of standard output has closed it, as `head` does: that is how
    /// a command is told that it is enough, and no failure.
    pub(crate) fn reader_gone() -> Self {
        Self {
            exit: 0,
            quiet: true,
            ..Self::new("reader_gone", "")
        }
    }

    /// The command was interrupted, as by Ctrl-C.
    pub(crate) fn interrupted() -> Self {
        Self::new("interrupted", "interrupted")
    }

    /// The same failure, with everything that is wrong.
    pub(crate) fn listing(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// The same failure, said of something: `line 7: …`.
    pub(crate) fn of(mut self, what: impl std::fmt::Display) -> Self {
        self.sentence = format!("{what}: {}", self.sentence);
        self
    }

    /// One sentence with its code, for a status line.
    pub(crate) fn told(&self) -> String {
        format!("{} ({})", one_line(&self.sentence), self.code)
    }

    /// What is told.
    #[cfg(test)]
    pub(crate) fn sentence(&self) -> &str {
        &self.sentence
    }

    /// The exit code.
    #[cfg(test)]
    pub(crate) const fn exit(&self) -> u8 {
        self.exit
    }

    /// The code for programs.
    pub(crate) const fn code(&self) -> &'static str {
        self.code
    }

    fn text(&self, json: bool) -> String {
        if json {
            return json_line(&Envelope {
                error: Report {
                    code: self.code,
                    message: &self.sentence,
                    retry_after_ms: self.retry_after_ms,
                    details: &self.details,
                },
            });
        }
        // A list of problems has lines of its own.
        let sentence = match self.details.len() {
            0 => one_line(&self.sentence),
            _ => lines(&self.sentence),
        };
        let mut text = format!("confab: {sentence}");
        // A list says itself what it is about.
        if self.exit == 1 && self.details.is_empty() {
            text.push_str(&format!(" ({})", self.code));
        }
        if let Some(ms) = self.retry_after_ms {
            text.push_str(&format!("; try again in {} s", ms.div_ceil(1_000)));
        }
        text
    }

    /// Tells it on standard error; answers with the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if !self.quiet {
            // Where to complain when standard error is closed?
            let _ = writeln!(std::io::stderr().lock(), "{}", self.text(json));
        }
        ExitCode::from(self.exit)
    }
}

impl From<WireError> for Failure {
    fn from(error: WireError) -> Self {
        Self {
            retry_after_ms: error.retry_after_ms,
            ..Self::new(error.code().name(), error.message.into_string())
        }
    }
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Refused(error) => error.into(),
            RequestError::Closed(reason) => reason.into(),
            RequestError::Disconnected => Self::new(
                "disconnected",
                "the connection was lost before the answer came: look whether it was done, then try again",
            ),
            RequestError::TimedOut { sent: true } => Self::new(
                "timed_out",
                "the server did not answer in time: look whether it was done, then try again",
            ),
            RequestError::TimedOut { sent: false } => Self::new(
                "timed_out",
                "the server could not be reached in time, nothing was done: try again",
            ),
            other => Self::new("client", other.to_string()),
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Refused(error) => error.into(),
            SendError::Closed(reason) => reason.into(),
            SendError::Expired { maybe_posted: true } => Self::new(
                "timed_out",
                "the server did not acknowledge the message in time: look whether it stands in the channel before sending it again",
            ),
            SendError::Expired {
                maybe_posted: false,
            } => Self::new(
                "timed_out",
                "the server could not be reached in time, the message was not sent: try again",
            ),
            SendError::TooLarge { .. } => Self::new("too_large", error.to_string()),
            other => Self::new("client", other.to_string()),
        }
    }
}

impl From<CloseReason> for Failure {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Refused(error) => error.into(),
            CloseReason::Handshake(fault) => Self::new(
                "handshake",
                format!(
                    "{fault}: check the address, and that --ca names the authority that signed the server's certificate"
                ),
            ),
            other => Self::new("closed", other.to_string()),
        }
    }
}

impl From<DownReason> for Failure {
    fn from(reason: DownReason) -> Self {
        match reason {
            DownReason::Server(error) => error.into(),
            DownReason::Handshake(fault) => CloseReason::Handshake(fault).into(),
            other => Self::new("unreachable", other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Failure;
    use confab_client::RequestError;
    use confab_protocol::{ErrorCode, WireError};

    /// Who reads it at night finds one sentence, the wire's code and when to
    /// come back; a program finds the same as fields.
    #[test]
    fn a_refusal_keeps_the_code_of_the_wire() {
        let wire = WireError::new(ErrorCode::RateLimited, "too many messages").retry_after(1_500);
        let failure = Failure::from(RequestError::Refused(wire));
        assert_eq!(
            failure.text(false),
            "confab: too many messages (rate_limited); try again in 2 s"
        );
        assert_eq!(
            failure.text(true),
            r#"{"error":{"code":"rate_limited","message":"too many messages","retryAfterMs":1500}}"#
        );
        assert_eq!(failure.exit(), 1);
    }

    /// A server must not be able to write to the terminal what it likes.
    #[test]
    fn sentences_are_one_clean_line() {
        let failure = Failure::new("x", "a\x1b[2Jb\nc");
        let text = failure.text(false);
        assert!(!text.contains('\x1b') && !text.contains('\n'), "{text}");
    }

    #[test]
    fn wrong_usage_exits_with_2() {
        let failure = Failure::usage("say which user").of("token");
        assert_eq!(failure.exit(), 2);
        assert_eq!(failure.text(false), "confab: token: say which user");
    }
}
