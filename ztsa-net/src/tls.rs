//! TLS settings for both ends: TLS 1.3 (a client still speaks 1.2 to others) by rustls on aws-lc-rs, named explicitly so
//! that no process-wide provider is needed or installed.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{CipherSuite, ClientConfig, RootCertStore, ServerConfig};

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The PEM text holds no certificate, or one that cannot be read.
    #[error("no usable certificate in the PEM text: {0}")]
    Certificate(String),
    /// The PEM text holds no private key, or one that cannot be read.
    #[error("no usable private key in the PEM text: {0}")]
    Key(String),
    /// Certificate and key do not fit, or the settings contradict each other.
    #[error("TLS settings: {0}")]
    Settings(#[from] rustls::Error),
}

/// The certificate authorities that a client trusts.
#[derive(Debug, Clone)]
pub struct Roots {
    store: RootCertStore,
    extra: usize,
}

impl Roots {
    /// Trusts Mozilla's list, as compiled in by `webpki-roots`.
    #[must_use]
    pub fn mozilla() -> Self {
        let mut store = RootCertStore::empty();
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        Self { store, extra: 0 }
    }

    /// Adds the certificates of a PEM text.
    ///
    /// # Errors
    /// [`TlsError::Certificate`] when the text holds none, or one that cannot be read.
    pub fn with_pem(mut self, pem: &[u8]) -> Result<Self, TlsError> {
        let mut found = 0;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| TlsError::Certificate(error.to_string()))?;
            self.store.add(certificate).map_err(|error| TlsError::Certificate(error.to_string()))?;
            found += 1;
        }
        if found == 0 {
            return Err(TlsError::Certificate("it holds no CERTIFICATE block".into()));
        }
        self.extra += found;
        Ok(self)
    }

    /// Counts the certificates added to the built-in list.
    #[must_use]
    pub fn extra(&self) -> usize {
        self.extra
    }
}

/// The crypto provider of both ends: aws-lc-rs, AES-128-GCM first (the fastest that is strong enough where the CPU
/// has AES; see docs/reference/performance.md), then the others in rustls' order.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => 0,
        CipherSuite::TLS13_AES_256_GCM_SHA384 => 1,
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 2,
        _ => 3,
    });
    Arc::new(provider)
}

/// Builds a client's settings, offering `alpn` in order of preference.
///
/// # Errors
/// [`TlsError::Settings`] when the provider cannot serve the protocol versions.
pub fn client_config(roots: &Roots, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots.store.clone())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // for the record layer of `secure`
    config.enable_secret_extraction = true;
    Ok(Arc::new(config))
}

/// Builds a server's settings from a PEM certificate chain and key, accepting `alpn` in order of preference: TLS 1.3
/// and nothing older.
///
/// # Errors
/// [`TlsError`] when the certificate or key cannot be read, or do not fit each other.
pub fn server_config(certificates: &[u8], key: &[u8], alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(certificates)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| TlsError::Certificate(error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::Certificate("it holds no CERTIFICATE block".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Key(error.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    // for the record layer of `secure`
    config.enable_secret_extraction = true;
    config.ignore_client_order = true;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pem_without_certificates_is_refused() {
        for text in ["", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(Roots::mozilla().with_pem(text.as_bytes()), Err(TlsError::Certificate(_))), "{text:?}");
        }
    }

    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let other = rcgen::KeyPair::generate().unwrap();
        let pem = made.cert.pem();
        assert!(server_config(pem.as_bytes(), made.signing_key.serialize_pem().as_bytes(), &[b"h2"]).is_ok());
        assert!(matches!(
            server_config(pem.as_bytes(), other.serialize_pem().as_bytes(), &[b"h2"]),
            Err(TlsError::Settings(_))
        ));
        assert!(matches!(server_config(pem.as_bytes(), b"", &[b"h2"]), Err(TlsError::Key(_))));
    }

    #[test]
    fn aes_128_comes_first() {
        let suites = provider().cipher_suites.clone();
        assert_eq!(suites[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
    }

    #[test]
    fn a_server_speaks_nothing_older_than_tls_1_3() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let greeted = |version: &'static rustls::SupportedProtocolVersion| {
            let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
            let client = client.with_root_certificates(Roots::mozilla().store).with_no_client_auth();
            let mut client = rustls::ClientConnection::new(client.into(), "localhost".try_into().unwrap()).unwrap();
            let server = server_config(pem.as_bytes(), key.as_bytes(), &[b"h2"]).unwrap();
            let mut server = rustls::ServerConnection::new(server).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            server.read_tls(&mut hello.as_slice()).unwrap();
            server.process_new_packets().map(|_| ())
        };
        assert_eq!(greeted(&TLS13), Ok(()));
        assert!(matches!(greeted(&rustls::version::TLS12), Err(rustls::Error::PeerIncompatible(_))));
    }
}
