//! Which sessions are open on this node, by user.
//!
//! Gateways register sessions through `Session::open`; the directory's state
//! machine says here what was revoked, and the sessions concerned are told to
//! end. Not here: what a session does, and sessions on other nodes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use confab_protocol::{ErrorCode, UserId, WireError};
use parking_lot::Mutex;

use super::outbox::Outbox;

/// Locks among which users are spread.
const SHARDS: usize = 32;

/// By which a session's token is recognised when it is revoked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TokenMark {
    /// `jti`.
    pub token_id: Option<Box<str>>,
    /// `iat`, in Unix seconds.
    pub issued_at: Option<u64>,
}

struct Entry {
    session: u64,
    token: TokenMark,
    outbox: Outbox,
}

struct Inner {
    shards: [Mutex<HashMap<UserId, Vec<Entry>>>; SHARDS],
    hasher: RandomState,
    last_session: AtomicU64,
    sessions: AtomicUsize,
    draining: AtomicBool,
}

/// The cheap handle to the open sessions of this node.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

impl Default for Registry {
    fn default() -> Self {
        Self(Arc::new(Inner {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            last_session: AtomicU64::new(0),
            sessions: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
        }))
    }
}

/// A session's place in the registry; dropping it takes the session out.
pub struct Registration {
    registry: Registry,
    user: UserId,
    session: u64,
}

impl Registry {
    /// Adds a session.
    ///
    /// # Errors
    /// `ShuttingDown` once the node drains.
    pub fn register(
        &self,
        user: &UserId,
        token: TokenMark,
        outbox: Outbox,
    ) -> Result<Registration, WireError> {
        let mut shard = self.shard(user).lock();
        // Under the lock: who is in before the drain passes here is told.
        if self.is_draining() {
            return Err(WireError::new(
                ErrorCode::ShuttingDown,
                "the server is going away: connect to another",
            ));
        }
        let session = self.0.last_session.fetch_add(1, Ordering::Relaxed) + 1;
        shard.entry(user.clone()).or_default().push(Entry {
            session,
            token,
            outbox,
        });
        self.0.sessions.fetch_add(1, Ordering::Relaxed);
        Ok(Registration {
            registry: self.clone(),
            user: user.clone(),
            session,
        })
    }

    /// How many sessions are open.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.0.sessions.load(Ordering::Relaxed)
    }

    /// How many users have a session open.
    #[must_use]
    pub fn users(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    /// One token was revoked: ends the sessions that came with it.
    pub fn token_revoked(&self, token_id: &str) {
        for shard in &self.0.shards {
            for entry in shard.lock().values().flatten() {
                if entry.token.token_id.as_deref() == Some(token_id) {
                    entry.outbox.close(revoked());
                }
            }
        }
    }

    /// All tokens of `user` issued up to `issued_until`, in Unix seconds and
    /// inclusive, were revoked: ends the sessions that came with one. A token
    /// that does not say when it was issued counts as old.
    pub fn user_revoked(&self, user: &UserId, issued_until: u64) {
        self.close_where(user, &revoked(), |token| {
            token.issued_at.is_none_or(|at| at <= issued_until)
        });
    }

    /// The user was deactivated: ends all of its sessions.
    pub fn user_deactivated(&self, user: &UserId) {
        let reason = WireError::new(ErrorCode::UserDeactivated, "the user was deactivated");
        self.close_where(user, &reason, |_| true);
    }

    /// Tells every session to finish what it has begun and to end, and lets no
    /// further session in.
    pub fn drain(&self) {
        self.0.draining.store(true, Ordering::SeqCst);
        for shard in &self.0.shards {
            for entry in shard.lock().values().flatten() {
                entry.outbox.drain();
            }
        }
    }

    /// Whether no session is let in any more.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::SeqCst)
    }

    fn close_where(&self, user: &UserId, reason: &WireError, hit: impl Fn(&TokenMark) -> bool) {
        if let Some(entries) = self.shard(user).lock().get(user) {
            for entry in entries.iter().filter(|entry| hit(&entry.token)) {
                entry.outbox.close(reason.clone());
            }
        }
    }

    fn shard(&self, user: &UserId) -> &Mutex<HashMap<UserId, Vec<Entry>>> {
        // The remainder is below SHARDS, whatever the hash.
        &self.0.shards[self.0.hasher.hash_one(user) as usize % SHARDS]
    }
}

fn revoked() -> WireError {
    WireError::new(
        ErrorCode::TokenRevoked,
        "the token was revoked: get a new one",
    )
}

impl Registration {
    /// The session's number, unique on this node since it started.
    #[must_use]
    pub fn session(&self) -> u64 {
        self.session
    }

    /// The session goes on with another token.
    pub fn replace_token(&self, token: TokenMark) {
        let mut shard = self.registry.shard(&self.user).lock();
        if let Some(entry) = shard
            .get_mut(&self.user)
            .and_then(|entries| entries.iter_mut().find(|e| e.session == self.session))
        {
            entry.token = token;
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut shard = self.registry.shard(&self.user).lock();
        let removed = shard.get_mut(&self.user).and_then(|entries| {
            let place = entries.iter().position(|e| e.session == self.session)?;
            let entry = entries.swap_remove(place);
            entries.shrink_to_fit();
            Some((entry, entries.is_empty()))
        });
        if let Some((_, true)) = removed {
            shard.remove(&self.user);
        }
        drop(shard);
        // An outbox is let go after the lock: freeing its queue takes time.
        drop(removed);
        self.registry.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::outbox::{OutboxConfig, OutboxMeter, OutboxReader, outbox};
    use super::{Registration, Registry, TokenMark};
    use crate::ops::Metrics;
    use confab_protocol::{ErrorCode, UserId};

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn open(
        registry: &Registry,
        id: &str,
        token: TokenMark,
    ) -> Result<(Registration, super::Outbox, OutboxReader), ErrorCode> {
        let (outbox, reader) = outbox(OutboxConfig::default(), OutboxMeter::new(Metrics::new()));
        registry
            .register(&user(id), token, outbox.clone())
            .map(|registration| (registration, outbox, reader))
            .map_err(|error| error.code())
    }

    fn token(token_id: &str, issued_at: u64) -> TokenMark {
        TokenMark {
            token_id: Some(token_id.into()),
            issued_at: Some(issued_at),
        }
    }

    /// A revoked token ends the sessions that came with it and no others.
    #[test]
    fn a_revoked_token_ends_its_sessions_only() {
        let registry = Registry::default();
        let one = open(&registry, "ann", token("a", 1)).unwrap();
        let other = open(&registry, "ann", token("b", 2)).unwrap();
        let third = open(&registry, "bob", token("c", 1)).unwrap();
        registry.token_revoked("a");
        assert!(one.1.closing().is_some());
        assert!(other.1.closing().is_none());
        registry.user_revoked(&user("ann"), 1);
        assert!(other.1.closing().is_none());
        registry.user_revoked(&user("ann"), 2);
        assert!(other.1.closing().is_some());
        assert!(third.1.closing().is_none());
        registry.user_deactivated(&user("bob"));
        assert!(third.1.closing().is_some());
    }

    /// A session that refreshed its token outlives the old one.
    #[test]
    fn a_refreshed_token_is_what_counts() {
        let registry = Registry::default();
        let one = open(&registry, "ann", token("a", 1)).unwrap();
        one.0.replace_token(token("b", 9));
        registry.token_revoked("a");
        registry.user_revoked(&user("ann"), 8);
        assert!(one.1.closing().is_none());
        registry.token_revoked("b");
        assert!(one.1.closing().is_some());
    }

    /// No session slips in while the node goes away.
    #[test]
    fn a_draining_node_lets_nobody_in() {
        let registry = Registry::default();
        let _one = open(&registry, "ann", TokenMark::default()).unwrap();
        registry.drain();
        let late = open(&registry, "bob", TokenMark::default());
        assert_eq!(late.err(), Some(ErrorCode::ShuttingDown));
    }

    /// Sessions that ended leave nothing behind.
    #[test]
    fn ended_sessions_are_forgotten() {
        let registry = Registry::default();
        let one = open(&registry, "ann", TokenMark::default()).unwrap();
        let other = open(&registry, "ann", TokenMark::default()).unwrap();
        assert_ne!(one.0.session(), other.0.session());
        assert_eq!((registry.sessions(), registry.users()), (2, 1));
        drop(one);
        assert_eq!((registry.sessions(), registry.users()), (1, 1));
        drop(other);
        assert_eq!((registry.sessions(), registry.users()), (0, 0));
    }
}
