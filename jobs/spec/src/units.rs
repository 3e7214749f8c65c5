//! Durations and sizes as people write them: `90s`, `15m`, `2h`, `7d`, `1h30m`; `512MiB`, `2GiB`.

use std::time::Duration;

/// Longest duration that is read, in seconds: a thousand years, so that no instant plus one leaves what can be stored.
const SECONDS_MAX: u64 = 1_000 * 31_557_600;

/// Reads a duration: whole numbers with units `s m h d w`, largest first, e.g. `1h30m`, at most a thousand years. `None`
/// where it is not one.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut seconds = 0_u64;
    let mut rest = text.trim();
    let mut last = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        let unit = match rest.as_bytes()[digits] {
            b's' => 1,
            b'm' => 60,
            b'h' => 3_600,
            b'd' => 86_400,
            b'w' => 604_800,
            _ => return None,
        };
        if unit >= last {
            return None;
        }
        last = unit;
        seconds = seconds.checked_add(number.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (last != u64::MAX && seconds <= SECONDS_MAX).then(|| Duration::from_secs(seconds))
}

/// Reads a duration as [`parse_duration`] does, or as milliseconds alone: `100ms`.
pub fn parse_short_duration(text: &str) -> Option<Duration> {
    match text.trim().strip_suffix("ms") {
        Some(number) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
            number.parse().ok().map(Duration::from_millis)
        }
        _ => parse_duration(text),
    }
}

/// The shortest text that [`parse_duration`] reads back; parts of a second are dropped.
pub fn format_duration(duration: Duration) -> String {
    let mut seconds = duration.as_secs();
    if seconds == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, name) in [(86_400, 'd'), (3_600, 'h'), (60, 'm'), (1, 's')] {
        if seconds >= unit {
            text.push_str(&(seconds / unit).to_string());
            text.push(name);
            seconds %= unit;
        }
    }
    text
}

/// Reads a size in bytes: a whole number with `B`, `KiB`, `MiB`, `GiB`, `TiB` (or `KB` … `TB`, powers of 1,000).
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return None,
    };
    number.checked_mul(unit)
}

/// A duration in serde, written as people write it.
pub mod duration {
    use std::time::Duration;

    use serde::{Deserializer, Serializer, de};

    /// Writes `14d`.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_duration(*duration))
    }

    /// Reads `14d`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let read = super::duration_option::deserialize(deserializer)?;
        read.ok_or_else(|| de::Error::custom("a duration is missing"))
    }
}

/// An optional duration in serde, written as people write it.
pub mod duration_option {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de};

    /// Writes `14d`.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_str(&super::format_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads `14d`.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let Some(text) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        super::parse_duration(&text).map(Some).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is not a duration such as `30s`, `2h` or `7d`"))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, seconds) in
            [("30s", 30), ("15m", 900), ("2h", 7_200), ("7d", 604_800), ("1h30m", 5_400), ("2w", 1_209_600)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_short_duration("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(parse_short_duration("1m"), Some(Duration::from_mins(1)));
        for text in ["ms", "-1ms", "1 ms", "0x1ms"] {
            assert_eq!(parse_short_duration(text), None, "{text}");
        }
        for text in ["", "5", "m", "1m1h", "5 minutes", "-1s", "1.5h", "99999999999999999999d", "99999999d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!(parse_size("2GiB"), Some(2 << 30));
        assert_eq!(parse_size("512 MiB"), Some(512 << 20));
        assert_eq!(parse_size("1GB"), Some(1_000_000_000));
        assert_eq!(parse_size("two"), None);
    }

    proptest! {
        #[test]
        fn a_duration_reads_back_what_it_prints(seconds in 0_u64..10_000_000_000) {
            let duration = Duration::from_secs(seconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Some(duration));
        }
    }
}
