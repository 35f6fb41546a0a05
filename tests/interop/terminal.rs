//! A person at a terminal whom a command leads to the sign-in, by `script`, which gives a program a terminal.

use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::{Outcome, finish};
use crate::program::http_server::{HttpServer, PAGE};

const SECOND: &str = r#"
@id("second-factor")
@step_up("mfa")
@reason("the handbook wants a second factor")
forbid (principal, action, resource == App::"handbook")
unless { context.auth.acr == "mfa" };
"#;

fn house() -> (HttpServer, Gateway) {
    let server = HttpServer::start();
    let gateway = Gateway::dev(&[App("handbook", "http", server.port, &[])]);
    (server, gateway)
}

/// Runs a line of shell at a terminal; what it writes is in `stdout`.
fn terminal(home: &Home, line: &str) -> Outcome {
    let mut script = home.command("script");
    script.env_remove("CI").env_remove("SSH_CONNECTION").env("TERM", "dumb");
    finish(script.args(["--quiet", "--return", "--command", line, "/dev/null"]))
}

fn session(home: &Home) -> String {
    let status = finish(&mut home.ztsa(&["status", "--json"])).ok();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["session"]["session"].as_str().unwrap().to_owned()
}

#[test]
fn whoever_is_not_signed_in_is_led_there_and_the_same_command_goes_on() {
    let (_server, gateway) = house();
    let home = Home::new(&gateway);
    let line = format!("ztsa connect handbook --gateway {} -- curl --silent http://{{addr}}/", gateway.url);
    let seen = terminal(&home, &line).ok();
    assert!(seen.contains("nobody is signed in") && seen.contains("enter the code"), "{seen}");
    assert!(seen.trim_end().ends_with(PAGE.trim_end()) && seen.contains("signed in as Alice"), "{seen}");
    let again = terminal(&home, "ztsa connect handbook -- curl --silent http://{addr}/").ok();
    assert_eq!(again.trim_end(), PAGE.trim_end(), "the gateway and the sign-in are remembered");
}

#[test]
fn without_a_terminal_nobody_is_asked_and_the_command_to_type_is_told() {
    let (_server, gateway) = house();
    let home = Home::new(&gateway);
    let ask = ["connect", "handbook", "--gateway", &gateway.url, "--", "true"];
    let refused = finish(&mut home.ztsa(&ask)).exits(3);
    let hint = format!("run `ztsa login {}`", gateway.url);
    assert!(refused.stderr.contains(&hint) && !refused.stderr.contains("code"), "{refused}");
}

#[test]
fn a_stronger_sign_in_is_led_to_once_and_the_session_goes_on() {
    let (_server, gateway) = house();
    let home = Home::signed_in(&gateway);
    let before = session(&home);
    gateway.enforce("second.cedar", SECOND);
    let seen = terminal(&home, "ztsa connect handbook -- curl --silent http://{addr}/").ok();
    assert!(seen.contains("the handbook wants a second factor"), "{seen}");
    assert!(seen.trim_end().ends_with(PAGE.trim_end()), "{seen}");
    assert_eq!(seen.matches("enter the code").count(), 1, "{seen}");
    assert_eq!(session(&home), before);
}

#[test]
fn a_sign_in_that_is_still_not_enough_is_not_asked_for_again() {
    let (_server, gateway) = house();
    let home = Home::signed_in(&gateway);
    gateway.enforce("third.cedar", &SECOND.replace("\"mfa\"", "\"phr\""));
    let seen = terminal(&home, "ztsa connect handbook -- true").exits(8).stdout;
    assert_eq!(seen.matches("enter the code").count(), 1, "{seen}");
    assert!(seen.contains("did not tell of a sign-in with acr phr"), "{seen}");
}

#[test]
fn a_login_by_hand_asks_for_what_the_last_refusal_wanted() {
    let (_server, gateway) = house();
    let home = Home::signed_in(&gateway);
    gateway.enforce("second.cedar", SECOND);
    let refused = finish(&mut home.ztsa(&["connect", "handbook", "--", "true"])).exits(8);
    assert!(refused.stderr.contains("`ztsa login`"), "{refused}");
    let login = finish(&mut home.ztsa(&["login", "--device"])).exits(0);
    assert!(login.stderr.contains("handbook wants a stronger or fresher sign-in"), "{login}");
    finish(&mut home.ztsa(&["connect", "handbook", "--", "true"])).ok();
}

#[test]
fn eight_commands_at_once_cause_one_prompt() {
    let (_server, gateway) = house();
    let home = Home::new(&gateway);
    let line = format!("for i in 1 2 3 4 5 6 7 8; do ztsa apps --gateway {} & done; wait", gateway.url);
    let seen = terminal(&home, &line).ok();
    assert_eq!(seen.matches("enter the code").count(), 1, "{seen}");
    assert!(seen.contains("this one waits for it"), "{seen}");
    assert_eq!(seen.matches("handbook.ztsa").count(), 8, "{seen}");
}

#[test]
fn two_hundred_proxy_commands_at_once_without_a_sign_in_cause_one_prompt() {
    let (_server, gateway) = house();
    let home = Home::new(&gateway);
    let one = format!("ztsa stdio handbook --gateway {} </dev/null >/dev/null || echo failed", gateway.url);
    let seen = terminal(&home, &format!("for i in $(seq 200); do ({one}) & done; wait")).ok();
    assert_eq!(seen.matches("enter the code").count(), 1, "{seen}");
    assert!(!seen.contains("failed"), "{seen}");
}

#[test]
fn a_logout_without_network_says_whom_it_could_not_tell() {
    let (_server, gateway) = house();
    let home = Home::signed_in(&gateway);
    finish(home.ztsa(&["login", "--device", "--profile", "other"]).arg(&gateway.url)).ok();
    drop(gateway);
    let out = finish(home.ztsa(&["logout", "--all"]).env_remove("ZTSA_CA_FILE")).exits(0);
    for profile in ["default", "other"] {
        assert!(out.stderr.contains(&format!("signed out on this machine (profile {profile})")), "{out}");
    }
    assert_eq!(out.stderr.matches("the gateway https://127.0.0.1:").count(), 2, "{out}");
    assert_eq!(out.stderr.matches("the issuer http://127.0.0.1:").count(), 2, "{out}");
    finish(home.ztsa(&["apps"]).env_remove("ZTSA_CA_FILE")).exits(3);
}
