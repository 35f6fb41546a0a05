//! `country.new`: a country that a person was not seen in before.

use super::{Finding, Known, usual};
use crate::config::risk::CountryNew;
use crate::lookup::Place;

/// Silent until the person is known for some days, and while no database knows the country.
pub(super) fn detect(known: Known<'_>, place: &Place, settings: &CountryNew) -> Option<Finding> {
    let country = place.country.as_ref()?;
    let seen = known.person.countries();
    if seen.contains_key(&country.code) || !known.for_days(settings.min_days) {
        return None;
    }
    let (code, home) = usual(seen)?;
    let home = home.name.as_ref().unwrap_or(code);
    Some(Finding {
        kind: CountryNew::KIND,
        about: None,
        cause: country.code.clone(),
        reason: format!("first sign-in from {}; you are usually in {home}", country.name),
        weight: settings.weight,
    })
}
