//! Which devices' keys an issuer's token was exchanged with, so that a copied token is noticed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use ztsa_proto::name::DeviceId;
use ztsa_proto::time::UnixTime;

use super::Store;
use super::row::BoundToken;
use super::writer::Write;

/// The most tokens that are remembered at a time; only tokens that an issuer signed get here.
const MOST: usize = 200_000;

/// Says why a token is not taken from one more device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindError {
    /// It was taken from as many others as it may be.
    Shared,
    /// More tokens are in use than can be remembered.
    Full,
}

impl Store {
    /// Notes that a token, known by its hash, is used by a device, unless `most` other devices used it before.
    ///
    /// # Errors
    /// [`BindError`]; nothing is noted then.
    pub fn bind_token(
        &self,
        token: &str,
        device: &DeviceId,
        most: usize,
        until: UnixTime,
        now: UnixTime,
    ) -> Result<(), BindError> {
        let changed = {
            let mut memory = self.write();
            if memory.bound.len() >= MOST && !memory.bound.contains_key(token) {
                memory.bound.retain(|_, bound| bound.until > now);
                if memory.bound.len() >= MOST {
                    return Err(BindError::Full);
                }
            }
            note(&mut memory.bound, token, device, most, until, now)?
        };
        if let Some(bound) = changed {
            self.send(Write::Bound(bound));
        }
        Ok(())
    }

    /// Lists the devices that a token, known by its hash, was taken from.
    pub fn devices_of_token(&self, token: &str, now: UnixTime) -> Vec<DeviceId> {
        let memory = self.read();
        let bound = memory.bound.get(token).filter(|bound| bound.until > now);
        bound.map(|bound| bound.devices.clone()).unwrap_or_default()
    }

    pub(super) fn prune_bound(&self, now: UnixTime) {
        let over: Vec<String> =
            self.write().bound.extract_if(|_, bound| bound.until <= now).map(|(token, _)| token).collect();
        for token in over {
            self.send(Write::DeleteBound(token));
        }
    }
}

/// Gives what changed, if anything did.
fn note(
    known: &mut HashMap<String, BoundToken>,
    token: &str,
    device: &DeviceId,
    most: usize,
    until: UnixTime,
    now: UnixTime,
) -> Result<Option<BoundToken>, BindError> {
    match known.entry(token.to_owned()) {
        Entry::Occupied(mut entry) if entry.get().until > now => {
            let bound = entry.get_mut();
            if bound.devices.contains(device) {
                return Ok(None);
            }
            if bound.devices.len() >= most {
                return Err(BindError::Shared);
            }
            bound.devices.push(device.clone());
            Ok(Some(bound.clone()))
        }
        entry => {
            let bound = BoundToken { token: token.to_owned(), devices: vec![device.clone()], until };
            entry.insert_entry(bound.clone());
            Ok(Some(bound))
        }
    }
}
