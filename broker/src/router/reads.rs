//! Requests that are answered from this node's applied state.
//!
//! What may read many rows runs on a blocking thread: a cold page costs the
//! disk a millisecond, and the runtime serves others meanwhile.

use confab_core::channel::query;
use confab_core::rights::{self, ChannelAction};
use confab_protocol::codec::PackedBuilder;
use confab_protocol::message::channel::{
    ChannelInfo, ChannelListKey, ChannelPage, ChannelTotals, HistoryPage, ListChannels,
    ListMembers, MemberPage, MemberProfile,
};
use confab_protocol::message::directory::{GetUsers, ListUsers, UserPage};
use confab_protocol::message::event::Member;
use confab_protocol::message::session::{ChannelHead, ChannelPosition, Resumed};
use confab_protocol::message::{Answer, Request};
use confab_protocol::{ChannelId, ErrorCode, Packed, Position, UserId, WireError, limits};

use super::{Actor, Router, check};
use crate::state::Lookup;

pub(super) async fn answer(
    router: &Router,
    actor: &Actor,
    request: Request,
) -> Result<Answer, WireError> {
    let channel = read_channel(&request).cloned();
    let answer = read(router, actor, request).await?;
    if let Some(channel) = channel {
        router.readable(actor, &channel)?;
    }
    Ok(answer)
}

/// The channel whose log a request reads.
const fn read_channel(request: &Request) -> Option<&ChannelId> {
    match request {
        Request::ListCursors(body) => Some(&body.channel),
        Request::History(body) => Some(&body.channel),
        Request::GetMessage(body) => Some(&body.channel),
        Request::ListPins(body) => Some(&body.channel),
        Request::Sync(body) => Some(&body.channel),
        Request::GetThread(body) => Some(&body.channel),
        _ => None,
    }
}

async fn read(router: &Router, actor: &Actor, request: Request) -> Result<Answer, WireError> {
    let lookup = router.lookup();
    match request {
        Request::Resume(body) => {
            if body.positions.len() > limits::POSITIONS_MAX {
                return Err(check::too_large(format!(
                    "{} positions, at most {} are allowed: send the most recent",
                    body.positions.len(),
                    limits::POSITIONS_MAX
                )));
            }
            Ok(Answer::Resumed(Resumed {
                behind: behind(router, actor, &body.positions).await,
                totals: totals(router, actor).await,
            }))
        }
        Request::ListChannels(ListChannels { after, limit }) => {
            let limit = check::page_limit(limit, limits::CHANNEL_WINDOW)?;
            Ok(Answer::ChannelPage(
                channel_page(router, actor, after, limit).await,
            ))
        }
        Request::GetChannel(body) => {
            let seen = router.allowed(actor, &body.channel, ChannelAction::See)?;
            // Who may know of a channel without being in it sees it as a guest
            // would: it counts nothing for it.
            match lookup.summary(&body.channel, &actor.user) {
                Some(summary) => Ok(Answer::ChannelInfo(ChannelInfo { summary })),
                None => Ok(Answer::ChannelInfo(ChannelInfo {
                    summary: lookup.outside_summary(&body.channel, &seen.channel),
                })),
            }
        }
        Request::ListMembers(body) => members(router, actor, body),
        Request::ListCursors(body) => {
            let limit = check::page_limit(body.limit, limits::PAGE_ITEMS_DEFAULT)?;
            let epoch = router.readable(actor, &body.channel)?;
            let store = lookup.shard(&body.channel);
            query::cursors(store, epoch, None, body.after.as_ref(), limit)
                .map(Answer::CursorPage)
                .map_err(WireError::from)
        }
        Request::History(body) => {
            let limit = check::page_limit(body.limit, limits::PAGE_ITEMS_DEFAULT)?;
            let epoch = router.readable(actor, &body.channel)?;
            let page = on_blocking_thread(lookup, move |lookup| {
                let store = lookup.shard(&body.channel);
                query::history(store, epoch, body.thread, body.anchor, limit)
            })
            .await?;
            Ok(Answer::HistoryPage(page?))
        }
        Request::GetMessage(body) => {
            let epoch = router.readable(actor, &body.channel)?;
            let store = lookup.shard(&body.channel);
            query::message(store, epoch, body.message, body.versions)
                .map(Answer::MessageInfo)
                .map_err(WireError::from)
        }
        Request::ListPins(body) => {
            let epoch = router.readable(actor, &body.channel)?;
            let page: Result<HistoryPage, _> = on_blocking_thread(lookup, move |lookup| {
                query::pins(lookup.shard(&body.channel), epoch)
            })
            .await?;
            Ok(Answer::HistoryPage(page?))
        }
        Request::Sync(body) => {
            let limit = check::page_limit(body.limit, limits::PAGE_ITEMS_MAX)?;
            let epoch = router.readable(actor, &body.channel)?;
            let page = on_blocking_thread(lookup, move |lookup| {
                query::sync(lookup.shard(&body.channel), epoch, body.after, limit)
            })
            .await?;
            Ok(Answer::SyncPage(page?))
        }
        Request::GetThread(body) => {
            let epoch = router.readable(actor, &body.channel)?;
            let store = lookup.shard(&body.channel);
            query::thread_info(store, epoch, body.root, &actor.user)
                .map(Answer::ThreadInfo)
                .map_err(WireError::from)
        }
        Request::GetUsers(body) => users(router, actor, &body),
        Request::ListUsers(body) => list_users(router, actor, body).await,
        // `Router::answer` keeps everything else away from here.
        other => Err(WireError::new(
            ErrorCode::UnknownKind,
            format!("{} cannot be answered here", other.name()),
        )),
    }
}

/// Runs a read that may take a while away from the runtime's threads.
async fn on_blocking_thread<T: Send + 'static>(
    lookup: &Lookup,
    read: impl FnOnce(&Lookup) -> T + Send + 'static,
) -> Result<T, WireError> {
    let lookup = lookup.clone();
    tokio::task::spawn_blocking(move || read(&lookup))
        .await
        .map_err(|_| WireError::new(ErrorCode::Internal, "the read failed: see the server's log"))
}

/// One window of the channel list, newest activity first.
pub(super) async fn channel_page(
    router: &Router,
    actor: &Actor,
    after: Option<ChannelListKey>,
    limit: u16,
) -> ChannelPage {
    let user = actor.user.clone();
    let page = on_blocking_thread(router.lookup(), move |lookup| {
        window(lookup, &user, after.as_ref(), usize::from(limit))
    });
    page.await.unwrap_or_default()
}

fn window(
    lookup: &Lookup,
    user: &UserId,
    after: Option<&ChannelListKey>,
    limit: usize,
) -> ChannelPage {
    let mut keys: Vec<_> = lookup
        .channels_of(user)
        .into_iter()
        .map(|(channel, epoch)| (lookup.last_activity(&channel, epoch), channel))
        .filter(|(activity, channel)| {
            after
                .is_none_or(|after| (after.last_activity_ms, &after.channel) > (*activity, channel))
        })
        .collect();
    keys.sort_unstable_by(|one, other| other.cmp(one));
    let mut summaries = PackedBuilder::new();
    let mut next = None;
    let more = keys.len() > limit;
    for (last_activity_ms, channel) in keys.into_iter().take(limit) {
        if let Some(summary) = lookup.summary(&channel, user) {
            summaries.push(&summary);
        }
        next = Some(ChannelListKey {
            last_activity_ms,
            channel,
        });
        if summaries.bytes_len() > limits::PAGE_BYTES_SOFT_MAX {
            return ChannelPage {
                channels: summaries.finish(),
                next,
            };
        }
    }
    ChannelPage {
        channels: summaries.finish(),
        next: next.filter(|_| more),
    }
}

/// Counts over all of the user's channels.
pub(super) async fn totals(router: &Router, actor: &Actor) -> ChannelTotals {
    let user = actor.user.clone();
    let totals = on_blocking_thread(router.lookup(), move |lookup| {
        let mut totals = ChannelTotals::default();
        for (channel, epoch) in lookup.channels_of(&user) {
            let state = lookup.read_state(&channel, epoch, &user);
            totals.channels += 1;
            totals.unread_channels += u32::from(state.unread > 0);
            totals.unread = totals.unread.saturating_add(state.unread);
            totals.mentions = totals.mentions.saturating_add(state.mentions);
        }
        totals
    });
    totals.await.unwrap_or_default()
}

/// Of `positions`, the channels that have more or are gone for the user.
pub(super) async fn behind(
    router: &Router,
    actor: &Actor,
    positions: &Packed<ChannelPosition>,
) -> Packed<ChannelHead> {
    if positions.is_empty() {
        return Packed::default();
    }
    let user = actor.user.clone();
    let positions = positions.clone();
    let behind = on_blocking_thread(router.lookup(), move |lookup| {
        let directory = lookup.directory();
        let mut heads = PackedBuilder::new();
        for ChannelPosition { channel, position } in positions.iter() {
            // The membership after the head, so that none is told that a removal
            // was before.
            let head = directory
                .channel(&channel)
                .map(|stored| Position {
                    epoch: stored.epoch,
                    offset: lookup.head(&channel, stored.epoch),
                })
                .filter(|_| lookup.is_member(&channel, &user));
            if head != Some(position) {
                heads.push(&ChannelHead { channel, head });
            }
        }
        heads.finish()
    });
    behind.await.unwrap_or_default()
}

fn members(router: &Router, actor: &Actor, body: ListMembers) -> Result<Answer, WireError> {
    let limit = check::page_limit(body.limit, limits::PAGE_ITEMS_DEFAULT)?;
    router.allowed(actor, &body.channel, ChannelAction::See)?;
    let directory = router.lookup().directory();
    let page = directory.members(&body.channel, body.after.as_ref(), usize::from(limit));
    let members = page
        .items
        .into_iter()
        .filter_map(|(user, role)| {
            let face = directory.user(&user)?;
            Some(MemberProfile {
                member: Member { user, role },
                name: face.name,
                kind: face.kind,
            })
        })
        .collect();
    Ok(Answer::MemberPage(MemberPage {
        members,
        more: page.more,
    }))
}

fn users(router: &Router, actor: &Actor, body: &GetUsers) -> Result<Answer, WireError> {
    check::users(&body.users)?;
    let directory = router.lookup().directory();
    let users = body
        .users
        .iter()
        .filter(|user| {
            rights::authorize(&directory, &actor.user, rights::Action::SeeUser(user)).is_ok()
        })
        .filter_map(|user| Some(directory.user(&user)?.to_profile(&user)))
        .collect();
    Ok(Answer::UserPage(UserPage { users, more: false }))
}

async fn list_users(router: &Router, actor: &Actor, body: ListUsers) -> Result<Answer, WireError> {
    let limit = check::page_limit(body.limit, limits::PAGE_ITEMS_DEFAULT)?;
    if body.prefix.len() > limits::NAME_BYTES_MAX {
        return Err(check::too_large(format!(
            "prefix has {} bytes, at most {} are allowed",
            body.prefix.len(),
            limits::NAME_BYTES_MAX
        )));
    }
    let viewer = actor.user.clone();
    let page = on_blocking_thread(router.lookup(), move |lookup| {
        let directory = lookup.directory();
        directory.users_seen_by(
            &viewer,
            &body.prefix,
            body.after.as_ref(),
            usize::from(limit),
        )
    })
    .await?;
    let users = page
        .items
        .iter()
        .map(|(id, user)| user.to_profile(id))
        .collect();
    Ok(Answer::UserPage(UserPage {
        users,
        more: page.more,
    }))
}

impl Router {
    /// The life of a channel's log, for whoever may read it.
    fn readable(
        &self,
        actor: &Actor,
        channel: &ChannelId,
    ) -> Result<confab_protocol::Epoch, WireError> {
        Ok(self
            .allowed(actor, channel, ChannelAction::Read)?
            .channel
            .epoch)
    }
}
