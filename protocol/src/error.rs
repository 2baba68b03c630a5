//! Error codes: numbered once, never reused.
//!
//! One list serves every door: a QUIC close code, an error answer, an HTTP
//! problem and a Socket.IO error carry the same code.

use crate::codec::{Decode, Encode, Text};
use serde::Serialize;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// What went wrong, as a number that never changes its meaning.
        #[derive(Clone, Copy, Debug, Eq, PartialEq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
            /// A code that this build does not know; a newer peer sent it.
            Unknown(u16),
        }

        impl ErrorCode {
            /// Every code that this build knows.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The number on the wire.
            #[must_use]
            pub const fn number(self) -> u16 {
                match self {
                    $(Self::$name => $number,)*
                    Self::Unknown(number) => number,
                }
            }

            /// The code of a number on the wire.
            #[must_use]
            pub const fn from_number(number: u16) -> Self {
                match number {
                    $($number => Self::$name,)*
                    other => Self::Unknown(other),
                }
            }

            /// The code's name in JSON and logs.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                    Self::Unknown(_) => "unknown",
                }
            }
        }
    };
}

codes! {
    /// The bytes are not a frame, or its body is not what its kind says.
    MalformedFrame = 100, "malformed_frame";
    /// The frame is longer than the limit.
    FrameTooLarge = 101, "frame_too_large";
    /// The server does not know this kind of request.
    UnknownKind = 102, "unknown_kind";
    /// No protocol version is spoken by both sides.
    UnsupportedVersion = 103, "unsupported_version";
    /// The connection already has a session.
    UnexpectedHello = 104, "unexpected_hello";
    /// The first frame of a connection must be `Hello`.
    HelloRequired = 105, "hello_required";
    /// The connection did not authenticate in time.
    HelloTimeout = 106, "hello_timeout";

    /// The token is not one that this server accepts.
    TokenInvalid = 200, "token_invalid";
    /// The token's `exp` has passed: get a new one and connect again.
    TokenExpired = 201, "token_expired";
    /// The token, or every token of its user, was revoked.
    TokenRevoked = 202, "token_revoked";
    /// The user is deactivated.
    UserDeactivated = 203, "user_deactivated";

    /// The user may not do this.
    Forbidden = 300, "forbidden";
    /// There is no such thing, or the user may not know of it.
    NotFound = 301, "not_found";

    /// A field has a value that is not allowed; the message says which and why.
    InvalidArgument = 400, "invalid_argument";
    /// A field is longer, or a list has more items, than its limit.
    TooLarge = 401, "too_large";
    /// The thing has changed since the version that the request names.
    Conflict = 402, "conflict";
    /// The message is deleted.
    MessageDeleted = 403, "message_deleted";
    /// The channel is archived: nothing can be added.
    ChannelArchived = 404, "channel_archived";
    /// The time in which a message may be edited is over.
    EditWindowOver = 405, "edit_window_over";

    /// Too many requests: wait for `retry_after_ms`.
    RateLimited = 500, "rate_limited";
    /// The server is at a limit of its own: wait for `retry_after_ms`.
    Overloaded = 501, "overloaded";
    /// Too many connections or sessions.
    TooManySessions = 502, "too_many_sessions";
    /// The connection took nothing for too long and was closed.
    SlowConsumer = 503, "slow_consumer";

    /// The group has no leader just now: retry.
    NoQuorum = 600, "no_quorum";
    /// The server is going away: connect again, elsewhere if possible.
    ShuttingDown = 601, "shutting_down";
    /// The server cannot store more.
    StorageFull = 602, "storage_full";
    /// A fault of the server; its log has more.
    Internal = 603, "internal";
}

impl ErrorCode {
    /// Whether the same request may succeed later without being changed.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::RateLimited
                | Self::Overloaded
                | Self::TooManySessions
                | Self::SlowConsumer
                | Self::NoQuorum
                | Self::ShuttingDown
                | Self::StorageFull
                | Self::HelloTimeout
        )
    }

    /// Whether a client must not connect again with the same token.
    #[must_use]
    pub const fn needs_new_token(self) -> bool {
        matches!(
            self,
            Self::TokenInvalid | Self::TokenExpired | Self::TokenRevoked | Self::UserDeactivated
        )
    }
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(number) => write!(formatter, "unknown({number})"),
            known => formatter.write_str(known.name()),
        }
    }
}

/// An error as it travels: code, a sentence that says what to do, when to retry.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, thiserror::Error)]
#[error("{message} ({})", self.code())]
pub struct WireError {
    /// The number of an [`ErrorCode`].
    code: u16,
    /// What is wrong and what to do about it, for a person.
    pub message: Text,
    /// How long to wait before the same request can succeed, in milliseconds.
    pub retry_after_ms: Option<u32>,
}

impl WireError {
    /// An error with no time to wait.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Text>) -> Self {
        Self {
            code: code.number(),
            message: message.into(),
            retry_after_ms: None,
        }
    }

    /// The same error, to be retried after `retry_after_ms`.
    #[must_use]
    pub fn retry_after(mut self, retry_after_ms: u32) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::from_number(self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    /// A number means one thing for ever: no two codes may share one.
    #[test]
    fn numbers_are_unique_and_survive_the_wire() {
        for (place, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(ErrorCode::from_number(code.number()), *code);
            for other in &ErrorCode::ALL[place + 1..] {
                assert_ne!(code.number(), other.number());
                assert_ne!(code.name(), other.name());
            }
        }
        assert_eq!(ErrorCode::from_number(9_999), ErrorCode::Unknown(9_999));
    }
}
