//! The API for a Rust service.

mod builder;
mod channel;
mod history;
mod message;
mod people;
mod subscription;
mod token;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use confab_protocol::message::channel::{
    ChannelInfo, ChannelListKey, ChannelPage, ChannelSummary, ChannelTotals, CreateGroup,
    ListChannels, OpenDm,
};
use confab_protocol::message::session::UserProfile;
use confab_protocol::message::{Ask, Body, Request};
use confab_protocol::{ChannelId, ClientMessageId, Packed, Position, Text, UserId, codec};
use tokio::sync::oneshot;

use crate::core::{CloseReason, Command, RequestError, SavedState};
use crate::driver::{Call, CallQueue};

pub use builder::{Builder, ConnectError};
pub use channel::ChannelHandle;
pub use history::HistoryStream;
pub use message::{EditMessage, SendMessage, Sending};
pub use subscription::Subscription;
pub(crate) use token::SharedTokenProvider;
pub use token::{TokenError, TokenFuture, TokenProvider};

/// A client: one session with a broker, kept open whatever the network does.
///
/// Cheap to clone; all clones are the same client. It ends with
/// [`Client::close`], or when the last clone and [`Subscription`] are dropped
/// (then without waiting for anything).
///
/// Every method may be called while there is no connection: messages are queued
/// and sent later, other requests wait for their time, 30 s by default.
#[derive(Clone, Debug)]
pub struct Client {
    calls: CallQueue,
    closed: Arc<OnceLock<CloseReason>>,
}

impl Client {
    /// Begins to make a client for the broker at `server` (`host:port`), whose
    /// certificate names `server_name`.
    pub fn builder(server: impl Into<String>, server_name: impl Into<String>) -> Builder {
        Builder::new(server.into(), server_name.into())
    }

    const fn new(calls: CallQueue, closed: Arc<OnceLock<CloseReason>>) -> Self {
        Self { calls, closed }
    }

    /// Waits until a session is open; at once when one is.
    ///
    /// # Errors
    /// Why the client has ended.
    pub async fn online(&self) -> Result<(), CloseReason> {
        match self.ask(Call::Online).await {
            Some(result) => result,
            None => Err(self.close_reason()),
        }
    }

    /// Who the session is; `None` before the first was open.
    pub async fn user(&self) -> Option<UserProfile> {
        self.ask(Call::User).await.flatten()
    }

    /// A channel to act on. Whether it exists is not looked at.
    #[must_use]
    pub fn channel(&self, id: ChannelId) -> ChannelHandle {
        ChannelHandle::new(self.clone(), id)
    }

    /// Follows everything that happens from now on. See [`Subscription`].
    pub async fn subscribe(&self) -> Subscription {
        Subscription::new(self.clone(), self.ask(Call::Subscribe).await, None)
    }

    /// Follows everything from these positions on: what stands in the channels'
    /// logs since is fetched, and what happens now joins without gap or
    /// duplicate. Channels not named begin now.
    pub async fn subscribe_from(
        &self,
        positions: impl IntoIterator<Item = (ChannelId, Position)>,
    ) -> Subscription {
        let positions = positions.into_iter().collect();
        Subscription::new(
            self.clone(),
            self.ask(Call::Subscribe).await,
            Some(positions),
        )
    }

    /// The channels that the client knows, newest activity first, with unread
    /// counts as they are now. Up to 1,000 channels that is all of them, a
    /// moment after connecting.
    pub async fn channels(&self) -> Vec<ChannelSummary> {
        let known = self.ask(Call::Channels).await;
        known.map_or_else(Vec::new, |(channels, _)| channels)
    }

    /// Counts over all channels of the user.
    pub async fn totals(&self) -> ChannelTotals {
        let known = self.ask(Call::Channels).await;
        known.map_or_else(ChannelTotals::default, |(_, totals)| totals)
    }

    /// A window of the channel list, from the server. For the newest, `after` is `None`.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn channel_page(
        &self,
        after: Option<ChannelListKey>,
        limit: u16,
    ) -> Result<ChannelPage, RequestError> {
        self.request(ListChannels { after, limit }).await
    }

    /// The direct messages with a user, made if they are not there.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn open_dm(&self, user: UserId) -> Result<ChannelSummary, RequestError> {
        let info: ChannelInfo = self.request(OpenDm { user }).await?;
        Ok(info.summary)
    }

    /// Creates a group. With a `client_id` of its own it is safe to repeat
    /// after [`RequestError::Disconnected`].
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn create_group(
        &self,
        name: impl Into<Text>,
        topic: impl Into<Text>,
        private: bool,
        members: impl IntoIterator<Item = UserId>,
        client_id: Option<ClientMessageId>,
    ) -> Result<ChannelSummary, RequestError> {
        let create = CreateGroup {
            name: name.into(),
            topic: topic.into(),
            private,
            members: members.into_iter().collect::<Packed<_>>(),
            client_id,
        };
        let info: ChannelInfo = self.request(create).await?;
        Ok(info.summary)
    }

    /// Asks the server anything that has a typed answer.
    ///
    /// What only reads is asked again by itself after a lost connection; for the
    /// rest see [`RequestError::Disconnected`]. Dropping the future forgets the
    /// answer; the request may still be carried out. `Hello`, `Resume` and
    /// `Post` are not for here: the client does those itself.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request<A>(&self, ask: A) -> Result<A::Answer, RequestError>
    where
        A: Ask,
        Request: From<A>,
    {
        self.request_within(ask, None).await
    }

    /// As [`Client::request`], with a time limit of its own.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request_within<A>(
        &self,
        ask: A,
        timeout: Option<Duration>,
    ) -> Result<A::Answer, RequestError>
    where
        A: Ask,
        Request: From<A>,
    {
        let timeout_ms =
            timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
        let request = Request::from(ask);
        let answer = self.ask(|reply| Call::Request {
            request,
            timeout_ms,
            reply,
        });
        let frame = match answer.await {
            Some(result) => result?,
            None => return Err(RequestError::Closed(self.close_reason())),
        };
        if frame.kind != <A::Answer as Body>::KIND {
            return Err(RequestError::WrongAnswer);
        }
        codec::decode(&frame.body).map_err(|_| RequestError::WrongAnswer)
    }

    /// Brings a newer token: an open session goes on with it.
    pub async fn set_token(&self, token: impl Into<String>) {
        let token = Text::from(token.into());
        self.command(Command::Token(token)).await;
    }

    /// What to keep for the next process.
    ///
    /// The positions are those up to which events were handed out to
    /// subscribers, which may not have acted on them yet: see [`SavedState`].
    pub async fn saved_state(&self) -> Option<SavedState> {
        self.ask(Call::State).await
    }

    /// Ends the client once all that waits is answered, for 5 s at most; answers
    /// with what to keep for the next process, what was not acknowledged included.
    /// `None` when the client had ended before.
    pub async fn close(self) -> Option<SavedState> {
        self.close_within(Duration::from_secs(5)).await
    }

    /// As [`Client::close`], with a time limit of its own.
    pub async fn close_within(self, flush: Duration) -> Option<SavedState> {
        let flush_timeout_ms = u64::try_from(flush.as_millis()).unwrap_or(u64::MAX);
        self.ask(|reply| Call::Close {
            flush_timeout_ms,
            reply,
        })
        .await
    }

    /// Calls the driver and waits for its answer; `None` when it has ended.
    async fn ask<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> Call) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.calls.send(call(reply)).await.ok()?;
        answer.await.ok()
    }

    async fn command(&self, command: Command) {
        // A client that has ended wants nothing done.
        let _ = self.calls.send(Call::Command(command)).await;
    }

    /// Why the driver has ended. It says so before it ends; if it could not, its
    /// runtime was shut down by the application.
    fn close_reason(&self) -> CloseReason {
        self.closed
            .get()
            .cloned()
            .unwrap_or(CloseReason::ByApplication)
    }
}
