//! A set of offsets that is counted exactly and walked both ways, cheaply.
//!
//! Offsets are grouped in blocks of 256 (a bitmap each) and spans of 256 blocks
//! (a list of the blocks' counts). The newest block lies within the set itself,
//! in a row that is written anyway, so adding at the end costs no write of its
//! own; older blocks and their counts are rows. Counting a million offsets
//! reads one block and about sixteen spans.

use confab_protocol::codec::{Decode, Encode};
use confab_protocol::position::Offset;

use super::keys::{self, SetName};
use super::rows;
use crate::store::{Direction, Store, StoreMut};

const BLOCK: u64 = 256;

/// Which of a block's offsets are in the set.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Encode, Decode)]
struct Bits([u64; 4]);

impl Bits {
    fn has(self, bit: u8) -> bool {
        self.0[usize::from(bit / 64)] >> (bit % 64) & 1 == 1
    }

    fn flip(&mut self, bit: u8) {
        self.0[usize::from(bit / 64)] ^= 1 << (bit % 64);
    }

    fn is_empty(self) -> bool {
        self.0 == [0; 4]
    }

    fn count(self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Those after `bit`.
    fn above(self, bit: u8) -> Self {
        let (word, place) = (usize::from(bit / 64), bit % 64);
        let mut above = self;
        above.0[..word].fill(0);
        // Two shifts, for one by 64 would overflow.
        above.0[word] = above.0[word] >> place >> 1 << place << 1;
        above
    }

    /// Those before `bit`.
    fn below(self, bit: u8) -> Self {
        let (word, place) = (usize::from(bit / 64), bit % 64);
        let mut below = self;
        below.0[word + 1..].fill(0);
        below.0[word] &= (1 << place) - 1;
        below
    }

    fn take_first(&mut self) -> Option<u8> {
        let word = self.0.iter().position(|word| *word != 0)?;
        let place = self.0[word].trailing_zeros();
        self.0[word] &= self.0[word] - 1;
        Some((word as u32 * 64 + place) as u8)
    }

    fn take_last(&mut self) -> Option<u8> {
        let word = self.0.iter().rposition(|word| *word != 0)?;
        let place = 63 - self.0[word].leading_zeros();
        self.0[word] ^= 1 << place;
        Some((word as u32 * 64 + place) as u8)
    }
}

/// How many offsets the blocks of one span hold.
///
/// Invariant: sorted by block, no count is 0, and no block is the set's newest.
#[derive(Clone, Debug, Default, Eq, PartialEq, Encode, Decode)]
struct Counts(Vec<(u8, u16)>);

impl Counts {
    fn sum(&self) -> u64 {
        self.0.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    fn set(&mut self, block: u8, count: u16) {
        match self.0.binary_search_by_key(&block, |(block, _)| *block) {
            Ok(place) if count == 0 => {
                self.0.remove(place);
            }
            Ok(place) => self.0[place].1 = count,
            Err(_) if count == 0 => {}
            Err(place) => self.0.insert(place, (block, count)),
        }
    }
}

fn split(offset: Offset) -> (u64, u8) {
    (offset.0 / BLOCK, (offset.0 % BLOCK) as u8)
}

fn join(block: u64, bit: u8) -> Offset {
    Offset(block * BLOCK + u64::from(bit))
}

fn split_block(block: u64) -> (u64, u8) {
    split(Offset(block))
}

/// The set: its size and its newest block; the rest is in rows.
///
/// Invariant: no offset is in a block after `block`, and there are no rows for
/// `block` and what follows it.
#[derive(Clone, Debug, Default, Eq, PartialEq, Encode, Decode)]
pub(super) struct OffsetSet {
    len: u64,
    block: u64,
    bits: Bits,
}

impl OffsetSet {
    /// How many offsets there are.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Adds an offset; answers whether it is new.
    pub(super) fn insert(
        &mut self,
        store: &mut dyn StoreMut,
        name: &SetName<'_>,
        offset: Offset,
    ) -> bool {
        let (block, bit) = split(offset);
        if block > self.block {
            if !self.bits.is_empty() {
                write_block(store, name, self.block, self.bits);
            }
            (self.block, self.bits) = (block, Bits::default());
        }
        let added = self.change(store, name, block, bit, true);
        self.len += u64::from(added);
        added
    }

    /// Removes an offset; answers whether it was there.
    pub(super) fn remove(
        &mut self,
        store: &mut dyn StoreMut,
        name: &SetName<'_>,
        offset: Offset,
    ) -> bool {
        let (block, bit) = split(offset);
        let removed = self.change(store, name, block, bit, false);
        self.len -= u64::from(removed);
        removed
    }

    fn change(
        &mut self,
        store: &mut dyn StoreMut,
        name: &SetName<'_>,
        block: u64,
        bit: u8,
        on: bool,
    ) -> bool {
        let mut bits = self.block_bits(store, name, block);
        if bits.has(bit) == on {
            return false;
        }
        bits.flip(bit);
        if block == self.block {
            self.bits = bits;
        } else {
            write_block(store, name, block, bits);
        }
        true
    }

    fn block_bits(&self, store: &dyn Store, name: &SetName<'_>, block: u64) -> Bits {
        match block.cmp(&self.block) {
            std::cmp::Ordering::Equal => self.bits,
            std::cmp::Ordering::Greater => Bits::default(),
            std::cmp::Ordering::Less if self.len == 0 => Bits::default(),
            std::cmp::Ordering::Less => {
                rows::read(store, &keys::set_block(name, block)).unwrap_or_default()
            }
        }
    }

    /// How many offsets are after `offset`.
    pub(super) fn count_above(&self, store: &dyn Store, name: &SetName<'_>, offset: Offset) -> u64 {
        let (block, bit) = split(offset);
        if offset == Offset(0) || self.len == 0 {
            // 0 is before the first offset.
            return self.len;
        }
        let within = self.block_bits(store, name, block).above(bit).count();
        if block >= self.block {
            return within;
        }
        let (span, place) = split_block(block);
        let near: u64 = read_counts(store, name, span)
            .0
            .iter()
            .filter(|(other, _)| *other > place)
            .map(|(_, count)| u64::from(*count))
            .sum();
        let far: u64 = self
            .spans_between(store, name, span + 1, usize::MAX, Direction::Forward)
            .iter()
            .map(|(_, counts)| counts.sum())
            .sum();
        within + near + far + self.bits.count()
    }

    fn spans_between(
        &self,
        store: &dyn Store,
        name: &SetName<'_>,
        from: u64,
        limit: usize,
        direction: Direction,
    ) -> Vec<(u64, Counts)> {
        let last = split_block(self.block).0;
        if from > last {
            return Vec::new();
        }
        let (from, to) = match direction {
            Direction::Forward => (from, last + 1),
            Direction::Reverse => (0, from),
        };
        rows::list_between(
            store,
            &keys::set_counts(name, from),
            &keys::set_counts(name, to),
            direction,
            limit,
            |key, value| (keys::last_number(key).0, rows::parse(value)),
        )
    }

    /// The newest offset.
    pub(super) fn last(&self, store: &dyn Store, name: &SetName<'_>) -> Option<Offset> {
        self.below(store, name, Offset(u64::MAX), 1).pop()
    }

    /// Up to `limit` offsets before `offset`, newest first.
    pub(super) fn below(
        &self,
        store: &dyn Store,
        name: &SetName<'_>,
        offset: Offset,
        limit: usize,
    ) -> Vec<Offset> {
        let mut found = Vec::new();
        if self.len == 0 {
            return found;
        }
        let (block, bit) = split(offset);
        let (mut block, mut bits) = if block > self.block {
            (self.block, self.bits)
        } else {
            (block, self.block_bits(store, name, block).below(bit))
        };
        while found.len() < limit {
            if let Some(bit) = bits.take_last() {
                found.push(join(block, bit));
                continue;
            }
            let Some(older) = self.block_below(store, name, block) else {
                break;
            };
            (block, bits) = (older, self.block_bits(store, name, older));
        }
        found
    }

    fn block_below(&self, store: &dyn Store, name: &SetName<'_>, block: u64) -> Option<u64> {
        let (span, place) = split_block(block);
        let counts = read_counts(store, name, span);
        if let Some((older, _)) = counts.0.iter().rev().find(|(other, _)| *other < place) {
            return Some(span * BLOCK + u64::from(*older));
        }
        let (span, counts) = self
            .spans_between(store, name, span, 1, Direction::Reverse)
            .pop()?;
        let (older, _) = counts.0.last()?;
        Some(span * BLOCK + u64::from(*older))
    }

    /// Up to `limit` offsets after `offset`, oldest first.
    pub(super) fn above(
        &self,
        store: &dyn Store,
        name: &SetName<'_>,
        offset: Offset,
        limit: usize,
    ) -> Vec<Offset> {
        let mut found = Vec::new();
        if self.len == 0 {
            return found;
        }
        let (mut block, bit) = split(offset);
        let mut bits = self.block_bits(store, name, block).above(bit);
        while found.len() < limit {
            if let Some(bit) = bits.take_first() {
                found.push(join(block, bit));
                continue;
            }
            let Some(newer) = self.block_above(store, name, block) else {
                break;
            };
            (block, bits) = (newer, self.block_bits(store, name, newer));
        }
        found
    }

    fn block_above(&self, store: &dyn Store, name: &SetName<'_>, block: u64) -> Option<u64> {
        if block >= self.block {
            return None;
        }
        let (span, place) = split_block(block);
        let counts = read_counts(store, name, span);
        if let Some((newer, _)) = counts.0.iter().find(|(other, _)| *other > place) {
            return Some(span * BLOCK + u64::from(*newer));
        }
        let next = self
            .spans_between(store, name, span + 1, 1, Direction::Forward)
            .pop();
        match next.as_ref().and_then(|(span, counts)| {
            let (newer, _) = counts.0.first()?;
            Some(span * BLOCK + u64::from(*newer))
        }) {
            Some(newer) => Some(newer),
            None => Some(self.block),
        }
    }
}

fn read_counts(store: &dyn Store, name: &SetName<'_>, span: u64) -> Counts {
    rows::read(store, &keys::set_counts(name, span)).unwrap_or_default()
}

/// Writes an older block, and its count in its span.
fn write_block(store: &mut dyn StoreMut, name: &SetName<'_>, block: u64, bits: Bits) {
    let block_key = keys::set_block(name, block);
    if bits.is_empty() {
        store.delete(&block_key);
    } else {
        rows::write(store, &block_key, &bits);
    }
    let (span, place) = split_block(block);
    let counts_key = keys::set_counts(name, span);
    let mut counts: Counts = rows::read(store, &counts_key).unwrap_or_default();
    // A block has 256 offsets, so its count fits.
    counts.set(place, bits.count() as u16);
    if counts.0.is_empty() {
        store.delete(&counts_key);
    } else {
        rows::write(store, &counts_key, &counts);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use confab_protocol::position::Epoch;
    use proptest::prelude::*;

    use super::*;
    use crate::channel::keys::{Scope, SetKind};
    use crate::store::MemoryStore;

    const NAME: SetName<'static> = SetName {
        scope: Scope::top(Epoch(1)),
        kind: SetKind::Live,
        user: None,
    };

    /// Offsets near each other, at the edges of blocks and spans, and far away.
    fn offset() -> impl Strategy<Value = u64> {
        prop_oneof![
            1u64..600,
            (1u64..400, 0u64..3).prop_map(|(block, bit)| block * 256 + bit - 1),
            (1u64..6, 0u64..3).prop_map(|(span, bit)| span * 65_536 + bit - 1),
        ]
    }

    fn as_offsets(items: impl Iterator<Item = u64>) -> Vec<Offset> {
        items.map(Offset).collect()
    }

    proptest! {
        /// Unread counts and pages stand on this: it must agree with a plain set.
        #[test]
        fn a_set_agrees_with_a_plain_one(
            steps in prop::collection::vec((offset(), prop::bool::weighted(0.7)), 1..120),
            probes in prop::collection::vec(prop_oneof![offset(), Just(0), Just(u64::MAX)], 1..20),
        ) {
            let mut store = MemoryStore::new();
            let mut set = OffsetSet::default();
            let mut plain = BTreeSet::new();
            for (offset, add) in steps {
                if add {
                    prop_assert_eq!(set.insert(&mut store, &NAME, Offset(offset)), plain.insert(offset));
                } else {
                    prop_assert_eq!(set.remove(&mut store, &NAME, Offset(offset)), plain.remove(&offset));
                }
                prop_assert_eq!(set.len(), plain.len() as u64);
                prop_assert_eq!(set.last(&store, &NAME), plain.last().copied().map(Offset));
            }
            for probe in probes {
                let above = || plain.range((std::ops::Bound::Excluded(probe), std::ops::Bound::Unbounded)).copied();
                prop_assert_eq!(set.count_above(&store, &NAME, Offset(probe)), above().count() as u64);
                for limit in [1, 7, 1000] {
                    prop_assert_eq!(
                        set.above(&store, &NAME, Offset(probe), limit),
                        as_offsets(above().take(limit))
                    );
                    prop_assert_eq!(
                        set.below(&store, &NAME, Offset(probe), limit),
                        as_offsets(plain.range(..probe).rev().copied().take(limit))
                    );
                }
            }
        }
    }

    /// What is empty leaves nothing behind.
    #[test]
    fn rows_go_with_the_last_offset() {
        let mut store = MemoryStore::new();
        let mut set = OffsetSet::default();
        for offset in 1..2_000 {
            set.insert(&mut store, &NAME, Offset(offset));
        }
        for offset in 1..2_000 {
            assert!(set.remove(&mut store, &NAME, Offset(offset)));
        }
        assert_eq!(store, MemoryStore::new());
        assert_eq!(set.last(&store, &NAME), None);
    }
}
