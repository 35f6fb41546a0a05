//! Values of `gateway.toml` that carry their own bounds: durations such as `"30s"`, and whole numbers.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};

/// Holds a duration of at least `MIN` and at most `MAX` seconds, written `"250ms"`, `"30s"`, `"5m"`, `"12h"` or `"7d"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span<const MIN: u64, const MAX: u64>(pub(super) Duration);

/// Holds a whole number of at least `MIN` and at most `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Number<const MIN: u32, const MAX: u32>(pub(super) u32);

/// Reads `"250ms"`, `"30s"`, `"5m"`, `"12h"`, `"7d"` and sums such as `"1h30m"`.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let letters = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let part = match unit {
            "ms" => Duration::from_millis(number),
            "s" => Duration::from_secs(number),
            "m" => Duration::from_secs(number.checked_mul(60)?),
            "h" => Duration::from_secs(number.checked_mul(3600)?),
            "d" => Duration::from_secs(number.checked_mul(86400)?),
            _ => return None,
        };
        total = total.checked_add(part)?;
        rest = tail;
    }
    Some(total)
}

/// Writes a whole number of seconds in the largest unit that holds it exactly.
pub fn text(seconds: u64) -> String {
    match seconds {
        0 => "0s".to_owned(),
        s if s % 86400 == 0 => format!("{}d", s / 86400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Span<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Duration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"30s\", \"5m\" or \"12h\"")
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Duration, E> {
                parse(value).ok_or_else(|| {
                    E::custom(format_args!("{value:?} is not a duration; write it as \"30s\", \"5m\" or \"12h\""))
                })
            }
        }
        let value = deserializer.deserialize_str(Text)?;
        if value < Duration::from_secs(MIN) || value > Duration::from_secs(MAX) {
            return Err(D::Error::custom(format_args!("must be from {} to {}", text(MIN), text(MAX))));
        }
        Ok(Span(value))
    }
}

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Number<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = i64::deserialize(deserializer)?;
        match u32::try_from(value) {
            Ok(value) if (MIN..=MAX).contains(&value) => Ok(Number(value)),
            _ => Err(D::Error::custom(format_args!("must be from {MIN} to {MAX}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{parse, text};
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn durations_read_as_people_write_them() {
        let cases = [
            ("30s", Some(30)),
            ("5m", Some(300)),
            ("12h", Some(43200)),
            ("7d", Some(604_800)),
            ("1h30m", Some(5400)),
            (" 30s ", Some(30)),
            ("0s", Some(0)),
            ("30", None),
            ("", None),
            ("s", None),
            ("-5s", None),
            ("5 m", None),
            ("5w", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ];
        for (input, seconds) in cases {
            assert_eq!(parse(input), seconds.map(Duration::from_secs), "{input:?}");
        }
        assert_eq!(parse("250ms"), Some(Duration::from_millis(250)));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in 0..10_000_000u64) {
            prop_assert_eq!(parse(&text(seconds)), Some(Duration::from_secs(seconds)));
        }

        #[test]
        fn any_text_is_answered(input in ".{0,40}") {
            let _ = parse(&input);
        }
    }
}
