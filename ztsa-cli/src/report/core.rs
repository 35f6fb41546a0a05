//! The library's errors: each with its exit code. Their words and hints are the library's own.

use ztsa_core::api::ApiError;
use ztsa_core::client::{BuildError, ConnectError, Error};
use ztsa_core::config::ConfigError;
use ztsa_core::discovery::DiscoveryError;
use ztsa_core::http::HttpError;
use ztsa_core::listener::listen::ListenError;
use ztsa_core::login::LoginError;
use ztsa_core::store::StoreError;
use ztsa_core::token::{SignInError, TokenError};
use ztsa_core::workload::WorkloadError;

use ztsa_proto::metadata::MetadataError;

use super::{INTERNAL, LOGIN, Report, UNREACHABLE, USAGE};

/// Says what an error of the library means; `app` is what was asked for, where one app was.
pub(super) fn report(error: &Error, app: Option<&str>) -> Report {
    match error.problem() {
        Some(problem) => Report::refusal(problem, app),
        None => Report::new(exit(error), error.to_string(), error.hint()),
    }
}

/// The exit code of an error of the library that is no refusal.
fn exit(error: &Error) -> u8 {
    match error {
        Error::Build(error) => build(error),
        Error::SignIn(error) => sign_in(error),
        Error::Token(error) => token(error),
        Error::Api(error) => api(error),
        Error::Connect(error) => connect(error),
        Error::Listen(error) => listen(error),
        Error::Stdio(error) => error.exit(),
        _ => INTERNAL,
    }
}

/// The exit code of a client that could not be made.
fn build(error: &BuildError) -> u8 {
    match error {
        BuildError::Config(error) => config(error),
        BuildError::Tls(_) => USAGE,
        BuildError::Http(error) => http(error),
        BuildError::Store(error) => store(error),
        BuildError::Token(error) => token(error),
        _ => INTERNAL,
    }
}

/// The exit code of an app that was not reached.
fn connect(error: &ConnectError) -> u8 {
    match error {
        ConnectError::Name(_) => USAGE,
        ConnectError::Apps(error) => api(error),
        ConnectError::Refused(problem) => problem.exit(),
        _ => INTERNAL,
    }
}

/// The exit code of a call that did not work.
fn api(error: &ApiError) -> u8 {
    match error {
        ApiError::Denied(problem) => problem.exit(),
        ApiError::Token(error) => token(error),
        ApiError::Http(error) => http(error),
    }
}

/// The exit code of a request that got no usable answer.
fn http(error: &HttpError) -> u8 {
    match error {
        HttpError::Setup { .. } | HttpError::Address { .. } => USAGE,
        HttpError::Sign(_) => LOGIN,
        HttpError::Unreachable { .. }
        | HttpError::Tls { .. }
        | HttpError::Timeout { .. }
        | HttpError::Broken { .. }
        | HttpError::TooLarge { .. }
        | HttpError::Unexpected(_) => UNREACHABLE,
    }
}

/// The exit code of a gateway or issuer that cannot be used.
fn discovery(error: &DiscoveryError) -> u8 {
    match error {
        DiscoveryError::Gateway(error) | DiscoveryError::IssuerUnreachable { source: error, .. } => http(error),
        DiscoveryError::Metadata(MetadataError::Resource { .. }) | DiscoveryError::NoIssuer { .. } => USAGE,
        DiscoveryError::NotAGateway { .. } | DiscoveryError::Metadata(_) | DiscoveryError::Issuer { .. } => UNREACHABLE,
        DiscoveryError::IssuerChanged { .. } => LOGIN,
    }
}

/// The exit code of a sign-in that did not work.
fn login(error: &LoginError) -> u8 {
    match error {
        LoginError::Http(error) => http(error),
        LoginError::FlowMissing { .. } => USAGE,
        LoginError::Answer { .. } => UNREACHABLE,
        LoginError::Listen(_) => INTERNAL,
        LoginError::FlowRefused { .. }
        | LoginError::Denied { .. }
        | LoginError::Expired { .. }
        | LoginError::CodeOver { .. }
        | LoginError::AnswerLost(_)
        | LoginError::Refused { .. }
        | LoginError::NoCallback { .. } => LOGIN,
    }
}

/// The exit code of a session that is not to be had.
fn token(error: &TokenError) -> u8 {
    match error {
        TokenError::Denied(problem) => problem.exit(),
        TokenError::Gateway(error) | TokenError::Issuer(error) | TokenError::Workload(WorkloadError::Http(error)) => {
            http(error)
        }
        TokenError::Workload(_)
        | TokenError::LoginRequired(_)
        | TokenError::IssuerRefused { .. }
        | TokenError::Key(_) => LOGIN,
        TokenError::Discovery(error) => discovery(error),
        TokenError::Store(error) => store(error),
        TokenError::Busy { .. } | TokenError::Interrupted => INTERNAL,
    }
}

/// The exit code of a sign-in that did not come to a session.
fn sign_in(error: &SignInError) -> u8 {
    match error {
        SignInError::Discovery(error) => discovery(error),
        SignInError::Login(error) => login(error),
        SignInError::Token(error) => token(error),
    }
}

/// The exit code of state that cannot be read or written.
fn store(error: &StoreError) -> u8 {
    match error {
        StoreError::Config(error) => config(error),
        StoreError::NoKeyring { .. } => USAGE,
        StoreError::TpmOff => LOGIN,
        StoreError::Io { .. }
        | StoreError::Newer { .. }
        | StoreError::Locked { .. }
        | StoreError::Tpm { .. }
        | StoreError::Seal => INTERNAL,
    }
}

/// The exit code of a wrong configuration.
fn config(error: &ConfigError) -> u8 {
    match error {
        ConfigError::Gateway { .. }
        | ConfigError::Profile { .. }
        | ConfigError::Store { .. }
        | ConfigError::Workload { .. }
        | ConfigError::WorkloadVariable { .. }
        | ConfigError::Tpm { .. } => USAGE,
    }
}

/// The exit code of a listener that could not be started.
fn listen(error: &ListenError) -> u8 {
    match error {
        ListenError::Bind { .. } => INTERNAL,
        _ => USAGE,
    }
}
