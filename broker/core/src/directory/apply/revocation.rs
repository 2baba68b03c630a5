//! Revoked tokens. A revocation is kept until the token has expired anyway.

use std::ops::ControlFlow;

use confab_protocol::UserId;
use confab_protocol::codec::Text;

use super::Part;
use super::step::Step;
use crate::directory::reply::RefusalReason;
use crate::directory::{TOKEN_ID_BYTES_MAX, keys};
use crate::store::Store;

/// How long after its token's `exp` a revocation is kept, in seconds: more than
/// any clock's error and leeway.
const KEEP_S: u64 = 3_600;

/// Most expired revocations that one command clears away.
const PRUNED_AT_ONCE: usize = 64;

impl<S: Store> Step<'_, S> {
    /// A user that is not known yet can be revoked too.
    pub(super) fn revoke_user_tokens(&mut self, user: &UserId, issued_before: u64) -> bool {
        let before = self.view().issued_before(user);
        if before.is_some_and(|before| before >= issued_before) {
            return false;
        }
        self.look_at(user);
        self.put(&keys::revoked_user(user), &issued_before);
        true
    }

    pub(super) fn revoke_token(&mut self, token_id: Text, expires_at: u64) -> Part {
        if !(1..=TOKEN_ID_BYTES_MAX).contains(&token_id.len()) {
            return Err(RefusalReason::BadTokenId);
        }
        self.prune_revocations();
        let key = keys::revoked_token(&token_id);
        let before: Option<u64> = self.view().record(&key);
        if before.is_some_and(|before| before >= expires_at) {
            return Ok(false);
        }
        if let Some(before) = before {
            self.delete(&keys::revoked_token_expiry(before, &token_id));
        }
        self.put(&key, &expires_at);
        self.put(&keys::revoked_token_expiry(expires_at, &token_id), &());
        self.revoked_tokens.push(token_id);
        Ok(true)
    }

    fn prune_revocations(&mut self) {
        let expired_before = (self.at_ms / 1_000).saturating_sub(KEEP_S);
        let range = keys::revoked_tokens_expiring(expired_before);
        let mut expired: Vec<Text> = Vec::new();
        self.view().walk(&range, |token_id, _| {
            expired.push(Text::from(token_id));
            match expired.len() < PRUNED_AT_ONCE {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        });
        for token_id in expired {
            let key = keys::revoked_token(&token_id);
            if let Some(expires_at) = self.view().record::<u64>(&key) {
                self.delete(&keys::revoked_token_expiry(expires_at, &token_id));
            }
            self.delete(&key);
        }
    }
}
