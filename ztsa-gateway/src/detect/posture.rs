//! `posture.worse`: a check of a device that passed and now fails.

use ztsa_proto::name::DeviceId;
use ztsa_proto::posture::State;

use super::Finding;
use crate::config::risk::PostureWorse;
use crate::posture::Facts;
use crate::store::Subject;

/// Leaves those of the checks that passed before which fail now: not to know is not to fail.
pub fn failed<'a>(worse: &'a [String], facts: &Facts) -> impl Iterator<Item = &'a String> {
    worse.iter().filter(|check| facts.fact(check).state == State::Fail)
}

/// One check is one cause, so that each can be mended by itself.
pub(super) fn found(device: &DeviceId, check: &str, settings: &PostureWorse) -> Finding {
    Finding {
        kind: PostureWorse::KIND,
        about: Some(Subject::Device(device.clone())),
        cause: format!("{device} {check}"),
        reason: format!("the check {check} of this device passed before and fails now (see `ztsa posture`)"),
        weight: settings.weight,
    }
}
