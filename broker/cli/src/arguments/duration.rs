//! Durations as people write them: `90s`, `15m`, `8h`, `7d`, `1h30m`.

use std::time::Duration;

/// Why a text is not a duration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum DurationError {
    #[error("write a number with a unit: 90s, 15m, 8h, 7d or 1h30m")]
    Form,
    #[error("it is longer than 100 years")]
    TooLong,
}

const LONGEST_S: u64 = 100 * 365 * 86_400;

/// Reads a duration of whole seconds.
pub(super) fn parse(text: &str) -> Result<Duration, DurationError> {
    let mut total: u64 = 0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Form);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = match &rest[..digits] {
            "" => return Err(DurationError::Form),
            number => number.parse().map_err(|_| DurationError::TooLong)?,
        };
        let unit = rest[digits..].chars().next().ok_or(DurationError::Form)?;
        let seconds: u64 = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return Err(DurationError::Form),
        };
        total = total.saturating_add(number.saturating_mul(seconds));
        rest = &rest[digits + unit.len_utf8()..];
    }
    if total > LONGEST_S {
        return Err(DurationError::TooLong);
    }
    Ok(Duration::from_secs(total))
}

#[cfg(test)]
mod tests {
    use super::{DurationError, parse};

    #[test]
    fn units_add_up() {
        for (text, seconds) in [
            ("90s", 90),
            ("15m", 900),
            ("8h", 28_800),
            ("7d", 604_800),
            ("1h30m", 5_400),
            (" 0s ", 0),
        ] {
            assert_eq!(
                parse(text).map(|time| time.as_secs()),
                Ok(seconds),
                "{text}"
            );
        }
    }

    /// A number without a unit could be anything: it is refused, not guessed.
    #[test]
    fn what_is_not_a_duration_is_refused() {
        for wrong in ["", "8", "h", "8 h", "8x", "-1h", "1.5h", "8h3", "1µ"] {
            assert_eq!(parse(wrong), Err(DurationError::Form), "{wrong}");
        }
        for wrong in ["99999999999999999999s", "18446744073709551615d", "36501d"] {
            assert_eq!(parse(wrong), Err(DurationError::TooLong), "{wrong}");
        }
    }
}
