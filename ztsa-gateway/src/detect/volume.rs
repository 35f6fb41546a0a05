//! `volume.unusual`: far more bytes in a day than a person usually moves.

use super::{Finding, Known};
use crate::config::risk::VolumeUnusual;
use crate::history::day_of;

/// Silent until the person is known for some days, on a day with little, and on one that is not their busiest.
pub(super) fn detect(known: Known<'_>, bytes: u64, settings: &VolumeUnusual) -> Option<Finding> {
    let today = known.person.today(known.now).bytes.saturating_add(bytes);
    if today < u64::from(settings.floor) << 20 || !known.for_days(settings.min_days) {
        return None;
    }
    let mut days: Vec<u64> = known.person.days_before(known.now).map(|day| day.bytes).collect();
    days.sort_unstable();
    let (median, busiest) = (*days.get(days.len() / 2)?, *days.last()?);
    if today <= busiest || today <= median.saturating_mul(u64::from(settings.factor)) {
        return None;
    }
    Some(Finding {
        kind: VolumeUnusual::KIND,
        about: None,
        cause: day_of(known.now).to_string(),
        reason: format!("{} today; on a usual day you move {}", text(today), text(median)),
        weight: settings.weight,
    })
}

/// Writes bytes as people read them.
fn text(bytes: u64) -> String {
    let tenths = |unit: u64| {
        let tenths = bytes.saturating_mul(10) / unit;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match bytes {
        0..1_048_576 => "less than 1 MiB".to_owned(),
        1_048_576..1_073_741_824 => format!("{} MiB", tenths(1 << 20)),
        _ => format!("{} GiB", tenths(1 << 30)),
    }
}
