//! `login.failed`: sign-ins and renewals that were refused though a known device's key asked for them.

use ztsa_proto::name::DeviceId;
use ztsa_proto::time::UnixTime;

use super::{Finding, Known, mark, size};
use crate::config::duration;
use crate::config::risk::LoginFailed;
use crate::history::{Attempt, Person};
use crate::store::Subject;

/// Counts one refusal for each proof: who overheard one cannot make it count twice.
pub(super) fn count(person: &mut Person, device: &DeviceId, proof: &str, settings: &LoginFailed, now: UnixTime) {
    let attempt = Attempt { at: now, kind: LoginFailed::KIND, whose: device.to_string(), what: mark(proof) };
    person.note_attempt(attempt, 1, settings.window);
}

pub(super) fn detect(known: Known<'_>, device: &DeviceId, settings: &LoginFailed) -> Option<Finding> {
    let failed = known.person.attempts(LoginFailed::KIND, device.as_str(), settings.window, known.now).count();
    (failed >= size(settings.count)).then(|| Finding {
        kind: LoginFailed::KIND,
        about: Some(Subject::Device(device.clone())),
        cause: device.to_string(),
        reason: format!(
            "{failed} sign-ins from this device were refused within {}",
            duration::text(settings.window.as_secs())
        ),
        weight: settings.weight,
    })
}
