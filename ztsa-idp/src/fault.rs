//! Faults on demand: a test facility, so that a client can be shown an issuer that misbehaves as issuers do.
//!
//! Nothing of this is reachable over the network; only the program that embeds the issuer holds the [`Faults`] handle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An endpoint that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`.
    Discovery,
    /// The published keys.
    Jwks,
    /// Device authorization (RFC 8628 section 3.1).
    Device,
    /// The token endpoint.
    Token,
    /// The userinfo endpoint.
    Userinfo,
}

/// How an endpoint fails. The request is not acted on, except by [`Fault::Lost`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers 200 with a page of HTML, as a captive portal does.
    Portal,
    /// Answers 429, with `Retry-After` in seconds when given.
    TooManyRequests {
        /// The value of `Retry-After`.
        retry_after: Option<u64>,
    },
    /// Answers 503 with an empty body.
    Unavailable,
    /// Answers 200 with an empty body.
    Empty,
    /// Answers 200 with JSON that is cut in the middle.
    Garbage,
    /// Never answers; the connection stays open.
    Hang,
    /// Acts on the request, then never answers: the answer is lost on the way.
    Lost,
}

/// Sets the faults of a running issuer; cheap to clone, every clone means the same issuer.
///
/// # Defaults
/// No faults.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<HashMap<Endpoint, Planned>>>);

#[derive(Debug, Clone, Copy)]
struct Planned {
    fault: Fault,
    /// `None`: until cleared.
    times: Option<u32>,
}

impl Faults {
    /// Makes `endpoint` fail from now on, until [`Faults::clear`].
    pub fn set(&self, endpoint: Endpoint, fault: Fault) {
        self.planned().insert(endpoint, Planned { fault, times: None });
    }

    /// Makes `endpoint` fail for the next `times` requests.
    pub fn set_times(&self, endpoint: Endpoint, fault: Fault, times: u32) {
        self.planned().insert(endpoint, Planned { fault, times: Some(times) });
    }

    /// Makes `endpoint` work again.
    pub fn clear(&self, endpoint: Endpoint) {
        self.planned().remove(&endpoint);
    }

    /// Makes every endpoint work again.
    pub fn clear_all(&self) {
        self.planned().clear();
    }

    /// Takes the fault that the next request to `endpoint` meets, and counts it down.
    pub(crate) fn next(&self, endpoint: Endpoint) -> Option<Fault> {
        let mut planned = self.planned();
        let entry = planned.get_mut(&endpoint)?;
        let fault = entry.fault;
        match &mut entry.times {
            None => Some(fault),
            Some(0) => {
                planned.remove(&endpoint);
                None
            }
            Some(left) => {
                *left -= 1;
                Some(fault)
            }
        }
    }

    fn planned(&self) -> MutexGuard<'_, HashMap<Endpoint, Planned>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_ends_by_itself() {
        let faults = Faults::default();
        faults.set_times(Endpoint::Token, Fault::Unavailable, 2);
        let clone = faults.clone();
        assert_eq!(clone.next(Endpoint::Token), Some(Fault::Unavailable));
        assert_eq!(clone.next(Endpoint::Jwks), None);
        assert_eq!(clone.next(Endpoint::Token), Some(Fault::Unavailable));
        assert_eq!(clone.next(Endpoint::Token), None);
    }

    #[test]
    fn a_standing_fault_stays_until_cleared() {
        let faults = Faults::default();
        faults.set(Endpoint::Device, Fault::Hang);
        assert_eq!(faults.next(Endpoint::Device), Some(Fault::Hang));
        assert_eq!(faults.next(Endpoint::Device), Some(Fault::Hang));
        faults.clear_all();
        assert_eq!(faults.next(Endpoint::Device), None);
    }
}
