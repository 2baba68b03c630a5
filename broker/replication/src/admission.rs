//! Who decides what may be appended.

use bytes::Bytes;

/// Decides whether a request may be appended, and turns it into a command.
///
/// Called by the leader's one ordering task, in the order of the log, and only
/// after everything that earlier leaders committed has been applied here: what
/// it checks against includes the past, and nothing comes between a check and
/// its append.
pub trait Admission: Send + 'static {
    /// What callers propose.
    type Request: Send + 'static;
    /// Why a request may not be appended.
    type Refusal: Send + 'static;

    /// The command for `request`, to be appended next.
    ///
    /// # Errors
    /// The refusal, which goes back to the caller; nothing is appended.
    fn admit(&mut self, request: Self::Request) -> Result<Bytes, Self::Refusal>;

    /// Called before the next [`admit`](Self::admit) when commands that were
    /// admitted may not have been appended after all, since leadership was lost
    /// or won: forget whatever was assumed of commands that are not applied yet.
    fn forget_unapplied(&mut self) {}
}
