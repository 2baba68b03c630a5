//! Requests about who is there and who types, which never touch a log.

use confab_protocol::message::Answer;
use confab_protocol::message::channel::Post;
use confab_protocol::message::presence::{CloseChannel, OpenChannel, Typing, WatchPresence};
use confab_protocol::{ChannelId, Epoch, ErrorCode, WireError};
use std::sync::atomic::Ordering;

use super::request::{Accepted, Requests, done};

/// How often posts alone need to show that a user is active.
const ACTIVITY_INTERVAL_MS: u64 = 10_000;

impl Requests {
    pub(super) fn watch_presence(&self, body: &WatchPresence) -> Result<Accepted, WireError> {
        let now = self.0.presence.watch(body)?;
        Ok(Accepted::Answer(Box::new(Answer::Presences(now))))
    }

    pub(super) fn open_channel(&self, body: &OpenChannel) -> Result<Accepted, WireError> {
        let inner = &*self.0;
        let Some(epoch) = self.epoch_of(&body.channel) else {
            return Err(WireError::new(
                ErrorCode::NotFound,
                "there is no such channel, or you are not a member of it",
            ));
        };
        inner.attachment.open(epoch);
        let now = inner.presence.open_channel(&body.channel);
        Ok(Accepted::Answer(Box::new(Answer::Presences(now))))
    }

    pub(super) fn close_channel(&self, body: &CloseChannel) -> Accepted {
        let inner = &*self.0;
        inner.presence.close_channel(&body.channel);
        if let Some(epoch) = self.epoch_of(&body.channel) {
            inner.attachment.close(epoch);
        }
        done()
    }

    /// Passes on that the user types, if the user may. There is no answer, so
    /// who may not is not told.
    pub(super) async fn typing(&self, body: &Typing) {
        let inner = &*self.0;
        let place = inner.services.router.may_type(&inner.actor, &body.channel);
        if let Some(place) = place.await {
            inner.has_typed.store(true, Ordering::Relaxed);
            inner.presence.typing(body, &inner.name, place.member_count);
        }
    }

    /// A post shows that its user is there, and ends typing where it goes.
    /// Presence has one lock for the node, so a stream of posts seldom asks it.
    pub(super) fn was_active(&self, post: &Post) {
        let inner = &*self.0;
        let now_ms = super::now_ms();
        let last_ms = inner.last_active_ms.load(Ordering::Relaxed);
        let is_due = now_ms.saturating_sub(last_ms) >= ACTIVITY_INTERVAL_MS;
        if inner.has_typed.swap(false, Ordering::Relaxed) || is_due {
            inner.last_active_ms.store(now_ms, Ordering::Relaxed);
            inner.presence.posted(&post.channel, post.thread_root);
        }
    }

    /// The life of a channel's log, if the user is a member.
    fn epoch_of(&self, channel: &ChannelId) -> Option<Epoch> {
        let directory = self.0.services.router.lookup().directory();
        directory.role_of(channel, &self.0.actor.user)?;
        Some(directory.channel(channel)?.epoch)
    }
}
