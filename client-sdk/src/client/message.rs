//! Sending and editing messages.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::task::{Context, Poll};

use confab_protocol::message::channel::{Changed, Edit, Post, Posted};
use confab_protocol::message::event::{Attachment, Mentions};
use confab_protocol::{ChannelId, ClientMessageId, Offset, Packed, Sequence, Text, UserId};
use tokio::sync::oneshot;

use super::Client;
use crate::core::{RequestError, SendError};
use crate::driver::Call;

/// Whom a message calls on, while it is put together.
#[derive(Clone, Debug, Default)]
struct MentionList {
    users: Vec<UserId>,
    channel: bool,
    here: bool,
}

impl From<MentionList> for Mentions {
    fn from(list: MentionList) -> Self {
        Self {
            users: list.users.into(),
            channel: list.channel,
            here: list.here,
        }
    }
}

/// A message to be sent. `.await` it, or [`SendMessage::enqueue`] it.
#[derive(Clone, Debug)]
#[must_use = "a message is sent when this is awaited"]
pub struct SendMessage {
    client: Client,
    channel: ChannelId,
    content: Text,
    thread_root: Option<Offset>,
    attachments: Vec<Attachment>,
    mentions: MentionList,
    client_message_id: Option<ClientMessageId>,
}

impl SendMessage {
    pub(super) const fn new(client: Client, channel: ChannelId, content: Text) -> Self {
        Self {
            client,
            channel,
            content,
            thread_root: None,
            attachments: Vec::new(),
            mentions: MentionList {
                users: Vec::new(),
                channel: false,
                here: false,
            },
            client_message_id: None,
        }
    }

    /// Replies in the thread of the message at `root`.
    pub const fn thread(mut self, root: Offset) -> Self {
        self.thread_root = Some(root);
        self
    }

    /// Attaches a file or link.
    pub fn attach(mut self, attachment: Attachment) -> Self {
        self.attachments.push(attachment);
        self
    }

    /// Calls on a user.
    pub fn mention(mut self, user: UserId) -> Self {
        self.mentions.users.push(user);
        self
    }

    /// Calls on every member.
    pub const fn mention_channel(mut self) -> Self {
        self.mentions.channel = true;
        self
    }

    /// Calls on every member who is online.
    pub const fn mention_here(mut self) -> Self {
        self.mentions.here = true;
        self
    }

    /// Names the message, so that sending it again, even from another process,
    /// does not post it twice.
    pub fn client_message_id(mut self, id: ClientMessageId) -> Self {
        self.client_message_id = Some(id);
        self
    }

    /// Puts the message into the client's queue and answers as soon as it is
    /// there; the outcome comes from what is answered. Messages of one channel
    /// are posted in the order of their queueing; only one that the server has
    /// to refuse for now (`RateLimited`, `Overloaded`) may be overtaken by those
    /// that were on their way already. Who cannot have that awaits each outcome.
    ///
    /// # Errors
    /// [`SendError::Closed`] when the client has ended. A full queue is told by
    /// the outcome.
    pub async fn enqueue(self) -> Result<Sending, SendError> {
        let post = Post {
            channel: self.channel,
            sequence: Sequence(0),
            client_message_id: self.client_message_id,
            content: self.content,
            thread_root: self.thread_root,
            attachments: Packed::from(self.attachments),
            mentions: self.mentions.into(),
        };
        let (reply, outcome) = oneshot::channel();
        match self.client.calls.send(Call::Post(post, reply)).await {
            Ok(()) => Ok(Sending {
                client: self.client,
                outcome,
            }),
            Err(_) => Err(SendError::Closed(self.client.close_reason())),
        }
    }
}

impl IntoFuture for SendMessage {
    type Output = Result<Posted, SendError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Sends the message and waits until it is durable on a quorum.
    ///
    /// Cancel-safe: when the future is dropped after its first poll, the
    /// message, as a rule, stays queued and is posted exactly once; only the
    /// outcome is not heard. (While over 1,024 calls wait for the client's task,
    /// it is not queued yet and a dropped future sends nothing.)
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.enqueue().await?.await })
    }
}

/// A message in the queue; awaited, it gives the outcome. Dropping it does not
/// take the message back.
#[derive(Debug)]
#[must_use = "the outcome may be an error"]
pub struct Sending {
    client: Client,
    outcome: oneshot::Receiver<Result<Posted, SendError>>,
}

impl Future for Sending {
    type Output = Result<Posted, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.outcome)
            .poll(context)
            .map(|outcome| match outcome {
                Ok(result) => result,
                Err(_) => Err(SendError::Closed(self.client.close_reason())),
            })
    }
}

/// A new content for a message. `.await` it.
#[derive(Clone, Debug)]
#[must_use = "a message is edited when this is awaited"]
pub struct EditMessage {
    client: Client,
    channel: ChannelId,
    message: Offset,
    content: Text,
    mentions: MentionList,
    if_version: Option<u32>,
}

impl EditMessage {
    pub(super) fn new(client: Client, channel: ChannelId, message: Offset, content: Text) -> Self {
        Self {
            client,
            channel,
            message,
            content,
            mentions: MentionList::default(),
            if_version: None,
        }
    }

    /// Calls on a user.
    pub fn mention(mut self, user: UserId) -> Self {
        self.mentions.users.push(user);
        self
    }

    /// Calls on every member.
    pub const fn mention_channel(mut self) -> Self {
        self.mentions.channel = true;
        self
    }

    /// Calls on every member who is online.
    pub const fn mention_here(mut self) -> Self {
        self.mentions.here = true;
        self
    }

    /// Fails with the code `Conflict` unless the message has this version.
    pub const fn if_version(mut self, version: u32) -> Self {
        self.if_version = Some(version);
        self
    }
}

impl IntoFuture for EditMessage {
    type Output = Result<Changed, RequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let edit = Edit {
            channel: self.channel,
            message: self.message,
            content: self.content,
            mentions: self.mentions.into(),
            if_version: self.if_version,
        };
        Box::pin(async move { self.client.request(edit).await })
    }
}
