//! What can go wrong, split by what the application does about it.

use confab_protocol::WireError;

/// Why the client has ended, for good. Make a new one to go on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The application closed it.
    #[error("the application closed the client")]
    ByApplication,
    /// The server does not let this user, token, device or version in.
    #[error("the server refused the session: {0}")]
    Refused(WireError),
    /// The token provider said that there will be no further token.
    #[error("the token provider has no token")]
    NoToken,
    /// The first TLS handshake failed in a way that no retry mends.
    #[error("the TLS handshake failed: {0}")]
    Handshake(HandshakeFault),
}

/// Why a TLS handshake failed, by its alert.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeFault {
    /// The certificate is not signed by the given authority, is not for this
    /// server name, or is out of date.
    #[error("the server's certificate is not trusted (alert {0})")]
    Certificate(u8),
    /// The server does not speak `confab/1`.
    #[error("the server does not speak confab/1")]
    Protocol,
    /// Another alert.
    #[error("TLS alert {0}")]
    Other(u8),
}

impl HandshakeFault {
    /// The fault that a TLS alert number stands for (RFC 8446, section 6).
    #[must_use]
    pub const fn from_alert(alert: u8) -> Self {
        match alert {
            42..=46 | 48 | 51 | 113 => Self::Certificate(alert),
            120 => Self::Protocol,
            other => Self::Other(other),
        }
    }
}

/// Why a connection ended or was not made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DownReason {
    /// Unreachable, timed out or reset: the network, or a server that died.
    #[error("the connection was lost")]
    Lost,
    /// The server closed it and said why.
    #[error("the server closed the connection: {0}")]
    Server(WireError),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed: {0}")]
    Handshake(HandshakeFault),
    /// The server sent what is not the protocol.
    #[error("the server broke the protocol")]
    BrokenProtocol,
}

/// Why a request has no answer.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The server said no; the error says what to do.
    #[error(transparent)]
    Refused(WireError),
    /// The connection was lost after the request was sent: it may have been
    /// carried out or not. Look, or ask again where that does no harm.
    #[error("the connection was lost before the answer came")]
    Disconnected,
    /// No answer in time. When `sent`, it may have been carried out.
    #[error("no answer came in time")]
    TimedOut {
        /// Whether the request had left the client.
        sent: bool,
    },
    /// Too many requests wait already: ask again when some are answered.
    #[error("too many requests wait for an answer")]
    QueueFull,
    /// The request is larger than the server takes: make it smaller.
    #[error("the request has {bytes} bytes, {bytes_max} are allowed")]
    TooLarge {
        /// Its frame's size.
        bytes: usize,
        /// The largest allowed.
        bytes_max: usize,
    },
    /// The server answered with what does not belong to the request.
    #[error("the answer does not belong to the request")]
    WrongAnswer,
    /// The client has ended.
    #[error("the client is closed: {0}")]
    Closed(CloseReason),
}

impl RequestError {
    /// Whether the same request may succeed later without being changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(error) => error.code().is_retryable(),
            Self::Disconnected | Self::TimedOut { .. } | Self::QueueFull => true,
            Self::TooLarge { .. } | Self::WrongAnswer | Self::Closed(_) => false,
        }
    }
}

/// Why a message was not posted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The server said no: the message, as it is, cannot be posted.
    #[error(transparent)]
    Refused(WireError),
    /// The queue of unacknowledged messages is full: send again when some are
    /// acknowledged.
    #[error("too many messages wait to be acknowledged")]
    QueueFull,
    /// It could not be posted in time and was given up.
    #[error("the message was not acknowledged in time")]
    Expired {
        /// Whether it was sent at least once: then it may stand in the channel.
        /// Sending it again with the same `client_message_id` is safe.
        maybe_posted: bool,
    },
    /// The message is larger than the server takes.
    #[error("the message has {bytes} bytes, {bytes_max} are allowed")]
    TooLarge {
        /// Its frame's size.
        bytes: usize,
        /// The largest allowed.
        bytes_max: usize,
    },
    /// The client ended first; what waited is in the state it saved.
    #[error("the client is closed: {0}")]
    Closed(CloseReason),
}
