//! When which timer ends.

use std::collections::{BTreeSet, HashMap};

use confab_protocol::UserId;

use super::super::SessionId;

/// What happens at a time.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub(super) enum Timer {
    /// A session may have become away, or gone.
    Session(SessionId),
    /// A session is to hear how things stand.
    First(SessionId),
    /// A user's ghost ends.
    Ghost(UserId),
    /// A user's change may be told.
    Tell(UserId),
}

/// One time for each timer.
///
/// Invariant: `queue` and `due` hold the same timers at the same times.
#[derive(Default)]
pub(super) struct Timers {
    pub(super) queue: BTreeSet<(u64, Timer)>,
    pub(super) due: HashMap<Timer, u64>,
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at_ms: u64) {
        self.clear(&timer);
        self.due.insert(timer.clone(), at_ms);
        self.queue.insert((at_ms, timer));
    }

    pub(super) fn set_earlier(&mut self, timer: Timer, at_ms: u64) {
        if self.due.get(&timer).is_none_or(|due| at_ms < *due) {
            self.set(timer, at_ms);
        }
    }

    pub(super) fn clear(&mut self, timer: &Timer) {
        if let Some(at_ms) = self.due.remove(timer) {
            self.queue.remove(&(at_ms, timer.clone()));
        }
    }

    pub(super) fn take_due(&mut self, now_ms: u64) -> Option<Timer> {
        let (at_ms, _) = self.queue.first()?;
        if *at_ms > now_ms {
            return None;
        }
        let (_, timer) = self.queue.pop_first()?;
        self.due.remove(&timer);
        Some(timer)
    }
}
