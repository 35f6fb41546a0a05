//! `travel.impossible`: two places that nobody can have been in between two requests.

use std::time::Duration;

use super::{Finding, Known};
use crate::config::risk::TravelImpossible;
use crate::history::Seen;
use crate::lookup::Place;

/// A network and a country that were first seen at least this long ago are the person's own.
const OWN: Duration = Duration::from_secs(86_400);

/// Silent between places that both are the person's own, such as home and the company's exit in another country.
pub(super) fn detect(known: Known<'_>, place: &Place, settings: &TravelImpossible) -> Option<Finding> {
    let last = known.person.last()?;
    if last.at > known.now {
        return None;
    }
    let long_known = |seen: Option<&Seen>| seen.is_some_and(|seen| known.now.since(seen.first) >= OWN);
    let own = |place: &Place| {
        let country = place.country.as_ref().is_none_or(|c| long_known(known.person.countries().get(&c.code)));
        country && long_known(known.person.networks().get(&place.network.id))
    };
    if own(&last.place) && own(place) {
        return None;
    }
    let way = last.place.point?.distance(&place.point?);
    let span = known.now.since(last.at);
    if way < f64::from(settings.distance) || way <= f64::from(settings.speed) * span.as_secs_f64() / 3600.0 {
        return None;
    }
    let (there, here) = (name(&last.place), name(place));
    // back and forth is one cause
    let cause = if there < here { format!("{there} - {here}") } else { format!("{here} - {there}") };
    let minutes = span.as_secs() / 60;
    Some(Finding {
        kind: TravelImpossible::KIND,
        about: None,
        cause,
        reason: format!("seen in {here} {minutes} min after {there}, at least {way:.0} km away"),
        weight: settings.weight,
    })
}

fn name(place: &Place) -> String {
    match (&place.city, &place.country) {
        (Some(city), Some(country)) => format!("{city} ({})", country.name),
        (Some(city), None) => city.clone(),
        (None, Some(country)) => country.name.clone(),
        (None, None) => place.network.to_string(),
    }
}
