//! Why a sign-in did not work.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use ztsa_proto::problem::Retry;

use crate::http::HttpError;

/// The two ways to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flow {
    /// RFC 8628.
    Device,
    /// RFC 8252.
    Browser,
}

impl Flow {
    /// The option of `ztsa login` that chooses the other flow.
    pub fn other_option(self) -> &'static str {
        match self {
            Self::Device => "--browser",
            Self::Browser => "--device",
        }
    }
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "device flow",
            Self::Browser => "browser flow",
        })
    }
}

/// Why a sign-in did not work. Text from the issuer is free of control characters.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The issuer could not be asked.
    #[error("the issuer could not be asked: {0}")]
    Http(#[source] HttpError),
    /// The issuer has no such flow.
    #[error("the {flow} is not offered here")]
    FlowMissing {
        /// The flow.
        flow: Flow,
    },
    /// The organisation does not allow this flow.
    #[error("the organisation's issuer refuses the {flow}: {said}")]
    FlowRefused {
        /// The flow.
        flow: Flow,
        /// What the issuer said.
        said: String,
    },
    /// A person or the issuer said no.
    #[error("the sign-in was denied: {said}")]
    Denied {
        /// What the issuer said.
        said: String,
    },
    /// The code's time ran out before it was approved.
    #[error("the code ran out after {} s without an approval{}", after.as_secs(), if *slept { "; this machine slept meanwhile" } else { "" })]
    Expired {
        /// How long it was good for.
        after: Duration,
        /// Whether this machine slept meanwhile.
        slept: bool,
    },
    /// The code has been used or taken back.
    #[error("the code is no longer good: {said}")]
    CodeOver {
        /// What the issuer said.
        said: String,
    },
    /// The answer to a redemption was lost; the code may be used up and is not sent again.
    #[error("the issuer's answer was lost on the way ({0}); the code may be used up")]
    AnswerLost(#[source] HttpError),
    /// The issuer refused for another reason.
    #[error("the issuer refused: {said}")]
    Refused {
        /// Its error code.
        code: String,
        /// What it said.
        said: String,
    },
    /// The issuer's answer makes no sense.
    #[error("the issuer's answer cannot be used: {reason}")]
    Answer {
        /// What is wrong with it.
        reason: String,
    },
    /// No address on loopback could be bound for the browser to come back to.
    #[error("no loopback port for the browser to come back to: {0}")]
    Listen(#[source] std::io::Error),
    /// The browser did not come back in time.
    #[error("the browser did not come back within {} s", after.as_secs())]
    NoCallback {
        /// How long was waited.
        after: Duration,
    },
}

impl LoginError {
    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Http(error) => error.retry(),
            Self::Expired { .. } | Self::CodeOver { .. } | Self::AnswerLost(_) | Self::NoCallback { .. } => {
                Retry::After { seconds: None }
            }
            _ => Retry::Never,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Http(error) => error.hint(),
            Self::FlowMissing { flow } | Self::FlowRefused { flow, .. } => {
                format!("sign in the other way: `ztsa login {}`", flow.other_option())
            }
            Self::Denied { .. } => {
                "run `ztsa login` again and approve it, or ask the issuer's administrator".to_owned()
            }
            Self::Expired { .. } | Self::CodeOver { .. } => "run `ztsa login` again".to_owned(),
            Self::AnswerLost(_) => "start over: run `ztsa login` again".to_owned(),
            Self::Refused { .. } | Self::Answer { .. } => {
                "tell the gateway's administrator: client id, scopes and audience of the issuer may be wrong".to_owned()
            }
            Self::Listen(_) => "sign in with `ztsa login --device`".to_owned(),
            Self::NoCallback { .. } => {
                "run `ztsa login` again, or `ztsa login --device` if no browser opens here or its page shows an error"
                    .to_owned()
            }
        }
    }
}
