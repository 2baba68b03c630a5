//! How long to wait before trying again: full jitter, after Marc Brooker's
//! "Exponential Backoff And Jitter" (AWS, 2015).

/// SplitMix64 (Steele, Lea, Flood, 2014): enough for jitter, and nothing else.
#[derive(Clone, Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `max`, inclusive.
    pub(super) fn up_to(&mut self, max: u64) -> u64 {
        match max.checked_add(1) {
            Some(bound) => self.next() % bound,
            None => self.next(),
        }
    }
}

/// The ceiling of the delay before attempt `attempt`, counted from 0.
pub(super) const fn ceiling(base_ms: u64, max_ms: u64, attempt: u32) -> u64 {
    let doubled = base_ms.saturating_mul(1 << if attempt < 20 { attempt } else { 20 });
    if doubled < max_ms { doubled } else { max_ms }
}

#[cfg(test)]
mod tests {
    use super::{Jitter, ceiling};

    /// A thousand clients whose server restarts must not come back together,
    /// nor wait for ever.
    #[test]
    fn delays_spread_and_are_bounded() {
        assert_eq!(ceiling(250, 30_000, 0), 250);
        assert_eq!(ceiling(250, 30_000, 3), 2_000);
        assert_eq!(ceiling(250, 30_000, u32::MAX), 30_000);
        let mut jitter = Jitter::new(1);
        let delays: Vec<u64> = (0..1_000).map(|_| jitter.up_to(1_000)).collect();
        assert!(delays.iter().all(|delay| *delay <= 1_000));
        for quarter in 0..4u64 {
            let range = quarter * 250..(quarter + 1) * 250;
            let share = delays.iter().filter(|delay| range.contains(delay)).count();
            assert!((180..320).contains(&share), "{share} of 1,000 in {range:?}");
        }
    }
}
