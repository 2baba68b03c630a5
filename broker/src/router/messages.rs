//! Requests that become commands of a channel's shard.

use confab_core::channel::{self, Action, Cursor, MoveCursor, Reply, StoredMentions, query};
use confab_core::rights::ChannelAction;
use confab_protocol::codec::decode;
use confab_protocol::message::Answer;
use confab_protocol::message::channel::{
    Changed, CursorState, Delete, Edit, FollowThread, MarkDelivered, MarkRead, MarkUnread, Pin,
    Post, Posted, React,
};
use confab_protocol::message::event::Mentions;
use confab_protocol::{ChannelId, ChannelKind, Epoch, ErrorCode, Offset, WireError};
use confab_replication::PendingProposal;

use super::admission::{ShardAdmission, ShardRequest};
use super::failure::{unreadable, wire_error};
use super::{Actor, PendingAnswer, Router, channels, check, now_ms};

pub(super) async fn post(
    router: &Router,
    actor: &Actor,
    post: Post,
) -> Result<PendingAnswer, WireError> {
    let attachments = check::attachments(&post.attachments)?;
    check::content(&post.content, !attachments.is_empty())?;
    let mut mentions = check::mentions(&post.mentions)?;
    let mut needs = vec![ChannelAction::Post];
    needs.extend(calls_on_all(&post.mentions));
    let epoch = match router.lookup().directory().channel(&post.channel) {
        Some(stored) => stored.epoch,
        None => channels::open_named_dm(router, actor, &post.channel).await?,
    };
    router.wait_begun(&post.channel, epoch).await;
    router.keep_members(&post.channel, &mut mentions);
    let action = Action::Post(channel::Post {
        sender: actor.user.clone(),
        device: actor.device.clone(),
        sequence: post.sequence,
        client_message_id: post.client_message_id,
        content: post.content,
        thread_root: post.thread_root,
        attachments,
        mentions,
    });
    let pending = router.submit(actor, post.channel, epoch, needs, action)?;
    Ok(Box::pin(async move {
        match outcome(pending).await? {
            Reply::Posted {
                position,
                created_at_ms,
                duplicate,
            } => Ok(Answer::Posted(Posted {
                position,
                created_at_ms,
                duplicate,
            })),
            _ => Err(unreadable()),
        }
    }))
}

/// `@channel` and `@here` need a right of their own where that is many.
fn calls_on_all(mentions: &Mentions) -> Option<ChannelAction> {
    (mentions.channel || mentions.here).then_some(ChannelAction::MentionChannel)
}

pub(super) async fn edit(router: &Router, actor: &Actor, body: Edit) -> Result<Answer, WireError> {
    let mut mentions = check::mentions(&body.mentions)?;
    let (epoch, own, facts) = router.message(actor, &body.channel, body.message)?;
    router.keep_members(&body.channel, &mut mentions);
    check::content(&body.content, false)?;
    if let Some(window_ms) = router.0.config.edit_window_ms
        && now_ms().saturating_sub(facts.created_at_ms) > window_ms
    {
        return Err(WireError::new(
            ErrorCode::EditWindowOver,
            format!(
                "a message can be edited for {} s after it was posted",
                window_ms / 1_000
            ),
        ));
    }
    let mut needs = vec![ChannelAction::EditMessage { own }];
    needs.extend(calls_on_all(&body.mentions));
    let action = Action::Edit(channel::Edit {
        by: actor.user.clone(),
        message: body.message,
        content: body.content,
        mentions,
        if_version: body.if_version,
    });
    changed(router, actor, body.channel, epoch, needs, action).await
}

pub(super) async fn delete(
    router: &Router,
    actor: &Actor,
    body: Delete,
) -> Result<Answer, WireError> {
    let (epoch, own, _) = router.message(actor, &body.channel, body.message)?;
    let needs = vec![ChannelAction::DeleteMessage { own }];
    let action = Action::Delete(channel::Delete {
        by: actor.user.clone(),
        message: body.message,
    });
    changed(router, actor, body.channel, epoch, needs, action).await
}

pub(super) async fn react(
    router: &Router,
    actor: &Actor,
    body: React,
) -> Result<Answer, WireError> {
    let epoch = router.epoch(actor, &body.channel, ChannelAction::React)?;
    let action = Action::React(channel::React {
        by: actor.user.clone(),
        message: body.message,
        emoji: body.emoji,
        on: body.on,
    });
    let needs = vec![ChannelAction::React];
    changed(router, actor, body.channel, epoch, needs, action).await
}

pub(super) async fn pin(router: &Router, actor: &Actor, body: Pin) -> Result<Answer, WireError> {
    let epoch = router.epoch(actor, &body.channel, ChannelAction::Pin)?;
    let action = Action::Pin(channel::Pin {
        by: actor.user.clone(),
        message: body.message,
        on: body.on,
    });
    let needs = vec![ChannelAction::Pin];
    changed(router, actor, body.channel, epoch, needs, action).await
}

pub(super) async fn mark_read(
    router: &Router,
    actor: &Actor,
    body: MarkRead,
) -> Result<Answer, WireError> {
    let action = Action::MoveCursor(MoveCursor {
        user: actor.user.clone(),
        thread: body.thread,
        cursor: Cursor::Read,
        offset: body.offset,
    });
    cursor(router, actor, body.channel, action).await
}

pub(super) async fn mark_delivered(
    router: &Router,
    actor: &Actor,
    body: MarkDelivered,
) -> Result<Answer, WireError> {
    let action = Action::MoveCursor(MoveCursor {
        user: actor.user.clone(),
        thread: None,
        cursor: Cursor::Delivered,
        offset: body.offset,
    });
    cursor(router, actor, body.channel, action).await
}

pub(super) async fn mark_unread(
    router: &Router,
    actor: &Actor,
    body: MarkUnread,
) -> Result<Answer, WireError> {
    let action = Action::MarkUnread(channel::MarkUnread {
        user: actor.user.clone(),
        thread: None,
        offset: body.offset,
    });
    cursor(router, actor, body.channel, action).await
}

async fn cursor(
    router: &Router,
    actor: &Actor,
    channel: ChannelId,
    action: Action,
) -> Result<Answer, WireError> {
    let epoch = router.epoch(actor, &channel, ChannelAction::MarkRead)?;
    router.wait_begun(&channel, epoch).await;
    let needs = vec![ChannelAction::MarkRead];
    let pending = router.submit(actor, channel.clone(), epoch, needs, action)?;
    match outcome(pending).await? {
        Reply::Cursor { thread, read_state } => Ok(Answer::CursorState(CursorState {
            channel,
            thread,
            read_state,
        })),
        _ => Err(unreadable()),
    }
}

pub(super) async fn follow(
    router: &Router,
    actor: &Actor,
    body: FollowThread,
) -> Result<Answer, WireError> {
    let epoch = router.epoch(actor, &body.channel, ChannelAction::MarkRead)?;
    let action = Action::Follow(channel::Follow {
        user: actor.user.clone(),
        root: body.root,
        on: body.on,
    });
    let needs = vec![ChannelAction::MarkRead];
    let pending = router.submit(actor, body.channel, epoch, needs, action)?;
    match outcome(pending).await? {
        Reply::Thread(info) => Ok(Answer::ThreadInfo(info)),
        _ => Err(unreadable()),
    }
}

async fn changed(
    router: &Router,
    actor: &Actor,
    channel: ChannelId,
    epoch: Epoch,
    needs: Vec<ChannelAction>,
    action: Action,
) -> Result<Answer, WireError> {
    let pending = router.submit(actor, channel, epoch, needs, action)?;
    match outcome(pending).await? {
        Reply::Changed { position, version } => Ok(Answer::Changed(Changed { position, version })),
        _ => Err(unreadable()),
    }
}

async fn outcome(pending: PendingProposal<ShardAdmission>) -> Result<Reply, WireError> {
    let proposed = pending.outcome().await.map_err(wire_error)?;
    match decode(&proposed.reply) {
        Ok(Reply::Refused(refusal)) => Err(refusal.into()),
        Ok(reply) => Ok(reply),
        Err(_) => Err(unreadable()),
    }
}

impl Router {
    /// Puts a command in its shard's queue; it is checked again in its turn.
    fn submit(
        &self,
        actor: &Actor,
        channel: ChannelId,
        epoch: Epoch,
        needs: Vec<ChannelAction>,
        action: Action,
    ) -> Result<PendingProposal<ShardAdmission>, WireError> {
        let group = self.shard_group(&channel);
        group
            .try_propose(ShardRequest::Checked {
                by: actor.user.clone(),
                needs,
                channel,
                epoch,
                action,
            })
            .map_err(wire_error)
    }

    /// Leaves out who is not in the channel: nothing is counted for such users,
    /// and an invented id costs nobody a row.
    fn keep_members(&self, channel: &ChannelId, mentions: &mut StoredMentions) {
        let lookup = self.lookup();
        mentions
            .users
            .retain(|user| lookup.is_member(channel, user));
    }

    /// The life of a channel's log, for whoever may do this in it.
    fn epoch(
        &self,
        actor: &Actor,
        channel: &ChannelId,
        action: ChannelAction,
    ) -> Result<Epoch, WireError> {
        Ok(self.allowed(actor, channel, action)?.channel.epoch)
    }

    /// A message that the actor may see, and whether the actor sent it.
    fn message(
        &self,
        actor: &Actor,
        channel: &ChannelId,
        message: Offset,
    ) -> Result<(Epoch, bool, query::MessageFacts), WireError> {
        let epoch = self.epoch(actor, channel, ChannelAction::Read)?;
        let facts = query::message_facts(self.lookup().shard(channel), epoch, message)
            .map_err(WireError::from)?;
        Ok((epoch, facts.sender == actor.user, facts))
    }
}

/// Whether a channel id names direct messages of this user.
pub(super) fn other_in_dm(channel: &ChannelId, actor: &Actor) -> Option<confab_protocol::UserId> {
    if channel.kind() != ChannelKind::Dm {
        return None;
    }
    match channel.dm_users()? {
        (first, second) if first == actor.user => Some(second),
        (first, second) if second == actor.user => Some(first),
        _ => None,
    }
}
