//! Merges layers of keys: an upper one over sled, which hides what it changes.

use std::cmp::Ordering;

use bytes::Bytes;

use super::overlay::Value;
use super::table::{StoredPair, TableError, TableRange};

/// Changed keys in the order of the scan.
pub(super) type Changes<'a> = Box<dyn Iterator<Item = (&'a Bytes, &'a Value)> + 'a>;

/// Two layers of changes as one; where both have a key, `upper` counts.
pub(super) fn over<'a>(upper: Changes<'a>, lower: Changes<'a>, reverse: bool) -> Changes<'a> {
    let (mut upper, mut lower) = (upper.peekable(), lower.peekable());
    Box::new(std::iter::from_fn(move || {
        let order = match (upper.peek(), lower.peek()) {
            (Some((above, _)), Some((below, _))) => in_order(above, below, reverse),
            (Some(_), None) => Ordering::Less,
            (None, _) => Ordering::Greater,
        };
        match order {
            Ordering::Less => upper.next(),
            Ordering::Equal => {
                lower.next();
                upper.next()
            }
            Ordering::Greater => lower.next(),
        }
    }))
}

/// Which of two keys a scan meets first.
fn in_order(left: &[u8], right: &[u8], reverse: bool) -> Ordering {
    if reverse {
        right.cmp(left)
    } else {
        left.cmp(right)
    }
}

/// Changes over what sled holds.
pub(super) struct Merged<'a> {
    changes: std::iter::Peekable<Changes<'a>>,
    stored: TableRange,
    next_stored: Option<StoredPair>,
    reverse: bool,
}

/// A pair that is there.
pub(super) enum Pair<'a> {
    Changed(&'a Bytes, &'a Bytes),
    Stored(StoredPair),
}

impl Pair<'_> {
    pub(super) fn parts(&self) -> (&[u8], &[u8]) {
        match self {
            Self::Changed(key, value) => (key, value),
            Self::Stored(pair) => (pair.key(), &pair.value),
        }
    }
}

impl<'a> Merged<'a> {
    pub(super) fn new(
        changes: Changes<'a>,
        stored: TableRange,
        reverse: bool,
    ) -> Result<Self, TableError> {
        let mut merged = Self {
            changes: changes.peekable(),
            stored,
            next_stored: None,
            reverse,
        };
        merged.advance_stored()?;
        Ok(merged)
    }

    fn advance_stored(&mut self) -> Result<Option<StoredPair>, TableError> {
        let next = if self.reverse {
            self.stored.next_pair_back()?
        } else {
            self.stored.next_pair()?
        };
        Ok(std::mem::replace(&mut self.next_stored, next))
    }

    pub(super) fn next_pair(&mut self) -> Result<Option<Pair<'a>>, TableError> {
        loop {
            let order = match (self.changes.peek(), &self.next_stored) {
                (None, None) => return Ok(None),
                (Some((changed, _)), Some(stored)) => in_order(changed, stored.key(), self.reverse),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            if order == Ordering::Greater {
                return Ok(self.advance_stored()?.map(Pair::Stored));
            }
            if order == Ordering::Equal {
                self.advance_stored()?;
            }
            if let Some((key, Some(value))) = self.changes.next() {
                return Ok(Some(Pair::Changed(key, value)));
            }
        }
    }
}
