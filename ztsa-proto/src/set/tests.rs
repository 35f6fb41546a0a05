mod figures;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::delivery::{FaultCode, PollRequest, PollResponse};
use super::event::Level;
use super::stream::{Stream, StreamRequest, discovery_url};
use super::*;
use crate::jws::{Compact, SoftwareKey};

/// A token in the form of the standards' examples, about one subject and event.
fn token(sub_id: &Value, kind: &str, members: &Value) -> Value {
    json!({
        "iss": "https://idp.example/1/",
        "jti": "24c63fb5",
        "iat": 1_615_305_159,
        "aud": "https://gw.example",
        "txn": 8_675_309,
        "sub_id": sub_id,
        "events": {kind.parse::<event::Kind>().map_or_else(|_| kind.to_owned(), |kind| kind.uri()): members},
    })
}

fn read(claims: &Value) -> Result<Set, SetError> {
    Set::read(claims.to_string().as_bytes())
}

fn person() -> Value {
    json!({"format": "iss_sub", "iss": "https://idp.example/1/", "sub": "jane"})
}

#[test]
fn every_event_of_the_standards_reads_and_writes_back() {
    let plain = json!({});
    let change = json!({"credential_type": "fido2-roaming", "change_type": "create", "fido2_aaguid": "accced6a"});
    let assurance = json!({"namespace": "NIST-AAL", "current_level": "nist-aal2", "change_direction": "increase"});
    let device = json!({"current_status": "not-compliant", "previous_status": "compliant"});
    let risk = json!({"current_level": "LOW", "previous_level": "HIGH", "principal": "USER", "risk_reason": "LEAK"});
    let session = json!({"fp_ua": "abb0b6", "acr": "AAL2", "amr": ["otp"], "event_timestamp": 1_615_304_991});
    let mut seen = 0;
    for kind in event::Kind::all() {
        let members = match kind.to_string().as_str() {
            "token-claims-change" => json!({"claims": {"role": "ro-admin", "trusted_network": false}}),
            "credential-change" => change.clone(),
            "assurance-level-change" => assurance.clone(),
            "device-compliance-change" => device.clone(),
            "session-established" | "session-presented" => session.clone(),
            "risk-level-change" => risk.clone(),
            "verification" => json!({"state": "VGhpcyBpcyBhbiBleGFtcGxlLgo="}),
            "stream-updated" => json!({"status": "paused", "reason": "Internal error"}),
            "account-disabled" => json!({"reason": "hijacking"}),
            "credential-compromise" => json!({"credential_type": "password"}),
            _ => plain.clone(),
        };
        let set = read(&token(&person(), &kind.to_string(), &members)).unwrap();
        assert_eq!(set.event.kind(), kind);
        assert!(!matches!(kind, event::Kind::Other(_)));
        let again = read(&set.claims()).unwrap();
        assert_eq!(again, set, "{kind}");
        // what the event adds is written as it was read
        for (name, value) in set.event.write() {
            if name != "event_timestamp" && name != "amr" {
                assert_eq!(Some(&value), members.get(&name), "{kind}: {name}");
            }
        }
        seen += 1;
    }
    assert_eq!(seen, 25);
}

#[test]
fn what_an_event_means_is_read_from_its_members() {
    let happened = |kind: &str, members: Value| read(&token(&person(), kind, &members)).unwrap().event.happening;
    let risk = happened("risk-level-change", json!({"current_level": "HIGH", "principal": "DEVICE"}));
    assert!(matches!(risk, Happening::RiskLevelChange { current: Level::High, previous: None, .. }), "{risk:?}");
    let device = happened("device-compliance-change", json!({"current_status": "compliant"}));
    assert_eq!(device, Happening::DeviceComplianceChange { compliant: true });
    for (kind, members, member) in [
        ("risk-level-change", json!({"current_level": "SEVERE", "principal": "USER"}), "current_level"),
        ("device-compliance-change", json!({}), "current_status"),
        ("device-compliance-change", json!({"current_status": "fine"}), "current_status"),
        ("credential-change", json!({"credential_type": "pin"}), "change_type"),
        ("token-claims-change", json!({"claims": []}), "claims"),
        ("session-revoked", json!({"event_timestamp": "yesterday"}), "event_timestamp"),
    ] {
        let refused = read(&token(&person(), kind, &members)).unwrap_err();
        assert_eq!(refused, SetError::Member { event: kind.to_owned(), member });
    }
}

#[test]
fn what_ties_tokens_together_is_a_text_or_a_number_and_refuses_nothing() {
    for (txn, text) in [
        (json!(8_675_309), Some("8675309")),
        (json!("8675309"), Some("8675309")),
        (json!(""), None),
        (json!({"id": 1}), None),
        (json!("x".repeat(257)), None),
        (Value::Null, None),
    ] {
        let mut claims = token(&person(), "session-revoked", &json!({}));
        claims["txn"] = txn.clone();
        assert_eq!(read(&claims).unwrap().txn.as_deref(), text, "{txn}");
    }
}

#[test]
fn alternative_names_of_one_event_are_one_event() {
    let own = event::Kind::Verification.uri();
    let googles = own.replace("/ssf/", "/risc/");
    let told = |uris: &[&str]| {
        let mut claims = token(&person(), "session-revoked", &json!({}));
        claims["events"] = uris.iter().map(|uri| ((*uri).to_owned(), json!({"state": "s"}))).collect();
        read(&claims).map(|set| set.event.kind())
    };
    assert_eq!(told(&[&own, &googles]), Ok(event::Kind::Verification));
    assert_eq!(told(&["https://a.example/verified", &own]), Ok(event::Kind::Verification), "the one that is known");
    let revoked = event::Kind::SessionRevoked.uri();
    assert_eq!(told(&[&own, &revoked]), Err(SetError::Count(2)), "two events");
    assert_eq!(told(&["urn:a", "urn:b"]), Err(SetError::Count(2)));
    assert_eq!(told(&[]), Err(SetError::Count(0)));
}

#[test]
fn the_reason_for_the_person_comes_first_and_in_english() {
    let reason = |members: Value| read(&token(&person(), "session-revoked", &members)).unwrap().event.reason();
    let both = json!({
        "reason_admin": {"en": "Landspeed Policy Violation: C076E82F"},
        "reason_user": {"es-410": "Intento de acceso", "en": "Access attempt from multiple regions."},
    });
    assert_eq!(reason(both).as_deref(), Some("Access attempt from multiple regions."));
    assert_eq!(reason(json!({"reason_user": {"it": "Questo"}})).as_deref(), Some("Questo"));
    assert_eq!(reason(json!({"reason_admin": "plain text"})).as_deref(), Some("plain text"));
    assert_eq!(reason(json!({"reason_user": {"en": "\u{1b}[31mred\n\u{202e}"}})).as_deref(), Some("red"));
    assert_eq!(reason(json!({})), None);
}

#[test]
fn every_format_of_a_subject_reads_and_writes_back() {
    for sub_id in [
        json!({"format": "account", "uri": "acct:jane@service.example"}),
        json!({"format": "email", "email": "jane@corp.example"}),
        person(),
        json!({"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"}),
        json!({"format": "phone_number", "phone_number": "+1 206 555 0123"}),
        json!({"format": "did", "url": "did:example:123456/did/url/path?versionId=1"}),
        json!({"format": "uri", "uri": "urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f"}),
        json!({"format": "aliases", "identifiers": [person(), {"format": "email", "email": "j@corp.example"}]}),
        json!({"format": "jwt_id", "iss": "https://idp.example/1/", "jti": "B70BA622"}),
        json!({"format": "saml_assertion_id", "issuer": "https://idp.example/1/", "assertion_id": "_8e8dc5f6"}),
        json!({"format": "ip-addresses", "ip-addresses": ["10.29.37.75", "2001:db8::8a2e:370:7334"]}),
        json!({"format": "catalog_item", "catalog_id": "c0384/winter/2354122"}),
        json!({"format": "complex", "user": person(), "device": person(), "tenant": {"format": "opaque", "id": "1"}}),
    ] {
        let set = read(&token(&sub_id, "session-revoked", &json!({}))).unwrap();
        assert_eq!(set.subject.unwrap().write(), sub_id);
    }
    let old = json!({"subject_type": "iss-sub", "iss": "https://accounts.example/", "sub": "7375"});
    let mut claims = token(&Value::Null, "account-disabled", &json!({"subject": old, "reason": "hijacking"}));
    claims.as_object_mut().unwrap().remove("sub_id");
    let found = read(&claims).unwrap().subject.unwrap();
    let wanted = Identifier::IssSub { iss: "https://accounts.example/".to_owned(), sub: "7375".to_owned() };
    assert_eq!(found, Subject::Simple(wanted), "a transmitter of before the standard");
}

#[test]
fn what_is_no_security_event_token_is_refused_with_the_reason() {
    let good = token(&person(), "session-revoked", &json!({}));
    assert!(read(&good).is_ok());
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        read(&claims).unwrap_err()
    };
    assert_eq!(with("sub", json!("jane")), SetError::Forbidden("sub"));
    assert_eq!(with("exp", json!(1)), SetError::Forbidden("exp"));
    assert_eq!(with("jti", json!("")), SetError::Claim("jti"));
    assert_eq!(with("jti", json!("x".repeat(257))), SetError::Claim("jti"));
    assert_eq!(with("iat", json!(-1)), SetError::Claim("iat"));
    assert_eq!(with("aud", json!([])), SetError::Claim("aud"));
    assert_eq!(with("aud", json!([1])), SetError::Claim("aud"));
    assert_eq!(with("events", json!({})), SetError::Count(0));
    assert_eq!(with("events", json!({"urn:a": {}, "urn:b": {}})), SetError::Count(2));
    assert_eq!(with("events", json!({"urn:a": 1})), SetError::Claim("events"));
    assert!(matches!(with("sub_id", json!({"email": "a@b"})), SetError::Subject(_)));
    assert!(matches!(with("sub_id", json!({"format": "iss_sub", "iss": "x"})), SetError::Subject(_)));
    assert!(matches!(with("sub_id", json!({"format": "complex"})), SetError::Subject(_)));
    // left out, the device would no longer narrow the person down
    let narrowed = json!({"format": "complex", "user": person(), "device": "a laptop"});
    assert!(matches!(with("sub_id", narrowed), SetError::Subject(_)));
    let nested = json!({"format": "aliases", "identifiers": [{"format": "aliases", "identifiers": []}]});
    assert!(matches!(with("sub_id", nested), SetError::Subject(_)));
    let deep = (0..20).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(with("x", deep), SetError::Shape);
    assert_eq!(Set::read(&vec![b' '; LARGEST + 1]), Err(SetError::TooLarge));
    assert_eq!(Set::read(b"[]"), Err(SetError::Shape));
}

#[test]
fn an_unknown_event_keeps_its_name_and_unknown_members_are_passed_over() {
    let set = read(&token(&person(), "urn:example:lunch", &json!({"menu": [1, 2]}))).unwrap();
    assert_eq!(set.event.kind(), event::Kind::Other("urn:example:lunch".to_owned()));
    assert_eq!(set.event.kind().to_string(), "urn:example:lunch");
    let mut more = token(&person(), "session-revoked", &json!({"extra": true}));
    more["custom"] = json!({"a": 1});
    assert!(read(&more).is_ok());
}

#[test]
fn subjects_match_as_the_framework_says() {
    let subject = |value: Value| Subject::read(&value).unwrap();
    let tenant = json!({"format": "opaque", "id": "t1"});
    let email = json!({"format": "email", "email": "j@corp.example"});
    let only_tenant = subject(json!({"format": "complex", "tenant": tenant}));
    let user = subject(json!({"format": "complex", "tenant": tenant, "user": email}));
    let group = |id: &str| subject(json!({"format": "complex", "user": email, "group": {"format": "did", "url": id}}));
    assert!(only_tenant.matches(&user) && user.matches(&only_tenant), "what is not named is a wildcard");
    assert!(user.matches(&group("did:a")));
    assert!(!group("did:a").matches(&group("did:b")));
    assert!(subject(email.clone()).matches(&subject(email.clone())));
    assert!(!subject(email.clone()).matches(&subject(tenant.clone())));
    assert!(subject(email).matches(&user));
}

#[test]
fn facts_of_a_provider_travel_in_our_own_member() {
    let members =
        json!({"current_status": "compliant", "ztsa": {"facts": {"edr.running": "pass", "x": 1}, "lasts": 600}});
    let event = read(&token(&person(), "device-compliance-change", &members)).unwrap().event;
    assert_eq!(event.facts.get("edr.running").map(String::as_str), Some("pass"));
    assert_eq!((event.facts["x"].as_str(), event.lasts), ("1", Some(600)), "what is no word is shown");
    let many: Value = (0..40).map(|number| (format!("file.{number}"), json!("pass"))).collect();
    let members = json!({"current_status": "compliant", "ztsa": {"facts": many, "lasts": -1}});
    let event = read(&token(&person(), "device-compliance-change", &members)).unwrap().event;
    assert_eq!((event.facts.len(), event.lasts, event.unread.as_deref()), (40, None, Some("-1")));
}

#[test]
fn a_signed_token_names_its_type_and_key() {
    let key = SoftwareKey::generate().unwrap();
    let set = read(&token(&person(), "session-revoked", &json!({}))).unwrap();
    let signed = set.sign(&key, "k1").unwrap();
    let jws = Compact::parse(&signed).unwrap();
    assert!(jws.header().is_typ("secevent+jwt") && jws.header().kid.as_deref() == Some("k1"));
    jws.verify(key.public_key()).unwrap();
    let claims: Map<String, Value> = jws.claims().unwrap();
    assert_eq!(Set::from_claims(&claims).unwrap(), set);
}

#[test]
fn polls_and_streams_are_written_in_the_words_of_the_standards() {
    let fault = FaultCode::InvalidState.because("nobody said that");
    let request = PollRequest {
        max_events: Some(5),
        return_immediately: Some(true),
        ack: vec!["a".to_owned()],
        set_errs: [("b".to_owned(), fault)].into(),
    };
    let written = json!({
        "maxEvents": 5,
        "returnImmediately": true,
        "ack": ["a"],
        "setErrs": {"b": {"err": "invalid_state", "description": "nobody said that"}},
    });
    assert_eq!(serde_json::to_value(&request).unwrap(), written);
    assert_eq!(serde_json::from_value::<PollRequest>(json!({})).unwrap(), PollRequest::default());
    let answer: PollResponse = serde_json::from_value(json!({"sets": {"a": "x.y.z"}, "moreAvailable": true})).unwrap();
    assert!(answer.more_available && answer.sets.len() == 1);
    let stream: Stream = serde_json::from_value(json!({
        "stream_id": "f67e39a0",
        "iss": "https://tr.example",
        "aud": "https://receiver.example/web",
        "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://receiver.example/events"},
        "events_delivered": ["urn:example:type_2"],
        "unknown": true,
    }))
    .unwrap();
    assert_eq!(stream.aud, ["https://receiver.example/web"]);
    let request: StreamRequest = serde_json::from_value(json!({"events_requested": [], "format": null})).unwrap();
    assert_eq!(request.delivery, None);
    for (issuer, url) in [
        ("https://tr.example", "https://tr.example/.well-known/ssf-configuration"),
        ("https://tr.example/", "https://tr.example/.well-known/ssf-configuration"),
        ("https://tr.example/issuer1", "https://tr.example/.well-known/ssf-configuration/issuer1"),
    ] {
        assert_eq!(discovery_url(issuer).unwrap().as_str(), url);
    }
}

/// Any JSON of a few levels.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        prop_oneof!["complex", "email", "iss_sub", "aliases", "opaque"].prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        let name = prop_oneof!["format", "email", "iss", "sub", "id", "user", "identifiers", "[a-z_]{0,8}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Set::read(&bytes);
    }

    #[test]
    fn any_subject_and_event_is_answered_and_what_reads_writes_back(
        sub_id in any_json(), members in any_json(), which in 0..25usize,
    ) {
        let kind = event::Kind::all().nth(which).unwrap();
        if let Ok(set) = read(&token(&sub_id, &kind.to_string(), &members)) {
            let again = read(&set.claims()).unwrap();
            prop_assert_eq!(again, set);
        }
    }

    #[test]
    fn matching_is_the_same_from_both_sides(one in any_json(), other in any_json()) {
        if let (Ok(one), Ok(other)) = (Subject::read(&one), Subject::read(&other)) {
            prop_assert_eq!(one.matches(&other), other.matches(&one));
            prop_assert!(one.matches(&one));
        }
    }
}
