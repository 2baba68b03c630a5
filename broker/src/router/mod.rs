//! From a request to a committed command, or to an answer from local state.
//!
//! Sessions and, later, HTTP call this; it authorises by the core's table,
//! proposes to the right group and turns replies into wire answers. What
//! changes the directory is answered only once the channels' logs show it.
//! Not here: rate limits, presence and typing, which belong to the session's
//! side.

mod admission;
mod channels;
mod check;
mod directory;
mod failure;
mod messages;
mod propagate;
mod reads;
mod sign_in;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use confab_core::channel::query;
use confab_core::rights::{self, Authorized, ChannelAction};
use confab_protocol::message::channel::{ChannelPage, ChannelTotals, Post};
use confab_protocol::message::session::{ChannelHead, ChannelPosition};
use confab_protocol::message::{Answer, Request};
use confab_protocol::{ChannelId, DeviceId, Epoch, ErrorCode, Packed, UserId, WireError};
use confab_replication::Group;
use tokio::sync::watch;

use crate::state::Lookup;
pub use admission::{DirectoryAdmission, ShardAdmission};
pub use sign_in::SignIn;

/// For whom a request is done.
#[derive(Clone, Debug)]
pub struct Actor {
    /// The user of the session.
    pub user: UserId,
    /// The device of the session.
    pub device: DeviceId,
}

/// An answer that is on its way: the request stands in its group's queue, in
/// the order in which requests were submitted.
pub type PendingAnswer = Pin<Box<dyn Future<Output = Result<Answer, WireError>> + Send>>;

/// What can be set about messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouterConfig {
    /// How long after posting its sender may edit a message, in milliseconds;
    /// `None`, the default, sets no limit.
    pub edit_window_ms: Option<u64>,
}

/// A channel that a user may write in, as presence and typing need it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Which life of its log.
    pub epoch: Epoch,
    /// How many members it has.
    pub member_count: u32,
}

struct Inner {
    config: RouterConfig,
    lookup: Lookup,
    directory: Group<DirectoryAdmission>,
    shards: Vec<Group<ShardAdmission>>,
    /// For each shard, up to which directory index its logs show everything.
    through: Vec<watch::Receiver<u64>>,
}

/// The cheap handle to all replicated state.
#[derive(Clone)]
pub struct Router(Arc<Inner>);

impl Router {
    /// A router over groups that run, and the tasks that bring the directory's
    /// changes into the shards' logs, one a shard.
    #[must_use]
    pub fn new(
        config: RouterConfig,
        lookup: Lookup,
        directory: Group<DirectoryAdmission>,
        directory_applied: &watch::Receiver<u64>,
        shards: Vec<Group<ShardAdmission>>,
    ) -> Self {
        let through = (0..)
            .zip(&shards)
            .map(|(shard, group)| {
                let (sender, through) = watch::channel(0);
                let propagator = propagate::Propagator {
                    shard,
                    lookup: lookup.clone(),
                    applied: directory_applied.clone(),
                    directory_group: directory.clone(),
                    group: group.clone(),
                    through: sender,
                };
                tokio::spawn(propagator.run());
                through
            })
            .collect();
        Self(Arc::new(Inner {
            config,
            lookup,
            directory,
            shards,
            through,
        }))
    }

    /// Submits a message to its channel's shard. The call returns once the
    /// message stands in the queue, so two calls in a row keep their order.
    /// The first message of a direct-message channel waits for the channel.
    ///
    /// # Errors
    /// What is wrong with the message itself, at once; all else in the answer.
    pub async fn post(&self, actor: &Actor, post: Post) -> Result<PendingAnswer, WireError> {
        messages::post(self, actor, post).await
    }

    /// Answers every request about channels, messages, members, cursors,
    /// history and the directory; `Post`, too, waiting for its answer.
    ///
    /// # Errors
    /// A coded error that says what to do.
    pub async fn answer(&self, actor: &Actor, request: Request) -> Result<Answer, WireError> {
        match request {
            Request::Post(body) => messages::post(self, actor, body).await?.await,
            Request::Edit(body) => messages::edit(self, actor, body).await,
            Request::Delete(body) => messages::delete(self, actor, body).await,
            Request::React(body) => messages::react(self, actor, body).await,
            Request::Pin(body) => messages::pin(self, actor, body).await,
            Request::MarkRead(body) => messages::mark_read(self, actor, body).await,
            Request::MarkDelivered(body) => messages::mark_delivered(self, actor, body).await,
            Request::MarkUnread(body) => messages::mark_unread(self, actor, body).await,
            Request::FollowThread(body) => messages::follow(self, actor, body).await,
            Request::OpenDm(body) => channels::open_dm(self, actor, body).await,
            Request::CreateGroup(body) => channels::create_group(self, actor, body).await,
            Request::UpdateChannel(body) => channels::update(self, actor, body).await,
            Request::DeleteChannel(body) => channels::delete(self, actor, body).await,
            Request::JoinChannel(body) => channels::join(self, actor, body).await,
            Request::LeaveChannel(body) => channels::leave(self, actor, body).await,
            Request::AddMembers(body) => channels::add_members(self, actor, body).await,
            Request::RemoveMembers(body) => channels::remove_members(self, actor, body).await,
            Request::SetRole(body) => channels::set_role(self, actor, body).await,
            Request::UpdateDirectory(body) => directory::update(self, actor, body).await,
            Request::Hello(_)
            | Request::RefreshToken(_)
            | Request::SetPresence(_)
            | Request::Heartbeat(_)
            | Request::WatchPresence(_)
            | Request::OpenChannel(_)
            | Request::CloseChannel(_)
            | Request::Typing(_) => Err(WireError::new(
                ErrorCode::InvalidArgument,
                "this request belongs to a session and needs one",
            )),
            read => reads::answer(self, actor, read).await,
        }
    }

    /// The first window of the user's channel list.
    pub async fn channel_page(&self, actor: &Actor, limit: u16) -> ChannelPage {
        reads::channel_page(self, actor, None, limit).await
    }

    /// Counts over all of the user's channels.
    pub async fn totals(&self, actor: &Actor) -> ChannelTotals {
        reads::totals(self, actor).await
    }

    /// Of `positions`, the channels that have more or are gone for the user.
    pub async fn behind(
        &self,
        actor: &Actor,
        positions: &Packed<ChannelPosition>,
    ) -> Packed<ChannelHead> {
        reads::behind(self, actor, positions).await
    }

    /// The channel, if the user may write in it.
    pub async fn may_type(&self, actor: &Actor, channel: &ChannelId) -> Option<Place> {
        let allowed = self.allowed(actor, channel, ChannelAction::Type).ok()?;
        Some(Place {
            epoch: allowed.channel.epoch,
            member_count: allowed.channel.member_count,
        })
    }

    pub(crate) fn lookup(&self) -> &Lookup {
        &self.0.lookup
    }

    /// Whether the actor may do this in the channel, as this node knows it.
    fn allowed(
        &self,
        actor: &Actor,
        channel: &ChannelId,
        action: ChannelAction,
    ) -> Result<Authorized, WireError> {
        let view = self.lookup().directory();
        rights::authorize_in(&view, &actor.user, channel, action).map_err(rights::Denied::to_wire)
    }

    fn shard_group(&self, channel: &ChannelId) -> &Group<ShardAdmission> {
        &self.0.shards[usize::from(self.0.lookup.shard_of(channel))]
    }

    /// Waits until a channel's log has begun: the directory knows the channel a
    /// moment before its shard does.
    async fn wait_begun(&self, channel: &ChannelId, epoch: Epoch) {
        if query::has_begun(self.lookup().shard(channel), epoch) {
            return;
        }
        let index = self.lookup().directory_store().applied_index();
        let through = &self.0.through[usize::from(self.lookup().shard_of(channel))];
        // A propagator that is gone went with its group: the node ends.
        let _ = through.clone().wait_for(|shown| *shown >= index).await;
    }

    /// Waits until every shard's logs show what the directory did up to `index`.
    async fn wait_through(&self, index: u64) {
        for through in &self.0.through {
            // A propagator that is gone went with its group: the node ends.
            let _ = through.clone().wait_for(|shown| *shown >= index).await;
        }
    }
}

/// The clock, in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod tests;
