//! redis-cli through a per-app forward.

use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::finish;
use crate::program::redis::Redis;

#[test]
fn redis_cli_talks_through_a_forward() {
    let redis = Redis::start();
    let gateway = Gateway::dev(&[App("cache", "redis", redis.port, &[])]);
    let home = Home::signed_in(&gateway);
    let (mut forward, address) = home.forward("cache");
    let (host, port) = address.rsplit_once(':').unwrap();
    let cli =
        |arguments: &[&str]| finish(home.command("redis-cli").args(["-h", host, "-p", port]).args(arguments)).ok();
    assert_eq!(cli(&["set", "greeting", "hello"]), "OK\n");
    assert_eq!(cli(&["get", "greeting"]), "hello\n");
    let large = "x".repeat(100_000);
    assert_eq!(cli(&["set", "large", &large]), "OK\n");
    assert_eq!(cli(&["get", "large"]).trim_end(), large);
    // a forward that was asked to end ends cleanly, and its port is free again
    let status = forward.interrupt();
    assert_eq!(status.code(), Some(130), "{}", forward.log());
    assert_ne!(finish(home.command("redis-cli").args(["-h", host, "-p", port, "ping"])).stdout, "PONG\n");
}

#[test]
fn what_connect_prints_is_taken_by_a_shell_and_by_redis_cli() {
    let redis = Redis::start();
    let gateway = Gateway::dev(&[App("cache", "redis", redis.port, &[])]);
    let home = Home::signed_in(&gateway);
    // the lines that begin so, once one of them holds what comes last
    let printed = |form: &str, start: &str, last: &str| {
        let mut connect = home.start(&["connect", "cache", "--listen", "127.0.0.1:0", "--print", form]);
        let text = connect.shows(form, |log| {
            let lines = log.split_inclusive('\n').filter(|line| line.starts_with(start) && line.ends_with('\n'));
            let text: String = lines.collect();
            text.contains(last).then_some(text)
        });
        (connect, text)
    };
    let ping = |arguments: &[&str]| assert_eq!(finish(home.command("redis-cli").args(arguments)).ok(), "PONG\n");
    // one at a time: they write to the same log
    let (connect, uri) = printed("uri", "redis://", "redis://");
    ping(&["-u", uri.trim(), "ping"]);
    drop(connect);
    let (connect, json) = printed("json", "{", "}");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    ping(&["-u", json["uri"].as_str().unwrap(), "ping"]);
    drop(connect);
    let (_connect, env) = printed("env", "export ", "REDIS_URL=");
    let script = format!("{env}redis-cli -h \"$ZTSA_HOST\" -p \"$ZTSA_PORT\" ping && redis-cli -u \"$REDIS_URL\" ping");
    assert_eq!(finish(home.command("sh").args(["-c", &script])).ok(), "PONG\nPONG\n");
}
