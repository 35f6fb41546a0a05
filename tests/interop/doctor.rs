//! `ztsa doctor`: the first broken hop, whatever breaks.

use serde_json::Value;

use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::{finish, free_port};
use crate::program::http_server::HttpServer;

/// Runs the doctor; returns the hop that it finds broken, its sentence and its remedy.
#[track_caller]
fn doctor(home: &Home, arguments: &[&str], exit: i32) -> (Value, String, String) {
    let all = [&["doctor", "--json"], arguments].concat();
    let seen = finish(&mut home.ztsa(&all)).exits(exit);
    let answer: Value = serde_json::from_str(&seen.stdout).unwrap_or_else(|error| panic!("{error}: {seen}"));
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    (answer["broken"].clone(), text("sentence"), text("remedy"))
}

#[test]
fn the_first_broken_hop_is_named_with_its_remedy() {
    let server = HttpServer::start();
    let nobody = free_port();
    let gateway = Gateway::dev(&[App("handbook", "http", server.port, &[]), App("closed", "http", nobody, &[])]);
    let home = Home::new(&gateway);

    let (broken, _, remedy) = doctor(&home, &[], 3);
    assert_eq!(broken, "settings");
    assert!(remedy.contains("ztsa login"), "{remedy}");

    let at = ["--gateway", gateway.url.as_str()];
    let (broken, sentence, remedy) = doctor(&home, &at, 3);
    assert_eq!(broken, "sign-in", "{sentence}");
    assert!(remedy.contains(&format!("ztsa login {}", gateway.url)), "{remedy}");

    finish(home.ztsa(&["login", "--device", "--no-open"]).arg(&gateway.url)).ok();
    let (broken, sentence, _) = doctor(&home, &["handbook"], 0);
    assert_eq!((broken, sentence.as_str()), (Value::Null, "Every hop from here to handbook works."));
    let shown = finish(&mut home.ztsa(&["doctor"])).ok();
    assert!(shown.contains("Every hop from here to the gateway works"), "{shown}");

    let (broken, sentence, remedy) = doctor(&home, &["payroll"], 4);
    assert_eq!(broken, "policy", "{sentence}");
    assert!(!remedy.is_empty() && sentence.contains("payroll"), "{sentence} {remedy}");

    let (broken, sentence, _) = doctor(&home, &["closed"], 6);
    assert_eq!(broken, "app", "{sentence}");

    drop(gateway);
    let gone = finish(home.ztsa(&["doctor", "handbook"]).env_remove("ZTSA_CA_FILE")).exits(6);
    assert!(gone.stdout.contains("The first broken hop is the gateway"), "{gone}");
    assert!(gone.stderr.contains("do:"), "{gone}");
}
