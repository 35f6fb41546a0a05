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
use crate::posture::{Ledger, attest, collect_within};

impl Tokens {
    /// Looks at everything that the gateway asks for.
    pub(crate) async fn collect(&self, metadata: &ResourceMetadata) -> Report {
        let mut report = collect_within(&metadata.ztsa.posture, &self.config().name, self.now()).await;
        // as it would be shown now: a certificate that comes or goes is news
        let about = About { aud: metadata.resource.clone(), sub: self.device(), nonce: String::new() };
        attest(&mut report, self.config().certificate.as_ref(), Some(&about));
        report.evidence.clear();
        report
    }

    /// Leaves out of a report what the gateway knows already.
    pub(crate) fn news(&self, report: Report) -> Report {
        self.ledger().news(report, &self.device(), self.now())
    }

    /// Says whether a report is worth sending by itself.
    pub(crate) fn is_due(&self, report: &Report) -> bool {
        self.ledger().is_due(report, self.now())
    }

    /// Notes that the gateway took a report; what it then knows of the device is in its answer.
    pub(crate) fn reported(&self, report: &Report, answer: &SessionInfo) {
        self.ledger().delivered(report, &self.device(), &answer.posture, self.now());
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
    ) -> Result<String, SignError> {
        let (nonce, now) = (self.http().nonce(endpoint), self.http().now(endpoint));
        let (resource, mut report) = (metadata.resource.clone(), report.clone());
        let about = nonce.clone().map(|nonce| About { aud: resource.clone(), sub: self.device(), nonce });
        let certificate = self.config().certificate.clone();
        apart::sign(&*self.key(), move |key| {
            attest(&mut report, certificate.as_ref(), about.as_ref());
            sign(key, &report, &resource, nonce.as_deref(), now)
        })
        .await
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.inner.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
