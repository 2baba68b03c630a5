//! Times as people read and write them, in the zone of this machine.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// Times of one zone.
#[derive(Clone, Debug)]
pub(crate) struct Clock(TimeZone);

impl Clock {
    /// In the system's zone.
    pub(crate) fn system() -> Self {
        Self(TimeZone::system())
    }

    /// In UTC, the same on every machine.
    #[cfg(test)]
    pub(crate) const fn utc() -> Self {
        Self(TimeZone::UTC)
    }

    fn at(&self, unix_ms: u64) -> Zoned {
        let ms = i64::try_from(unix_ms).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(ms)
            .unwrap_or(Timestamp::MAX)
            .to_zoned(self.0.clone())
    }

    /// The day of a time.
    pub(crate) fn day(&self, unix_ms: u64) -> Date {
        self.at(unix_ms).date()
    }

    /// `09:14`.
    pub(crate) fn time(&self, unix_ms: u64) -> String {
        self.at(unix_ms).strftime("%H:%M").to_string()
    }

    /// `2026-03-04 09:14`.
    pub(crate) fn day_and_time(&self, unix_ms: u64) -> String {
        self.at(unix_ms).strftime("%Y-%m-%d %H:%M").to_string()
    }
}

/// `Wednesday, 4 March 2026`.
pub(crate) fn day_name(day: Date) -> String {
    day.strftime("%A, %-d %B %Y").to_string()
}

/// Milliseconds since 1970, now.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0)
}

/// Why a text is not a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("write a time such as 2026-03-01T08:00:00Z, 2026-03-01T08:00 or 2026-03-01")]
pub(crate) struct NotATime;

/// Reads a time: with an offset as it says, else in the system's zone.
pub(crate) fn parse_ms(text: &str) -> Result<u64, NotATime> {
    let at = text
        .parse::<Timestamp>()
        .or_else(|_| {
            text.parse::<DateTime>()
                .and_then(|at| at.to_zoned(TimeZone::system()))
                .map(|at| at.timestamp())
        })
        .map_err(|_| NotATime)?;
    u64::try_from(at.as_millisecond()).map_err(|_| NotATime)
}

#[cfg(test)]
mod tests {
    use super::{Clock, day_name, parse_ms};

    #[test]
    fn a_time_is_written_for_people() {
        let clock = Clock::utc();
        let at = 1_772_612_040_000;
        assert_eq!(clock.time(at), "08:14");
        assert_eq!(clock.day_and_time(at), "2026-03-04 08:14");
        assert_eq!(day_name(clock.day(at)), "Wednesday, 4 March 2026");
        // A server may say anything.
        assert!(!clock.day_and_time(u64::MAX).is_empty());
    }

    #[test]
    fn a_time_is_read() {
        assert_eq!(parse_ms("2026-03-04T08:14:00Z"), Ok(1_772_612_040_000));
        assert_eq!(parse_ms("2026-03-04T09:14:00+01:00"), Ok(1_772_612_040_000));
        assert!(parse_ms("2026-03-04").is_ok());
        assert!(parse_ms("2026-03-04T08:14").is_ok());
        for wrong in ["", "yesterday", "1772612040000", "1969-01-01T00:00:00Z"] {
            assert!(parse_ms(wrong).is_err(), "{wrong}");
        }
    }
}
