//! What becomes of a proposal that was not applied, in words for a client.

use confab_protocol::{ErrorCode, WireError};
use confab_replication::ProposeError;

/// Milliseconds that a client waits while a group finds its leader.
const ELECTION_RETRY_MS: u32 = 250;

/// The answer to a request whose proposal failed.
pub(super) fn wire_error(error: ProposeError<WireError>) -> WireError {
    match error {
        ProposeError::Refused(refusal) => refusal,
        ProposeError::NotLeader { .. } => WireError::new(
            ErrorCode::NoQuorum,
            "the channel's group has no leader on this node just now: try again",
        )
        .retry_after(ELECTION_RETRY_MS),
        ProposeError::Overloaded { retry_after_ms } => WireError::new(
            ErrorCode::Overloaded,
            "the server has too much to do: try again later",
        )
        .retry_after(u32::try_from(retry_after_ms).unwrap_or(u32::MAX)),
        ProposeError::Uncertain => WireError::new(
            ErrorCode::NoQuorum,
            "it is not known whether this was done: send it again with the same sequence",
        )
        .retry_after(ELECTION_RETRY_MS),
        ProposeError::Stopped => WireError::new(
            ErrorCode::ShuttingDown,
            "the server is shutting down: connect again",
        )
        .retry_after(1_000),
        ProposeError::Fatal => WireError::new(
            ErrorCode::Internal,
            "the server's storage has failed: its log says how",
        ),
    }
}

/// A committed command's reply that this version cannot read: never sent by itself.
pub(super) fn unreadable() -> WireError {
    WireError::new(ErrorCode::Internal, "a reply could not be read")
}
