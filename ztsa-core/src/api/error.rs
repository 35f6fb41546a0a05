//! Why a call did not work.

use ztsa_proto::problem::{Problem, Retry};

use crate::{http::HttpError, token::TokenError};

/// Why a call did not work.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The gateway refused, with a reason.
    #[error("{0}")]
    Denied(Box<Problem>),
    /// There is no session to call with.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There was no usable answer.
    #[error(transparent)]
    Http(HttpError),
}

impl ApiError {
    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Denied(problem) => problem.retry,
            Self::Token(error) => error.retry(),
            Self::Http(error) => error.retry(),
        }
    }

    /// The gateway's words, when it refused.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Denied(problem) => Some(problem),
            Self::Token(error) => error.problem(),
            Self::Http(_) => None,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Denied(problem) => {
                problem.remedy.clone().unwrap_or_else(|| "ask the gateway's administrator".to_owned())
            }
            Self::Token(error) => error.hint(),
            Self::Http(error) => error.hint(),
        }
    }
}
