//! No faster than the server takes messages, so that few have to be refused.
//!
//! GCRA, the generic cell rate algorithm (ITU-T I.371): the server's own
//! arithmetic, on the client's clock. Other devices of the user share the
//! server's bucket, so this only makes refusals rare.

/// When the next message may go out.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Between two messages, in microseconds; 0 for no limit.
    interval_us: u64,
    /// How far ahead of its time a message may be.
    tolerance_us: u64,
    /// When the next message would be exactly on time.
    on_time_us: u64,
}

impl Pace {
    /// Takes over the server's limits.
    pub(super) fn set(&mut self, per_second: u32, burst: u32) {
        // Not known, or faster than the clock can tell.
        self.interval_us = match per_second {
            0 => 0,
            per_second => 1_000_000 / u64::from(per_second),
        };
        self.tolerance_us = self.interval_us * u64::from(burst.max(1) - 1);
    }

    /// When a message may go out, in milliseconds: now or later.
    pub(super) const fn ready_at(&self, now_ms: u64) -> u64 {
        let at_ms = self
            .on_time_us
            .saturating_sub(self.tolerance_us)
            .div_ceil(1_000);
        if at_ms > now_ms { at_ms } else { now_ms }
    }

    /// A message goes out.
    pub(super) fn sent(&mut self, now_ms: u64) {
        self.on_time_us = self.on_time_us.max(now_ms * 1_000) + self.interval_us;
    }

    /// The server says that there is no room until a time.
    pub(super) fn refused(&mut self, until_ms: u64) {
        if self.interval_us > 0 {
            let empty_us = until_ms * 1_000 + self.tolerance_us;
            self.on_time_us = self.on_time_us.max(empty_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;

    /// A burst goes at once, what is beyond it at the server's pace.
    #[test]
    fn bursts_then_an_even_pace() {
        let mut pace = Pace::default();
        pace.set(10, 20);
        let mut at_ms = 5_000;
        let mut sent = Vec::new();
        for _ in 0..40 {
            at_ms = pace.ready_at(at_ms);
            pace.sent(at_ms);
            sent.push(at_ms);
        }
        assert!(sent[..20].iter().all(|at| *at == 5_000));
        assert_eq!(sent[20..23], [5_100, 5_200, 5_300]);
        assert_eq!(sent[39], 7_000);
        pace.refused(9_000);
        assert_eq!(pace.ready_at(7_000), 9_000);
        assert_eq!(Pace::default().ready_at(7), 7);
    }
}
