//! When a session's token runs out.
//!
//! The token names a time of day; a session counts it down on the monotonic
//! clock, so that setting the node's clock ends no session.

use std::time::Duration;

use tokio::time::Instant;

/// What is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Tell the client that its token is about to expire.
    Tell,
    /// The token has expired: end the session.
    End,
}

/// A token's last moments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expiry {
    expires_at_ms: u64,
    tell_at: Instant,
    end_at: Instant,
    told: bool,
}

impl Expiry {
    /// The expiry of a token, `warning` before it and `leeway` after it.
    pub(super) fn new(
        expires_at_ms: u64,
        now_ms: u64,
        warning: Duration,
        leeway: Duration,
    ) -> Self {
        let left = Duration::from_millis(expires_at_ms.saturating_sub(now_ms));
        let now = Instant::now();
        Self {
            expires_at_ms,
            tell_at: now + left.saturating_sub(warning),
            end_at: now + left + leeway,
            told: false,
        }
    }

    /// `exp`, in Unix milliseconds.
    pub(super) fn expires_at_ms(&self) -> u64 {
        self.expires_at_ms
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Instant {
        if self.told { self.end_at } else { self.tell_at }
    }

    /// What is due now; `Tell` once.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        if now >= self.end_at {
            Due::End
        } else if !self.told && now >= self.tell_at {
            self.told = true;
            Due::Tell
        } else {
            Due::Nothing
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Due, Expiry};
    use std::time::Duration;
    use tokio::time::{Instant, advance};

    const WARNING: Duration = Duration::from_secs(30);
    const LEEWAY: Duration = Duration::from_secs(5);

    fn expiry(left_s: u64) -> Expiry {
        Expiry::new(1_000_000 + left_s * 1_000, 1_000_000, WARNING, LEEWAY)
    }

    /// The client is told once, thirty seconds ahead, and has the leeway.
    #[tokio::test(start_paused = true)]
    async fn tells_once_and_then_ends() {
        let mut expiry = expiry(100);
        assert_eq!(expiry.next() - Instant::now(), Duration::from_secs(70));
        assert_eq!(expiry.due(Instant::now()), Due::Nothing);
        advance(Duration::from_secs(70)).await;
        assert_eq!(expiry.due(Instant::now()), Due::Tell);
        assert_eq!(expiry.due(Instant::now()), Due::Nothing);
        assert_eq!(expiry.next() - Instant::now(), Duration::from_secs(35));
        advance(Duration::from_millis(34_999)).await;
        assert_eq!(expiry.due(Instant::now()), Due::Nothing);
        advance(Duration::from_millis(1)).await;
        assert_eq!(expiry.due(Instant::now()), Due::End);
    }

    /// A token that has less left than the warning is told of at once.
    #[tokio::test(start_paused = true)]
    async fn a_short_token_is_told_of_at_once() {
        let mut expiry = expiry(10);
        assert_eq!(expiry.due(Instant::now()), Due::Tell);
        assert_eq!(expiry.expires_at_ms(), 1_010_000);
    }

    /// A token for ten thousand years overflows nothing.
    #[tokio::test(start_paused = true)]
    async fn a_token_without_an_end_is_fine() {
        let mut expiry = Expiry::new(253_402_300_799_000, 0, WARNING, LEEWAY);
        assert_eq!(expiry.due(Instant::now()), Due::Nothing);
    }
}
