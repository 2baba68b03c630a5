//! How a channel, its threads and its readers stand.

use confab_protocol::codec::PackedBuilder;
use confab_protocol::id::{ChannelId, ChannelKind, UserId};
use confab_protocol::limits::PAGE_ITEMS_DEFAULT;
use confab_protocol::message::channel::{
    CursorPage, MemberCursor, MessagePreview, ReadState, ThreadInfo,
};
use confab_protocol::position::{Epoch, Offset};

use super::page_limit;
use crate::channel::keys::{self, Scope};
use crate::channel::record::{ChannelHead, Reader};
use crate::channel::reply::Refusal;
use crate::channel::{head, message, reader, rows, thread};
use crate::directory::StoredProperties;
use crate::store::{Direction, Store};

/// Characters of a message that a list shows.
const PREVIEW_CHARS: usize = 200;

/// How a channel stands, for every user alike.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChannelState {
    /// Which.
    pub channel: ChannelId,
    /// What it is for.
    pub kind: ChannelKind,
    /// Which life of its log.
    pub epoch: Epoch,
    /// The newest event.
    pub head: Offset,
    /// When it was created.
    pub created_at_ms: u64,
    /// When it was created or last posted to, top level or thread.
    pub last_activity_ms: u64,
    /// The newest live top-level message.
    pub last_message: Option<MessagePreview>,
    /// What the log says it is called; the directory may know newer ones.
    pub properties: StoredProperties,
    /// Members, as the log says.
    pub member_count: u32,
    /// Whether it is deleted and being purged: nothing else may be shown of it.
    pub deleted: bool,
}

/// How a channel stands; `None` when this shard never had it.
#[must_use]
pub fn channel_state(store: &dyn Store, epoch: Epoch) -> Option<ChannelState> {
    Some(state_of(store, epoch, head::read(store, epoch)?))
}

/// How a channel stands, and how far a user is in it: the counts are those at
/// just that head, however much is posted meanwhile.
#[must_use]
pub fn channel_state_for(
    store: &dyn Store,
    epoch: Epoch,
    user: &UserId,
) -> Option<(ChannelState, ReadState)> {
    head::with(store, epoch, |head| {
        let read_state = if head.deleted {
            ReadState::default()
        } else {
            read_state_at(store, epoch, &head, user)
        };
        (state_of(store, epoch, head), read_state)
    })
}

fn state_of(store: &dyn Store, epoch: Epoch, head: ChannelHead) -> ChannelState {
    ChannelState {
        epoch,
        head: head.head,
        created_at_ms: head.created_at_ms,
        last_activity_ms: head.last_activity_ms,
        last_message: last_message(store, epoch, &head),
        properties: rows::read(store, &keys::properties(epoch)).unwrap_or_default(),
        member_count: head.member_count,
        deleted: head.deleted,
        channel: head.channel,
        kind: head.kind,
    }
}

/// Whether this shard has the channel's log, or had it.
#[must_use]
pub fn has_begun(store: &dyn Store, epoch: Epoch) -> bool {
    store.get(&keys::head(epoch)).is_some()
}

fn last_message(store: &dyn Store, epoch: Epoch, head: &ChannelHead) -> Option<MessagePreview> {
    if head.deleted {
        return None;
    }
    let offset = head.messages.last_live(store, Scope::top(epoch))?;
    let placed = message::read(store, epoch, offset).ok()?;
    let content = &placed.message.content;
    let cut = content
        .char_indices()
        .nth(PREVIEW_CHARS)
        .map_or(content.len(), |(at, _)| at);
    Some(MessagePreview {
        offset,
        content: content[..cut].into(),
        created_at_ms: placed.created_at_ms,
        sender: placed.message.sender,
    })
}

/// How far a user is in a channel.
///
/// # Errors
/// `ChannelGone`.
pub fn read_state(store: &dyn Store, epoch: Epoch, user: &UserId) -> Result<ReadState, Refusal> {
    head::with(store, epoch, |head| {
        (!head.deleted).then(|| read_state_at(store, epoch, &head, user))
    })
    .flatten()
    .ok_or(Refusal::ChannelGone)
}

fn read_state_at(store: &dyn Store, epoch: Epoch, head: &ChannelHead, user: &UserId) -> ReadState {
    let scope = Scope::top(epoch);
    let row = reader::read(store, scope, user);
    row.state(store, scope, user, &head.messages)
}

/// How a thread stands for a user. Any top-level message is the root of a
/// thread, which may be empty.
///
/// # Errors
/// `ChannelGone`, `NoSuchMessage`, `RootIsReply`.
pub fn thread_info(
    store: &dyn Store,
    epoch: Epoch,
    root: Offset,
    user: &UserId,
) -> Result<ThreadInfo, Refusal> {
    head::with(store, epoch, |head| {
        if head.deleted {
            return Err(Refusal::ChannelGone);
        }
        message::read_root(store, epoch, root)?;
        let row = reader::read(store, Scope::of(epoch, Some(root)), user);
        let thread = thread::read(store, epoch, root);
        Ok(thread.info(store, (&head.channel, epoch), root, user, &row))
    })
    .unwrap_or(Err(Refusal::ChannelGone))
}

/// How far users are in a channel or in a thread, in order of their ids: who
/// joined, posted or moved a cursor, and was not seen leaving since.
///
/// # Errors
/// `ChannelGone`.
pub fn cursors(
    store: &dyn Store,
    epoch: Epoch,
    thread: Option<Offset>,
    after: Option<&UserId>,
    limit: u16,
) -> Result<CursorPage, Refusal> {
    head::read_live(store, epoch)?;
    let scope = Scope::of(epoch, thread);
    let prefix = keys::readers(scope);
    let from = match after {
        None => prefix.clone(),
        Some(user) => {
            let mut key = keys::reader(scope, user);
            // No id holds a zero byte, so this is the first key after the user's.
            key.push(0);
            key
        }
    };
    let limit = page_limit(limit, PAGE_ITEMS_DEFAULT);
    let mut page = PackedBuilder::new();
    let mut more = false;
    store.scan(
        &from,
        &keys::end_of(&prefix),
        Direction::Forward,
        &mut |key, value| {
            let row: Reader = rows::parse(value);
            let shown = row.delivered > Offset(0) && (row.member || thread.is_some());
            if !shown {
                return std::ops::ControlFlow::Continue(());
            }
            if page.len() == limit {
                more = true;
                return std::ops::ControlFlow::Break(());
            }
            page.push(&MemberCursor {
                user: keys::reader_user(key),
                read: row.read,
                delivered: row.delivered,
            });
            std::ops::ControlFlow::Continue(())
        },
    );
    Ok(CursorPage {
        cursors: page.finish(),
        more,
    })
}

/// Deleted channels that still have rows, at most `limit`: whoever leads the
/// shard proposes `Purge` for each until there is no more.
#[must_use]
pub fn pending_purges(store: &dyn Store, limit: usize) -> Vec<(ChannelId, Epoch)> {
    rows::list(
        store,
        &keys::all_purging(),
        Direction::Forward,
        limit,
        |key, value| (rows::parse(value), Epoch(keys::last_number(key).0)),
    )
}
