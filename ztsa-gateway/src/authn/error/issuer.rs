//! What happened when an issuer was asked.

use std::time::Duration;

/// Says what happened when an issuer was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    /// No connection, or it broke.
    #[error("{url} cannot be reached: {cause}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the network said.
        cause: String,
    },
    /// No answer in time.
    #[error("{url} did not answer within {} s", .after.as_secs())]
    Timeout {
        /// What was asked.
        url: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// Another status than 200.
    #[error("{url} answered with status {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
    },
    /// Not JSON: a portal's page, an error page.
    #[error("{url} answered with {found} instead of JSON: is something between this gateway and the issuer?")]
    NotJson {
        /// What was asked.
        url: String,
        /// What came.
        found: &'static str,
    },
    /// More than is read.
    #[error("{url} answered with more than {most} bytes")]
    TooLarge {
        /// What was asked.
        url: String,
        /// The most that is read.
        most: usize,
    },
    /// The discovery document is somebody else's.
    #[error("{url} is the document of {found}; `issuer` must be exactly that, or the wrong server answers")]
    Mismatch {
        /// What was asked.
        url: String,
        /// The issuer in the document.
        found: String,
    },
    /// The document lacks what is needed, or sends elsewhere.
    #[error("its discovery document has no usable `{0}`")]
    Endpoint(&'static str),
    /// The key set holds no key that can verify a token.
    #[error("{url} holds no key that this gateway can use")]
    NoKeys {
        /// What was asked.
        url: String,
    },
    /// It does not answer about tokens of this sort (RFC 7009 section 2.2.1, RFC 7662).
    #[error("{url} does not answer about this sort of token; if it is a JWT, set tokens = \"jwt\" for this issuer")]
    CannotTell {
        /// What was asked.
        url: String,
    },
    /// This gateway asks it about as many tokens as it may.
    #[error("this gateway asks it about too many tokens already")]
    Crowded,
    /// It refuses to answer about this token or to this gateway.
    #[error("{url} refused to answer: {error}")]
    Refused {
        /// What was asked.
        url: String,
        /// The OAuth error.
        error: String,
    },
}
