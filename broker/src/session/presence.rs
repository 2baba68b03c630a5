//! Requests about who is there and who types, which never touch a log.

use confab_protocol::limits::USERS_PER_REQUEST_MAX;
use confab_protocol::message::Answer;
use confab_protocol::message::presence::{CloseChannel, OpenChannel, Typing, WatchPresence};
use confab_protocol::{ErrorCode, WireError};

use super::request::{Accepted, Requests, done};

impl Requests {
    pub(super) fn watch_presence(&self, body: &WatchPresence) -> Result<Accepted, WireError> {
        if body.users.len() > USERS_PER_REQUEST_MAX {
            return Err(WireError::new(
                ErrorCode::TooLarge,
                format!(
                    "{} users to watch, at most {USERS_PER_REQUEST_MAX} are allowed",
                    body.users.len()
                ),
            ));
        }
        let now = self.0.presence.watch(body.users.to_vec());
        Ok(Accepted::Answer(Answer::Presences(now)))
    }

    pub(super) async fn open_channel(&self, body: &OpenChannel) -> Result<Accepted, WireError> {
        let inner = &*self.0;
        let router = &inner.services.router;
        let Some(place) = router.may_type(&inner.actor, &body.channel).await else {
            return Err(WireError::new(
                ErrorCode::NotFound,
                "there is no such channel, or you are not a member of it",
            ));
        };
        inner.attachment.open(place.epoch);
        let now = inner
            .presence
            .open_channel(&body.channel, place.member_count);
        Ok(Accepted::Answer(Answer::Presences(now)))
    }

    pub(super) async fn close_channel(&self, body: &CloseChannel) -> Result<Accepted, WireError> {
        let inner = &*self.0;
        inner.presence.close_channel(&body.channel);
        let place = inner.services.router.may_type(&inner.actor, &body.channel);
        if let Some(place) = place.await {
            inner.attachment.close(place.epoch);
        }
        Ok(done())
    }

    /// Passes on that the user types, if the user may. There is no answer, so
    /// who may not is not told.
    pub(super) async fn typing(&self, body: Typing) {
        let inner = &*self.0;
        let place = inner.services.router.may_type(&inner.actor, &body.channel);
        if let Some(place) = place.await {
            inner.presence.typing(body, place.member_count, &inner.name);
        }
    }
}
