//! One message: as it stands, its versions, and what rights are checked on.

use confab_protocol::codec::{PackedBuilder, encode};
use confab_protocol::id::UserId;
use confab_protocol::limits::PAGE_BYTES_SOFT_MAX;
use confab_protocol::message::channel::MessageInfo;
use confab_protocol::message::event::MessageVersion;
use confab_protocol::position::{Epoch, Offset};

use crate::channel::reply::Refusal;
use crate::channel::{edit, head, message};
use crate::store::Store;

/// What decides who may change a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MessageFacts {
    /// Who sent it.
    pub sender: UserId,
    /// When, in Unix milliseconds.
    pub created_at_ms: u64,
    /// The root when it is a reply.
    pub thread_root: Option<Offset>,
    /// Whether it is a tombstone.
    pub deleted: bool,
    /// 1 as posted, one more for every edit.
    pub version: u32,
}

/// What decides who may change a message; of it, only the version and the
/// deletion ever change.
///
/// # Errors
/// `ChannelGone`, `NoSuchMessage`.
pub fn message_facts(
    store: &dyn Store,
    epoch: Epoch,
    offset: Offset,
) -> Result<MessageFacts, Refusal> {
    head::read_live(store, epoch)?;
    let placed = message::read(store, epoch, offset)?;
    Ok(MessageFacts {
        created_at_ms: placed.created_at_ms,
        thread_root: placed.message.thread_root,
        deleted: placed.message.deleted_at_ms.is_some(),
        version: placed.message.version,
        sender: placed.message.sender,
    })
}

/// A message as it stands, a tombstone too. `versions` asks for its earlier
/// versions, oldest first: the newest of them that fit into a page.
///
/// # Errors
/// `ChannelGone`, `NoSuchMessage`.
pub fn message(
    store: &dyn Store,
    epoch: Epoch,
    offset: Offset,
    versions: bool,
) -> Result<MessageInfo, Refusal> {
    head::read_live(store, epoch)?;
    let placed = message::read(store, epoch, offset)?;
    let mut info = MessageInfo {
        message: placed.to_wire(store, epoch),
        versions: PackedBuilder::new().finish(),
    };
    if versions {
        info.versions = earlier_versions(store, epoch, offset, placed.message.version)
            .into_iter()
            .rev()
            .collect();
    }
    Ok(info)
}

/// The versions before `version` that fit into a page, newest first.
fn earlier_versions(
    store: &dyn Store,
    epoch: Epoch,
    offset: Offset,
    version: u32,
) -> Vec<MessageVersion> {
    let mut bytes = 0;
    let mut found = Vec::new();
    for version in (1..version).rev() {
        // A deleted message has none.
        let Some(stored) = edit::read_version(store, epoch, offset, version) else {
            break;
        };
        let wire = MessageVersion {
            version,
            content: stored.content,
            written_at_ms: stored.written_at_ms,
        };
        bytes += encode(&wire).len();
        found.push(wire);
        if bytes > PAGE_BYTES_SOFT_MAX {
            break;
        }
    }
    found
}
