//! What waits for the shards, and what is revoked.

use std::ops::ControlFlow;

use confab_protocol::UserId;

use super::{DirectoryView, Page, read};
use crate::directory::change::ChannelChange;
use crate::directory::keys;
use crate::store::{Direction, Store};

impl<S: Store> DirectoryView<'_, S> {
    /// The changes that a shard's logs may still lack, oldest first, after the
    /// change `(directory_index, ordinal)`; `None` begins at the oldest.
    #[must_use]
    pub fn pending_changes(
        &self,
        shard: u16,
        after: Option<(u64, u32)>,
        limit: usize,
    ) -> Page<ChannelChange> {
        let range = match after {
            Some((directory_index, ordinal)) => {
                keys::pending_after(shard, directory_index, ordinal)
            }
            None => keys::pending_through(shard, u64::MAX),
        };
        let mut page = Page {
            items: Vec::new(),
            more: false,
        };
        self.store.scan(
            &range.from,
            &range.to,
            Direction::Forward,
            &mut |_, value| {
                if page.items.len() == limit {
                    page.more = true;
                    return ControlFlow::Break(());
                }
                page.items.push(read(value));
                ControlFlow::Continue(())
            },
        );
        page
    }

    /// How many changes wait for a shard.
    #[must_use]
    pub fn pending_count(&self, shard: u16) -> u64 {
        self.record(&keys::pending_count(shard)).unwrap_or(0)
    }

    /// Whether every shard has said that it has all changes up to and with
    /// `directory_index`.
    #[must_use]
    pub fn is_propagated(&self, directory_index: u64) -> bool {
        (0..self.shards().unwrap_or(0)).all(|shard| {
            let range = keys::pending_through(shard, directory_index);
            let mut waits = false;
            self.store
                .scan(&range.from, &range.to, Direction::Forward, &mut |_, _| {
                    waits = true;
                    ControlFlow::Break(())
                });
            !waits
        })
    }

    /// Whether a token is revoked, by itself or with all of its user's.
    ///
    /// `token_id` is its `jti`, `issued_at` its `iat` in Unix seconds; a token
    /// without `iat` is revoked as soon as any of the user's tokens are.
    #[must_use]
    pub fn is_revoked(
        &self,
        user: &UserId,
        token_id: Option<&str>,
        issued_at: Option<u64>,
    ) -> bool {
        let with_the_user = self
            .issued_before(user)
            .is_some_and(|before| issued_at.is_none_or(|issued_at| issued_at < before));
        with_the_user || token_id.is_some_and(|token_id| self.holds(&keys::revoked_token(token_id)))
    }

    /// Tokens of a user that were issued before this, in Unix seconds, are revoked.
    #[must_use]
    pub fn issued_before(&self, user: &UserId) -> Option<u64> {
        self.record(&keys::revoked_user(user))
    }
}
