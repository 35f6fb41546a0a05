//! Why something did not work: one type per operation, and one that holds them all.

use std::sync::Arc;

use ztsa_net::tls::TlsError;
use ztsa_proto::name::NameError;
use ztsa_proto::problem::{Problem, Retry};

use crate::api::ApiError;
use crate::config::ConfigError;
use crate::http::HttpError;
use crate::listener::listen::ListenError;
use crate::listener::stdio::StdioError;
use crate::store::StoreError;
use crate::token::{SignInError, TokenError};

/// Why a client could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The HTTP client cannot be set up as configured.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The device key or the session cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl BuildError {
    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Token(error) => error.retry(),
            _ => Retry::Never,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Config(_) => "correct the value; the message says what is wanted".to_owned(),
            Self::Tls(_) => "give a file with PEM certificates (-----BEGIN CERTIFICATE-----)".to_owned(),
            Self::Http(error) => error.hint(),
            Self::Store(_) => "check the state directory's owner and mode, or use the memory store".to_owned(),
            Self::Token(error) => error.hint(),
        }
    }
}

/// Why an app was not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// What was given cannot be an app's name or a destination.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The list of apps could not be had, to find out where the name leads.
    #[error(transparent)]
    Apps(#[from] ApiError),
    /// It was refused, or could not be reached; the problem says which.
    #[error("{0}")]
    Refused(Arc<Problem>),
}

impl ConnectError {
    /// The reason in the gateway's words, where there is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Name(_) => None,
            Self::Apps(error) => error.problem(),
            Self::Refused(problem) => Some(problem),
        }
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Name(_) => Retry::Never,
            Self::Apps(error) => error.retry(),
            Self::Refused(problem) => problem.retry,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Name(_) => "give an app's name, such as db-prod, or HOST:PORT".to_owned(),
            Self::Apps(error) => error.hint(),
            Self::Refused(problem) => {
                problem.remedy.clone().unwrap_or_else(|| "ask the gateway's administrator".to_owned())
            }
        }
    }
}

/// Why a forward could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// It is not known where the name leads.
    #[error(transparent)]
    Destination(ConnectError),
    /// The port could not be had.
    #[error(transparent)]
    Listen(ListenError),
}

impl ForwardError {
    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Destination(error) => error.retry(),
            Self::Listen(_) => Retry::Never,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Destination(error) => error.hint(),
            Self::Listen(error) => error.hint(),
        }
    }
}

/// Whose side an error is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's: a name, an address, a configuration.
    Usage,
    /// A person has to sign in.
    Login,
    /// The gateway said no, and why.
    Denied,
    /// The gateway, the issuer or the app cannot be reached.
    Unreachable,
    /// This machine's: a port, a file, a pipe.
    Local,
}

/// Whatever can go wrong with a client, for programs that treat it all alike; every operation's own error becomes one
/// by `?`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client could not be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The sign-in did not come to a session.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// There is no session.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The gateway did not answer a question as hoped.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// An app was not reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A listener could not be started.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A connection on a pair of streams did not come to its own end.
    #[error(transparent)]
    Stdio(#[from] StdioError),
}

impl From<ForwardError> for Error {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::Destination(error) => Self::Connect(error),
            ForwardError::Listen(error) => Self::Listen(error),
        }
    }
}

impl Error {
    /// The reason in the gateway's words, where there is one.
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Build(BuildError::Token(error)) | Self::Token(error) | Self::SignIn(SignInError::Token(error)) => {
                error.problem()
            }
            Self::Api(error) => error.problem(),
            Self::Connect(error) => error.problem(),
            Self::Stdio(error) => error.problem(),
            Self::Build(_) | Self::SignIn(_) | Self::Listen(_) => None,
        }
    }

    /// Whose side it is on.
    pub fn kind(&self) -> ErrorKind {
        if let Some(problem) = self.problem() {
            return match problem.exit() {
                3 => ErrorKind::Login,
                6 => ErrorKind::Unreachable,
                _ => ErrorKind::Denied,
            };
        }
        match (self, self.retry()) {
            (Self::Build(BuildError::Store(_)) | Self::Listen(_) | Self::Stdio(_), _) => ErrorKind::Local,
            (Self::Build(_) | Self::Connect(ConnectError::Name(_)), _) => ErrorKind::Usage,
            (_, Retry::AfterLogin | Retry::AfterStepUp) => ErrorKind::Login,
            _ => ErrorKind::Unreachable,
        }
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Build(error) => error.retry(),
            Self::SignIn(error) => error.retry(),
            Self::Token(error) => error.retry(),
            Self::Api(error) => error.retry(),
            Self::Connect(error) => error.retry(),
            Self::Listen(_) => Retry::Never,
            Self::Stdio(error) => error.problem().map_or(Retry::Never, |problem| problem.retry),
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Build(error) => error.hint(),
            Self::SignIn(error) => error.hint(),
            Self::Token(error) => error.hint(),
            Self::Api(error) => error.hint(),
            Self::Connect(error) => error.hint(),
            Self::Listen(error) => error.hint(),
            Self::Stdio(error) => error.hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::LoginReason;
    use ztsa_proto::problem;

    #[test]
    fn every_error_says_whose_it_is_and_what_to_do() {
        let refused = |code: &str| Error::from(ConnectError::Refused(Arc::new(problem::new(code))));
        let table = [
            (refused("policy.no_match"), ErrorKind::Denied),
            (refused("posture.disk_encryption"), ErrorKind::Denied),
            (refused("auth.required"), ErrorKind::Login),
            (refused("gateway.unavailable"), ErrorKind::Unreachable),
            (refused("app.refused"), ErrorKind::Unreachable),
            (Error::from(TokenError::LoginRequired(LoginReason::Never)), ErrorKind::Login),
            (
                Error::from(ConnectError::Name("a b".parse::<ztsa_proto::name::HostName>().unwrap_err())),
                ErrorKind::Usage,
            ),
            (Error::from("x".parse::<crate::listener::listen::Listen>().unwrap_err()), ErrorKind::Local),
            (Error::from(BuildError::Tls(TlsError::Certificate(String::new()))), ErrorKind::Usage),
            (Error::from(StdioError::Local(std::io::ErrorKind::BrokenPipe.into())), ErrorKind::Local),
            (Error::from(StdioError::Cut(Arc::new(problem::new("session.revoked")))), ErrorKind::Login),
        ];
        for (error, kind) in table {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(!error.hint().is_empty(), "{error}");
            assert!(!error.to_string().is_empty(), "{error:?}");
        }
    }
}
