//! Why there is no session token.

use std::fmt;

use ztsa_proto::{
    jws::SignError,
    problem::{Problem, Retry},
};

use crate::{discovery::DiscoveryError, http::HttpError, store::StoreError, workload::WorkloadError};

/// Why there is no session token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A person has to sign in.
    #[error("sign-in needed: {0}")]
    LoginRequired(LoginReason),
    /// The gateway refused; signing in again does not help by itself.
    #[error("{0}")]
    Denied(Box<Problem>),
    /// The gateway could not be asked.
    #[error("{0}")]
    Gateway(#[source] HttpError),
    /// The issuer could not be asked for a fresh token.
    #[error("the sign-in could not be prolonged: {0}")]
    Issuer(#[source] HttpError),
    /// The issuer refused a fresh token for a reason that is not the person's.
    #[error("the issuer refused to prolong the sign-in: {said}")]
    IssuerRefused {
        /// What it said.
        said: String,
    },
    /// The gateway or the issuer could not be found.
    #[error(transparent)]
    Discovery(#[from] DiscoveryError),
    /// The state could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another process renews the session and does not come to an end.
    #[error("another ztsa process ({holder}) has been renewing the session for {seconds} s")]
    Busy {
        /// Who holds the lock, as far as known.
        holder: String,
        /// How long was waited.
        seconds: u64,
    },
    /// A job has no token that the gateway would take.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The process is ending.
    #[error("the renewal was interrupted")]
    Interrupted,
    /// The device key cannot be made or cannot sign.
    #[error("the device key cannot be used: {0}")]
    Key(#[from] SignError),
}

/// Why a person has to sign in.
#[derive(Clone, Debug, PartialEq)]
pub enum LoginReason {
    /// Nobody has signed in.
    Never,
    /// The sign-in ended, and the issuer gave nothing to prolong it with.
    Expired,
    /// The issuer does not prolong it any more.
    Ended {
        /// What it said.
        said: String,
    },
    /// The gateway wants a new one.
    Gateway(Box<Problem>),
}

impl fmt::Display for LoginReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("nobody is signed in"),
            Self::Expired => f.write_str("the sign-in has ended"),
            Self::Ended { said } => write!(f, "the issuer does not prolong the sign-in: {said}"),
            Self::Gateway(problem) => write!(f, "{problem}"),
        }
    }
}

impl From<LoginReason> for TokenError {
    fn from(reason: LoginReason) -> Self {
        Self::LoginRequired(reason)
    }
}

impl TokenError {
    /// Whether it may pass by itself, so that a token that is still good goes on being used.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Gateway(error) | Self::Issuer(error) => error.is_temporary(),
            Self::Discovery(error) => !matches!(error.retry(), Retry::Never),
            Self::Busy { .. }
            | Self::Interrupted
            | Self::Store(_)
            | Self::IssuerRefused { .. }
            | Self::Key(SignError::Unavailable { .. }) => true,
            Self::Denied(problem) => problem.status >= 500,
            Self::Workload(error) => error.is_temporary(),
            Self::LoginRequired(_) | Self::Key(_) => false,
        }
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Key(SignError::Unavailable { .. }) | Self::Busy { .. } | Self::Interrupted => {
                Retry::After { seconds: None }
            }
            Self::LoginRequired(_) | Self::IssuerRefused { .. } | Self::Key(_) => Retry::AfterLogin,
            Self::Workload(error) => error.retry(),
            Self::Denied(problem) => problem.retry,
            Self::Gateway(error) | Self::Issuer(error) => error.retry(),
            Self::Discovery(error) => error.retry(),
            Self::Store(error) => error.retry(),
        }
    }

    /// The gateway's words, when it refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Denied(problem) | Self::LoginRequired(LoginReason::Gateway(problem)) => Some(problem),
            _ => None,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        let login = || "run `ztsa login`".to_owned();
        match self {
            Self::LoginRequired(LoginReason::Gateway(problem)) => problem.remedy.clone().unwrap_or_else(login),
            Self::Key(SignError::Unavailable { .. }) => "try again; `ztsa status` says what holds the key".to_owned(),
            Self::LoginRequired(_) | Self::IssuerRefused { .. } | Self::Key(_) => login(),
            Self::Workload(error) => error.hint(),
            Self::Denied(problem) => {
                problem.remedy.clone().unwrap_or_else(|| "ask the gateway's administrator".to_owned())
            }
            // what cannot be asked has not said no
            Self::Gateway(error) | Self::Issuer(error) if error.is_temporary() => {
                format!("{}; you are still signed in", error.hint())
            }
            Self::Gateway(error) | Self::Issuer(error) => error.hint(),
            Self::Discovery(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::Busy { .. } => "wait, or end that process".to_owned(),
            Self::Interrupted => "try again".to_owned(),
        }
    }
}
