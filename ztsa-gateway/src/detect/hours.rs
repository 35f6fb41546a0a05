//! `hours.unusual`: an hour at which a person is not usually at work.

use super::{Finding, Known, size};
use crate::config::risk::HoursUnusual;
use crate::history::hour_of;

/// Silent until the person is known for some days, and for whoever goes on with what they did an hour ago.
pub(super) fn detect(known: Known<'_>, settings: &HoursUnusual) -> Option<Finding> {
    let Known { person, now, .. } = known;
    let goes_on = (0..=settings.slack.max(1)).any(|ago| person.was_active(now, ago));
    if goes_on || !known.for_days(settings.min_days) {
        return None;
    }
    let hour = hour_of(now);
    let around =
        (0..=2 * settings.slack).fold(0, |hours, step| hours | 1 << ((hour + 24 + step - settings.slack) % 24));
    let days = person.days_before(now).count();
    let then = person.days_before(now).filter(|day| day.hours & around != 0).count();
    if then * 100 > days * size(settings.share) {
        return None;
    }
    let as_on = if then == 0 { "none".to_owned() } else { then.to_string() };
    Some(Finding {
        kind: HoursUnusual::KIND,
        about: None,
        cause: format!("{hour:02}"),
        reason: format!("active about {hour:02}:00 UTC, as on {as_on} of your last {days} days"),
        weight: settings.weight,
    })
}
