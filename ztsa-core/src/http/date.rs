//! The `Date` header (RFC 9110 5.6.7, IMF-fixdate only: that is what servers must send).

use ztsa_proto::time::UnixTime;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(super) fn parse(text: &str) -> Option<UnixTime> {
    let (_, rest) = text.trim().split_once(", ")?;
    let mut parts = rest.split(' ');
    let day = digits(parts.next()?, 31)?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year = digits(parts.next()?, 9999)?;
    let mut clock = parts.next()?.split(':');
    let (hour, minute, second) = (digits(clock.next()?, 23)?, digits(clock.next()?, 59)?, digits(clock.next()?, 60)?);
    let whole = clock.next().is_none() && parts.next() == Some("GMT") && parts.next().is_none();
    if !whole || day == 0 || year < 1970 {
        return None;
    }
    Some(UnixTime(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second))
}

fn digits(text: &str, most: u64) -> Option<u64> {
    let value = text.parse().ok()?;
    (text.bytes().all(|byte| byte.is_ascii_digit()) && text.len() <= 4 && value <= most).then_some(value)
}

/// Days since 1970-01-01 of a date of the Gregorian calendar (years are counted from March).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_read() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Thu, 29 Feb 2024 12:00:00 GMT", 1_709_208_000),
            ("Sun, 22 Nov 2026 13:05:00 GMT", 1_795_352_700),
        ] {
            assert_eq!(parse(text), Some(UnixTime(seconds)), "{text}");
        }
    }

    #[test]
    fn other_forms_are_not() {
        for text in [
            "",
            "now",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 25:49:37 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn days_follow_each_other(day in 1u64..28, month in 1u64..13, year in 1970u64..9999) {
            prop_assert_eq!(days(year, month, day) + 1, days(year, month, day + 1));
        }
    }
}
