//! Which connection attempts are accepted.
//!
//! A connection takes a [`Slot`] when it is accepted and keeps it until it is
//! gone. How many there may be is [`crate::limits`]' business; here it is seen
//! that forged addresses do not use the room up.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

use crate::limits::{ConnectionGuard, Connections, Full};

/// What to do with a connection attempt.
pub(super) enum Verdict {
    /// Accept it.
    Accept(Slot),
    /// Ask it to come again with proof of its address.
    Retry,
    /// Refuse it.
    Refuse(Full),
}

/// The counts, shared by all connections of a gateway.
pub(super) struct Admission {
    connections: Connections,
    retry_above: usize,
    open: AtomicUsize,
    handshaking: AtomicUsize,
    emptied: Notify,
}

/// A connection's place; dropping it gives it back.
pub(super) struct Slot {
    admission: Arc<Admission>,
    guard: ConnectionGuard,
    is_handshaking: bool,
}

impl Admission {
    /// Of more than `retry_above` unfinished handshakes, further ones must
    /// first show that their address is theirs.
    pub(super) fn new(connections: Connections, retry_above: usize) -> Arc<Self> {
        Arc::new(Self {
            connections,
            retry_above,
            open: AtomicUsize::new(0),
            handshaking: AtomicUsize::new(0),
            emptied: Notify::new(),
        })
    }

    /// Judges an attempt from `address`, which is `validated` when its sender
    /// has shown that it gets what is sent there.
    pub(super) fn judge(self: &Arc<Self>, address: IpAddr, validated: bool) -> Verdict {
        // Only the accept loop adds, so what is read here can only shrink.
        if !validated && self.handshaking.load(Ordering::Relaxed) >= self.retry_above {
            return Verdict::Retry;
        }
        match self.connections.open(address) {
            Ok(guard) => {
                self.open.fetch_add(1, Ordering::SeqCst);
                self.handshaking.fetch_add(1, Ordering::Relaxed);
                Verdict::Accept(Slot {
                    admission: Arc::clone(self),
                    guard,
                    is_handshaking: true,
                })
            }
            Err(full) => Verdict::Refuse(full),
        }
    }

    /// Connections of this gateway now.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Waits until no connection is left.
    pub(super) async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Slot {
    /// The handshake is done: the address is known to be the client's.
    pub(super) fn handshaken(&mut self) {
        if std::mem::take(&mut self.is_handshaking) {
            self.admission.handshaking.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The place among all connections, to be made a user's.
    pub(super) fn guard(&mut self) -> &mut ConnectionGuard {
        &mut self.guard
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.handshaken();
        if self.admission.open.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.admission.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Admission, Slot, Verdict};
    use crate::limits::{ConnectionConfig, Connections};
    use std::net::IpAddr;
    use std::sync::Arc;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn admission() -> Arc<Admission> {
        let config = ConnectionConfig {
            unauthenticated_max: 3,
            ..ConnectionConfig::default()
        };
        Admission::new(Connections::new(config), 2)
    }

    fn accept(admission: &Arc<Admission>) -> Slot {
        match admission.judge(ADDRESS, true) {
            Verdict::Accept(slot) => slot,
            Verdict::Retry | Verdict::Refuse(_) => panic!("there is room"),
        }
    }

    /// Under a flood of handshakes a forged address gets nothing but a Retry,
    /// and a client that has shown its address is still let in.
    #[test]
    fn many_unfinished_handshakes_ask_for_proof() {
        let admission = admission();
        let mut one = accept(&admission);
        let _two = accept(&admission);
        assert!(matches!(admission.judge(ADDRESS, false), Verdict::Retry));
        one.handshaken();
        one.handshaken();
        let third = admission.judge(ADDRESS, false);
        assert!(matches!(third, Verdict::Accept(_)));
        assert!(matches!(admission.judge(ADDRESS, true), Verdict::Refuse(_)));
        drop(third);
        assert_eq!(admission.open(), 2);
        assert!(matches!(admission.judge(ADDRESS, true), Verdict::Accept(_)));
    }

    #[tokio::test]
    async fn emptied_waits_for_the_last_connection() {
        let admission = admission();
        let slot = accept(&admission);
        let waiting = tokio::spawn({
            let admission = Arc::clone(&admission);
            async move { admission.emptied().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(slot);
        waiting.await.unwrap();
    }
}
