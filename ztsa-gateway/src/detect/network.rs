//! `network.new`: a network that a person was not seen in before.

use super::{Finding, Known, size, usual};
use crate::config::risk::NetworkNew;
use crate::lookup::{Network, Place};

/// Silent until the person is known for some days, and for those who are on the move.
pub(super) fn detect(known: Known<'_>, place: &Place, settings: &NetworkNew) -> Option<Finding> {
    let seen = known.person.networks();
    let roams = seen.len() > size(settings.roaming);
    if roams || seen.contains_key(&place.network.id) || !known.for_days(settings.min_days) {
        return None;
    }
    let (id, home) = usual(seen)?;
    let home = Network { id: id.clone(), name: home.name.clone() };
    Some(Finding {
        kind: NetworkNew::KIND,
        about: None,
        cause: place.network.id.clone(),
        reason: format!("first time in the network {}; you are usually in {home}", place.network),
        weight: settings.weight,
    })
}
