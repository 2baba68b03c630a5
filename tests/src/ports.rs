//! Ports that stay a test's own while its broker is down.
//!
//! A port that the system picks is anybody's again once the process that had it
//! is killed, and the test's own clients take such ports all the time. So ports
//! are claimed below the range that systems pick from, by a lock on a file that
//! ends with its process.

use std::fs::{File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use rand::Rng;

/// Where ports are claimed; even numbers, the odd one after each goes with it.
const RANGE: std::ops::Range<u16> = 12_000..30_000;

/// Two ports that belong to this process for as long as it is kept.
pub struct Ports {
    first: u16,
    _claim: File,
}

impl Ports {
    /// Claims two that nobody uses.
    #[must_use]
    pub fn claim() -> Self {
        let directory = std::env::temp_dir().join("confab-test-ports");
        std::fs::create_dir_all(&directory).unwrap();
        for _ in 0..1_000 {
            let first = rand::rng().random_range(RANGE) & !1;
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(false);
            let claim = options.open(directory.join(first.to_string())).unwrap();
            if claim.try_lock().is_ok() && is_free(first) && is_free(first + 1) {
                return Self {
                    first,
                    _claim: claim,
                };
            }
        }
        panic!("no port is free in {RANGE:?}");
    }

    /// The first of the two.
    #[must_use]
    pub fn first(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.first).into()
    }

    /// The second of the two.
    #[must_use]
    pub fn second(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.first + 1).into()
    }
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}
