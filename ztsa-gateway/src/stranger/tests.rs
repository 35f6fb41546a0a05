use std::path::Path;

use super::*;
use crate::config::Config;

fn limits(text: &str) -> Limits {
    let text = format!(
        "public_url = \"https://gw.example\"\ntls = {{ cert = \"c\", key = \"k\" }}\n[[issuer]]\nname = \"a\"\n\
         issuer = \"https://a.example\"\nclient_id = \"x\"\n[limits]\n{text}"
    );
    Config::parse(&text, Path::new("/")).unwrap().limits
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A connection that has finished its handshake.
fn enter(strangers: &Strangers, from: &str) -> Stranger {
    strangers.enter(address(from)).unwrap().0
}

fn is_cut(stranger: &Stranger) -> bool {
    stranger.0.cut.is_cancelled()
}

#[test]
fn an_address_has_so_many_handshakes_at_once_and_gets_them_back() {
    let strangers = Strangers::new(limits("handshakes_per_address = 2"));
    let places: Vec<_> = (0..3).filter_map(|_| strangers.enter(address("192.0.2.1"))).collect();
    assert_eq!(places.len(), 2);
    assert!(strangers.enter(address("192.0.2.2")).is_some());
    assert_eq!(strangers.tally().handshakes_refused, 1);
    drop(places);
    assert!(strangers.enter(address("192.0.2.1")).is_some());
    assert!(strangers.table().addresses.is_empty() && strangers.table().waiting.is_empty());
}

#[test]
fn a_subscriber_is_one_however_many_addresses_they_have() {
    for (from, counted) in [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::"),
    ] {
        assert_eq!(line(address(from)), address(counted), "{from}");
    }
}

#[test]
fn a_thousand_idlers_of_one_address_crowd_out_only_each_other() {
    let strangers = Strangers::new(limits("unauthenticated_per_address = 100"));
    let quiet = enter(&strangers, "192.0.2.2");
    let idlers: Vec<_> = (0..1000).map(|n| enter(&strangers, &format!("2001:db8::{n:x}"))).collect();
    assert!(!is_cut(&quiet));
    assert_eq!(idlers.iter().filter(|idler| !is_cut(idler)).count(), 100);
    assert!(idlers.iter().rev().take(100).all(|idler| !is_cut(idler)), "those that came last stay");
    assert_eq!((strangers.tally().waiting, strangers.tally().crowded_out), (101, 900));
    drop(idlers);
    assert_eq!(strangers.tally().waiting, 1);
}

#[test]
fn idlers_of_many_addresses_never_keep_a_newcomer_out() {
    let strangers = Strangers::new(limits("unauthenticated = 100"));
    let idlers: Vec<_> = (0..250).map(|n| enter(&strangers, &format!("192.0.2.{n}"))).collect();
    let newcomer = enter(&strangers, "198.51.100.1");
    assert!(!is_cut(&newcomer));
    assert_eq!(idlers.iter().filter(|idler| !is_cut(idler)).count(), 99);
    assert_eq!(strangers.tally().waiting, 100);
}

#[test]
fn who_was_recognised_takes_no_room_and_is_not_cut() {
    let strangers = Strangers::new(limits("unauthenticated_per_address = 1\nrefusals_per_connection = 2"));
    let known = enter(&strangers, "192.0.2.1");
    known.recognise();
    let other = enter(&strangers, "192.0.2.1");
    for _ in 0..10 {
        known.turn_away();
    }
    assert!(!is_cut(&known) && !is_cut(&other));
    assert_eq!(strangers.tally(), Tally { waiting: 1, ..Tally::default() });
    other.turn_away();
    assert!(!is_cut(&other));
    other.turn_away();
    assert!(is_cut(&other));
    assert_eq!(strangers.tally().refused, 1);
    drop((known, other));
    assert!(strangers.table().addresses.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stranger_has_so_long_and_somebody_known_as_long_as_they_like() {
    let strangers = Strangers::new(limits("unauthenticated_for = \"2m\""));
    let (idler, known) = (enter(&strangers, "192.0.2.1"), enter(&strangers, "192.0.2.1"));
    known.recognise();
    let start = Instant::now();
    idler.overdue().await;
    assert_eq!(start.elapsed().as_secs(), 120);
    idler.cut().await;
    assert_eq!(start.elapsed().as_secs(), 130, "what is under way may finish");
    assert!(tokio::time::timeout(Duration::from_secs(86_400), known.cut()).await.is_err());
    assert_eq!(strangers.tally().overdue, 1);
}

#[test]
fn new_limits_hold_for_those_who_come_after() {
    let strangers = Strangers::new(limits("unauthenticated_per_address = 1"));
    let first = enter(&strangers, "192.0.2.1");
    strangers.limit(limits("unauthenticated_per_address = 2"));
    let second = enter(&strangers, "192.0.2.1");
    assert!(!is_cut(&first) && !is_cut(&second));
}
