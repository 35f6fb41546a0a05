//! Every failure has words, a hint and the exit code that the documentation promises.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ztsa_core::api::ApiError;
use ztsa_core::config::{ConfigError, TpmPlace, WorkloadName};
use ztsa_core::discovery::DiscoveryError;
use ztsa_core::http::HttpError;
use ztsa_core::listener::listen::Listen;
use ztsa_core::login::{Flow, LoginError};
use ztsa_core::store::{KeyringError, StoreError};
use ztsa_core::token::{LoginReason, TokenError};
use ztsa_core::tpm::TpmError;
use ztsa_core::workload::WorkloadError;
use ztsa_net::tls::TlsError;
use ztsa_proto::metadata::MetadataError;
use ztsa_proto::name::AppName;
use ztsa_proto::problem;
use ztsa_proto::time::UnixTime;

use super::*;
use crate::cli::Color;
use crate::env::Environment;
use crate::settings::Source;

fn text() -> String {
    "x".to_owned()
}

fn io_error() -> io::Error {
    io::Error::other("x")
}

fn http() -> Vec<(HttpError, u8)> {
    vec![
        (HttpError::Setup { reason: text() }, USAGE),
        (HttpError::Address { url: text(), reason: text() }, USAGE),
        (HttpError::Unreachable { host: text(), reason: text() }, UNREACHABLE),
        (HttpError::Tls { host: text(), reason: text() }, UNREACHABLE),
        (HttpError::Timeout { host: text(), connected: true }, UNREACHABLE),
        (HttpError::Broken { host: text(), reason: text() }, UNREACHABLE),
        (HttpError::TooLarge { host: text() }, UNREACHABLE),
    ]
}

fn discovery() -> Vec<(DiscoveryError, u8)> {
    let mut all: Vec<_> = http().into_iter().map(|(error, exit)| (DiscoveryError::Gateway(error), exit)).collect();
    all.extend([
        (DiscoveryError::Metadata(MetadataError::Resource { found: text(), asked: text() }), USAGE),
        (DiscoveryError::Metadata(MetadataError::Version { found: 2 }), UNREACHABLE),
        (DiscoveryError::NoIssuer { wanted: Some(text()), known: vec![text()] }, USAGE),
        (DiscoveryError::IssuerChanged { issuer: text(), changes: Vec::new() }, LOGIN),
        (DiscoveryError::Issuer { issuer: text(), reason: text() }, UNREACHABLE),
    ]);
    all
}

fn login() -> Vec<(LoginError, u8)> {
    let mut all: Vec<_> = http().into_iter().map(|(error, exit)| (LoginError::Http(error), exit)).collect();
    let after = Duration::from_secs(600);
    all.extend([
        (LoginError::FlowMissing { flow: Flow::Device }, USAGE),
        (LoginError::FlowRefused { flow: Flow::Browser, said: text() }, LOGIN),
        (LoginError::Denied { said: text() }, LOGIN),
        (LoginError::Expired { after, slept: true }, LOGIN),
        (LoginError::CodeOver { said: text() }, LOGIN),
        (LoginError::Refused { code: text(), said: text() }, LOGIN),
        (LoginError::Answer { reason: text() }, UNREACHABLE),
        (LoginError::Listen(io_error()), INTERNAL),
        (LoginError::NoCallback { after }, LOGIN),
    ]);
    all
}

fn store() -> Vec<(StoreError, u8)> {
    vec![
        (StoreError::Config(ConfigError::Store { given: text() }), USAGE),
        (StoreError::Io { path: PathBuf::from("x"), source: io_error() }, INTERNAL),
        (StoreError::Newer { path: PathBuf::from("x") }, INTERNAL),
        (StoreError::NoKeyring { source: KeyringError::Silent }, USAGE),
        (StoreError::Locked { source: KeyringError::Silent }, INTERNAL),
        (StoreError::Tpm { source: TpmError::Busy { place: TpmPlace::system() } }, INTERNAL),
        (StoreError::TpmOff, LOGIN),
        (StoreError::Seal, INTERNAL),
    ]
}

fn token() -> Vec<(TokenError, u8)> {
    let mut all: Vec<_> = http().into_iter().map(|(error, exit)| (TokenError::Gateway(error), exit)).collect();
    all.extend(http().into_iter().map(|(error, exit)| (TokenError::Issuer(error), exit)));
    all.extend(discovery().into_iter().map(|(error, exit)| (TokenError::Discovery(error), exit)));
    all.extend(store().into_iter().map(|(error, exit)| (TokenError::Store(error), exit)));
    let reasons = [
        LoginReason::Never,
        LoginReason::Expired,
        LoginReason::Ended { said: text() },
        LoginReason::Gateway(Box::new(problem::new("session.revoked"))),
    ];
    all.extend(reasons.into_iter().map(|reason| (TokenError::LoginRequired(reason), LOGIN)));
    all.extend([
        (TokenError::Denied(Box::new(problem::new("posture.disk_encryption"))), 5),
        (TokenError::IssuerRefused { said: text() }, LOGIN),
        (TokenError::Busy { holder: text(), seconds: 30 }, INTERNAL),
        (TokenError::Interrupted, INTERNAL),
    ]);
    all.extend(workload().into_iter().map(|(error, exit)| (TokenError::Workload(error), exit)));
    all
}

fn workload() -> Vec<(WorkloadError, u8)> {
    let name = || WorkloadName::Variable(text());
    let mut all: Vec<_> = http().into_iter().map(|(error, exit)| (WorkloadError::Http(error), exit)).collect();
    all.extend([
        (WorkloadError::Unreadable { path: PathBuf::from("x"), source: io_error() }, LOGIN),
        (WorkloadError::NotJwt { name: name() }, LOGIN),
        (WorkloadError::Expired { name: name(), at: UnixTime(7) }, LOGIN),
        (WorkloadError::Audience { name: name(), found: text(), wanted: text() }, LOGIN),
        (WorkloadError::Issuer { name: name(), found: text(), wanted: text() }, LOGIN),
        (WorkloadError::NotOffered, LOGIN),
        (WorkloadError::Refused { said: text() }, LOGIN),
    ]);
    all
}

fn others() -> Vec<(Error, u8)> {
    let name = "a b".parse::<AppName>().unwrap_err();
    let address = "x".parse::<Listen>().unwrap_err();
    let local = || "127.0.0.1:1080".parse().unwrap();
    vec![
        (ApiError::Http(HttpError::TooLarge { host: text() }).into(), UNREACHABLE),
        (ApiError::Denied(Box::new(problem::new("policy.no_match"))).into(), 4),
        (BuildError::Tls(TlsError::Certificate(text())).into(), USAGE),
        (BuildError::Store(StoreError::Seal).into(), INTERNAL),
        (ConnectError::Name(name).into(), USAGE),
        (ConnectError::Refused(Arc::new(problem::new("app.refused"))).into(), UNREACHABLE),
        (ForwardError::Listen(ListenError::Taken { address: local(), holder: None }).into(), USAGE),
        (ListenError::Bind { address: local(), source: io_error() }.into(), INTERNAL),
        (address.into(), USAGE),
    ]
}

fn settings() -> Vec<(SettingsError, u8)> {
    let path = || PathBuf::from("x");
    vec![
        (SettingsError::Value { from: Source::Default, source: ConfigError::Profile { name: text() } }, USAGE),
        (SettingsError::Roots { path: path(), from: Source::Flag("--ca-file"), source: io_error() }, USAGE),
        (SettingsError::NotRoots { path: path(), from: Source::Login, reason: text() }, USAGE),
        (SettingsError::NoHome { what: "x", flag: "--state-dir" }, USAGE),
        (SettingsError::NoGateway { profile: text() }, LOGIN),
        (SettingsError::Damaged { path: path() }, LOGIN),
    ]
}

fn own() -> Vec<(Failure, u8)> {
    let command = |kind: io::ErrorKind| Failure::Command { program: text(), source: kind.into() };
    vec![
        (Failure::Usage { message: text(), hint: text() }, USAGE),
        (command(io::ErrorKind::NotFound), 127),
        (command(io::ErrorKind::PermissionDenied), 126),
        (Failure::Io { what: text(), source: io_error() }, INTERNAL),
    ]
}

fn check(failure: &Failure, exit: u8) {
    let report = Report::of(failure);
    assert_eq!(report.exit, exit, "{failure:?}");
    assert!(!report.message.is_empty() && !report.message.contains('\n'), "{report:?}");
    assert!(report.hint.as_ref().is_some_and(|hint| hint.len() > 3 || hint == "x"), "no hint: {report:?}");
}

#[test]
fn every_failure_has_words_a_hint_and_its_exit_code() {
    for (failure, exit) in own() {
        check(&failure, exit);
    }
    for (error, exit) in settings() {
        check(&Failure::Settings(error), exit);
    }
    for (error, exit) in token() {
        check(&Failure::from(error), exit);
    }
    for (error, exit) in login() {
        check(&Failure::from(SignInError::Login(error)), exit);
    }
    for (error, exit) in others() {
        check(&Failure::from(error), exit);
    }
}

#[test]
fn every_code_of_the_gateway_is_told_with_its_reason_and_remedy() {
    for code in problem::codes() {
        let problem = problem::new(code).with_policy(["p1"]).with_decision("d1");
        let exit = problem.exit();
        let report = Report::of(&Failure::Denied { app: "db".into(), problem: Box::new(problem.clone()) });
        assert_eq!(report.exit, exit, "{code}");
        assert_eq!(report.why.as_deref(), Some(format!("{code}, policy p1, decision d1").as_str()));
        assert!(report.hint.is_some_and(|hint| !hint.contains("APP")), "{code}");
        assert_ne!(exit, OK, "{code}");

        let report = Report::of(&Failure::Ended { app: "db".into(), problem: Box::new(problem) });
        assert!([6, 7, 8].contains(&report.exit), "{code}: {}", report.exit);
    }
}

#[test]
fn a_denial_reads_like_a_sentence() {
    let problem =
        problem::new("policy.no_match").with_detail("Only the group ops may use payroll.").with_policy(["ops-only"]);
    let report = Report::of(&Failure::Denied { app: "payroll".into(), problem: Box::new(problem) });
    let printer = Printer::new(Color::Never, false, false, 0, &Environment::default());
    assert_eq!(
        report.text(&printer),
        "denied: payroll — Only the group ops may use payroll.\n  why:  policy.no_match, policy ops-only\n  \
         do:   Ask your administrator for access to this app; `ztsa why payroll` shows what was decided."
    );
}

#[test]
fn a_closed_output_is_no_failure() {
    assert_eq!(Report::of(&Failure::from(io::Error::from(io::ErrorKind::BrokenPipe))).exit, OK);
    assert_eq!(Report::of(&Failure::Interrupted(Interrupt::Typed)).exit, 130);
}
