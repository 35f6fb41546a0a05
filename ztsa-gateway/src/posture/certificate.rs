//! Client certificates: what a device says counts only when the certificate's key proved it, for this report, and the
//! chain leads to the authority that the configuration names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime as Clock};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use ztsa_proto::posture::certificate::{About, Proof};
use ztsa_proto::posture::{Assurance, Check, Reason, Report, State};
use ztsa_proto::time::UnixTime;

/// Holds the authorities of each `cert.NAME`.
#[derive(Debug, Default)]
pub(super) struct Authorities(BTreeMap<String, Arc<dyn ClientCertVerifier>>);

/// Says which file of authorities cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("[posture] {check}: {path}: {cause}", path = path.display())]
pub struct AuthorityError {
    /// The check.
    pub check: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub cause: String,
}

impl Authorities {
    pub(super) fn read(files: &BTreeMap<String, PathBuf>) -> Result<Self, AuthorityError> {
        let read = |(check, path): (&String, &PathBuf)| {
            let verifier = verifier(path);
            let error = |cause| AuthorityError { check: check.clone(), path: path.clone(), cause };
            Ok((check.clone(), verifier.map_err(error)?))
        };
        files.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Replaces what a report says of certificates by what was proved.
    pub(super) fn settle(&self, report: &mut Report, about: Option<&About>, now: UnixTime) {
        for check in report.checks.iter_mut().filter(|check| check.id.starts_with("cert.")) {
            let proved = match (report.evidence.get(&check.id), about, self.0.get(&check.id)) {
                (Some(proof), Some(about), Some(authority)) => Some(verify(proof, about, authority.as_ref(), now)),
                _ => None,
            };
            settle_one(check, proved);
        }
    }
}

fn settle_one(check: &mut Check, proved: Option<Result<String, String>>) {
    match proved {
        Some(Ok(thumbprint)) => {
            check.assurance = Assurance::ThirdParty;
            (check.state, check.reason, check.value) = (State::Pass, None, Some(thumbprint.into()));
        }
        Some(Err(cause)) => (check.state, check.reason, check.value) = (State::Fail, None, Some(cause.into())),
        // said without proof: what was seen stays, but it is no pass
        None => {
            if check.state == State::Pass {
                (check.state, check.reason, check.value) = (State::Unknown, Some(Reason::Absent), None);
            }
        }
    }
}

/// Gives the certificate's SHA-256 thumbprint, or why it does not count.
fn verify(proof: &str, about: &About, authority: &dyn ClientCertVerifier, now: UnixTime) -> Result<String, String> {
    let proof = Proof::parse(proof).map_err(|error| error.to_string())?;
    let chain: Vec<CertificateDer<'_>> = proof.chain().iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let (end, between) = chain.split_first().ok_or("the certificate's proof holds no certificate")?;
    let clock = Clock::since_unix_epoch(Duration::from_secs(now.0));
    authority
        .verify_client_cert(end, between, clock)
        .map_err(|error| format!("the certificate is not good: {error}"))?;
    let parsed = ParsedCertificate::try_from(end).map_err(|error| format!("the certificate does not read: {error}"))?;
    proof.verify(about, &parsed.subject_public_key_info()).map_err(|error| error.to_string())?;
    Ok(digest(&SHA256, end).as_ref().iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    }))
}

fn verifier(path: &Path) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), ztsa_net::tls::provider());
    builder.build().map(|verifier| verifier as _).map_err(|error| error.to_string())
}
