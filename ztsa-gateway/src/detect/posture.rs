//! `posture.worse`: a check of a device that passed and now fails.

use ztsa_proto::name::DeviceId;

use super::Finding;
use crate::config::risk::PostureWorse;
use crate::store::Subject;

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
