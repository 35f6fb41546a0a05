use std::time::Duration;

use serde_json::json;

use super::wire::{Wire, person};
use crate::lease::Access;
use crate::signals::receiver::{Refusal, Taken};

#[tokio::test]
async fn people_of_a_silent_transmitter_are_kept_out_until_it_speaks_again() {
    for (consequence, opens, flows) in [("warn", true, true), ("refuse", false, true), ("suspend", false, false)] {
        let more = format!("verify_every = \"10s\"\nstale_after = \"60s\"\nwhen_stale = \"{consequence}\"");
        let mut wire = Wire::with(&more);
        let alice = wire.world.session("alice", &["dev"], "laptop");
        let lease = wire.world.open(&alice, "wiki").unwrap();
        let watch = |wire: &Wire| wire.receivers.watch(wire.world.engine.now());
        wire.world.hand.advance(Duration::from_secs(60));
        watch(&wire);
        assert!(wire.world.open(&alice, "wiki").is_ok(), "{consequence}: not silent yet");
        wire.world.hand.advance(Duration::from_secs(1));
        watch(&wire);
        assert!(wire.said().await.contains("no sign of life for 61 s"), "{consequence}");
        assert_eq!(wire.world.open(&alice, "wiki").is_ok(), opens, "{consequence}");
        assert_eq!(lease.tunnel().access() == Access::Open, flows, "{consequence}");
        wire.tell(0, &person("nobody"), "session-presented", &json!({})).await;
        watch(&wire);
        assert!(wire.world.open(&alice, "wiki").is_ok() && lease.tunnel().access() == Access::Open, "{consequence}");
    }
}

#[tokio::test]
async fn a_paused_stream_counts_as_silent_after_its_time_and_is_said_at_once() {
    let mut wire = Wire::with("verify_every = \"10s\"\nstale_after = \"60s\"\nwhen_stale = \"refuse\"");
    let alice = wire.world.session("alice", &["dev"], "laptop");
    let stream = json!({"format": "opaque", "id": "stream-1"});
    let status = |status: &str| json!({"status": status, "reason": "Internal error"});
    wire.tell(0, &stream, "stream-updated", &status("paused")).await;
    assert!(wire.said().await.contains("its stream is paused: Internal error"));
    wire.world.hand.advance(Duration::from_secs(61));
    wire.tell(0, &stream, "verification", &json!({})).await;
    wire.receivers.watch(wire.world.engine.now());
    assert!(wire.world.open(&alice, "wiki").is_err());
    wire.tell(0, &stream, "stream-updated", &status("enabled")).await;
    wire.receivers.watch(wire.world.engine.now());
    assert!(wire.world.open(&alice, "wiki").is_ok());
}

#[tokio::test]
async fn a_heartbeat_that_nobody_asked_for_must_not_claim_to_be_one_that_was() {
    let mut wire = Wire::new();
    let stream = json!({"format": "opaque", "id": "stream-1"});
    let asked = wire.claims(0, &stream, "verification", &json!({"state": "made up"}));
    let Err(Refusal::Fault(fault)) = wire.send(&asked).await else { panic!("taken") };
    assert_eq!(fault.err, "invalid_state");
    wire.tell(0, &stream, "verification", &json!({})).await;
    // one whose stream was made by hand is verified by hand
    let mut wire = Wire::by_hand("");
    assert_eq!(wire.tell(0, &stream, "verification", &json!({"state": "typed in"})).await, Taken::Applied);
}
