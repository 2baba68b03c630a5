//! A channel's messages as a stream.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use confab_protocol::Offset;
use confab_protocol::limits::PAGE_ITEMS_MAX;
use confab_protocol::message::channel::{Anchor, HistoryPage};
use confab_protocol::message::event::Message;
use futures_util::Stream;

use super::channel::ChannelHandle;
use crate::core::RequestError;

type PageFuture = Pin<Box<dyn Future<Output = Result<HistoryPage, RequestError>> + Send>>;

/// Messages from an anchor on, a page at a time. Ends at the log's beginning or
/// end, and after an error.
pub struct HistoryStream {
    channel: ChannelHandle,
    thread: Option<Offset>,
    backwards: bool,
    next: Option<Anchor>,
    page: Option<PageFuture>,
    ready: VecDeque<Message>,
}

impl std::fmt::Debug for HistoryStream {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HistoryStream")
            .field("channel", self.channel.id())
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl HistoryStream {
    pub(super) fn new(channel: ChannelHandle, thread: Option<Offset>, anchor: Anchor) -> Self {
        Self {
            channel,
            thread,
            backwards: matches!(anchor, Anchor::Latest | Anchor::Before(_)),
            next: Some(anchor),
            page: None,
            ready: VecDeque::new(),
        }
    }

    /// Only the messages of one thread, its root included.
    #[must_use]
    pub fn in_thread(mut self, root: Offset) -> Self {
        self.thread = Some(root);
        self
    }

    fn take(&mut self, page: &HistoryPage) {
        self.ready.extend(page.messages.iter());
        if self.backwards {
            self.ready.make_contiguous().reverse();
            self.next = page.next_before.map(Anchor::Before);
        } else {
            self.next = page.next_after.map(Anchor::After);
        }
    }
}

impl Stream for HistoryStream {
    type Item = Result<Message, RequestError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(message)));
            }
            if let Some(page) = &mut self.page {
                let result = ready!(page.as_mut().poll(context));
                self.page = None;
                match result {
                    Ok(page) => self.take(&page),
                    Err(error) => {
                        self.next = None;
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                continue;
            }
            let Some(anchor) = self.next.take() else {
                return Poll::Ready(None);
            };
            let (channel, thread) = (self.channel.clone(), self.thread);
            self.page = Some(Box::pin(async move {
                channel.history_page(thread, anchor, PAGE_ITEMS_MAX).await
            }));
        }
    }
}
