//! Limits on what arrives: how fast, and on how many connections.
//!
//! Gateways ask [`RateLimits`] before they pass a request on, and hold a
//! [`ConnectionGuard`] for each connection. Both keep bounded memory, whoever
//! asks. Sizes of frames and queues are not here: each module bounds its own.

mod connections;
mod rates;

pub use connections::{ConnectionConfig, ConnectionCounts, ConnectionGuard, Connections, Full};
pub use rates::{Clock, ConnectionRate, Limited, Rate, RateConfig, RateLimits, Scope};

use std::net::{IpAddr, Ipv6Addr};

/// What counts as one address: an IPv4 address, or the /64 network that a host
/// on IPv6 can choose its address from at will.
fn address_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
    }
}
