//! `dpop.replay`: requests of a session that were sent again by somebody who had read them.

use ztsa_proto::name::{DeviceId, SessionId};
use ztsa_proto::time::UnixTime;

use super::{Finding, Known, mark, size};
use crate::config::duration;
use crate::config::risk::DpopReplay;
use crate::history::{Attempt, Person};
use crate::store::Subject;

/// Counts each proof once, however often it comes: a network that sends one request twice, and whoever overheard a single one,
/// stay below the bound.
pub(super) fn count(
    person: &mut Person,
    device: &DeviceId,
    session: Option<&SessionId>,
    proof: &str,
    settings: &DpopReplay,
    now: UnixTime,
) {
    let attempt = Attempt { at: now, kind: DpopReplay::KIND, whose: whose(device, session), what: mark(proof) };
    person.note_attempt(attempt, 1, settings.window);
}

/// About the session where its token came along, so that a new sign-in leaves it behind; else about the device.
pub(super) fn detect(
    known: Known<'_>,
    device: &DeviceId,
    session: Option<&SessionId>,
    settings: &DpopReplay,
) -> Option<Finding> {
    let whose = whose(device, session);
    let replayed = known.person.attempts(DpopReplay::KIND, &whose, settings.window, known.now).count();
    if replayed < size(settings.count) {
        return None;
    }
    let (about, of) = match session {
        Some(session) => (Subject::Session(session.clone()), "session"),
        None => (Subject::Device(device.clone()), "device"),
    };
    Some(Finding {
        kind: DpopReplay::KIND,
        about: Some(about),
        cause: whose,
        reason: format!(
            "{replayed} requests of this {of} came a second time within {}: somebody may have read them",
            duration::text(settings.window.as_secs())
        ),
        weight: settings.weight,
    })
}

fn whose(device: &DeviceId, session: Option<&SessionId>) -> String {
    session.map_or_else(|| device.to_string(), ToString::to_string)
}
