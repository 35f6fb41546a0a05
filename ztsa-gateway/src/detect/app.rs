//! `app.unusual`: an app that a person has not opened before.

use ztsa_proto::name::AppName;

use super::{Finding, Known};
use crate::config::risk::AppUnusual;

/// Silent until the person is known for some days, and while the app is new to everybody.
pub(super) fn detect(known: Known<'_>, app: &AppName, settings: &AppUnusual) -> Option<Finding> {
    if known.person.app(app).is_some() || !known.for_days(settings.min_days) {
        return None;
    }
    if known.now.since(known.apps.first(app)?) < settings.settle {
        return None;
    }
    Some(Finding {
        kind: AppUnusual::KIND,
        about: None,
        cause: app.to_string(),
        reason: format!("first time that you open {app}"),
        weight: settings.weight,
    })
}
