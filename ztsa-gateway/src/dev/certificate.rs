//! The development gateway's own certificate authority, kept across starts so that clients that trust it go on doing so.

use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

use super::DevError;
use super::layout::{Layout, write_private};

/// Makes the authority when it is not there, and a new certificate for the gateway at each start.
pub(super) fn ensure(layout: &Layout) -> Result<(), DevError> {
    let failed = |error: rcgen::Error| DevError::Certificate(error.to_string());
    if !layout.ca().exists() || !layout.ca_key().exists() {
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = authority()?.self_signed(&key).map_err(failed)?;
        write_private(&layout.ca_key(), key.serialize_pem().as_bytes())?;
        fs::write(layout.ca(), certificate.pem()).map_err(|source| layout.error("ca.pem", source))?;
    }
    let key = fs::read_to_string(layout.ca_key()).map_err(|source| layout.error("ca.key", source))?;
    let issuer = Issuer::new(authority()?, KeyPair::from_pem(&key).map_err(failed)?);
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let mut leaf = CertificateParams::new(names).map_err(failed)?;
    leaf.distinguished_name.push(DnType::CommonName, "ztsa development gateway");
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = leaf.signed_by(&key, &issuer).map_err(failed)?;
    write_private(&layout.key(), key.serialize_pem().as_bytes())?;
    fs::write(layout.certificate(), certificate.pem()).map_err(|source| layout.error("gateway.pem", source))
}

/// The authority's parameters: the same at each start, so that its certificate stays good for the kept key.
fn authority() -> Result<CertificateParams, DevError> {
    let mut params =
        CertificateParams::new(Vec::<String>::new()).map_err(|error| DevError::Certificate(error.to_string()))?;
    params.distinguished_name.push(DnType::CommonName, "ztsa development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}
