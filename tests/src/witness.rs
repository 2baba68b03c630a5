//! Somebody who hears everything and forgets nothing.

use std::sync::Arc;

use confab_client::{Client, ClientEvent, Subscription};
use confab_protocol::message::event::{Change, Event, Message};
use confab_protocol::{ChannelId, Offset};
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::PATIENCE;

/// Keeps all that a subscription hears.
pub struct Witness {
    heard: Arc<Mutex<Vec<ClientEvent>>>,
    count: watch::Receiver<usize>,
    listening: JoinHandle<()>,
}

impl Witness {
    /// Hears all that a client hears from now on.
    pub async fn of(client: &Client) -> Self {
        Self::hearing(client.subscribe().await)
    }

    /// Hears all of a subscription.
    #[must_use]
    pub fn hearing(mut subscription: Subscription) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (told, count) = watch::channel(0);
        let into = Arc::clone(&heard);
        let listening = tokio::spawn(async move {
            while let Some(event) = subscription.next().await {
                let mut heard = into.lock();
                heard.push(event);
                told.send_replace(heard.len());
            }
        });
        Self {
            heard,
            count,
            listening,
        }
    }

    /// All that was heard so far.
    #[must_use]
    pub fn heard(&self) -> Vec<ClientEvent> {
        self.heard.lock().clone()
    }

    /// How much was heard so far: a place from which to wait with
    /// [`Witness::after`].
    #[must_use]
    pub fn now(&self) -> usize {
        self.heard.lock().len()
    }

    /// Waits until something is heard, or was, that `wanted` takes.
    pub async fn hears<T>(&self, what: &str, wanted: impl Fn(&ClientEvent) -> Option<T>) -> T {
        self.after(0, what, wanted).await
    }

    /// As [`Witness::hears`], of what was heard from a place on.
    pub async fn after<T>(
        &self,
        mut from: usize,
        what: &str,
        wanted: impl Fn(&ClientEvent) -> Option<T>,
    ) -> T {
        let mut count = self.count.clone();
        let looking = async {
            loop {
                {
                    let heard = self.heard.lock();
                    if let Some(found) = heard[from..].iter().find_map(&wanted) {
                        return found;
                    }
                    from = heard.len();
                }
                let more = count.wait_for(|count| *count > from).await;
                assert!(more.is_ok(), "the subscription ended before: {what}");
            }
        };
        match timeout(PATIENCE, looking).await {
            Ok(found) => found,
            Err(_) => panic!(
                "not heard within {PATIENCE:?}: {what}; heard {:#?}",
                self.tail()
            ),
        }
    }

    /// Waits for a message with this content.
    pub async fn reads(&self, channel: &ChannelId, content: &str) -> Message {
        let what = format!("{content:?} in {channel}");
        self.hears(&what, |event| match event {
            ClientEvent::Channel(event) if event.channel == *channel => {
                message(&event.event).filter(|message| *message.content == *content)
            }
            _ => None,
        })
        .await
    }

    /// Waits until a channel's event at this offset is heard.
    pub async fn reaches(&self, channel: &ChannelId, offset: Offset) {
        let what = format!("offset {offset} of {channel}");
        self.hears(&what, |event| match event {
            ClientEvent::Channel(event) if event.channel == *channel => {
                (event.event.offset >= offset).then_some(())
            }
            _ => None,
        })
        .await;
    }

    /// What was heard of a channel's log, in the order of hearing.
    #[must_use]
    pub fn log(&self, channel: &ChannelId) -> Vec<Event> {
        let heard = self.heard.lock();
        let events = heard.iter().filter_map(|event| match event {
            ClientEvent::Channel(event) if event.channel == *channel => Some(event.event.clone()),
            _ => None,
        });
        events.collect()
    }

    /// As [`Witness::log`], after seeing to it that no event is missing and none
    /// came twice.
    #[must_use]
    pub fn dense_log(&self, channel: &ChannelId) -> Vec<Event> {
        let log = self.log(channel);
        for pair in log.windows(2) {
            assert_eq!(
                pair[1].offset,
                pair[0].offset.next(),
                "events of {channel} are missing or out of order"
            );
        }
        log
    }

    /// The messages heard of a channel, as `offset, sender, content`.
    #[must_use]
    pub fn messages(&self, channel: &ChannelId) -> Vec<(Offset, String, String)> {
        let log = self.dense_log(channel);
        let messages = log.iter().filter_map(message);
        messages
            .map(|it| (it.offset, it.sender.to_string(), it.content.to_string()))
            .collect()
    }

    fn tail(&self) -> Vec<ClientEvent> {
        let heard = self.heard.lock();
        heard[heard.len().saturating_sub(20)..].to_vec()
    }
}

fn message(event: &Event) -> Option<Message> {
    match &event.change {
        Change::MessagePosted { message } => Some(message.clone()),
        _ => None,
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.listening.abort();
    }
}
