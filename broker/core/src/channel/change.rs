//! Showing in a log what the directory changed.
//!
//! The directory hands its changes over at least once and in order; what the
//! log shows already is skipped, also after the channel was deleted and purged.
//!
//! Who is added starts with everything before read: the history can be paged,
//! but a channel of a million messages does not greet a new member with a
//! million unread ones. The event lists the first 100 users of a bulk change and
//! counts all of them.

use confab_protocol::id::UserId;
use confab_protocol::limits::MEMBERS_LISTED_MAX as LISTED;
use confab_protocol::message::event::{Change, Member};
use confab_protocol::position::Offset;

use super::command::{Command, Show};
use super::head::{self, Log};
use super::keys::{self, Scope};
use super::record::{ChannelHead, Messages, StoredChange};
use super::reply::{Applied, Output, Refusal, Reply};
use super::rows;
use crate::directory::{ChannelChangeKind, MembersDelta, StoredProperties};
use crate::store::StoreMut;

/// Shows one change of the directory.
pub(super) fn show(
    store: &mut dyn StoreMut,
    command: &Command,
    show: &Show,
) -> Result<Applied, Refusal> {
    if !keys::is_channel(command.epoch) {
        return Err(Refusal::ChannelGone);
    }
    let number = (command.directory_index, show.ordinal);
    let head = match head::read(&*store, command.epoch) {
        Some(head) if head.channel != command.channel => return Err(Refusal::ChannelGone),
        Some(head) if head.shown >= number => {
            let log = Log::new(store, command.epoch, head, command.at_ms);
            let reply = shown(&log);
            return Ok(log.close(reply));
        }
        Some(head) if head.deleted => return Err(Refusal::ChannelGone),
        Some(head) => head,
        None if matches!(show.what, ChannelChangeKind::Created { .. }) => first_head(command, show),
        None => return Err(Refusal::ChannelGone),
    };
    let mut log = Log::new(store, command.epoch, head, command.at_ms);
    log.head_mut().shown = number;
    match &show.what {
        ChannelChangeKind::Created {
            properties,
            members,
        } => {
            update(&mut log, command, show, properties);
            change_members(&mut log, command, show, members);
        }
        ChannelChangeKind::Updated { properties } => {
            update(&mut log, command, show, properties);
        }
        ChannelChangeKind::Members(members) => change_members(&mut log, command, show, members),
        ChannelChangeKind::Deleted => delete(&mut log),
    }
    let reply = shown(&log);
    Ok(log.close(reply))
}

fn shown(log: &Log<'_>) -> Reply {
    Reply::Shown {
        position: log.position(),
        member_count: log.head.member_count,
    }
}

fn first_head(command: &Command, show: &Show) -> ChannelHead {
    ChannelHead {
        channel: command.channel.clone(),
        kind: show.kind,
        head: Offset(0),
        last_at_ms: 0,
        created_at_ms: command.at_ms,
        last_activity_ms: command.at_ms,
        member_count: 0,
        archived: false,
        deleted: false,
        shown: (0, 0),
        messages: Messages::default(),
    }
}

fn update(log: &mut Log<'_>, command: &Command, show: &Show, properties: &StoredProperties) {
    log.head_mut().archived = properties.archived_at_ms.is_some();
    rows::write(log.store, &keys::properties(log.epoch), properties);
    log.append(
        StoredChange::Updated {
            by: show.by.clone(),
            properties: properties.clone(),
            directory_index: command.directory_index,
        },
        Change::ChannelUpdated {
            by: show.by.clone(),
            properties: properties.to_wire(),
            directory_index: command.directory_index,
        },
    );
}

fn change_members(log: &mut Log<'_>, command: &Command, show: &Show, delta: &MembersDelta) {
    log.head_mut().member_count = delta.member_count;
    let stored = StoredChange::MembersChanged {
        by: show.by.clone(),
        added: delta.added.iter().take(LISTED).cloned().collect(),
        removed: delta.removed.iter().take(LISTED).cloned().collect(),
        added_count: delta.added_count,
        removed_count: delta.removed_count,
        member_count: delta.member_count,
        directory_index: command.directory_index,
    };
    let wire = Change::MembersChanged {
        by: show.by.clone(),
        added: delta
            .added
            .iter()
            .take(LISTED)
            .map(|(user, role)| Member {
                user: user.clone(),
                role: *role,
            })
            .collect(),
        removed: delta.removed.iter().take(LISTED).cloned().collect(),
        added_count: delta.added_count,
        removed_count: delta.removed_count,
        member_count: delta.member_count,
        directory_index: command.directory_index,
    };
    let offset = log.append(stored, wire);
    for (user, _) in &delta.added {
        join(log, user, offset);
    }
    for user in &delta.removed {
        leave(log, user);
    }
}

/// A new member has read everything; one with a new role stays where it is.
fn join(log: &mut Log<'_>, user: &UserId, offset: Offset) {
    log.with_reader(Scope::top(log.epoch), user, |reader, _| {
        if !reader.member {
            reader.member = true;
            reader.advance(offset, offset);
        }
    });
}

fn leave(log: &mut Log<'_>, user: &UserId) {
    log.with_reader(Scope::top(log.epoch), user, |reader, _| {
        reader.member = false;
    });
}

/// Hides the channel at once and notes it to be purged.
fn delete(log: &mut Log<'_>) {
    log.head_mut().deleted = true;
    let channel = log.head.channel.clone();
    rows::write(log.store, &keys::purging(log.epoch), &channel);
    log.output(Output::Gone {
        channel,
        epoch: log.epoch,
    });
}
