//! The examples of programs that reach private apps by themselves, run as their head comments say.

use std::process::Command;

use crate::binary::ours;
use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::{PATIENCE, finish, until};
use crate::program::certificate::Authority;
use crate::program::http_server::{HttpServer, PAGE};
use crate::program::postgres::{HOST, Postgres};
use crate::program::sshd::Sshd;

/// An example with what each of them is told: the gateway, its roots, and where to keep its state.
fn example(name: &str, home: &Home, gateway: &Gateway) -> Command {
    let mut example = home.command(ours(&format!("examples/{name}")).to_str().unwrap());
    example.arg(&gateway.url).arg(&gateway.ca).arg(home.folder().join("embedded"));
    example
}

#[test]
fn a_program_signs_in_once_and_reaches_the_app_without_a_local_port() {
    let gateway = Gateway::dev(&[]);
    let home = Home::new(&gateway);
    let run = || finish(&mut example("embed", &home, &gateway)).exits(0);
    let first = run();
    assert_eq!(first.stdout, "hello from inside a program\n", "{first}");
    assert!(first.stderr.starts_with("open http") && first.stderr.contains(" and enter "), "{first}");
    let again = run();
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("hello from inside a program\n", ""), "{again}");
    let opened = || gateway.audit().matches("\"event_code\":\"open\"").count();
    until("both tunnels in the audit log", PATIENCE, || (opened() == 2).then_some(()));
}

#[test]
fn a_page_is_fetched_by_a_proxy_of_the_program_s_own() {
    let server = HttpServer::start();
    let gateway = Gateway::dev(&[App("handbook", "http", server.port, &["wiki.corp.internal"])]);
    let home = Home::new(&gateway);
    let url = format!("http://wiki.corp.internal:{}/", server.port);
    let outcome = finish(example("http", &home, &gateway).arg(&url)).exits(0);
    assert!(outcome.stdout.starts_with("HTTP/1.1 200 "), "{outcome}");
    assert_eq!(outcome.stdout.split_once("\r\n\r\n").unwrap().1.trim_end(), PAGE.trim_end(), "{outcome}");
    assert!(outcome.stderr.contains("proxy configuration for browsers: http://127.0.0.1:"), "{outcome}");
    assert_eq!(server.requests().matches("GET / ").count(), 1);
}

#[test]
fn psql_runs_under_a_program_that_tells_when_access_changes() {
    let authority = Authority::new();
    let postgres = Postgres::start(&authority);
    let gateway = Gateway::dev(&[App("db-prod", "postgresql", postgres.port, &[HOST])]);
    let home = Home::new(&gateway);
    let psql = |query: &str| {
        let mut program = example("postgres", &home, &gateway);
        program.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", authority.file());
        program.args(["--", "-U", "app", "-d", "postgres", "-Atc", query]);
        program
    };
    let answer = finish(&mut psql("select 6 * 7, ssl from pg_stat_ssl where pid = pg_backend_pid()")).exits(0);
    assert_eq!(answer.stdout, "42|t\n", "{answer}");
    let wrong = finish(&mut psql("select nothing")).exits(1);
    assert!(wrong.stderr.contains("psql ended with"), "{wrong}");
    let mut waiting =
        crate::process::Process::start("postgres-example", home.folder(), &mut psql("select pg_sleep(600)"));
    let opened = || gateway.audit().matches("\"event_code\":\"open\"").count();
    until("the third tunnel in the audit log", PATIENCE, || (opened() == 3).then_some(()));
    gateway.admin(&["sessions", "revoke", "--app", "db-prod", "--reason", "the database moves"]).ok();
    assert!(!waiting.ended().success(), "{}", waiting.log());
    assert!(waiting.log().contains("ended: ") && waiting.log().contains("the database moves"), "{}", waiting.log());
}

#[test]
fn ssh_goes_through_a_proxy_command_of_one_s_own() {
    let sshd = Sshd::start();
    let gateway = Gateway::dev(&[App("build", "ssh", sshd.port, &[])]);
    let home = Home::new(&gateway);
    // it has nobody to ask: another example signs in
    finish(&mut example("embed", &home, &gateway)).exits(0);
    let (program, state) = (ours("examples/ssh"), home.folder().join("embedded"));
    let carry = format!("{} {} {} {} %h %p", program.display(), gateway.url, gateway.ca.display(), state.display());
    let user = if rustix::process::geteuid().is_root() { "root".to_owned() } else { std::env::var("USER").unwrap() };
    let ssh = |host: &str| {
        let mut ssh = home.command("ssh");
        ssh.args([
            "-F",
            "/dev/null",
            "-o",
            "BatchMode=yes",
            "-o",
            "IdentitiesOnly=yes",
            "-o",
            "StrictHostKeyChecking=yes",
        ]);
        ssh.arg("-o").arg(format!("UserKnownHostsFile={}", sshd.known_hosts(host).display()));
        ssh.arg("-i").arg(sshd.identity()).arg("-o").arg(format!("ProxyCommand={carry}"));
        finish(ssh.args(["-p", "22", "-l", &user, host, "head -c 1000000 /dev/zero; exit 42"]))
    };
    let outcome = ssh("build");
    assert_eq!((outcome.code, outcome.stdout.len()), (Some(42), 1_000_000), "{}", outcome.stderr);
    let refused = ssh("nothing").exits(255);
    assert!(
        refused.stderr.contains("ztsa: there is no such app") && refused.stderr.contains("`ztsa apps`"),
        "{refused}"
    );
}
