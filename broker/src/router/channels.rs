//! Requests that change which channels there are and who is in them.

use confab_core::directory::{CommandKind, CreateGroup as NewGroup, Reply, ReplyKind};
use confab_core::rights::ChannelAction;
use confab_protocol::codec::Packed;
use confab_protocol::message::Answer;
use confab_protocol::message::channel::{
    AddMembers, ChannelInfo, CreateGroup, DeleteChannel, JoinChannel, LeaveChannel, MembersUpdated,
    OpenDm, RemoveMembers, SetRole, UpdateChannel,
};
use confab_protocol::message::session::Done;
use confab_protocol::{ChannelId, Epoch, ErrorCode, Position, UserId, WireError};
use rand::Rng as _;

use super::admission::Needs;
use super::failure::unreadable;
use super::{Actor, Router, check, messages, now_ms};

pub(super) async fn open_dm(
    router: &Router,
    actor: &Actor,
    body: OpenDm,
) -> Result<Answer, WireError> {
    let channel = ChannelId::dm(&actor.user, &body.user)
        .map_err(|error| check::invalid(error.to_string()))?;
    if router.lookup().directory().channel(&channel).is_none() {
        ask_for_dm(router, actor, body.user).await?;
    }
    info(router, actor, &channel)
}

/// Makes the direct messages that an id names, if they are the actor's.
pub(super) async fn open_named_dm(
    router: &Router,
    actor: &Actor,
    channel: &ChannelId,
) -> Result<Epoch, WireError> {
    let Some(other) = messages::other_in_dm(channel, actor) else {
        return Err(no_channel());
    };
    let reply = ask_for_dm(router, actor, other).await?;
    match reply.what {
        ReplyKind::Channel { epoch, .. } => Ok(epoch),
        ReplyKind::Done { .. } => Err(unreadable()),
    }
}

async fn ask_for_dm(router: &Router, actor: &Actor, other: UserId) -> Result<Reply, WireError> {
    let what = CommandKind::OpenDm {
        a: actor.user.clone(),
        b: other.clone(),
    };
    router
        .change_directory(Some(actor), what, Needs::OpenDm(other))
        .await
}

pub(super) async fn create_group(
    router: &Router,
    actor: &Actor,
    body: CreateGroup,
) -> Result<Answer, WireError> {
    check::name(&body.name)?;
    check::topic(&body.topic)?;
    check::users(&body.members)?;
    let what = CommandKind::CreateGroup(NewGroup {
        id: ChannelId::group(now_ms(), rand::rng().random()),
        name: body.name,
        topic: body.topic,
        private: body.private,
        members: body.members,
        client_id: body.client_id,
    });
    let reply = router
        .change_directory(Some(actor), what, Needs::CreateGroup)
        .await?;
    match reply.what {
        ReplyKind::Channel { channel, .. } => info(router, actor, &channel),
        ReplyKind::Done { .. } => Err(unreadable()),
    }
}

pub(super) async fn update(
    router: &Router,
    actor: &Actor,
    body: UpdateChannel,
) -> Result<Answer, WireError> {
    if let Some(name) = &body.name {
        check::name(name)?;
    }
    if let Some(topic) = &body.topic {
        check::topic(topic)?;
    }
    let mut actions = vec![ChannelAction::See];
    // Bringing back comes first: what follows needs a channel that is open.
    match body.archived {
        Some(true) => actions.push(ChannelAction::Archive),
        Some(false) => actions.push(ChannelAction::Unarchive),
        None => {}
    }
    if body.archived != Some(false) {
        if body.name.is_some() || body.topic.is_some() {
            actions.push(ChannelAction::Rename);
        }
        if body.private.is_some() {
            actions.push(ChannelAction::SetPrivate);
        }
    } else if body.name.is_some() || body.topic.is_some() || body.private.is_some() {
        return Err(check::invalid(
            "bring the channel back first, then change its properties",
        ));
    }
    let what = CommandKind::UpdateChannel {
        channel: body.channel.clone(),
        name: body.name,
        topic: body.topic,
        private: body.private,
        archived: body.archived,
    };
    let needs = Needs::InChannel(body.channel.clone(), actions);
    router.change_directory(Some(actor), what, needs).await?;
    info(router, actor, &body.channel)
}

pub(super) async fn delete(
    router: &Router,
    actor: &Actor,
    body: DeleteChannel,
) -> Result<Answer, WireError> {
    let needs = Needs::InChannel(body.channel.clone(), vec![ChannelAction::Delete]);
    let what = CommandKind::DeleteChannel {
        channel: body.channel,
    };
    router.change_directory(Some(actor), what, needs).await?;
    Ok(Answer::Done(Done {}))
}

pub(super) async fn join(
    router: &Router,
    actor: &Actor,
    body: JoinChannel,
) -> Result<Answer, WireError> {
    let needs = Needs::InChannel(body.channel.clone(), vec![ChannelAction::Join]);
    let what = CommandKind::Join {
        channel: body.channel.clone(),
    };
    router.change_directory(Some(actor), what, needs).await?;
    info(router, actor, &body.channel)
}

pub(super) async fn leave(
    router: &Router,
    actor: &Actor,
    body: LeaveChannel,
) -> Result<Answer, WireError> {
    let what = CommandKind::Leave {
        channel: body.channel.clone(),
    };
    let actions = vec![ChannelAction::Leave];
    members(router, actor, body.channel, actions, what).await
}

pub(super) async fn add_members(
    router: &Router,
    actor: &Actor,
    body: AddMembers,
) -> Result<Answer, WireError> {
    check::users(&body.users)?;
    let what = CommandKind::AddMembers {
        channel: body.channel.clone(),
        users: body.users,
    };
    let actions = vec![ChannelAction::InviteMembers];
    members(router, actor, body.channel, actions, what).await
}

pub(super) async fn remove_members(
    router: &Router,
    actor: &Actor,
    body: RemoveMembers,
) -> Result<Answer, WireError> {
    check::users(&body.users)?;
    let what = CommandKind::RemoveMembers {
        channel: body.channel.clone(),
        users: body.users.clone(),
    };
    let actions = removals(router, &body.channel, &body.users);
    members(router, actor, body.channel, actions, what).await
}

/// What has to be allowed to remove these users: it depends on their roles.
fn removals(router: &Router, channel: &ChannelId, users: &Packed<UserId>) -> Vec<ChannelAction> {
    let directory = router.lookup().directory();
    let mut actions = vec![ChannelAction::RemoveMember {
        role: confab_protocol::message::event::ChannelRole::Guest,
    }];
    for user in users.iter() {
        if let Some(role) = directory.role_of(channel, &user) {
            let action = ChannelAction::RemoveMember { role };
            if !actions.contains(&action) {
                actions.push(action);
            }
        }
    }
    actions
}

pub(super) async fn set_role(
    router: &Router,
    actor: &Actor,
    body: SetRole,
) -> Result<Answer, WireError> {
    let what = CommandKind::SetRole {
        channel: body.channel.clone(),
        user: body.user,
        role: body.role,
    };
    let actions = vec![ChannelAction::SetRole];
    members(router, actor, body.channel, actions, what).await
}

async fn members(
    router: &Router,
    actor: &Actor,
    channel: ChannelId,
    actions: Vec<ChannelAction>,
    what: CommandKind,
) -> Result<Answer, WireError> {
    let needs = Needs::InChannel(channel.clone(), actions);
    let reply = router.change_directory(Some(actor), what, needs).await?;
    match reply.what {
        ReplyKind::Channel {
            epoch,
            member_count,
            ..
        } => Ok(Answer::MembersUpdated(MembersUpdated {
            position: Position {
                epoch,
                offset: router.lookup().head(&channel, epoch),
            },
            member_count,
        })),
        ReplyKind::Done { .. } => Err(unreadable()),
    }
}

/// The channel as the actor sees it now.
pub(super) fn info(
    router: &Router,
    actor: &Actor,
    channel: &ChannelId,
) -> Result<Answer, WireError> {
    router
        .lookup()
        .summary(channel, &actor.user)
        .map(|summary| Answer::ChannelInfo(ChannelInfo { summary }))
        .ok_or_else(no_channel)
}

pub(super) fn no_channel() -> WireError {
    WireError::new(ErrorCode::NotFound, "there is no such channel")
}
