//! Every key of a shard, made and read here only.
//!
//! A key is the epoch, a table's byte and its parts; an epoch names its channel,
//! so all of a channel lies together and is purged as one range. Numbers are
//! big-endian, so they sort. Texts that another part follows end with a zero
//! byte, which no id may hold. Epoch 0, which no channel ever has, holds what
//! belongs to the shard as a whole. The workspace and the group are in the
//! prefix that storage puts before these keys.

use confab_protocol::id::{ClientMessageId, DeviceId, UserId};
use confab_protocol::position::{Epoch, Offset, Sequence};

/// The tables. A number keeps its meaning for ever.
#[derive(Clone, Copy)]
enum Table {
    Head = 1,
    Properties = 2,
    Event = 3,
    Version = 4,
    Sequence = 5,
    ClientId = 6,
    Reader = 7,
    Thread = 8,
    Reactions = 9,
    ReactionUser = 10,
    ReactionOrder = 11,
    Pin = 12,
    SetBlock = 13,
    SetCounts = 14,
    Purging = 15,
}

/// Where the shard's own rows are.
const SHARD: Epoch = Epoch(0);

/// The top level of a channel, or one of its threads: what has messages,
/// readers and counts of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Scope {
    pub(super) epoch: Epoch,
    /// The thread's root; 0 for the top level.
    root: Offset,
}

impl Scope {
    pub(super) const fn top(epoch: Epoch) -> Self {
        Self {
            epoch,
            root: Offset(0),
        }
    }

    pub(super) fn of(epoch: Epoch, thread: Option<Offset>) -> Self {
        Self {
            epoch,
            root: thread.unwrap_or_default(),
        }
    }

    pub(super) fn thread(self) -> Option<Offset> {
        (self.root != Offset(0)).then_some(self.root)
    }
}

/// Which set of offsets; see [`super::offset_set`].
#[derive(Clone, Copy, Debug)]
pub(super) enum SetKind {
    All = 1,
    Live = 2,
    Everyone = 3,
    Own = 4,
    Mentioned = 5,
    OwnEveryone = 6,
}

/// One set: a scope's, or a user's within a scope.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetName<'a> {
    pub(super) scope: Scope,
    pub(super) kind: SetKind,
    pub(super) user: Option<&'a UserId>,
}

struct Key(Vec<u8>);

impl Key {
    fn new(epoch: Epoch, table: Table) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(&epoch.0.to_be_bytes());
        bytes.push(table as u8);
        Self(bytes)
    }

    fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    fn ended(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        self
    }

    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn set(self, name: &SetName<'_>) -> Self {
        let key = self.number(name.scope.root.0).byte(name.kind as u8);
        match name.user {
            Some(user) => key.ended(user.as_str()),
            None => key,
        }
    }
}

pub(super) fn head(epoch: Epoch) -> Vec<u8> {
    Key::new(epoch, Table::Head).0
}

pub(super) fn properties(epoch: Epoch) -> Vec<u8> {
    Key::new(epoch, Table::Properties).0
}

pub(super) fn event(epoch: Epoch, offset: Offset) -> Vec<u8> {
    Key::new(epoch, Table::Event).number(offset.0).0
}

pub(super) fn event_offset(key: &[u8]) -> Offset {
    last_number(key).into()
}

pub(super) fn version(epoch: Epoch, message: Offset, version: u32) -> Vec<u8> {
    let mut key = Key::new(epoch, Table::Version).number(message.0).0;
    key.extend_from_slice(&version.to_be_bytes());
    key
}

pub(super) fn sequence(
    epoch: Epoch,
    sender: &UserId,
    device: &DeviceId,
    sequence: Sequence,
) -> Vec<u8> {
    Key::new(epoch, Table::Sequence)
        .ended(sender.as_str())
        .ended(device.as_str())
        .number(sequence.0)
        .0
}

pub(super) fn client_id(epoch: Epoch, sender: &UserId, id: &ClientMessageId) -> Vec<u8> {
    Key::new(epoch, Table::ClientId)
        .ended(sender.as_str())
        .text(id.as_str())
        .0
}

pub(super) fn reader(scope: Scope, user: &UserId) -> Vec<u8> {
    let mut key = readers(scope);
    key.extend_from_slice(user.as_str().as_bytes());
    key
}

/// The prefix of all readers of a scope.
pub(super) fn readers(scope: Scope) -> Vec<u8> {
    Key::new(scope.epoch, Table::Reader).number(scope.root.0).0
}

/// Whose row a key of [`reader`] names.
pub(super) fn reader_user(key: &[u8]) -> UserId {
    std::str::from_utf8(&key[17..])
        .ok()
        .and_then(|text| UserId::new(text).ok())
        .expect("a reader's key ends with the id it was made of")
}

pub(super) fn thread(epoch: Epoch, root: Offset) -> Vec<u8> {
    Key::new(epoch, Table::Thread).number(root.0).0
}

pub(super) fn reactions(epoch: Epoch, message: Offset) -> Vec<u8> {
    Key::new(epoch, Table::Reactions).number(message.0).0
}

pub(super) fn reaction_user(
    epoch: Epoch,
    message: Offset,
    emoji_number: u64,
    user: &UserId,
) -> Vec<u8> {
    Key::new(epoch, Table::ReactionUser)
        .number(message.0)
        .number(emoji_number)
        .text(user.as_str())
        .0
}

pub(super) fn reaction_order(
    epoch: Epoch,
    message: Offset,
    emoji_number: u64,
    order: u64,
) -> Vec<u8> {
    Key::new(epoch, Table::ReactionOrder)
        .number(message.0)
        .number(emoji_number)
        .number(order)
        .0
}

pub(super) fn pin(epoch: Epoch, pinned_at: Offset) -> Vec<u8> {
    Key::new(epoch, Table::Pin).number(pinned_at.0).0
}

/// The prefix of all pins of a channel.
pub(super) fn pins(epoch: Epoch) -> Vec<u8> {
    Key::new(epoch, Table::Pin).0
}

pub(super) fn set_block(name: &SetName<'_>, block: u64) -> Vec<u8> {
    Key::new(name.scope.epoch, Table::SetBlock)
        .set(name)
        .number(block)
        .0
}

pub(super) fn set_counts(name: &SetName<'_>, span: u64) -> Vec<u8> {
    Key::new(name.scope.epoch, Table::SetCounts)
        .set(name)
        .number(span)
        .0
}

/// The big-endian number that a key ends with.
pub(super) fn last_number(key: &[u8]) -> Number {
    let tail = key
        .last_chunk::<8>()
        .expect("a key that ends with a number has 8 bytes");
    Number(u64::from_be_bytes(*tail))
}

/// A number read from a key.
pub(super) struct Number(pub(super) u64);

impl From<Number> for Offset {
    fn from(number: Number) -> Self {
        Self(number.0)
    }
}

/// Everything that a channel has.
pub(super) fn whole(epoch: Epoch) -> Vec<u8> {
    epoch.0.to_be_bytes().to_vec()
}

/// A deleted channel whose rows are not all gone.
pub(super) fn purging(epoch: Epoch) -> Vec<u8> {
    Key::new(SHARD, Table::Purging).number(epoch.0).0
}

/// The prefix of all channels to be purged.
pub(super) fn all_purging() -> Vec<u8> {
    Key::new(SHARD, Table::Purging).0
}

/// Whether a channel may have this epoch.
pub(super) fn is_channel(epoch: Epoch) -> bool {
    epoch != SHARD
}

/// The first key after all that start with `prefix`.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Tables are numbered far below 255, so no key is larger than this.
    let mut end = prefix.to_vec();
    end.push(u8::MAX);
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A scan of one thing must never run into its neighbour.
    #[test]
    fn a_prefix_ends_before_its_neighbour() {
        for (epoch, next) in [(7, 8), (255, 256), (u64::MAX - 1, u64::MAX)] {
            let end = end_of(&whole(Epoch(epoch)));
            assert!(event(Epoch(epoch), Offset(u64::MAX)) < end);
            assert!(head(Epoch(next)) >= end);
        }
        assert!(event(Epoch(u64::MAX), Offset(u64::MAX)) < end_of(&whole(Epoch(u64::MAX))));
    }

    #[test]
    fn keys_sort_as_offsets_do() {
        let keys: Vec<_> = [1, 255, 256, 1 << 40]
            .map(|offset| event(Epoch(3), Offset(offset)))
            .to_vec();
        assert!(keys.is_sorted());
        assert_eq!(event_offset(&keys[3]), Offset(1 << 40));
    }
}
