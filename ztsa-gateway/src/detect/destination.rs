//! `destination.listed`: an app that leads to a destination of ill repute.

use ztsa_proto::name::AppName;

use super::Finding;
use crate::config::risk::DestinationListed;
use crate::lookup::Listed;

pub(super) fn found(app: &AppName, listed: &Listed, settings: &DestinationListed) -> Finding {
    let Listed { entry, list } = listed;
    Finding {
        kind: DestinationListed::KIND,
        about: None,
        cause: format!("{app} {entry}"),
        reason: format!("{app} leads to {entry}, which the list {list} names"),
        weight: settings.weight,
    }
}
