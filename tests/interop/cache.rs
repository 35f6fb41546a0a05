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
