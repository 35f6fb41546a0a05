//! The client certificate that the person named: shown in a report, with a proof that its key is theirs.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256, digest};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use zeroize::Zeroizing;
use ztsa_proto::{
    jws::SignError,
    posture::{
        LARGEST_PROOF, MOST_PROOFS, Reason, Report, State,
        certificate::{About, Key, prove},
    },
};

use super::{
    file::hex,
    sys::{self, open},
};
use crate::config::ClientCertificate;

/// The longest file, in bytes.
const LIMIT: u64 = 64 * 1024;
/// The most bytes of proofs in one report; the gateway takes [`LARGEST_PROOF`] of one, and 64 KiB of all that is signed.
const PROOFS: usize = 2 * LARGEST_PROOF;

/// Why a client certificate cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("{path} cannot be read ({reason})", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: Reason,
    },
    /// The file holds no certificate.
    #[error("{path} holds no PEM certificate", path = path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The file holds no key of a supported sort.
    #[error("{path} holds no private key that can be used: RSA, P-256, P-384 or Ed25519 without a password", path = path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key does not sign.
    #[error("the certificate's key could not be used to sign")]
    Sign,
}

impl CertificateError {
    fn reason(&self) -> Reason {
        match self {
            Self::Unreadable { reason, .. } => *reason,
            Self::NoCertificate { .. } | Self::NoKey { .. } | Self::Sign => Reason::Parse,
        }
    }
}

/// Tells one content of the two files from another: of the chain and the key, whichever was replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity([u8; 32]);

impl std::fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // a key is part of what it is made of
        formatter.write_str("Identity(..)")
    }
}

impl Identity {
    fn of(chain: &[u8], key: &[u8]) -> Self {
        let mut context = Context::new(&SHA256);
        context.update(&chain.len().to_be_bytes());
        context.update(chain);
        context.update(key);
        let mut identity = [0; 32];
        identity.copy_from_slice(context.finish().as_ref());
        Self(identity)
    }
}

/// What was made for one report.
struct Made {
    proof: String,
    /// The certificate's SHA-256.
    thumbprint: String,
    identity: Identity,
}

/// Makes the proof for one report.
///
/// # Errors
/// [`CertificateError`] says which file is at fault.
fn proof_of(certificate: &ClientCertificate, about: &About) -> Result<Made, CertificateError> {
    let file = read(&certificate.chain)?;
    let chain: Vec<Vec<u8>> =
        CertificateDer::pem_slice_iter(&file).flatten().map(|certificate| certificate.as_ref().to_vec()).collect();
    let Some(own) = chain.first() else {
        return Err(CertificateError::NoCertificate { path: certificate.chain.clone() });
    };
    let no_key = || CertificateError::NoKey { path: certificate.key.clone() };
    let pem = read(&certificate.key)?;
    let der = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| no_key())?;
    let key = Key::from_der(der.secret_der()).map_err(|_| no_key())?;
    let proof = prove(&key, &chain, about).map_err(|_: SignError| CertificateError::Sign)?;
    let thumbprint = hex(digest(&SHA256, own).as_ref());
    Ok(Made { proof, thumbprint, identity: Identity::of(&file, &pem) })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertificateError> {
    use std::io::Read as _;
    let unreadable = |reason| CertificateError::Unreadable { path: path.to_owned(), reason };
    let mut bytes = Zeroizing::new(Vec::new());
    let file = open(path).map_err(unreadable)?;
    file.take(LIMIT).read_to_end(&mut bytes).map_err(|error| unreadable(sys::reason(&error)))?;
    Ok(bytes)
}

/// Shows the certificate in each check of a report that wants it, and says what was shown; without a nonce of the gateway
/// nothing can be proved, and nothing is said.
pub(crate) fn attest(
    report: &mut Report,
    certificate: Option<&ClientCertificate>,
    about: Option<&About>,
) -> Option<Identity> {
    report.evidence.clear();
    let certificate = certificate?;
    let mut checks = report.checks.iter_mut().filter(|check| check.id.starts_with("cert.")).peekable();
    checks.peek()?;
    let made = about.map(|about| proof_of(certificate, about));
    let mut room = PROOFS;
    for check in checks {
        check.source = certificate.chain.display().to_string();
        let reason = match &made {
            Some(Ok(made)) if made.proof.len() > room.min(LARGEST_PROOF) || report.evidence.len() >= MOST_PROOFS => {
                // a report with all of them would be refused as a whole
                tracing::debug!(id = check.id, "the client certificate is not shown: there is no room for it");
                Reason::Parse
            }
            Some(Ok(made)) => {
                room -= made.proof.len();
                (check.state, check.reason, check.value) = (State::Pass, None, Some(made.thumbprint.clone().into()));
                report.evidence.insert(check.id.clone(), made.proof.clone());
                continue;
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "the client certificate is not shown");
                error.reason()
            }
            None => Reason::Absent,
        };
        (check.state, check.reason, check.value) = (State::Unknown, Some(reason), None);
    }
    made.and_then(Result::ok).map(|made| made.identity)
}
