//! The operating system's key store in every state that it is met in: unlocked, locked, replaced, absent, and silent.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::folder::Folder;
use crate::gateway::Gateway;
use crate::home::Home;
use crate::process::{Outcome, finish};
use crate::program::keyring::Bus;

/// A command on this bus; none where there is none.
fn on(home: &Home, bus: Option<&Bus>, store: &str, arguments: &[&str]) -> Command {
    let mut ztsa = home.ztsa(arguments);
    ztsa.env("ZTSA_STORE", store);
    if let Some(bus) = bus {
        ztsa.env("DBUS_SESSION_BUS_ADDRESS", &bus.address);
    }
    ztsa
}

fn login(home: &Home, gateway: &Gateway, bus: Option<&Bus>, store: &str) -> Outcome {
    finish(on(home, bus, store, &["login", "--device", "--no-open"]).arg(&gateway.url))
}

fn status(home: &Home, bus: Option<&Bus>) -> Value {
    let shown = finish(&mut on(home, bus, "auto", &["status", "--json"]));
    serde_json::from_str(&shown.stdout).unwrap_or_else(|error| panic!("{error}: {shown}"))
}

#[test]
fn an_unlocked_key_store_holds_the_key_and_a_locked_one_keeps_it() {
    let (gateway, folder) = (Gateway::dev(&[]), Folder::new("keyring"));
    let (home, bus) = (Home::new(&gateway), Bus::start(&folder));
    let keyring = bus.keyring(&folder, Some("open-sesame"));
    login(&home, &gateway, Some(&bus), "keyring").ok();
    let shown = status(&home, Some(&bus));
    assert_eq!((&shown["signed_in"], &shown["store"]), (&true.into(), &"keyring".into()), "{shown}");
    let profile = home.folder().join("state/ztsa/profiles/default");
    assert!(profile.join("credentials").exists() && !profile.join("key").exists(), "the key is not in the folder");
    finish(&mut on(&home, Some(&bus), "auto", &["apps"])).ok();
    drop(keyring);

    // locked, and nobody there to be asked: said, and nothing lost
    let locked = bus.keyring(&folder, None);
    let refused = finish(&mut on(&home, Some(&bus), "auto", &["apps"])).exits(1);
    assert!(refused.stderr.contains("key store holds the key") && refused.stderr.contains("unlock"), "{refused}");
    drop(locked);
    let unlocked = bus.keyring(&folder, Some("open-sesame"));
    finish(&mut on(&home, Some(&bus), "auto", &["apps"])).ok();
    drop(unlocked);

    // a new key store that knows nothing: signed out with the reason, and a sign-in mends it
    let other = Folder::new("other-keyring");
    let _empty = bus.keyring(&other, Some("open-sesame"));
    let shown = status(&home, Some(&bus));
    assert_eq!(shown["signed_in"], false, "{shown}");
    assert!(shown["notes"].to_string().contains("does not have any more; sign in again"), "{shown}");
    login(&home, &gateway, Some(&bus), "auto").ok();
    assert_eq!(status(&home, Some(&bus))["store"], "keyring");
}

#[test]
fn without_a_key_store_a_file_serves_and_status_says_why() {
    let gateway = Gateway::dev(&[]);
    let home = Home::new(&gateway);
    let refused = login(&home, &gateway, None, "keyring").exits(2);
    assert!(refused.stderr.contains("key store cannot be used") && refused.stderr.contains("ZTSA_STORE"), "{refused}");
    login(&home, &gateway, None, "auto").ok();
    let shown = status(&home, None);
    assert_eq!((&shown["signed_in"], &shown["store"]), (&true.into(), &"file".into()), "{shown}");
    assert!(
        shown["store_reason"].to_string().contains("no key store"),
        "the sign-in's cause, in a later process: {shown}"
    );
    assert!(shown["device_key"].to_string().contains("in software"), "{shown}");
}

#[test]
fn a_key_store_that_never_answers_hangs_neither_start_nor_end() {
    let (gateway, folder) = (Gateway::dev(&[]), Folder::new("keyring"));
    let (home, bus) = (Home::new(&gateway), Bus::start(&folder));
    let keyring = bus.keyring(&folder, Some("open-sesame"));
    keyring.suspend();
    let started = Instant::now();
    login(&home, &gateway, Some(&bus), "auto").ok();
    // three seconds for the key store; the rest is the sign-in on a busy machine
    assert!(started.elapsed() < Duration::from_secs(45), "{:?}", started.elapsed());
    assert_eq!(status(&home, Some(&bus))["store"], "file");
    keyring.resume();
}
