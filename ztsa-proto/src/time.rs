//! Points in time as the wire knows them: whole seconds since 1970 in UTC (RFC 7519 NumericDate).

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, de};

/// Counts the seconds since 1970-01-01T00:00:00Z, without leap seconds.
///
/// JSON holds it as a number. A fraction (RFC 7519 section 2 permits one) is cut off when read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// Adds a span, whole seconds only, and stops at the largest time instead of overflowing.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_secs()))
    }

    /// Takes a span away, whole seconds only, and stops at 1970.
    #[must_use]
    pub const fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_secs()))
    }

    /// Measures the span since an earlier time, zero when that time is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }

    /// Gives the first second of a day in UTC; `None` when there is no such day from 1970 to 9999.
    #[must_use]
    pub fn from_date(year: u16, month: u8, day: u8) -> Option<Self> {
        let (year, month, day) = (u64::from(year), u64::from(month), u64::from(day));
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 {
            return None;
        }
        // a year has at least 365 days and at most 366 on the average: the day lies between
        let first = (year - 1970) * 365;
        let days = (first..first + 3_000).find(|days| civil(*days) == (year, month, day))?;
        Some(Self(days * DAY))
    }

    /// Writes the time as RFC 3339 in UTC, such as `2026-11-22T13:05:00Z`; times past the year 9999 print as its end.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let seconds = self.0.min(END_OF_9999);
        let (year, month, day) = civil(seconds / DAY);
        let (hour, minute, second) = (seconds % DAY / 3600, seconds % 3600 / 60, seconds % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Reads a system clock's time; a clock before 1970 reads as 1970.
impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, |span| span.as_secs()))
    }
}

impl<'de> Deserialize<'de> for UnixTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_u64(NumericDate)
    }
}

struct NumericDate;

impl de::Visitor<'_> for NumericDate {
    type Value = UnixTime;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("seconds since 1970 as a number")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<UnixTime, E> {
        Ok(UnixTime(seconds))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<UnixTime, E> {
        u64::try_from(seconds).map(UnixTime).map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<UnixTime, E> {
        Duration::try_from_secs_f64(seconds)
            .map(|span| UnixTime(span.as_secs()))
            .map_err(|_| E::invalid_value(de::Unexpected::Float(seconds), &self))
    }
}

/// Turns days since 1970 into year, month and day of the Gregorian calendar.
///
/// Years are counted from March, so that the leap day is the last of its year, in eras of 400 years.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + DAYS_BEFORE_1970;
    let (era, day_of_era) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

const DAY: u64 = 86_400;
/// From 0000-03-01 to 1970-01-01.
const DAYS_BEFORE_1970: u64 = 719_468;
const DAYS_OF_ERA: u64 = 146_097;
/// 9999-12-31T23:59:59Z, the last time that RFC 3339 can write.
const END_OF_9999: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn prints_known_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_562_262_616, "2019-07-04T17:50:16Z"),
            (1_795_352_700, "2026-11-22T13:05:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (END_OF_9999, "9999-12-31T23:59:59Z"),
            (u64::MAX, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(UnixTime(seconds).rfc3339(), text);
        }
    }

    #[test]
    fn arithmetic_stops_at_its_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(UnixTime(u64::MAX).plus(second), UnixTime(u64::MAX));
        assert_eq!(UnixTime(0).minus(second), UnixTime(0));
        assert_eq!(UnixTime(5).since(UnixTime(9)), Duration::ZERO);
        assert_eq!(UnixTime(9).since(UnixTime(5)), Duration::from_secs(4));
        assert_eq!(UnixTime::from(UNIX_EPOCH + Duration::from_millis(1_900)), UnixTime(1));
    }

    #[test]
    fn reads_numbers_only() {
        for (json, seconds) in
            [("7", Some(7)), ("7.9", Some(7)), ("-1", None), ("\"7\"", None), ("1e400", None), ("null", None)]
        {
            assert_eq!(serde_json::from_str(json).ok(), seconds.map(UnixTime), "{json}");
        }
        assert_eq!(serde_json::to_string(&UnixTime(7)).unwrap(), "7");
    }

    /// Reads the text back by walking the calendar, year by year and month by month.
    fn walked(text: &str) -> u64 {
        let number = |from: usize, to: usize| text[from..to].parse::<u64>().unwrap();
        let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
        let february = 28 + u64::from(leap(year));
        let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let days = (1970..year).map(|year| 365 + u64::from(leap(year))).sum::<u64>()
            + months.iter().take(usize::try_from(month).unwrap() - 1).sum::<u64>()
            + day
            - 1;
        days * 86_400 + number(11, 13) * 3_600 + number(14, 16) * 60 + number(17, 19)
    }

    proptest! {
        #[test]
        fn every_printed_time_means_itself(seconds in 0..=END_OF_9999) {
            let text = UnixTime(seconds).rfc3339();
            prop_assert_eq!(text.len(), 20);
            prop_assert_eq!(walked(&text), seconds);
        }
    }
}
