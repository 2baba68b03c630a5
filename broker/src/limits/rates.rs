//! Token buckets, one for each user, channel, address and connection.
//!
//! governor's arithmetic (GCRA) over a store of our own that never holds more
//! than so many buckets: beyond them, newcomers share one.

use std::collections::hash_map::RandomState;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use confab_protocol::{ChannelId, ErrorCode, UserId, WireError};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use tokio_util::sync::CancellationToken;

use super::address_key;

/// How often buckets that are full again are thrown away.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// So many a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// Sustained, a second.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

impl Rate {
    /// A rate; 0 counts as 1.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        const fn at_least_one(number: u32) -> NonZeroU32 {
            match NonZeroU32::new(number) {
                Some(number) => number,
                None => NonZeroU32::MIN,
            }
        }
        Self {
            per_second: at_least_one(per_second),
            burst: at_least_one(burst),
        }
    }

    fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }
}

/// How fast what may arrive.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RateConfig {
    /// Messages of one user. Default 10 a second, 20 at once.
    pub user_messages: Rate,
    /// Messages into one channel. Default 50 a second, 100 at once.
    pub channel_messages: Rate,
    /// Logins from one address (IPv6: one /64). Default 5 a second, 20 at once.
    pub address_logins: Rate,
    /// Requests of any kind on one connection. Default 100 a second, 200 at once.
    pub connection_requests: Rate,
    /// Most buckets of each sort, about 100 bytes each. Default 100,000. Users,
    /// channels or addresses beyond them share one bucket.
    pub buckets_max: usize,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self {
            user_messages: Rate::new(10, 20),
            channel_messages: Rate::new(50, 100),
            address_logins: Rate::new(5, 20),
            connection_requests: Rate::new(100, 200),
            buckets_max: 100_000,
        }
    }
}

/// What a limit is counted by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Hash)]
pub enum Scope {
    /// Messages of a user.
    User,
    /// Messages into a channel.
    Channel,
    /// Logins from an address.
    Address,
    /// Requests on a connection.
    Connection,
}

impl Scope {
    /// A short name for metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Channel => "channel",
            Self::Address => "address",
            Self::Connection => "connection",
        }
    }
}

/// Too fast: the same request can succeed after `retry_after_ms`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too fast for the limit of this {}: wait {retry_after_ms} ms and send it again", .scope.name())]
pub struct Limited {
    /// Whose limit it is.
    pub scope: Scope,
    /// How long to wait, at least 1 ms.
    pub retry_after_ms: u32,
}

impl From<Limited> for WireError {
    fn from(limited: Limited) -> Self {
        Self::new(ErrorCode::RateLimited, limited.to_string()).retry_after(limited.retry_after_ms)
    }
}

/// Where time comes from: the system, or a test that moves it by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    Monotonic(Instant),
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The system's monotonic clock.
    #[must_use]
    pub fn monotonic() -> Self {
        Self(Source::Monotonic(Instant::now()))
    }

    /// A clock that stands still until it is moved with [`Clock::advance`]; its
    /// clones move with it.
    #[must_use]
    pub fn manual() -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(0))))
    }

    /// Moves a manual clock; the system's clock moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(nanos(by), Ordering::Relaxed);
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::monotonic()
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl governor::clock::Clock for Clock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        match &self.0 {
            Source::Monotonic(start) => nanos(start.elapsed()).into(),
            Source::Manual(now) => now.load(Ordering::Relaxed).into(),
        }
    }
}

/// Buckets by key, at most `buckets_max` of them.
struct BoundedStore<K: Hash + Eq + Clone> {
    buckets: DashMapStateStore<K, RandomState>,
    /// What all keys share that found no room.
    shared: InMemoryState,
    buckets_max: usize,
}

impl<K: Hash + Eq + Clone> StateStore for BoundedStore<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        // Two newcomers at once may exceed the limit by one each: it bounds
        // memory, nobody counts on it.
        if self.buckets.contains_key(key) || self.buckets.len() < self.buckets_max {
            self.buckets.measure_and_replace(key, f)
        } else {
            self.shared.measure_and_replace(&NotKeyed::NonKey, f)
        }
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for BoundedStore<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.buckets.retain_recent(drop_below);
    }

    fn len(&self) -> usize {
        self.buckets.len()
    }

    fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}

/// One limiter over many keys.
struct Keyed<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, BoundedStore<K>, Clock, NoOpMiddleware<Nanos>>,
    scope: Scope,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    fn new(scope: Scope, rate: Rate, buckets_max: usize, clock: Clock) -> Self {
        let store = BoundedStore {
            buckets: DashMapStateStore::default(),
            shared: InMemoryState::default(),
            buckets_max,
        };
        Self {
            limiter: RateLimiter::new(rate.quota(), store, clock),
            scope,
        }
    }

    fn check(&self, key: &K) -> Result<(), Limited> {
        self.limiter
            .check_key(key)
            .map_err(|not_until| limited(self.scope, not_until, self.limiter.clock()))
    }
}

fn limited(scope: Scope, not_until: governor::NotUntil<Nanos>, clock: &Clock) -> Limited {
    let wait = not_until.wait_time_from(governor::clock::Clock::now(clock));
    let wait_ms = wait.as_nanos().div_ceil(1_000_000).max(1);
    Limited {
        scope,
        retry_after_ms: u32::try_from(wait_ms).unwrap_or(u32::MAX),
    }
}

/// The rate limits of a node. Cheap to clone.
#[derive(Clone)]
pub struct RateLimits {
    inner: Arc<Inner>,
}

struct Inner {
    users: Keyed<UserId>,
    channels: Keyed<ChannelId>,
    addresses: Keyed<IpAddr>,
    connection: Quota,
    clock: Clock,
}

impl RateLimits {
    /// Limits on the system's time, or on that of a test.
    #[must_use]
    pub fn new(config: &RateConfig, clock: Clock) -> Self {
        let max = config.buckets_max;
        Self {
            inner: Arc::new(Inner {
                users: Keyed::new(Scope::User, config.user_messages, max, clock.clone()),
                channels: Keyed::new(Scope::Channel, config.channel_messages, max, clock.clone()),
                addresses: Keyed::new(Scope::Address, config.address_logins, max, clock.clone()),
                connection: config.connection_requests.quota(),
                clock,
            }),
        }
    }

    /// Counts a message of `user` into `channel`. The user's limit comes first,
    /// so that whoever is over it takes nothing from the channel.
    ///
    /// # Errors
    /// [`Limited`] says how long to wait.
    pub fn message(&self, user: &UserId, channel: &ChannelId) -> Result<(), Limited> {
        self.inner.users.check(user)?;
        self.inner.channels.check(channel)
    }

    /// Counts another write of `user`: an edit, a reaction, a new group, or a
    /// message into a channel that it is not in, whose members are not to wait
    /// for strangers.
    ///
    /// # Errors
    /// [`Limited`] says how long to wait.
    pub fn other_write(&self, user: &UserId) -> Result<(), Limited> {
        self.inner.users.check(user)
    }

    /// Counts a login from `address`.
    ///
    /// # Errors
    /// [`Limited`] says how long to wait.
    pub fn login(&self, address: IpAddr) -> Result<(), Limited> {
        self.inner.addresses.check(&address_key(address))
    }

    /// A bucket for the requests of a new connection.
    #[must_use]
    pub fn connection(&self) -> ConnectionRate {
        ConnectionRate {
            limiter: RateLimiter::new(
                self.inner.connection,
                InMemoryState::default(),
                self.inner.clock.clone(),
            ),
        }
    }

    /// How many buckets of users, channels and addresses are held.
    #[must_use]
    pub fn buckets(&self) -> [usize; 3] {
        let inner = &self.inner;
        [
            inner.users.limiter.len(),
            inner.channels.limiter.len(),
            inner.addresses.limiter.len(),
        ]
    }

    /// Throws away the buckets that are full again.
    pub fn sweep(&self) {
        self.inner.users.limiter.retain_recent();
        self.inner.channels.limiter.retain_recent();
        self.inner.addresses.limiter.retain_recent();
    }

    /// Sweeps every ten seconds until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => self.sweep(),
            }
        }
    }
}

/// The bucket of one connection; dropped with it.
pub struct ConnectionRate {
    limiter: RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Nanos>>,
}

impl ConnectionRate {
    /// Counts a request.
    ///
    /// # Errors
    /// [`Limited`] says how long to wait.
    pub fn request(&self) -> Result<(), Limited> {
        self.limiter
            .check()
            .map_err(|not_until| limited(Scope::Connection, not_until, self.limiter.clock()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn user(id: &str) -> UserId {
        UserId::new(id).unwrap()
    }

    fn limits(config: RateConfig) -> (RateLimits, Clock) {
        let clock = Clock::manual();
        (RateLimits::new(&config, clock.clone()), clock)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let (limits, clock) = limits(RateConfig::default());
        let ann = user("ann");
        let channel = ChannelId::general();
        for _ in 0..20 {
            limits.message(&ann, &channel).unwrap();
        }
        let limited = limits.message(&ann, &channel).unwrap_err();
        assert_eq!((limited.scope, limited.retry_after_ms), (Scope::User, 100));
        assert!(limits.message(&user("bob"), &channel).is_ok());
        clock.advance(Duration::from_millis(99));
        assert_eq!(
            limits.message(&ann, &channel).unwrap_err().retry_after_ms,
            1
        );
        clock.advance(Duration::from_millis(1));
        assert!(
            limits.message(&ann, &channel).is_ok(),
            "after the wait that was told"
        );
        assert!(limits.message(&ann, &channel).is_err());
    }

    /// The answer over the limit carries the time to wait.
    #[test]
    fn the_answer_says_when_to_retry() {
        let limited = Limited {
            scope: Scope::User,
            retry_after_ms: 70,
        };
        let wire = WireError::from(limited);
        assert_eq!(wire.code(), ErrorCode::RateLimited);
        assert_eq!(wire.retry_after_ms, Some(70));
    }

    #[test]
    fn a_busy_channel_limits_all_its_users_together() {
        let (limits, _) = limits(RateConfig::default());
        let general = ChannelId::general();
        let passed = (0..200)
            .filter(|n| limits.message(&user(&format!("u{n}")), &general).is_ok())
            .count();
        assert_eq!(passed, 100);
        let other = ChannelId::new("dept-sales").unwrap();
        assert!(limits.message(&user("u0"), &other).is_ok());
    }

    /// A host may pick any of 2^64 addresses of its IPv6 network.
    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (limits, _) = limits(RateConfig::default());
        let passed = (0..100)
            .filter(|n| {
                limits
                    .login(format!("2001:db8::{n}").parse().unwrap())
                    .is_ok()
            })
            .count();
        assert_eq!(passed, 20);
        assert!(limits.login("2001:db8:0:1::1".parse().unwrap()).is_ok());
        for _ in 0..20 {
            limits.login("192.0.2.1".parse().unwrap()).unwrap();
        }
        assert!(limits.login("::ffff:192.0.2.1".parse().unwrap()).is_err());
    }

    #[test]
    fn each_connection_has_its_own_bucket() {
        let (limits, _) = limits(RateConfig::default());
        let one = limits.connection();
        for _ in 0..200 {
            one.request().unwrap();
        }
        assert_eq!(one.request().unwrap_err().scope, Scope::Connection);
        assert!(limits.connection().request().is_ok());
    }

    /// A million names cost no more memory than the limit, and do not get past
    /// the rate either.
    #[test]
    fn buckets_are_bounded_and_swept() {
        let (limits, clock) = limits(RateConfig {
            buckets_max: 1_000,
            channel_messages: Rate::new(1_000_000, 1_000_000),
            ..RateConfig::default()
        });
        let channel = ChannelId::general();
        let passed = (0..5_000)
            .filter(|n| limits.message(&user(&format!("u{n}")), &channel).is_ok())
            .count();
        assert_eq!(limits.buckets()[0], 1_000);
        assert_eq!(passed, 1_020, "those beyond the limit share one bucket");
        assert!(
            limits.message(&user("u1"), &channel).is_ok(),
            "who has one keeps it"
        );
        clock.advance(Duration::from_secs(60));
        limits.sweep();
        assert_eq!(limits.buckets(), [0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_sweeper_stops_at_shutdown() {
        let (limits, clock) = limits(RateConfig::default());
        limits.login("192.0.2.1".parse().unwrap()).unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(limits.clone().run(shutdown.clone()));
        clock.advance(Duration::from_secs(60));
        tokio::time::sleep(Duration::from_secs(11)).await;
        assert_eq!(limits.buckets()[2], 0);
        shutdown.cancel();
        running.await.unwrap();
    }
}
