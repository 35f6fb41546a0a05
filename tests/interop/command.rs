//! Commands of `ztsa` beside a running gateway, as people and scripts call them.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Stdio;

use serde_json::Value;

use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::{PATIENCE, Process, finish, free_port, until};

#[test]
fn who_waits_has_the_app_when_it_comes_and_the_reason_stands_in_the_audit_log() {
    let port = free_port();
    let gateway = Gateway::dev(&[App("late", "tcp", port, &[])]);
    let home = Home::signed_in(&gateway);
    let outcome = finish(&mut home.ztsa(&["connect", "late", "--wait", "1", "--", "true"])).exits(6);
    assert!(outcome.stderr.contains("refused"), "{outcome}");

    let mut waiting = home.start(&[
        "connect",
        "late",
        "--wait",
        "600",
        "--reason",
        "incident 4711",
        "--listen",
        "127.0.0.1:0",
        "--json",
    ]);
    until("the reason in the audit log", PATIENCE, || gateway.audit().contains("incident 4711").then_some(()));
    assert!(!waiting.log().contains("\"ready\""), "{}", waiting.log());
    let _app = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    waiting.line("\"ready\"");
}

#[test]
fn posture_says_who_asks_and_which_apps_need_what() {
    let gateway = Gateway::dev(&[]);
    gateway.enforce(
        "device.cedar",
        "@id(\"disk\")\nforbid (principal, action, resource == App::\"echo\")\n\
         unless { context.device.posture.disk_root.state == \"pass\" };\n",
    );
    let home = Home::signed_in(&gateway);
    let told = finish(&mut home.ztsa(&["posture", "--json"])).ok();
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{told}: {error}"));
    let disk = &told["explanations"]["disk.root"];
    assert!(told["sent_to"].as_str().is_some_and(|url| url.starts_with(&gateway.url)), "{told}");
    assert_eq!((&disk["asked_by"], &disk["needed_by"]), (&told["sent_to"], &serde_json::json!(["echo"])), "{told}");
    let shown = finish(&mut home.ztsa(&["posture"])).ok();
    assert!(shown.contains("needed by echo") && shown.contains(&gateway.url), "{shown}");
}

#[test]
fn who_watches_sees_what_happens_to_the_connections_of_other_processes() {
    let gateway = Gateway::dev(&[]);
    let home = Home::signed_in(&gateway);
    let (_forward, address) = home.forward("echo");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    let mut status = home.ztsa(&["status", "--watch", "--json"]);
    let mut watch = Process::start("watch", home.folder(), &mut status);
    let status: Value = serde_json::from_str(&watch.line("\"signed_in\"")).unwrap();
    assert_eq!(status["signed_in"], true, "{status}");
    // again and again: when it has begun to listen is not told
    let told = watch.shows("a pause", |log| {
        gateway.admin(&["risk", "set", "alice", "70", "--reason", "a badge was lost"]).ok();
        gateway.admin(&["risk", "clear", "alice"]).ok();
        let mut lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        lines.find(|line| line.contains("\"suspended\"")).map(str::to_owned)
    });
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["event"], &told["app"]), (&"suspended".into(), &"echo".into()), "{told}");
    assert!(told.to_string().contains("a badge was lost"), "{told}");
}

#[test]
fn a_sign_in_can_be_photographed() {
    let gateway = Gateway::dev(&[]);
    let home = Home::new(&gateway);
    let outcome = finish(&mut home.ztsa(&["login", "--device", "--no-open", "--qr", &gateway.url])).exits(0);
    let is_drawn = |line: &&str| line.chars().count() > 20 && line.chars().all(|letter| " ▀▄█".contains(letter));
    assert!(outcome.stderr.lines().filter(is_drawn).count() > 10, "{outcome}");
    assert!(outcome.stderr.contains("and enter the code"), "{outcome}");
}

#[test]
fn a_program_that_is_killed_behind_a_paused_stdio_frees_the_tunnel_at_once() {
    let gateway = Gateway::dev_with(&[], "[risk]\nsuspend_grace = \"1h\"\n");
    let home = Home::signed_in(&gateway);
    let log = std::fs::File::create(home.folder().join("stdio.log")).unwrap();
    let mut stdio = home.ztsa(&["stdio", "echo"]);
    let mut stdio = stdio.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let (mut input, mut output) = (stdio.stdin.take().unwrap(), stdio.stdout.take().unwrap());
    let mut answer = [0; 5];
    input.write_all(b"hello").unwrap();
    output.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
    let set = gateway.admin(&["risk", "set", "alice", "70"]).ok();
    assert!(set.contains("1 tunnel suspended"), "{set}");
    // what the kernel does with the pipes of ssh when it is killed
    drop((input, output));
    let status = until("ztsa stdio to end", PATIENCE, || stdio.try_wait().unwrap());
    assert_eq!(status.code(), Some(1), "{}", std::fs::read_to_string(home.folder().join("stdio.log")).unwrap());
    until("the tunnel to be gone", PATIENCE, || {
        let list = gateway.admin(&["sessions", "list", "--json"]).ok();
        (!list.contains("\"echo\"")).then_some(())
    });
}
