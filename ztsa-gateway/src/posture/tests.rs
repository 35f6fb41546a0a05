//! Reports judged: what holds, for how long, and what got worse.

use std::time::Duration;

use serde_json::{Value, json};
use ztsa_proto::jws::{Signer as _, SoftwareKey};
use ztsa_proto::posture::{Assurance, Check, ClientInfo, Os, Privilege, Reason, Report, State};
use ztsa_proto::time::UnixTime;

use super::{Facts, KNOWN, Posture, judge};

const NOW: UnixTime = UnixTime(1_795_000_000);

fn check(id: &str, state: State, value: Option<Value>, ttl: u64) -> Check {
    Check {
        id: id.to_owned(),
        state,
        reason: None,
        value,
        source: "test".to_owned(),
        assurance: Assurance::SelfReported,
        // the device's clock is wrong, and nobody minds
        at: UnixTime(5),
        ttl,
        took_ms: 1,
    }
}

fn report(checks: Vec<Check>) -> Report {
    Report {
        v: 1,
        id: "r".to_owned(),
        os: Os::default(),
        privilege: Privilege::User,
        client: ClientInfo::default(),
        checks,
    }
}

fn after(seconds: u64) -> UnixTime {
    NOW.plus(Duration::from_secs(seconds))
}

#[test]
fn every_known_fact_is_there_and_unknown_unless_reported() {
    let nothing = judge(None, NOW);
    assert_eq!(nothing.iter().count(), KNOWN.len());
    assert!(nothing.iter().all(|(_, fact)| fact.state == State::Unknown && !fact.holds() && fact.age.is_none()));
    assert_eq!(nothing.age(NOW), None);
    let some = judge(
        Some(&report(vec![
            check("disk.root", State::Pass, Some(json!("luks2")), 60),
            check("x.corp.tag", State::Pass, None, 60),
        ])),
        NOW,
    );
    assert!(some.fact("disk.root").holds() && !some.fact("disk.home").holds());
    assert_eq!(some.fact("disk.root").value.as_deref(), Some("luks2"));
    assert_eq!(some.iter().count(), KNOWN.len(), "facts of others are not for policies");
    assert!(!some.fact("x.corp.tag").holds());
}

#[test]
fn only_a_pass_holds() {
    for state in [State::Pass, State::Fail, State::Unknown, State::NotApplicable, State::Error] {
        let facts = judge(Some(&report(vec![check("os.kernel", state, Some(json!(7)), 60)])), NOW);
        assert_eq!((facts.fact("os.kernel").state, facts.fact("os.kernel").holds()), (state, state == State::Pass));
        assert_eq!(facts.fact("os.kernel").value.as_deref(), Some("7"));
    }
}

#[test]
fn a_fact_is_believed_for_its_time_and_at_most_a_day() {
    let posture = Posture::default();
    let laptop = SoftwareKey::generate().unwrap().public_key().thumbprint();
    posture.receive(
        &laptop,
        report(vec![check("disk.root", State::Pass, None, 60), check("disk.home", State::Pass, None, u64::MAX)]),
        NOW,
    );
    let state = |facts: &Facts, id| (facts.fact(id).state, facts.fact(id).reason);
    for (seconds, root, home) in
        [(0, true, true), (60, true, true), (61, false, true), (86_400, false, true), (86_401, false, false)]
    {
        let facts = posture.facts(&laptop, after(seconds));
        assert_eq!(
            (facts.fact("disk.root").holds(), facts.fact("disk.home").holds()),
            (root, home),
            "after {seconds} s"
        );
        assert_eq!(facts.age(after(seconds)), Some(Duration::from_secs(seconds)));
    }
    assert_eq!(state(&posture.facts(&laptop, after(61)), "disk.root"), (State::Unknown, Some(Reason::Timeout)));
}

#[test]
fn a_report_replaces_the_last_one_and_says_what_got_worse() {
    let posture = Posture::default();
    let device = || SoftwareKey::generate().unwrap().public_key().thumbprint();
    let (laptop, phone) = (device(), device());
    let with = |root, home| report(vec![check("disk.root", root, None, 600), check("disk.home", home, None, 600)]);
    assert!(posture.receive(&laptop, with(State::Pass, State::Fail), NOW).is_empty());
    assert_eq!(posture.receive(&laptop, with(State::Fail, State::Pass), after(1)), ["disk.root"]);
    assert_eq!(
        posture.receive(&laptop, report(Vec::new()), after(2)),
        ["disk.home"],
        "what is not said any more does not hold"
    );
    assert!(posture.receive(&phone, with(State::Fail, State::Fail), after(3)).is_empty(), "each device for itself");
    assert_eq!((posture.checks(&laptop).len(), posture.checks(&phone).len()), (0, 2));
}
