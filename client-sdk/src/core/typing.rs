//! Typing, both ways: as few frames out as needed, and nobody types for ever.
//!
//! Pure. Nothing here is durable: a lost connection forgets all of it.

use std::collections::BTreeMap;

use confab_protocol::message::presence::{Typing, TypingChanged};
use confab_protocol::{ChannelId, Offset, UserId};

/// Most places where this user types at once.
const PLACES_MAX: usize = 64;

/// Most users that are remembered as typing.
const TYPISTS_MAX: usize = 1_000;

type Place = (ChannelId, Option<Offset>);

#[derive(Debug)]
struct Own {
    repeat_at_ms: u64,
    stop_at_ms: u64,
}

/// Who types where.
#[derive(Debug)]
pub(super) struct TypingState {
    own: BTreeMap<Place, Own>,
    others: BTreeMap<(Place, UserId), (TypingChanged, u64)>,
    /// How often typing may be repeated, in milliseconds.
    pub(super) interval_ms: u64,
    /// When typing ends by itself, in milliseconds.
    pub(super) timeout_ms: u64,
}

impl Default for TypingState {
    fn default() -> Self {
        Self {
            own: BTreeMap::new(),
            others: BTreeMap::new(),
            interval_ms: 2_000,
            timeout_ms: 3_000,
        }
    }
}

impl TypingState {
    /// This user pressed a key; answers with what to send, if anything.
    pub(super) fn key(&mut self, now_ms: u64, place: Place) -> Option<Typing> {
        if self.own.len() >= PLACES_MAX && !self.own.contains_key(&place) {
            return None;
        }
        let stop_at_ms = now_ms + self.timeout_ms;
        let own = self.own.entry(place.clone()).or_insert(Own {
            repeat_at_ms: now_ms,
            stop_at_ms,
        });
        own.stop_at_ms = stop_at_ms;
        if own.repeat_at_ms > now_ms {
            return None;
        }
        own.repeat_at_ms = now_ms + self.interval_ms;
        Some(typing(place, true))
    }

    /// This user stopped, or posted what was typed.
    pub(super) fn stop(&mut self, place: Place) -> Option<Typing> {
        self.own.remove(&place).map(|_| typing(place, false))
    }

    /// Somebody types or stopped. Answers whether that is news.
    pub(super) fn heard(&mut self, now_ms: u64, change: &TypingChanged) -> bool {
        let key = ((change.channel.clone(), change.thread), change.user.clone());
        if !change.on {
            return self.others.remove(&key).is_some();
        }
        if self.others.len() >= TYPISTS_MAX && !self.others.contains_key(&key) {
            return false;
        }
        let until_ms = now_ms + self.timeout_ms;
        self.others
            .insert(key, (change.clone(), until_ms))
            .is_none()
    }

    /// What has ended by itself: frames to send and changes to tell.
    pub(super) fn expire(&mut self, now_ms: u64) -> (Vec<Typing>, Vec<TypingChanged>) {
        if self.deadline().is_none_or(|deadline| deadline > now_ms) {
            return (Vec::new(), Vec::new());
        }
        let stopped = self
            .own
            .extract_if(.., |_, own| own.stop_at_ms <= now_ms)
            .map(|(place, _)| typing(place, false))
            .collect();
        let heard = self
            .others
            .extract_if(.., |_, (_, until_ms)| *until_ms <= now_ms)
            .map(|(_, (change, _))| TypingChanged {
                on: false,
                ..change
            })
            .collect();
        (stopped, heard)
    }

    /// The connection is gone: nobody is heard any more.
    pub(super) fn connection_lost(&mut self) -> Vec<TypingChanged> {
        self.own.clear();
        std::mem::take(&mut self.others)
            .into_values()
            .map(|(change, _)| TypingChanged {
                on: false,
                ..change
            })
            .collect()
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        let own = self.own.values().map(|own| own.stop_at_ms);
        let others = self.others.values().map(|(_, until_ms)| *until_ms);
        own.chain(others).min()
    }
}

fn typing((channel, thread): Place, on: bool) -> Typing {
    Typing {
        channel,
        thread,
        on,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::TypingState;
    use confab_protocol::ChannelId;
    use confab_protocol::message::presence::TypingChanged;

    /// A key a second for five seconds, then silence: on, repeated every two
    /// seconds, off three seconds after the last key.
    #[test]
    fn keys_become_few_frames() {
        let mut state = TypingState::default();
        let place = || (ChannelId::general(), None);
        let sent: Vec<bool> = (0..5)
            .map(|second| state.key(second * 1_000, place()).is_some())
            .collect();
        assert_eq!(sent, [true, false, true, false, true]);
        assert_eq!(state.deadline(), Some(7_000));
        assert!(state.expire(6_999).0.is_empty());
        let stopped = state.expire(7_000).0;
        assert!(matches!(&stopped[..], [typing] if !typing.on));
        assert!(state.stop(place()).is_none());
    }

    /// The 'off' of another user may be lost with its datagram.
    #[test]
    fn nobody_types_for_ever() {
        let mut state = TypingState::default();
        let change = TypingChanged {
            channel: ChannelId::general(),
            thread: None,
            user: confab_protocol::UserId::new("u").unwrap(),
            name: "U".into(),
            on: true,
        };
        assert!(state.heard(0, &change));
        assert!(!state.heard(2_000, &change));
        assert!(state.expire(4_999).1.is_empty());
        assert!(matches!(&state.expire(5_000).1[..], [ended] if !ended.on));
    }
}
