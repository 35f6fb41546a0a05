//! Sizes of `gateway.toml`, such as `"100MiB"`.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};

/// Holds a size of at least `MIN` and at most `MAX` bytes, written `"64KiB"`, `"100MiB"` or `"1GiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size<const MIN: u64, const MAX: u64>(pub(super) u64);

fn parse(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Writes a size in the largest unit that holds it exactly.
fn text(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units.into_iter().find(|(shift, _)| bytes >> shift << shift == bytes && bytes > 0);
    whole.map_or_else(|| format!("{bytes} bytes"), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Size<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = u64;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"100MiB\"")
            }
            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<u64, E> {
                parse(value).ok_or_else(|| {
                    E::custom(format_args!("{value:?} is not a size; write it as \"64KiB\", \"100MiB\" or \"1GiB\""))
                })
            }
        }
        let value = deserializer.deserialize_str(Text)?;
        if (MIN..=MAX).contains(&value) {
            Ok(Size(value))
        } else {
            Err(D::Error::custom(format_args!("must be from {} to {}", text(MIN), text(MAX))))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::{Size, parse, text};

    #[test]
    fn sizes_read_as_people_write_them() {
        let cases = [
            ("64KiB", Some(65_536)),
            ("100MiB", Some(104_857_600)),
            ("1 GiB", Some(1 << 30)),
            ("100", None),
            ("MiB", None),
            ("100MB", None),
            ("-1KiB", None),
            ("99999999999999999999KiB", None),
            ("18446744073709551615GiB", None),
        ];
        for (input, bytes) in cases {
            assert_eq!(parse(input), bytes, "{input:?}");
        }
        assert_eq!((text(1 << 30), text(65_536), text(1000)), ("1GiB".into(), "64KiB".into(), "1000 bytes".into()));
    }
    proptest! {
        #[test]
        fn what_is_written_reads_back_and_bounds_hold(number in 1..2_000_000_u64, shift in 1..4_u64) {
            let bytes = number << (10 * shift);
            prop_assert_eq!(parse(&text(bytes)), Some(bytes));
            let read = serde_json::from_value::<Size<65_536, 1_073_741_824>>(json!(text(bytes)));
            prop_assert_eq!(read.ok(), (65_536..=1_073_741_824).contains(&bytes).then_some(Size(bytes)));
        }

        #[test]
        fn any_text_is_answered(input in ".{0,40}", number: u64, unit in "[KMGT]?i?B?") {
            let _ = parse(&input);
            if let Some(bytes) = parse(&format!("{number}{unit}")) {
                prop_assert!(bytes >= number && bytes % 1024 == 0);
            }
        }
    }
}
