//! The path between clients and a broker: a UDP relay that can be cut.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

/// More than a UDP packet over loopback.
const PACKET_BYTES_MAX: usize = 64 << 10;

/// Relays packets until it is cut, and again once it is mended. Each client
/// socket has a socket of its own towards the broker, as behind a NAT.
pub struct Path {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
    /// Ends with the path.
    _relaying: JoinSet<()>,
}

impl Path {
    /// A path to `broker`.
    pub async fn to(broker: SocketAddr) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = socket.local_addr().unwrap();
        let is_cut = Arc::new(AtomicBool::new(false));
        let mut relaying = JoinSet::new();
        relaying.spawn(relay(Arc::new(socket), broker, Arc::clone(&is_cut)));
        Self {
            address,
            is_cut,
            _relaying: relaying,
        }
    }

    /// Where clients connect instead of at the broker.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on every packet is lost, both ways, without a word.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    /// Packets go through again.
    pub fn mend(&self) {
        self.is_cut.store(false, Ordering::SeqCst);
    }
}

async fn relay(socket: Arc<UdpSocket>, broker: SocketAddr, is_cut: Arc<AtomicBool>) {
    let mut onward: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut answers = JoinSet::new();
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        // An error is a packet that was refused earlier: such are lost.
        let Ok((bytes, client)) = socket.recv_from(&mut packet).await else {
            continue;
        };
        if is_cut.load(Ordering::SeqCst) {
            continue;
        }
        let own = match onward.get(&client) {
            Some(own) => Arc::clone(own),
            None => {
                let own = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                own.connect(broker).await.unwrap();
                let own = Arc::new(own);
                onward.insert(client, Arc::clone(&own));
                let (to, socket) = (Arc::clone(&own), Arc::clone(&socket));
                answers.spawn(back(to, socket, client, Arc::clone(&is_cut)));
                own
            }
        };
        let _ = own.send(&packet[..bytes]).await;
    }
}

async fn back(
    own: Arc<UdpSocket>,
    socket: Arc<UdpSocket>,
    client: SocketAddr,
    is_cut: Arc<AtomicBool>,
) {
    let mut packet = vec![0; PACKET_BYTES_MAX];
    loop {
        let Ok(bytes) = own.recv(&mut packet).await else {
            // Nobody listens at the broker's port just now.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            continue;
        };
        if !is_cut.load(Ordering::SeqCst) {
            let _ = socket.send_to(&packet[..bytes], client).await;
        }
    }
}
