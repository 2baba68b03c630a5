//! How the connection stands.

use confab_client::{ClientEvent, DownReason};

/// The connection, as the user is told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum Link {
    /// Never connected yet.
    #[default]
    Connecting,
    Online,
    /// It was lost, or could not be made.
    Down {
        reason: String,
        /// When the next attempt is made, in Unix milliseconds.
        retry_at_ms: u64,
    },
    /// The server said that it will go.
    GoingAway,
}

impl Link {
    pub(crate) fn hear(&mut self, event: &ClientEvent, now_ms: u64) {
        match event {
            ClientEvent::Connected { .. } => *self = Self::Online,
            ClientEvent::Disconnected {
                reason,
                retry_in_ms,
            } => {
                let reason = match reason {
                    DownReason::Server(error) => error.message.to_string(),
                    reason => reason.to_string(),
                };
                *self = Self::Down {
                    reason: crate::sanitise::one_line(&reason),
                    retry_at_ms: now_ms.saturating_add(*retry_in_ms),
                };
            }
            ClientEvent::GoingAway { .. } => *self = Self::GoingAway,
            _ => {}
        }
    }

    pub(crate) fn is_online(&self) -> bool {
        *self == Self::Online
    }

    /// For the status line.
    pub(crate) fn text(&self, now_ms: u64) -> String {
        match self {
            Self::Connecting => "connecting…".to_owned(),
            Self::Online => "connected".to_owned(),
            Self::GoingAway => "the server restarts…".to_owned(),
            Self::Down {
                reason,
                retry_at_ms,
            } => match retry_at_ms.saturating_sub(now_ms).div_ceil(1_000) {
                0 => format!("not connected, trying now: {reason}"),
                seconds => format!("not connected, next try in {seconds} s: {reason}"),
            },
        }
    }
}
