//! Following what happens.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use confab_protocol::message::channel::{Sync, SyncPage};
use confab_protocol::message::event::ChannelEvent;
use confab_protocol::{ChannelId, ErrorCode, Offset, Position};
use futures_util::Stream;

use super::Client;
use crate::core::feed::{Delivery, Feed};
use crate::core::{ClientEvent, RequestError};
use crate::driver::{Feedback, NewSubscriber, Told};

/// Most events held back while a page is on its way. None come meanwhile, for
/// the queue is not read; it only orders what a page overlaps with.
const HELD_MAX: usize = 256;

/// How long to wait before asking again for a page that did not come or did not help.
const RETRY: Duration = Duration::from_millis(200);

type PullFuture = Pin<Box<dyn Future<Output = Result<SyncPage, RequestError>> + Send>>;

/// A stream of [`ClientEvent`]s.
///
/// Each channel's events come dense, in order and once, also when the
/// subscriber is slow: 4,096 events wait for it, then the client asks the server
/// for no more and comes back to the logs later. A subscriber that stands still
/// for 10 s no longer holds up the others; it finds [`ClientEvent::Lagged`], and
/// what stood in the logs is fetched for it.
///
/// Dropping it ends it; the stream ends by itself after [`ClientEvent::Closed`].
pub struct Subscription {
    client: Client,
    queue: Option<(tokio::sync::mpsc::Receiver<Told>, Feedback)>,
    feeds: BTreeMap<ChannelId, Feed>,
    behind: VecDeque<ChannelId>,
    pull: Option<(ChannelId, PullFuture)>,
    ready: VecDeque<ClientEvent>,
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("behind", &self.behind)
            .finish_non_exhaustive()
    }
}

impl Subscription {
    pub(super) fn new(
        client: Client,
        new: Option<NewSubscriber>,
        from: Option<BTreeMap<ChannelId, Position>>,
    ) -> Self {
        let mut subscription = Self {
            client,
            queue: None,
            feeds: BTreeMap::new(),
            behind: VecDeque::new(),
            pull: None,
            ready: VecDeque::new(),
        };
        let Some(new) = new else {
            return subscription;
        };
        subscription.queue = Some((new.queue, new.feedback));
        for (channel, position) in from.unwrap_or_default() {
            subscription.feeds.insert(channel, Feed::new(position));
        }
        subscription.heads(new.positions);
        subscription
    }

    /// Up to where each channel was taken from this stream: where another
    /// subscription, or the next process, goes on.
    #[must_use]
    pub fn positions(&self) -> BTreeMap<ChannelId, Position> {
        let positions = self.feeds.iter();
        positions
            .map(|(channel, feed)| (channel.clone(), self.taken(channel, feed.position())))
            .collect()
    }

    /// What is ready but not taken does not count.
    fn taken(&self, channel: &ChannelId, position: Position) -> Position {
        let first = self.ready.iter().find_map(|event| match event {
            ClientEvent::Channel(event) if event.channel == *channel => Some(event),
            _ => None,
        });
        first.map_or(position, |event| Position {
            epoch: event.epoch,
            offset: Offset(event.event.offset.0.saturating_sub(1)),
        })
    }

    /// Up to here the channels have gone on without this subscriber.
    fn heads(&mut self, heads: BTreeMap<ChannelId, Position>) {
        for (channel, head) in heads {
            let feed = self
                .feeds
                .entry(channel.clone())
                .or_insert_with(|| Feed::new(head));
            feed.head(head);
            if feed.is_behind() {
                self.behind.push_back(channel);
            }
        }
    }

    fn take(&mut self, told: Told) {
        let event = match told {
            Told::Missed { events, heads } => {
                self.ready.push_back(ClientEvent::Lagged { missed: events });
                return self.heads(heads);
            }
            Told::Event(event) => event,
        };
        match event {
            ClientEvent::Channel(event) => self.live(event),
            ClientEvent::Reset { channel, epoch } => {
                let start = Position {
                    epoch,
                    offset: Offset(0),
                };
                let feed = self.feeds.get(&channel);
                if feed.is_none_or(|feed| feed.position().epoch < epoch) {
                    self.feeds.insert(channel.clone(), Feed::new(start));
                    self.ready.push_back(ClientEvent::Reset { channel, epoch });
                }
            }
            ClientEvent::ChannelAdded { summary, after } => {
                let start = Position {
                    epoch: summary.epoch,
                    offset: after,
                };
                self.feeds
                    .entry(summary.channel.clone())
                    .or_insert_with(|| Feed::new(start));
                self.ready
                    .push_back(ClientEvent::ChannelAdded { summary, after });
            }
            ClientEvent::ChannelRemoved { channel } => {
                self.feeds.remove(&channel);
                self.ready
                    .push_back(ClientEvent::ChannelRemoved { channel });
            }
            other => self.ready.push_back(other),
        }
    }

    fn live(&mut self, event: ChannelEvent) {
        let ChannelEvent {
            channel,
            epoch,
            event,
        } = event;
        let before = Position {
            epoch,
            offset: Offset(event.offset.0.saturating_sub(1)),
        };
        let feed = self
            .feeds
            .entry(channel.clone())
            .or_insert_with(|| Feed::new(before));
        let delivery = feed.live(epoch, event, 0, true, HELD_MAX);
        let behind = feed.is_behind();
        self.deliver(&channel, delivery);
        if behind && !self.behind.contains(&channel) {
            self.behind.push_back(channel);
        }
    }

    fn deliver(&mut self, channel: &ChannelId, delivery: Delivery) {
        let Some(feed) = self.feeds.get(channel) else {
            return;
        };
        let epoch = feed.position().epoch;
        if let Some(epoch) = delivery.reset {
            let channel = channel.clone();
            self.ready.push_back(ClientEvent::Reset { channel, epoch });
        }
        for event in delivery.events {
            self.ready.push_back(ClientEvent::Channel(ChannelEvent {
                channel: channel.clone(),
                epoch,
                event,
            }));
        }
    }

    /// Begins to fetch a page for the next channel that lacks events.
    fn start_pull(&mut self, after_a_while: bool) -> bool {
        while let Some(channel) = self.behind.front() {
            let Some(feed) = self.feeds.get(channel).filter(|feed| feed.is_behind()) else {
                self.behind.pop_front();
                continue;
            };
            let (client, channel) = (self.client.clone(), channel.clone());
            let sync = Sync {
                channel: channel.clone(),
                after: feed.position(),
                limit: 0,
            };
            let pull = Box::pin(async move {
                if after_a_while {
                    tokio::time::sleep(RETRY).await;
                }
                client.request(sync).await
            });
            self.pull = Some((channel, pull));
            return true;
        }
        false
    }

    /// A page came or did not. Answers whether it helped.
    fn pulled(&mut self, channel: &ChannelId, result: Result<SyncPage, RequestError>) -> bool {
        let Some(feed) = self.feeds.get_mut(channel) else {
            return true;
        };
        match result {
            Ok(page) => {
                let before = feed.position();
                let delivery = feed.page(&page);
                let helped = feed.position() != before;
                self.deliver(channel, delivery);
                helped
            }
            Err(RequestError::Refused(error))
                if matches!(error.code(), ErrorCode::NotFound | ErrorCode::Forbidden) =>
            {
                feed.give_up();
                true
            }
            Err(RequestError::Closed(_)) => {
                feed.give_up();
                true
            }
            Err(_) => false,
        }
    }
}

impl Stream for Subscription {
    type Item = ClientEvent;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ClientEvent>> {
        let this = &mut *self;
        loop {
            if let Some(event) = this.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            if let Some((channel, pull)) = &mut this.pull {
                let result = ready!(pull.as_mut().poll(context));
                let channel = channel.clone();
                this.pull = None;
                let helped = this.pulled(&channel, result);
                this.start_pull(!helped);
                continue;
            }
            if this.start_pull(false) {
                continue;
            }
            let Some((queue, feedback)) = &mut this.queue else {
                return Poll::Ready(None);
            };
            match ready!(queue.poll_recv(context)) {
                Some(told) => {
                    feedback.taken(queue.len());
                    this.take(told);
                }
                None => return Poll::Ready(None),
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some((queue, feedback)) = &mut self.queue {
            queue.close();
            feedback.gone();
        }
    }
}
