use std::net::Ipv4Addr;

use super::*;
use crate::config::User;
use crate::scope::Scope;
use crate::sign_in::Acr;

const MINUTES: Duration = Duration::from_secs(600);

struct Bench {
    devices: Devices,
    start: Instant,
    code: UserCode,
}

fn key(letter: char) -> DeviceId {
    letter.to_string().repeat(43).parse().unwrap()
}

fn alice() -> Authentication {
    Authentication { user: User::new("alice", &[]), at: UnixTime(0), acr: Acr::Password }
}

fn bench(key: Option<DeviceId>) -> Bench {
    let mut devices = Devices::new();
    let ask = Ask { client: "cli".into(), scope: Scope::parse("openid"), resources: vec![], nonce: None, key };
    let ask = DeviceAsk {
        ask,
        demand: Demand::default(),
        address: Ipv4Addr::LOCALHOST.into(),
        agent: "test".into(),
        at: UnixTime(0),
    };
    let code = UserCode::read("BCDF-GHJK").unwrap();
    devices.add(("device", &code), ask, (MINUTES, Duration::from_secs(1)));
    Bench { devices, start: Instant::now(), code }
}

impl Bench {
    /// Polls at a time in milliseconds.
    fn poll(&mut self, at: u64) -> Result<Grant, PollError> {
        self.poll_as(at, "device", "cli", None)
    }

    fn poll_as(&mut self, at: u64, code: &str, client: &str, key: Option<&DeviceId>) -> Result<Grant, PollError> {
        let at = Moment { wall: UnixTime(at / 1000), steady: self.start + Duration::from_millis(at) };
        self.devices.poll(code, (client, key), "grant".into(), at)
    }
}

#[test]
fn slow_down_adds_five_seconds_each_time_and_for_good() {
    let mut bench = bench(None);
    let table = [
        (10_000, PollError::Waiting),
        (11_000, PollError::Waiting),
        (11_100, PollError::SlowDown(6)),
        (17_100, PollError::Waiting),
        (18_100, PollError::SlowDown(11)),
        (24_100, PollError::SlowDown(16)),
        (40_100, PollError::Waiting),
    ];
    for (at, error) in table {
        assert_eq!(bench.poll(at).unwrap_err(), error, "at {at} ms");
    }
    assert!(bench.devices.decide(&bench.code.clone(), Some(alice()), UnixTime(41)));
    assert_eq!(bench.poll(41_100).unwrap_err(), PollError::SlowDown(21));
    assert!(bench.poll(62_100).is_ok());
}

#[test]
fn a_poll_that_keeps_the_interval_is_never_slowed_down_by_jitter() {
    let mut bench = bench(None);
    for at in [10_050, 11_000, 11_900, 12_950, 13_800] {
        assert_eq!(bench.poll(at).unwrap_err(), PollError::Waiting, "at {at} ms");
    }
}

#[test]
fn a_second_that_begins_between_two_polls_does_not_make_them_a_second_apart() {
    let mut bench = bench(None);
    assert_eq!(bench.poll(10_997).unwrap_err(), PollError::Waiting);
    assert_eq!(bench.poll(11_002).unwrap_err(), PollError::SlowDown(6));
}

#[test]
fn the_time_that_a_machine_sleeps_counts() {
    for (asleep, answer) in [(1, PollError::SlowDown(6)), (2, PollError::Waiting)] {
        let mut bench = bench(None);
        let mut poll = |wall| {
            let at = Moment { wall: UnixTime(wall), steady: bench.start };
            bench.devices.poll("device", ("cli", None), "grant".into(), at).unwrap_err()
        };
        assert_eq!(poll(10), PollError::Waiting);
        assert_eq!(poll(10 + asleep), answer, "{asleep} s");
    }
}

#[test]
fn an_approved_code_brings_one_grant_and_a_second_use_is_noticed() {
    let mut bench = bench(None);
    let code = bench.code.clone();
    assert!(bench.devices.waiting(&code, UnixTime(1)).is_some());
    assert!(bench.devices.decide(&code, Some(alice()), UnixTime(1)));
    assert!(bench.devices.waiting(&code, UnixTime(1)).is_none());
    assert!(!bench.devices.decide(&code, None, UnixTime(1)));
    assert_eq!(bench.poll(2000).unwrap().sign_in.user.name, "alice");
    assert_eq!(bench.poll(4000).unwrap_err(), PollError::Reused("grant".into()));
}

#[test]
fn refused_expired_and_foreign_polls_hear_why() {
    let mut bench = bench(Some(key('A')));
    let (right, wrong) = (key('A'), key('E'));
    let code = bench.code.clone();
    assert!(bench.devices.decide(&code, None, UnixTime(1)));
    let table = [
        (2000, "device", "cli", Some(&right), PollError::Denied),
        (4000, "device", "cli", Some(&wrong), PollError::Key),
        (6000, "device", "cli", None, PollError::Key),
        (8000, "device", "other", Some(&right), PollError::Unknown),
        (8000, "devise", "cli", Some(&right), PollError::Unknown),
        (600_000, "device", "cli", Some(&right), PollError::Expired),
        (1_200_000, "device", "cli", Some(&right), PollError::Unknown),
    ];
    for (at, device, client, key, error) in table {
        assert_eq!(bench.poll_as(at, device, client, key).unwrap_err(), error, "{at} {device} {client}");
    }
}

#[test]
fn nothing_is_decided_after_the_code_has_expired() {
    let mut bench = bench(None);
    let code = bench.code.clone();
    assert!(!bench.devices.decide(&code, Some(alice()), UnixTime(600)));
    assert_eq!(bench.poll(600_000).unwrap_err(), PollError::Expired);
}

#[test]
fn a_user_code_is_read_as_people_type_it() {
    for typed in ["WDJB-MJHT", "wdjb-mjht", " wdjbmjht ", "W D J B M J H T", "wdjb\u{2013}mjht"] {
        assert_eq!(UserCode::read(typed).unwrap().to_string(), "WDJB-MJHT", "{typed}");
    }
    for typed in ["", "WDJB-MJH", "WDJB-MJHTT", "WDJB-MJHA", "WDJB-MJH1", "ẄDJB-MJHT", "WDJB_MJHT"] {
        assert_eq!(UserCode::read(typed), None, "{typed}");
    }
}

#[test]
fn a_user_code_uses_each_letter_equally_often() {
    let all: Vec<u8> = (0..=255).collect();
    let mut count = std::collections::BTreeMap::new();
    for byte in &all {
        if let Some(code) = UserCode::from_random(std::iter::repeat_n(*byte, 8)) {
            *count.entry(code.to_string()).or_insert(0) += 1;
        }
    }
    assert_eq!(count.len(), 20);
    assert!(count.values().all(|times| *times == 12));
    assert_eq!(UserCode::from_random([255; 64].into_iter()), None);
}

proptest::proptest! {
    #[test]
    fn what_is_typed_is_a_code_or_refused_and_a_code_is_read_as_itself(typed: String, bytes: [u8; 24]) {
        let _ = UserCode::read(&typed);
        if let Some(code) = UserCode::from_random(bytes.into_iter()) {
            proptest::prop_assert_eq!(UserCode::read(&code.to_string()), Some(code));
        }
    }
}
