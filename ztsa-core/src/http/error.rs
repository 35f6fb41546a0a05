//! Why there was no usable answer.

use std::error::Error;

use rustls::CertificateError;
use ztsa_proto::{jws::SignError, problem::Retry};

use super::{BODY_LIMIT, Seen};

/// Why there was no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The client could not be set up.
    #[error("HTTP cannot be set up: {reason}")]
    Setup {
        /// What is wrong.
        reason: String,
    },
    /// A URL that cannot be used.
    #[error("{url} cannot be used: {reason}")]
    Address {
        /// The URL.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// No connection: name resolution, TCP or the proxy failed. Nothing was sent.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The host.
        host: String,
        /// What failed.
        reason: String,
    },
    /// The host's certificate or TLS is not acceptable. Nothing was sent.
    #[error("the TLS connection to {host} is not safe: {reason}")]
    Tls {
        /// The host.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No answer in time.
    #[error("{host} did not answer in time")]
    Timeout {
        /// The host.
        host: String,
        /// Whether the request may have been received.
        connected: bool,
    },
    /// The connection broke after the request was sent.
    #[error("the connection to {host} broke before the answer was complete: {reason}")]
    Broken {
        /// The host.
        host: String,
        /// What happened.
        reason: String,
    },
    /// The answer is larger than 1 MiB.
    #[error("{host} sent more than {BODY_LIMIT} bytes")]
    TooLarge {
        /// The host.
        host: String,
    },
    /// An answer came, but not one that this request can have.
    #[error("{0}")]
    Unexpected(Seen),
    /// The device key could not sign the request.
    #[error("the device key cannot sign: {0}")]
    Sign(#[from] SignError),
}

impl HttpError {
    /// Whether the request may have reached the server, so that repeating it may do its work twice.
    pub fn may_have_arrived(&self) -> bool {
        matches!(
            self,
            Self::Timeout { connected: true, .. } | Self::Broken { .. } | Self::TooLarge { .. } | Self::Unexpected(_)
        )
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Broken { .. } => true,
            Self::Unexpected(seen) => seen.is_temporary(),
            _ => false,
        }
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Unexpected(seen) if seen.is_temporary() => {
                Retry::After { seconds: seen.retry_after.map(|wait| wait.as_secs()) }
            }
            _ if self.is_temporary() => Retry::After { seconds: None },
            _ => Retry::Never,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Setup { .. } => "check --ca-file and the proxy settings".to_owned(),
            Self::Address { .. } => "check the URL".to_owned(),
            Self::Unreachable { .. } => "check the address, the network and HTTPS_PROXY, and that something runs there".to_owned(),
            Self::Tls { .. } => "if its certificate is from an authority of your own, or a company proxy inspects TLS, name that authority with --ca-file FILE; otherwise do not go on".to_owned(),
            Self::Timeout { .. } | Self::Broken { .. } => "try again; check the network if it happens again".to_owned(),
            Self::TooLarge { .. } => "check that the URL is the gateway's".to_owned(),
            Self::Unexpected(seen) if seen.is_portal() => "open any web page in the browser and sign in to this network, then try again".to_owned(),
            Self::Unexpected(seen) if seen.is_temporary() => "try again later".to_owned(),
            Self::Unexpected(_) => "check that the URL is right and that nothing between here and there answers instead".to_owned(),
            Self::Sign(_) => "run `ztsa login` to make a new device key".to_owned(),
        }
    }

    pub(super) fn from_reqwest(host: &str, error: &reqwest::Error) -> Self {
        let (host, reason) = (host.to_owned(), chain(error));
        if let Some(tls) = find_tls(error) {
            // An alert after the handshake is a broken connection, not a judgement about the certificate.
            if error.is_connect() {
                return Self::Tls { host, reason: tls };
            }
        }
        if error.is_timeout() {
            Self::Timeout { host, connected: !error.is_connect() }
        } else if error.is_connect() {
            Self::Unreachable { host, reason }
        } else if error.is_builder() {
            Self::Setup { reason }
        } else {
            Self::Broken { host, reason }
        }
    }
}

/// The innermost causes of an error as one text: what happened, without the layers that passed it on and without URLs,
/// which may hold secrets.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut last = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        last = cause.to_string();
        next = cause.source();
    }
    // rustls sends people to its manual for programmers
    if last.contains("close_notify") { "it was closed in the middle".to_owned() } else { last }
}

fn find_tls(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = as_tls(cause) {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

/// `io::Error` hides the error that it wraps from `source()`.
fn as_tls(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls_reason(tls));
    }
    let wrapped = error.downcast_ref::<std::io::Error>()?.get_ref()?;
    as_tls(wrapped)
}

/// What is wrong with a certificate, in words for the person who sees it or made it.
fn tls_reason(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(wrong) = error else { return error.to_string() };
    match wrong {
        CertificateError::UnknownIssuer => "its certificate is from an authority that is not trusted here".to_owned(),
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is itself an authority (CA:TRUE); a gateway needs one that is not".to_owned()
        }
        _ => error.to_string(),
    }
}
