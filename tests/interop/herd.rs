//! Two hundred processes of one person: they share one sign-in, whatever happens to one of them.

use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::gateway::{App, Gateway, Issuer, future_url};
use crate::home::Home;
use crate::process::{PATIENCE, finish, until};
use crate::program::certificate::Authority;
use crate::program::http_server::HttpServer;
use crate::program::oidc_provider::{OidcProvider, SCOPES};
use crate::sign_in::{begin, end};

const HERD: usize = 200;

/// How long all of them may take together, on a machine with other work to do.
const LIMIT: Duration = Duration::from_secs(150);

fn spawn(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn two_hundred_at_once_refresh_once_and_one_that_is_killed_in_the_middle_signs_nobody_out() {
    let (audience, port) = future_url();
    let (server, authority) = (HttpServer::start(), Authority::new());
    let provider = OidcProvider::start(&audience);
    let issuer = Issuer { url: &provider.issuer, audience: &audience, port, scopes: &SCOPES };
    let gateway = Gateway::run(&[App("handbook", "http", server.port, &[])], &authority, &issuer);
    let home = Home::new(&gateway);
    let (login, url) = begin(&home, &gateway);
    provider.approve(&url, "alice");
    end(login);
    let refreshes = || provider.log().matches("granted refresh_token").count();
    // the issuer's tokens last 63 s, and one with less than 60 s left is refreshed
    thread::sleep(Duration::from_secs(4));

    // one process refreshes, and is killed while the gateway does not answer
    home.lose_session();
    gateway.suspend();
    let kept = || std::fs::read(home.folder().join("state/ztsa/profiles/default/credentials")).unwrap_or_default();
    let (before, was) = (refreshes(), kept());
    let mut killed = spawn(&mut home.ztsa(&["apps"]));
    until("the refresh", PATIENCE, || (refreshes() > before).then_some(()));
    until("the new token to be on disk", PATIENCE, || (!kept().is_empty() && kept() != was).then_some(()));
    kill_process(Pid::from_child(&killed), Signal::KILL).unwrap();
    killed.wait().unwrap();
    gateway.resume();

    let started = Instant::now();
    let before = refreshes();
    let mut herd: Vec<Child> = (0..HERD).map(|_| spawn(&mut home.ztsa(&["stdio", "handbook"]))).collect();
    for child in &mut herd {
        let left = LIMIT.saturating_sub(started.elapsed());
        let status = until("a process to end", left, || child.try_wait().unwrap());
        let mut said = String::new();
        std::io::Read::read_to_string(child.stderr.as_mut().unwrap(), &mut said).unwrap();
        assert!(status.success(), "{status}: {said}");
    }
    // a token of 63 s is due again 3 s after a refresh, and each time one process asks for all
    let most = 1 + usize::try_from(started.elapsed().as_secs() / 3).unwrap();
    let count = refreshes() - before;
    assert!(count <= most, "{count} refreshes where {most} were due");
    let log = provider.log();
    assert!(!log.contains("invalid_grant") && !log.contains("grant.revoked"), "{log}");
    finish(&mut home.ztsa(&["apps"])).ok();
}
