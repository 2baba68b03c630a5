//! How many connections there are: in all, not yet authenticated, per address
//! and per user. Guards count down by themselves.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use confab_protocol::{ErrorCode, UserId, WireError};
use parking_lot::Mutex;

use super::address_key;

/// Most connections of each sort.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionConfig {
    /// In all. Default 20,000; an idle one costs about 35 kB.
    pub total_max: usize,
    /// That have not authenticated. Default 1,024; each lives for the hello
    /// timeout at most. One address may have an eighth of them, but 64 in any
    /// case: who says nothing must not keep out those who would.
    pub unauthenticated_max: usize,
    /// From one address (IPv6: one /64). Default 2,000: an office behind one
    /// address must fit.
    pub per_address_max: usize,
    /// Of one user. Default 50.
    pub per_user_max: usize,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            total_max: 20_000,
            unauthenticated_max: 1_024,
            per_address_max: 2_000,
            per_user_max: 50,
        }
    }
}

impl ConnectionConfig {
    fn unauthenticated_per_address_max(&self) -> usize {
        (self.unauthenticated_max / 8).max(64)
    }
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Full {
    /// The node's.
    #[error("this server has as many connections as it may: try again later")]
    Total,
    /// The node's for those who have not authenticated.
    #[error("too many connections are being opened at once: try again in a moment")]
    Unauthenticated,
    /// The address's.
    #[error("too many connections come from this address: close some")]
    Address,
    /// The user's.
    #[error("this user has too many sessions: close some on other devices")]
    User,
}

impl Full {
    /// A short name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Unauthenticated => "unauthenticated",
            Self::Address => "address",
            Self::User => "user",
        }
    }
}

impl From<Full> for WireError {
    fn from(full: Full) -> Self {
        let (code, retry_after_ms) = match full {
            Full::Total => (ErrorCode::Overloaded, 5_000),
            Full::Unauthenticated => (ErrorCode::Overloaded, 1_000),
            Full::Address | Full::User => (ErrorCode::TooManySessions, 10_000),
        };
        Self::new(code, full.to_string()).retry_after(retry_after_ms)
    }
}

/// How many there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ConnectionCounts {
    /// In all.
    pub total: usize,
    /// That have not authenticated.
    pub unauthenticated: usize,
}

/// Counts connections. Cheap to clone.
#[derive(Clone)]
pub struct Connections {
    inner: Arc<Inner>,
}

struct Inner {
    config: ConnectionConfig,
    counted: Mutex<Counted>,
}

/// Invariant: the maps hold no 0, so they never hold more than `counts.total` keys.
#[derive(Default)]
struct Counted {
    counts: ConnectionCounts,
    addresses: HashMap<IpAddr, usize>,
    /// Those of `addresses` that have not authenticated.
    strangers: HashMap<IpAddr, usize>,
    users: HashMap<UserId, usize>,
}

impl Counted {
    /// One from this address is unknown no more, or gone.
    fn known(&mut self, address: &IpAddr) {
        self.counts.unauthenticated -= 1;
        take(&mut self.strangers, address);
    }
}

fn add<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: K, max: usize) -> bool {
    let count = counts.get(&key).copied().unwrap_or(0);
    if count >= max {
        return false;
    }
    counts.insert(key, count + 1);
    true
}

fn take<K: Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    match counts.get_mut(key) {
        Some(count) if *count > 1 => *count -= 1,
        _ => {
            counts.remove(key);
        }
    }
}

impl Connections {
    /// A counter at zero.
    #[must_use]
    pub fn new(config: ConnectionConfig) -> Self {
        Self {
            inner: Arc::new(Inner {
                config,
                counted: Mutex::default(),
            }),
        }
    }

    /// Counts a new connection, not yet authenticated, for as long as its guard lives.
    ///
    /// # Errors
    /// [`Full`] names the limit; nothing was counted.
    pub fn open(&self, address: IpAddr) -> Result<ConnectionGuard, Full> {
        let address = address_key(address);
        let config = &self.inner.config;
        let mut counted = self.inner.counted.lock();
        if counted.counts.total >= config.total_max {
            return Err(Full::Total);
        }
        if counted.counts.unauthenticated >= config.unauthenticated_max {
            return Err(Full::Unauthenticated);
        }
        let strangers = counted.strangers.get(&address).copied().unwrap_or(0);
        if strangers >= config.unauthenticated_per_address_max()
            || !add(&mut counted.addresses, address, config.per_address_max)
        {
            return Err(Full::Address);
        }
        counted.strangers.insert(address, strangers + 1);
        counted.counts.total += 1;
        counted.counts.unauthenticated += 1;
        Ok(ConnectionGuard {
            inner: Arc::clone(&self.inner),
            address,
            user: None,
        })
    }

    /// How many there are now.
    #[must_use]
    pub fn counts(&self) -> ConnectionCounts {
        self.inner.counted.lock().counts
    }

    /// How many a user has.
    #[must_use]
    pub fn of_user(&self, user: &UserId) -> usize {
        self.inner
            .counted
            .lock()
            .users
            .get(user)
            .copied()
            .unwrap_or(0)
    }
}

/// One counted connection.
pub struct ConnectionGuard {
    inner: Arc<Inner>,
    address: IpAddr,
    user: Option<UserId>,
}

impl ConnectionGuard {
    /// Counts the connection as the user's from now on.
    ///
    /// # Errors
    /// [`Full::User`]; the connection still counts as not authenticated.
    pub fn authenticate(&mut self, user: &UserId) -> Result<(), Full> {
        if self.user.as_ref() == Some(user) {
            return Ok(());
        }
        let mut counted = self.inner.counted.lock();
        if !add(
            &mut counted.users,
            user.clone(),
            self.inner.config.per_user_max,
        ) {
            return Err(Full::User);
        }
        match self.user.replace(user.clone()) {
            Some(before) => take(&mut counted.users, &before),
            None => counted.known(&self.address),
        }
        Ok(())
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let mut counted = self.inner.counted.lock();
        counted.counts.total -= 1;
        take(&mut counted.addresses, &self.address);
        match &self.user {
            Some(user) => take(&mut counted.users, user),
            None => counted.known(&self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn address(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    fn connections() -> Connections {
        Connections::new(ConnectionConfig {
            total_max: 6,
            unauthenticated_max: 4,
            per_address_max: 3,
            per_user_max: 2,
        })
    }

    fn authenticated(connections: &Connections, n: u8, user: &UserId) -> ConnectionGuard {
        let mut guard = connections.open(address(n)).unwrap();
        guard.authenticate(user).unwrap();
        guard
    }

    #[test]
    fn each_limit_is_named_and_given_back() {
        let connections = connections();
        let mut held: Vec<_> = (0..3)
            .map(|_| connections.open(address(1)).unwrap())
            .collect();
        assert_eq!(connections.open(address(1)).err(), Some(Full::Address));
        held.push(connections.open(address(2)).unwrap());
        assert_eq!(
            connections.open(address(3)).err(),
            Some(Full::Unauthenticated)
        );
        assert_eq!(
            connections.counts(),
            ConnectionCounts {
                total: 4,
                unauthenticated: 4
            }
        );
        drop(held);
        assert_eq!(connections.counts(), ConnectionCounts::default());
        assert!(connections.inner.counted.lock().addresses.is_empty());
    }

    #[test]
    fn a_user_has_so_many_sessions() {
        let connections = connections();
        let ann = UserId::new("ann").unwrap();
        let one = authenticated(&connections, 1, &ann);
        let _two = authenticated(&connections, 2, &ann);
        let mut three = connections.open(address(3)).unwrap();
        assert_eq!(three.authenticate(&ann), Err(Full::User));
        assert_eq!(connections.counts().unauthenticated, 1);
        assert_eq!(connections.of_user(&ann), 2);
        drop(one);
        three.authenticate(&ann).unwrap();
        three.authenticate(&ann).unwrap();
        assert_eq!(connections.of_user(&ann), 2, "twice is counted once");
        drop(three);
        assert_eq!(connections.of_user(&ann), 1);
    }

    /// Whoever opens connections and says nothing does not keep others out.
    #[test]
    fn one_address_does_not_take_every_place_at_the_door() {
        let connections = Connections::new(ConnectionConfig::default());
        let ann = UserId::new("ann").unwrap();
        let mut held: Vec<_> = (0..128)
            .map(|_| connections.open(address(1)).unwrap())
            .collect();
        assert_eq!(connections.open(address(1)).err(), Some(Full::Address));
        drop(connections.open(address(2)).unwrap());
        held[0].authenticate(&ann).unwrap();
        held.push(connections.open(address(1)).unwrap());
        assert_eq!(connections.open(address(1)).err(), Some(Full::Address));
        drop(held);
        assert!(connections.inner.counted.lock().strangers.is_empty());
    }

    #[test]
    fn the_node_has_so_many_connections() {
        let connections = connections();
        let users: Vec<UserId> = (0..3)
            .map(|n| UserId::new(&format!("u{n}")).unwrap())
            .collect();
        let held: Vec<_> = (0..6)
            .map(|n| authenticated(&connections, n, &users[usize::from(n) / 2]))
            .collect();
        assert_eq!(connections.open(address(9)).err(), Some(Full::Total));
        assert_eq!(WireError::from(Full::Total).code(), ErrorCode::Overloaded);
        assert_eq!(
            WireError::from(Full::User).code(),
            ErrorCode::TooManySessions
        );
        drop(held);
        assert!(connections.open(address(9)).is_ok());
    }
}
