//! Clients that send all at once, and know what was acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use confab_client::{Client, Sending};
use confab_protocol::{ChannelId, Offset};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinHandle;

use crate::within;

/// What one sender may have on its way at once.
const IN_FLIGHT: usize = 8;

/// Where a message was acknowledged, by its content.
pub type Acknowledged = BTreeMap<String, (ChannelId, Offset)>;

/// Senders at work.
pub struct Senders {
    acknowledged: Arc<Mutex<Acknowledged>>,
    stop: Arc<AtomicBool>,
    sending: Vec<JoinHandle<()>>,
}

impl Senders {
    /// Has each client send into channels drawn at random, until it is stopped.
    /// Contents are the client's name and a number that grows.
    pub fn start<'a>(
        clients: impl IntoIterator<Item = (&'a str, &'a Client)>,
        channels: &[ChannelId],
        random: &mut StdRng,
    ) -> Self {
        let acknowledged = Arc::new(Mutex::new(Acknowledged::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let sending = clients.into_iter().map(|(name, client)| {
            let sender = Sender {
                client: client.clone(),
                name: name.to_owned(),
                channels: channels.to_vec(),
                random: StdRng::seed_from_u64(random.random()),
                stop: Arc::clone(&stop),
                acknowledged: Arc::clone(&acknowledged),
            };
            tokio::spawn(sender.run())
        });
        let sending = sending.collect();
        Self {
            acknowledged,
            stop,
            sending,
        }
    }

    /// What was acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.lock().clone()
    }

    /// How many were acknowledged so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.acknowledged.lock().len()
    }

    /// Stops sending; answers with everything that was acknowledged, which is
    /// everything: a client does not give up.
    pub async fn stop(self) -> Acknowledged {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.sending {
            within("the last acknowledgements", task).await.unwrap();
        }
        let acknowledged = self.acknowledged.lock();
        acknowledged.clone()
    }
}

struct Sender {
    client: Client,
    name: String,
    channels: Vec<ChannelId>,
    random: StdRng,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Acknowledged>>,
}

impl Sender {
    async fn run(mut self) {
        let mut waiting: VecDeque<(String, ChannelId, Sending)> = VecDeque::new();
        for number in 0u32.. {
            let done = self.stop.load(Ordering::Relaxed);
            while waiting.len() >= IN_FLIGHT || (done && !waiting.is_empty()) {
                let (content, channel, sending) = waiting.pop_front().unwrap();
                let offset = sending.await.unwrap().position.offset;
                self.acknowledged.lock().insert(content, (channel, offset));
            }
            if done {
                break;
            }
            let channel = self.channels[self.random.random_range(0..self.channels.len())].clone();
            let content = format!("{} {number}", self.name);
            let message = self.client.channel(channel.clone()).send(content.as_str());
            waiting.push_back((content, channel, message.enqueue().await.unwrap()));
            let pause = self.random.random_range(0..8);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

/// Sees to it that of what stands in a channel, given as `offset, sender,
/// content`, nothing stands twice and each sender's is in the order of sending,
/// and that what was acknowledged in it stands where its acknowledgement said.
/// Answers with what was found.
pub fn found(
    channel: &ChannelId,
    messages: &[(Offset, String, String)],
    acknowledged: &Acknowledged,
) -> Acknowledged {
    let mut found = Acknowledged::new();
    let mut last: BTreeMap<&str, u32> = BTreeMap::new();
    for (offset, sender, content) in messages {
        let twice = found.insert(content.clone(), (channel.clone(), *offset));
        assert_eq!(twice, None, "{content:?} stands twice in {channel}");
        let number = content.rsplit_once(' ').unwrap().1.parse().unwrap();
        if let Some(before) = last.insert(sender, number) {
            assert!(before < number, "{sender} sent {before} before {number}");
        }
    }
    for (content, place) in acknowledged.iter().filter(|(_, (at, _))| at == channel) {
        let stands = found.get(content);
        assert_eq!(stands, Some(place), "where {content:?} was acknowledged");
    }
    found
}
