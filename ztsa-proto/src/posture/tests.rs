use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::jwk::JwkError;
use crate::jws::{self, Header, JwsError, Signer as _, SoftwareKey};
use crate::name::DeviceId;

const AUDIENCE: &str = "https://gw.example";
const NOW: UnixTime = UnixTime(1_795_352_700);

fn report() -> Report {
    let check = |id: &str, state| Check {
        id: id.to_owned(),
        state,
        reason: None,
        value: Some(json!("luks2")),
        source: "sysfs:dm/uuid".to_owned(),
        assurance: Assurance::SelfReported,
        at: NOW,
        ttl: 3600,
        took_ms: 1,
    };
    let unknown = Check { reason: Some(Reason::Permission), value: None, ..check("os.patch_age", State::Unknown) };
    Report {
        v: 1,
        id: "r1".to_owned(),
        os: Os {
            family: "linux".to_owned(),
            id: "debian".to_owned(),
            version: "12".to_owned(),
            kernel: "6.18".to_owned(),
        },
        privilege: Privilege::User,
        client: ClientInfo { name: "ztsa".to_owned(), version: "0.1.0".to_owned() },
        checks: vec![check("disk.root", State::Pass), unknown],
        partial: false,
        evidence: BTreeMap::new(),
    }
}

fn expected(device: &DeviceId) -> Expected<'_> {
    Expected { audience: AUDIENCE, device, now: NOW, skew: Duration::from_secs(60) }
}

/// Signs claims that pass but for the one at `place`; `null` removes it.
fn spoilt(key: &SoftwareKey, place: &str, value: Value) -> String {
    let device = key.public_key().thumbprint();
    let mut whole = json!({
        "header": Header::es256(TYP).with_jwk(key.public_key().clone()),
        "claims": {"iss": device, "sub": device, "aud": AUDIENCE, "iat": NOW, "exp": NOW.0 + 300, "jti": "1", "report": report()},
    });
    let (parent, name) = place.rsplit_once('/').unwrap();
    let members = whole.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        members.remove(name)
    } else {
        members.insert(name.to_owned(), value)
    };
    jws::sign(key, &whole["header"], &whole["claims"]).unwrap()
}

#[test]
fn a_signed_report_reads_back_as_it_was() {
    let key = SoftwareKey::generate().unwrap();
    let device = key.public_key().thumbprint();
    let text = sign(&key, &report(), AUDIENCE, Some("n1"), NOW).unwrap();
    let accepted = check(&text, &expected(&device)).unwrap();
    assert_eq!(accepted.report, report());
    assert_eq!((accepted.nonce.as_deref(), accepted.issued_at), (Some("n1"), NOW));
    assert_eq!(accepted.jti.len(), 22);
}

#[test]
fn one_wrong_member_is_enough_to_be_refused() {
    let check = |id: &str, value: Value| json!([{"id": id, "state": "pass", "value": value, "at": 1, "ttl": 1}]);
    let twice =
        json!([{"id": "a", "state": "pass", "at": 1, "ttl": 1}, {"id": "a", "state": "fail", "at": 1, "ttl": 1}]);
    let many: Vec<_> = (0..65).map(|n| json!({"id": format!("x{n}"), "state": "pass", "at": 1, "ttl": 1})).collect();
    let other = SoftwareKey::generate().unwrap().public_key().thumbprint();
    let key = SoftwareKey::generate().unwrap();
    let device = key.public_key().thumbprint();
    for (place, value, error) in [
        ("/header/typ", json!("JWT"), PostureError::Typ),
        ("/header/jwk", json!(null), PostureError::Key),
        ("/header/jwk/d", json!("AA"), PostureError::Malformed(JwsError::Key(JwkError::Private))),
        ("/header/alg", json!("none"), PostureError::Malformed(JwsError::Algorithm)),
        ("/header/crit", json!(["x"]), PostureError::Malformed(JwsError::Critical)),
        ("/claims/iss", json!(other), PostureError::Device),
        ("/claims/sub", json!(other), PostureError::Device),
        ("/claims/aud", json!("https://evil.example"), PostureError::Audience),
        ("/claims/iat", json!(NOW.0 + 61), PostureError::Time),
        ("/claims/exp", json!(NOW.0 - 61), PostureError::Time),
        ("/claims/exp", json!(NOW.0 + 3600), PostureError::Time),
        ("/claims/jti", json!(null), PostureError::Claims),
        ("/claims/jti", json!(""), PostureError::Claims),
        ("/claims/jti", json!("x".repeat(257)), PostureError::Claims),
        ("/claims/eat_nonce", json!("x".repeat(513)), PostureError::Claims),
        ("/claims/report", json!(null), PostureError::Claims),
        ("/claims/report/v", json!(2), PostureError::Version { found: 2 }),
        ("/claims/report/checks", json!(many), PostureError::Many),
        ("/claims/report/checks", twice, PostureError::Id),
        ("/claims/report/checks", check("Disk Root", json!(1)), PostureError::Id),
        ("/claims/report/checks", check("", json!(1)), PostureError::Id),
        ("/claims/report/checks", check("a..b", json!(1)), PostureError::Id),
        ("/claims/report/checks", check(&"x".repeat(65), json!(1)), PostureError::Id),
        ("/claims/report/checks", check("a", json!("x".repeat(1_023))), PostureError::Value { id: "a".to_owned() }),
        ("/claims/report/checks", json!([{"id": "a", "state": "maybe", "at": 1, "ttl": 1}]), PostureError::Claims),
        ("/claims/report/checks", json!([{"id": "a", "at": 1, "ttl": 1}]), PostureError::Claims),
        ("/claims/report/evidence", json!({"cert.a": "x".repeat(16 * 1024 + 1)}), PostureError::Evidence),
        ("/claims/report/evidence", json!({"1": "", "2": "", "3": "", "4": "", "5": ""}), PostureError::Evidence),
        ("/claims/report/evidence", json!({"Cert A": ""}), PostureError::Evidence),
    ] {
        let text = spoilt(&key, place, value);
        assert_eq!(super::check(&text, &expected(&device)), Err(error), "{place}");
    }
    assert!(super::check(&spoilt(&key, "/claims/later", json!(1)), &expected(&device)).is_ok());
    let kept = check("x.acme.edr", json!({"version": "7", "note": "\u{1b}[2Jok"}));
    let accepted = super::check(&spoilt(&key, "/claims/report/checks", kept), &expected(&device)).unwrap();
    assert_eq!(accepted.report.checks.first().unwrap().value, Some(json!({"version": "7", "note": "ok"})));
}

#[test]
fn a_report_cannot_be_lent_or_forged() {
    let (key, other) = (SoftwareKey::generate().unwrap(), SoftwareKey::generate().unwrap());
    let (device, thief) = (key.public_key().thumbprint(), other.public_key().thumbprint());
    let text = sign(&key, &report(), AUDIENCE, None, NOW).unwrap();
    assert_eq!(check(&text, &expected(&thief)), Err(PostureError::Device));
    let header = Header::es256(TYP).with_jwk(key.public_key().clone());
    let claims = json!({"iss": device, "sub": device, "aud": AUDIENCE, "iat": NOW, "exp": NOW.0 + 300, "jti": "1", "report": report()});
    let own_key = Header::es256(TYP).with_jwk(other.public_key().clone());
    let posing = jws::sign(&other, &own_key, &claims).unwrap();
    assert_eq!(check(&posing, &expected(&device)), Err(PostureError::Device));
    let forged = jws::sign(&other, &header, &claims).unwrap();
    assert_eq!(check(&forged, &expected(&device)), Err(PostureError::Malformed(JwsError::Key(JwkError::Signature))));
}

#[test]
fn a_report_holds_for_five_minutes_and_some_skew() {
    let key = SoftwareKey::generate().unwrap();
    let device = key.public_key().thumbprint();
    let text = sign(&key, &report(), AUDIENCE, None, NOW).unwrap();
    for (now, passes) in [(NOW.0 - 61, false), (NOW.0 - 60, true), (NOW.0 + 360, true), (NOW.0 + 361, false)] {
        let result = check(&text, &Expected { now: UnixTime(now), ..expected(&device) });
        assert_eq!(result.is_ok(), passes, "{now}");
    }
}

#[test]
fn ids_have_names_in_policies_and_problems() {
    assert_eq!(policy_name("disk.root"), "disk_root");
    assert_eq!(policy_name("file.agent"), "file.agent");
    assert_eq!((family("file.agent"), family("files.agent"), family("edr")), (Some(("file", "agent")), None, None));
    assert_eq!((ttl("disk.root"), ttl("process.agent"), ttl("x.acme.edr")), (3_600, 300, 300));
    for (id, code) in [
        ("disk.root", "posture.disk_encryption"),
        ("disk.swap", "posture.disk_encryption"),
        ("os.version", "posture.os_version"),
        ("os.kernel", "posture.os_kernel"),
        ("os.patch_age", "posture.patch_age"),
        ("x.acme.edr", "posture.x_acme_edr"),
        ("file.agent", "posture.file"),
        ("cert.corp", "posture.certificate"),
    ] {
        assert_eq!(problem_code(id), code);
    }
    for known in KNOWN.iter().chain(FAMILIES) {
        assert!(
            crate::problem::codes().any(|code| code == known.code),
            "{} has a row in the table of problems",
            known.id
        );
    }
}

#[test]
fn words_are_the_same_everywhere() {
    for state in [State::Pass, State::Fail, State::Unknown, State::NotApplicable, State::Error] {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    for reason in [Reason::Permission, Reason::Absent, Reason::Unsupported, Reason::Timeout, Reason::Parse] {
        assert_eq!(serde_json::to_value(reason).unwrap(), reason.as_str());
    }
    assert_eq!(serde_json::to_value(Assurance::SelfReported).unwrap(), "self");
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z0-9]{0,100}".prop_map(Value::from),
        "[a-z0-9]{0,100}".prop_map(|version| json!({"version": version})),
    ]
}

fn checks() -> impl Strategy<Value = Vec<Check>> {
    let state =
        proptest::sample::select(vec![State::Pass, State::Fail, State::Unknown, State::NotApplicable, State::Error]);
    let reason = proptest::sample::select(vec![None, Some(Reason::Absent), Some(Reason::Parse)]);
    let one = (state, reason, proptest::option::of(values()), any::<[u64; 3]>()).prop_map(
        |(state, reason, value, numbers)| Check {
            state,
            reason,
            value,
            at: UnixTime(numbers[0]),
            ttl: numbers[1],
            took_ms: numbers[2],
            ..report().checks.remove(0)
        },
    );
    proptest::collection::vec(one, 0..64).prop_map(|mut checks| {
        for (number, check) in checks.iter_mut().enumerate() {
            check.id = format!("x.acme.c{number}");
        }
        checks
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_was_collected_arrives(checks in checks(), nonce in proptest::option::of("[!-~]{1,40}")) {
        let key = SoftwareKey::generate().unwrap();
        let device = key.public_key().thumbprint();
        let sent = Report { checks, ..report() };
        let text = sign(&key, &sent, AUDIENCE, nonce.as_deref(), NOW).unwrap();
        let accepted = check(&text, &expected(&device)).unwrap();
        prop_assert_eq!(accepted.report, sent);
        prop_assert_eq!(accepted.nonce, nonce);
    }

    #[test]
    fn nothing_makes_the_check_panic(text in any::<String>(), number: i64) {
        let key = SoftwareKey::generate().unwrap();
        let device = key.public_key().thumbprint();
        prop_assert!(check(&text, &expected(&device)).is_err());
        for (place, value) in [
            ("/claims/report", json!({"v": number, "checks": [text]})),
            ("/claims/iat", json!(number)),
            ("/claims/report/checks", json!([{"id": text, "state": "pass", "at": 1, "ttl": 1}])),
            ("/header/jwk/x", json!(text)),
        ] {
            let _ = check(&spoilt(&key, place, value), &expected(&device));
        }
    }
}
