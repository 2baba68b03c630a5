//! One channel to act on.

use confab_protocol::message::channel::{
    AddMembers, Anchor, Changed, ChannelInfo, ChannelSummary, CursorPage, CursorState, Delete,
    DeleteChannel, FollowThread, GetChannel, GetMessage, GetThread, History, HistoryPage,
    JoinChannel, LeaveChannel, ListCursors, ListMembers, ListPins, MarkDelivered, MarkRead,
    MarkUnread, MemberPage, MembersUpdated, MessageInfo, Pin, React, RemoveMembers, SetRole,
    ThreadInfo, UpdateChannel,
};
use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::presence::{CloseChannel, OpenChannel, Presence};
use confab_protocol::{ChannelId, Emoji, Offset, Text, UserId};

use super::Client;
use super::history::HistoryStream;
use super::message::{EditMessage, SendMessage};
use crate::core::{Command, RequestError};
use crate::driver::Call;

/// One channel of a client. Made with [`Client::channel`]; cheap to clone.
///
/// The errors of all its methods are those of [`RequestError`].
#[derive(Clone, Debug)]
pub struct ChannelHandle {
    client: Client,
    id: ChannelId,
}

#[allow(clippy::missing_errors_doc)] // said once, above
impl ChannelHandle {
    pub(super) const fn new(client: Client, id: ChannelId) -> Self {
        Self { client, id }
    }

    /// Which channel.
    #[must_use]
    pub const fn id(&self) -> &ChannelId {
        &self.id
    }

    /// Sends a message; await what is answered, after adding to it what else
    /// the message has.
    pub fn send(&self, content: impl Into<Text>) -> SendMessage {
        SendMessage::new(self.client.clone(), self.id.clone(), content.into())
    }

    /// Gives a message new content; await what is answered.
    pub fn edit(&self, message: Offset, content: impl Into<Text>) -> EditMessage {
        EditMessage::new(
            self.client.clone(),
            self.id.clone(),
            message,
            content.into(),
        )
    }

    /// Deletes a message.
    pub async fn delete(&self, message: Offset) -> Result<Changed, RequestError> {
        let channel = self.id.clone();
        self.client.request(Delete { channel, message }).await
    }

    /// Puts an emoji on a message, or takes it off.
    pub async fn react(
        &self,
        message: Offset,
        emoji: Emoji,
        on: bool,
    ) -> Result<Changed, RequestError> {
        let react = React {
            channel: self.id.clone(),
            message,
            emoji,
            on,
        };
        self.client.request(react).await
    }

    /// Pins a message, or takes the pin off.
    pub async fn pin(&self, message: Offset, on: bool) -> Result<Changed, RequestError> {
        let channel = self.id.clone();
        self.client
            .request(Pin {
                channel,
                message,
                on,
            })
            .await
    }

    /// Moves the read cursor forward, of the channel or of a thread in it.
    pub async fn mark_read(
        &self,
        thread: Option<Offset>,
        offset: Offset,
    ) -> Result<CursorState, RequestError> {
        let channel = self.id.clone();
        self.client
            .request(MarkRead {
                channel,
                thread,
                offset,
            })
            .await
    }

    /// Moves the delivered cursor forward.
    pub async fn mark_delivered(&self, offset: Offset) -> Result<CursorState, RequestError> {
        let channel = self.id.clone();
        self.client.request(MarkDelivered { channel, offset }).await
    }

    /// Makes a message, and all after it, unread again.
    pub async fn mark_unread(&self, offset: Offset) -> Result<CursorState, RequestError> {
        let channel = self.id.clone();
        self.client.request(MarkUnread { channel, offset }).await
    }

    /// A page of messages, oldest first. `limit` is 1 to 200; 0 stands for 50.
    pub async fn history(&self, anchor: Anchor, limit: u16) -> Result<HistoryPage, RequestError> {
        self.history_page(None, anchor, limit).await
    }

    /// A page of a thread: its root and its replies, oldest first.
    pub async fn thread_history(
        &self,
        root: Offset,
        anchor: Anchor,
        limit: u16,
    ) -> Result<HistoryPage, RequestError> {
        self.history_page(Some(root), anchor, limit).await
    }

    pub(super) async fn history_page(
        &self,
        thread: Option<Offset>,
        anchor: Anchor,
        limit: u16,
    ) -> Result<HistoryPage, RequestError> {
        let history = History {
            channel: self.id.clone(),
            thread,
            anchor,
            limit,
        };
        self.client.request(history).await
    }

    /// All messages from an anchor on, fetched as they are taken: backwards, the
    /// newest first, for `Latest` and `Before`; forwards for the others.
    #[must_use]
    pub fn history_stream(&self, anchor: Anchor) -> HistoryStream {
        HistoryStream::new(self.clone(), None, anchor)
    }

    /// One message as it stands, with its earlier versions if wanted.
    pub async fn message(
        &self,
        message: Offset,
        versions: bool,
    ) -> Result<MessageInfo, RequestError> {
        let get = GetMessage {
            channel: self.id.clone(),
            message,
            versions,
        };
        self.client.request(get).await
    }

    /// The pinned messages, newest pin first.
    pub async fn pins(&self) -> Result<HistoryPage, RequestError> {
        let channel = self.id.clone();
        self.client.request(ListPins { channel }).await
    }

    /// How a thread stands.
    pub async fn thread(&self, root: Offset) -> Result<ThreadInfo, RequestError> {
        let channel = self.id.clone();
        self.client.request(GetThread { channel, root }).await
    }

    /// Follows a thread, or stops following it.
    pub async fn follow_thread(&self, root: Offset, on: bool) -> Result<ThreadInfo, RequestError> {
        let channel = self.id.clone();
        self.client
            .request(FollowThread { channel, root, on })
            .await
    }

    /// The channel as the client has it cached; `None` when it is not known.
    pub async fn cached(&self) -> Option<ChannelSummary> {
        let id = self.id.clone();
        self.client
            .ask(|reply| Call::Channel(id, reply))
            .await
            .flatten()
    }

    /// The channel as the server has it.
    pub async fn summary(&self) -> Result<ChannelSummary, RequestError> {
        let channel = self.id.clone();
        self.info(GetChannel { channel }).await
    }

    /// Members in order of their ids, after one of them; `limit` is 1 to 200.
    pub async fn members(
        &self,
        after: Option<UserId>,
        limit: u16,
    ) -> Result<MemberPage, RequestError> {
        let channel = self.id.clone();
        self.client
            .request(ListMembers {
                channel,
                after,
                limit,
            })
            .await
    }

    /// How far members have read, in order of their ids; `limit` is 1 to 200.
    pub async fn cursors(
        &self,
        after: Option<UserId>,
        limit: u16,
    ) -> Result<CursorPage, RequestError> {
        let channel = self.id.clone();
        self.client
            .request(ListCursors {
                channel,
                after,
                limit,
            })
            .await
    }

    /// Joins an open group.
    pub async fn join(&self) -> Result<ChannelSummary, RequestError> {
        let channel = self.id.clone();
        self.info(JoinChannel { channel }).await
    }

    /// Leaves a group.
    pub async fn leave(&self) -> Result<MembersUpdated, RequestError> {
        let channel = self.id.clone();
        self.client.request(LeaveChannel { channel }).await
    }

    /// Invites users to a group.
    pub async fn add_members(
        &self,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<MembersUpdated, RequestError> {
        let add = AddMembers {
            channel: self.id.clone(),
            users: users.into_iter().collect(),
        };
        self.client.request(add).await
    }

    /// Takes users out of a group.
    pub async fn remove_members(
        &self,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<MembersUpdated, RequestError> {
        let remove = RemoveMembers {
            channel: self.id.clone(),
            users: users.into_iter().collect(),
        };
        self.client.request(remove).await
    }

    /// Gives a member another role.
    pub async fn set_role(
        &self,
        user: UserId,
        role: ChannelRole,
    ) -> Result<MembersUpdated, RequestError> {
        let channel = self.id.clone();
        self.client
            .request(SetRole {
                channel,
                user,
                role,
            })
            .await
    }

    /// Changes name or topic; `None` leaves one as it is.
    pub async fn update(
        &self,
        name: Option<Text>,
        topic: Option<Text>,
    ) -> Result<ChannelSummary, RequestError> {
        self.info(UpdateChannel {
            channel: self.id.clone(),
            name,
            topic,
            private: None,
            archived: None,
        })
        .await
    }

    /// Closes a group to those not invited, or opens it.
    pub async fn set_private(&self, private: bool) -> Result<ChannelSummary, RequestError> {
        self.info(UpdateChannel {
            channel: self.id.clone(),
            name: None,
            topic: None,
            private: Some(private),
            archived: None,
        })
        .await
    }

    /// Archives the channel, or brings it back.
    pub async fn set_archived(&self, archived: bool) -> Result<ChannelSummary, RequestError> {
        self.info(UpdateChannel {
            channel: self.id.clone(),
            name: None,
            topic: None,
            private: None,
            archived: Some(archived),
        })
        .await
    }

    /// Deletes the channel with all its messages.
    pub async fn delete_channel(&self) -> Result<(), RequestError> {
        let channel = self.id.clone();
        self.client.request(DeleteChannel { channel }).await?;
        Ok(())
    }

    /// Opens the channel on the screen: typing, receipts and presence in detail
    /// come from now on, after reconnecting too. Answers with the members that
    /// are not offline.
    pub async fn open(&self) -> Result<Vec<Presence>, RequestError> {
        let channel = self.id.clone();
        let presences = self.client.request(OpenChannel { channel }).await?;
        Ok(presences.users.to_vec())
    }

    /// Says that the channel is no longer on the screen.
    pub async fn close(&self) -> Result<(), RequestError> {
        let channel = self.id.clone();
        self.client.request(CloseChannel { channel }).await?;
        Ok(())
    }

    /// The user pressed a key. Call it for every one: few frames are sent, and
    /// typing ends by itself 3 s after the last.
    pub async fn typing(&self, thread: Option<Offset>) {
        let channel = self.id.clone();
        self.client
            .command(Command::Typing { channel, thread })
            .await;
    }

    /// The user stopped typing.
    pub async fn stop_typing(&self, thread: Option<Offset>) {
        let channel = self.id.clone();
        self.client
            .command(Command::StopTyping { channel, thread })
            .await;
    }

    async fn info<A>(&self, ask: A) -> Result<ChannelSummary, RequestError>
    where
        A: confab_protocol::message::Ask<Answer = ChannelInfo>,
        confab_protocol::message::Request: From<A>,
    {
        Ok(self.client.request(ask).await?.summary)
    }
}
