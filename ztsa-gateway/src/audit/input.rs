//! What a decision was made from, so that it can be made again: a little in the decision's own line, and what many
//! decisions share (a person's claims, a device's facts) once a file, named by its digest.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Deserialize, Serialize};
use ztsa_proto::jws::sha256_base64url;

/// The version of [`Input`] that is written.
pub const VERSION: u8 = 1;

/// Who gave an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The policies.
    #[default]
    Policy,
    /// A score above the thresholds of the configuration.
    Risk,
    /// A revocation, a blocked device, or an issuer whose people are kept out.
    Standing,
    /// The gateway itself: a limit, an outage, a grant that is not good for this.
    Gateway,
}

impl By {
    /// Gives the word that the audit log and answers use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Risk => "risk",
            Self::Standing => "standing",
            Self::Gateway => "gateway",
        }
    }
}

/// Holds what one decision was made from, beside what its line says anyway (device, address, app, time). Never a token.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// The version of this form.
    pub v: u8,
    /// Who gave the answer.
    pub by: By,
    /// The digest of the person's [`Sheet`].
    pub person: String,
    /// The digest of the device's [`Sheet`]; `None` when nothing was known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<String>,
    /// `unmanaged`, `approved` or `blocked`.
    pub device: String,
    /// The scores of the person, the device and the session.
    pub risk: [u8; 3],
    /// The kinds of the signals behind the scores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// The country that the request came from, where it was known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub country: String,
    /// How many seconds before the decision the last posture report came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<u64>,
    /// How many seconds old each fact was that `ages` does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<u64>,
    /// The facts of another age.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ages: BTreeMap<String, u64>,
    /// What is written once a file.
    #[serde(skip)]
    pub sheets: Vec<Sheet>,
}

/// Says what a [`Sheet`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum About {
    /// A person, as their issuer describes them.
    Person,
    /// What is known of a device.
    Device,
}

/// Holds what many decisions share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sheet {
    /// What it is about.
    pub about: About,
    /// The [`digest`] of `text`.
    pub digest: String,
    /// One JSON object.
    pub text: Arc<str>,
}

/// Keeps one copy of each sheet for as long as anybody holds it: what a peer sends does not fill the queue many times.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    sheets: HashMap<String, Weak<str>>,
    /// With this many they are looked through again.
    most: usize,
}

/// Digests beyond this many, and twice what was left the last time, are looked through for those that nobody holds.
const KEPT: usize = 4_096;

/// Names a sheet by its text: the first 132 bits of its SHA-256, in base64url.
pub fn digest(text: &str) -> String {
    let mut digest = sha256_base64url(text.as_bytes());
    digest.truncate(22);
    digest
}

impl Sheets {
    /// Makes a sheet of a JSON object.
    pub(super) fn sheet(&self, about: About, text: &str) -> Sheet {
        let digest = digest(text);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { sheets, most } = &mut *known;
        let kept = sheets.get(&digest).and_then(Weak::upgrade);
        let text = kept.unwrap_or_else(|| {
            let text: Arc<str> = Arc::from(text);
            if sheets.len() >= KEPT.max(*most) {
                sheets.retain(|_, kept| kept.strong_count() > 0);
                *most = sheets.len().saturating_mul(2);
            }
            sheets.insert(digest.clone(), Arc::downgrade(&text));
            text
        });
        Sheet { about, digest, text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sheet_is_kept_once_and_forgotten_with_its_last_holder() {
        let sheets = Sheets::default();
        let (one, two) = (sheets.sheet(About::Person, "{\"a\":1}"), sheets.sheet(About::Person, "{\"a\":1}"));
        assert!(Arc::ptr_eq(&one.text, &two.text));
        assert_eq!((one.digest.len(), &one.digest), (22, &two.digest));
        assert_ne!(sheets.sheet(About::Device, "{\"a\":2}").digest, one.digest);
        for number in 0..2 * KEPT {
            sheets.sheet(About::Device, &number.to_string());
        }
        assert!(sheets.known.lock().unwrap().sheets.len() <= KEPT);
        // while the disk takes nothing, each of them is held: they are not gone through for every new one
        let held: Vec<Sheet> = (0..8 * KEPT).map(|number| sheets.sheet(About::Device, &number.to_string())).collect();
        assert!(sheets.known.lock().unwrap().most >= 4 * KEPT);
        drop(held);
        (0..20 * KEPT).for_each(|number| drop(sheets.sheet(About::Person, &number.to_string())));
        assert!(sheets.known.lock().unwrap().sheets.len() <= 2 * KEPT);
    }
}
