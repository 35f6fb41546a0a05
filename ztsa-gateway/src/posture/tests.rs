//! Reports judged: what holds, for how long, and what got worse.

use std::time::Duration;

use serde_json::{Value, json};
use ztsa_proto::jws::{Signer as _, SoftwareKey};
use ztsa_proto::posture::{Accepted, Assurance, Check, ClientInfo, Os, Privilege, Reason, Report, State, Wanted};
use ztsa_proto::time::UnixTime;

use super::{Attested, COMPLIANT, Catalogue, Facts, Posture, Received};

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

fn report(checks: Vec<Check>) -> Accepted {
    let report = Report {
        v: 1,
        id: "r".to_owned(),
        os: Os::default(),
        privilege: Privilege::User,
        client: ClientInfo::default(),
        checks,
        partial: false,
        evidence: std::collections::BTreeMap::new(),
    };
    Accepted { report, nonce: None, jti: "1".to_owned(), issued_at: NOW }
}

/// A report of what is new.
fn partial(checks: Vec<Check>) -> Accepted {
    let mut accepted = report(checks);
    accepted.report.partial = true;
    accepted
}

fn judge(checks: Option<Vec<Check>>, now: UnixTime) -> Facts {
    let received = checks.map(|checks| Received::default().with(checks, false, now));
    super::judge(&Catalogue::default(), received.as_ref(), now)
}

fn after(seconds: u64) -> UnixTime {
    NOW.plus(Duration::from_secs(seconds))
}

#[test]
fn every_known_fact_is_there_and_unknown_unless_reported() {
    let nothing = judge(None, NOW);
    assert_eq!(nothing.iter().count(), Catalogue::default().ids().count());
    assert!(nothing.iter().all(|(_, fact)| fact.state == State::Unknown && !fact.holds() && fact.age.is_none()));
    assert_eq!(nothing.age(NOW), None);
    let some = judge(
        Some(vec![
            check("disk.root", State::Pass, Some(json!("luks2")), 60),
            check("x.corp.tag", State::Pass, None, 60),
        ]),
        NOW,
    );
    assert!(some.fact("disk.root").holds() && !some.fact("disk.home").holds());
    assert_eq!(some.fact("disk.root").value.as_deref(), Some("luks2"));
    assert_eq!(some.iter().count(), Catalogue::default().ids().count(), "facts of others are not for policies");
    assert!(!some.fact("x.corp.tag").holds());
}

#[test]
fn a_device_is_not_believed_for_longer_than_its_check_says() {
    let facts = |later| {
        let received = Received::default().with(vec![check("fw.enabled", State::Pass, None, 86_400)], false, NOW);
        super::judge(&Catalogue::default(), Some(&received), after(later))
    };
    assert!(facts(300).fact("fw.enabled").holds());
    let late = facts(301);
    let late = late.fact("fw.enabled");
    assert_eq!((late.state, late.reason), (State::Unknown, Some(Reason::Timeout)));
}

#[test]
fn what_was_looked_at_earlier_does_not_replace_what_overtook_it() {
    let at = |state, seconds: u64| Check { at: UnixTime(1000 + seconds), ..check("fw.enabled", state, None, 300) };
    let state = |received: &Received, later| {
        super::judge(&Catalogue::default(), Some(received), after(later)).fact("fw.enabled").state
    };
    for partial in [true, false] {
        let worse = Received::default().with(vec![at(State::Fail, 2)], true, NOW);
        let renewal = worse.with(vec![at(State::Pass, 0)], partial, after(1));
        assert_eq!(state(&renewal, 1), State::Fail, "{partial}");
        let mended = renewal.with(vec![at(State::Pass, 3)], partial, after(2));
        assert_eq!(state(&mended, 2), State::Pass, "{partial}");
    }
    // a clock that was ahead, and is right again
    let ahead = Received::default().with(vec![at(State::Pass, 3600)], true, NOW);
    assert_eq!(state(&ahead.with(vec![at(State::Fail, 1)], true, after(1)), 1), State::Fail);
    let slightly = Received::default().with(vec![at(State::Pass, 70)], true, NOW);
    assert_eq!(state(&slightly.with(vec![at(State::Fail, 69)], true, after(61)), 61), State::Fail);
}

#[test]
fn only_a_pass_holds() {
    for state in [State::Pass, State::Fail, State::Unknown, State::NotApplicable, State::Error] {
        let facts = judge(Some(vec![check("os.kernel", state, Some(json!(7)), 60)]), NOW);
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
        report(vec![check("disk.root", State::Pass, None, 60), check("boot.lockdown", State::Pass, None, u64::MAX)]),
        NOW,
    );
    let state = |facts: &Facts, id| (facts.fact(id).state, facts.fact(id).reason);
    for (seconds, root, boot) in
        [(0, true, true), (60, true, true), (61, false, true), (86_400, false, true), (86_401, false, false)]
    {
        let facts = posture.facts(&laptop, after(seconds));
        assert_eq!(
            (facts.fact("disk.root").holds(), facts.fact("boot.lockdown").holds()),
            (root, boot),
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
    assert_eq!((posture.checks(&laptop, NOW).len(), posture.checks(&phone, NOW).len()), (0, 2));
}

#[test]
fn a_partial_report_leaves_the_rest_with_its_age() {
    let posture = Posture::default();
    let laptop = SoftwareKey::generate().unwrap().public_key().thumbprint();
    let pass = |id: &str| check(id, State::Pass, None, 600);
    posture.receive(&laptop, report(vec![pass("disk.root"), pass("fw.enabled")]), NOW);
    let worse = posture.receive(&laptop, partial(vec![check("fw.enabled", State::Fail, None, 600)]), after(100));
    assert_eq!(worse, ["fw.enabled"]);
    let facts = posture.facts(&laptop, after(150));
    let age = |id| (facts.fact(id).state, facts.fact(id).age.unwrap().as_secs());
    assert_eq!((age("disk.root"), age("fw.enabled")), ((State::Pass, 150), (State::Fail, 50)));
    posture.receive(&laptop, partial(Vec::new()), after(590));
    let late = posture.facts(&laptop, after(610));
    assert_eq!(late.fact("disk.root").state, State::Unknown, "a sign of life makes no answer fresh");
    assert_eq!(late.age(after(610)).unwrap().as_secs(), 20);
    for number in 0..300 {
        let id = format!("x.acme.c{number}");
        posture.receive(&laptop, partial(vec![pass(&id)]), after(620));
    }
    assert!(posture.checks(&laptop, NOW).len() <= super::MOST_CHECKS);
}

#[test]
fn what_a_device_claims_is_its_own_word() {
    let posture = Posture::default();
    let laptop = SoftwareKey::generate().unwrap().public_key().thumbprint();
    let proud = Check { assurance: Assurance::Hardware, ..check("hw.tpm", State::Pass, None, 60) };
    posture.receive(&laptop, report(vec![proud]), NOW);
    assert_eq!(posture.checks(&laptop, NOW)[0].assurance, Assurance::SelfReported);
}

#[test]
fn the_end_of_life_is_worked_out_from_the_version() {
    let version = |id: &str, number: &str| {
        let value = json!({"id": id, "version": number, "name": "x"});
        judge(Some(vec![check("os.version", State::Pass, Some(value), 60)]), NOW).fact("os.eol").clone()
    };
    let (old, new) = (version("debian", "10"), version("debian", "12"));
    assert_eq!((old.state, old.value.as_deref()), (State::Fail, Some("2024-06-30")));
    assert_eq!((new.state, new.value.as_deref()), (State::Pass, Some("2028-06-30")));
    assert_eq!(version("rhel", "9.4").state, State::Pass, "the first number of a version may be enough");
    let rolling = version("arch", "rolling");
    assert_eq!((rolling.state, rolling.reason), (State::Unknown, Some(Reason::Unsupported)));
    let unread = judge(Some(vec![check("os.version", State::Unknown, None, 60)]), NOW);
    assert_eq!(unread.fact("os.eol").state, State::Unknown);
}

#[test]
fn devices_are_asked_for_what_policies_name_and_the_configuration_adds() {
    let text = "public_url = \"https://gw.example\"\ntls = { cert = \"c\", key = \"k\" }\n\
        [[issuer]]\nname = \"a\"\nissuer = \"https://a.example\"\nclient_id = \"x\"\n\
        [posture]\ncollect = [\"os.kernel\"]\neol = { \"arch rolling\" = 2030-01-01 }\n\
        [[posture.file]]\nname = \"agent\"\nlinux = \"/etc/agent.conf\"\nhash = true\n\
        [[posture.edr]]\nname = \"acme\"\nprocesses = [\"acmed\"]\n";
    let config = crate::config::Config::parse(text, std::path::Path::new("/")).unwrap();
    let catalogue = Catalogue::of(&config.posture);
    let ids = |wanted: &[Wanted]| wanted.iter().map(|wanted| wanted.id.clone()).collect::<Vec<_>>();
    assert_eq!(ids(&catalogue.wanted(std::iter::empty())), ["os.kernel"]);
    let named = catalogue.named_in(
        "forbid (principal, action, resource) unless { context.device.posture.file.agent.state == \"pass\" && \
         context.device.posture.os_eol.state == \"pass\" && context[\"device\"][\"posture\"][\"edr\"].state == \"pass\" };",
    );
    assert_eq!(named, ["edr", "file.agent", "os.eol"]);
    assert!(catalogue.named_in("permit (principal in Group::\"edr\", action, resource);").is_empty());
    let wanted = catalogue.wanted(named.iter().map(String::as_str));
    assert_eq!(ids(&wanted), ["edr", "file.agent", "os.kernel", "os.version"], "the end of life needs the version");
    assert!(wanted[0].products.iter().any(|product| product.name == "acme"));
    assert!(wanted[0].products.iter().any(|product| product.name == "crowdstrike"));
    assert!(wanted[1].hash && wanted[1].path.linux.as_deref() == Some("/etc/agent.conf"));
}

#[test]
fn while_any_source_says_that_a_fact_fails_it_does_and_each_sources_last_word_is_its_own() {
    let posture = Posture::default();
    let device = ztsa_proto::jws::sha256_base64url(b"laptop").parse().unwrap();
    let tell = |source: &str, state: State, at: u64, expires: u64| {
        let told = Attested { state, source: source.to_owned(), at: after(at), expires_at: after(expires) };
        posture.attest(&device, COMPLIANT, told)
    };
    let fact = |seconds: u64| posture.facts(&device, after(seconds)).fact(COMPLIANT).clone();
    assert!(tell("edr", State::Fail, 100, 900));
    assert!(tell("mdm", State::Pass, 150, 900));
    assert_eq!(
        (fact(160).state, fact(160).value.as_deref()),
        (State::Fail, Some("edr")),
        "another cannot take it back"
    );
    assert!(!tell("edr", State::Pass, 50, 900), "it says otherwise since then");
    assert_eq!(fact(160).state, State::Fail);
    assert!(tell("edr", State::Pass, 170, 900));
    assert_eq!((fact(180).state, fact(180).value.as_deref()), (State::Pass, Some("edr")));
    assert!(tell("mdm", State::Fail, 180, 200));
    assert_eq!((fact(190).state, fact(201).state), (State::Fail, State::Pass), "what has run out counts no more");
    assert_eq!(posture.expire(after(201)), [(device.clone(), COMPLIANT.to_owned(), "mdm".to_owned())]);
}

#[test]
fn what_others_say_is_told_as_theirs_above_the_device_s_own_word() {
    let posture = Posture::default();
    let device = ztsa_proto::jws::sha256_base64url(b"laptop").parse().unwrap();
    let own = vec![check("disk.root", State::Pass, None, 600), check("fw.enabled", State::Pass, None, 600)];
    posture.receive(&device, report(own), NOW);
    let told = Attested { state: State::Fail, source: "edr".to_owned(), at: NOW, expires_at: after(300) };
    assert!(posture.attest(&device, "disk.root", told.clone()) && posture.attest(&device, COMPLIANT, told));
    let told = |seconds: u64| {
        let checks = posture.checks(&device, after(seconds)).into_iter();
        checks.map(|check| (check.id, check.state, check.source, check.assurance, check.ttl)).collect::<Vec<_>>()
    };
    let theirs = |id: &str| (id.to_owned(), State::Fail, "edr".to_owned(), Assurance::ThirdParty, 300);
    let own = |id: &str| (id.to_owned(), State::Pass, "test".to_owned(), Assurance::SelfReported, 600);
    assert_eq!(told(100), [theirs(COMPLIANT), theirs("disk.root"), own("fw.enabled")]);
    assert_eq!(told(300), [own("disk.root"), own("fw.enabled")], "it has run out");
    let assurance = |seconds: u64| posture.facts(&device, after(seconds)).fact("disk.root").assurance;
    assert_eq!((assurance(100), assurance(300)), (Assurance::ThirdParty, Assurance::SelfReported));
}
