//! What the gateway is told of this device: with each renewal, and whenever something changed.

use std::sync::{MutexGuard, PoisonError};

use ztsa_proto::{
    jws::SignError,
    metadata::ResourceMetadata,
    posture::{Report, certificate::About, sign},
    session::SessionInfo,
};

use super::Tokens;
use crate::apart;
use crate::posture::{Ledger, Seen, attest, collect_within};

/// A report, signed for an endpoint of the gateway.
pub(crate) struct Signed {
    pub jws: String,
    /// What it says; the certificate's file may have changed since the report was made.
    pub says: Seen,
}

impl Tokens {
    /// Looks at everything that the gateway asks for.
    pub(crate) async fn collect(&self, metadata: &ResourceMetadata) -> Seen {
        let mut report = collect_within(&metadata.ztsa.posture, &self.config().name, self.now()).await;
        // as it would be shown now: a certificate that comes or goes is news
        let about = About { aud: metadata.resource.clone(), sub: self.device(), nonce: String::new() };
        let certificate = attest(&mut report, self.config().certificate.as_ref(), Some(&about));
        report.evidence.clear();
        Seen { report, certificate }
    }

    /// Leaves out of a report what the gateway knows already.
    pub(crate) fn news(&self, seen: Seen) -> Report {
        self.ledger().news(seen, &self.device(), self.now())
    }

    /// Says whether a report is worth sending by itself.
    pub(crate) fn is_due(&self, report: &Report) -> bool {
        self.ledger().is_due(report, self.now())
    }

    /// Notes that the gateway took a report; what it then knows of the device is in its answer.
    pub(crate) fn reported(&self, said: &Seen, answer: &SessionInfo) {
        self.ledger().delivered(said, &self.device(), &answer.posture, self.now());
    }

    /// Makes the next report a whole one: the gateway may have forgotten.
    pub(crate) fn forget_reported(&self) {
        *self.ledger() = Ledger::default();
    }

    /// Signs a report for an endpoint of the gateway, with its last nonce, and shows the client certificate where it is
    /// asked for.
    pub(crate) async fn sign_report(
        &self,
        report: &Report,
        metadata: &ResourceMetadata,
        endpoint: &str,
    ) -> Result<Signed, SignError> {
        let (nonce, now) = (self.http().nonce(endpoint), self.http().now(endpoint));
        let (resource, mut report) = (metadata.resource.clone(), report.clone());
        let about = nonce.clone().map(|nonce| About { aud: resource.clone(), sub: self.device(), nonce });
        let certificate = self.config().certificate.clone();
        apart::sign(&*self.key(), move |key| {
            let certificate = attest(&mut report, certificate.as_ref(), about.as_ref());
            let jws = sign(key, &report, &resource, nonce.as_deref(), now)?;
            report.evidence.clear();
            Ok(Signed { jws, says: Seen { report, certificate } })
        })
        .await
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.inner.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
