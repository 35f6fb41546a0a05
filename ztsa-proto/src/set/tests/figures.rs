//! One token in the form of each example of the specifications, with values of our own: which members and formats stand
//! together there, and what becomes of the examples that the framework itself does not permit.

use super::*;

const IAT: u64 = 1_790_000_160;
const AT: u64 = 1_790_000_000;

/// What is read of a token: its event, its subject's format or members, when it happened, and the reason to show.
type Told<'a> = (&'a str, &'a str, Option<u64>, Option<&'a str>);

/// A token of a transmitter about one subject, without `txn`.
fn set(sub_id: &Value, kind: &str, members: &Value) -> Value {
    let mut claims = token(sub_id, kind, members);
    claims["iat"] = json!(IAT);
    claims.as_object_mut().unwrap().remove("txn");
    claims
}

/// The form of CAEP: `txn` is a text, and the event says when it happened.
fn caep(sub_id: &Value, kind: &str, mut members: Value) -> Value {
    members["event_timestamp"] = json!(AT);
    let mut claims = set(sub_id, kind, &members);
    claims["txn"] = json!("b41d-7");
    claims
}

fn opaque(id: &str) -> Value {
    json!({"format": "opaque", "id": id})
}

fn email() -> Value {
    json!({"format": "email", "email": "jane@corp.example"})
}

fn told(claims: &Value) -> (String, String, Option<u64>, Option<String>) {
    let set = read(claims).unwrap();
    assert_eq!(read(&set.claims()).unwrap(), set, "{claims}");
    let subject = match &set.subject {
        None => String::new(),
        Some(Subject::Simple(one)) => one.format().to_owned(),
        Some(Subject::Complex(complex)) => complex.members().map(|(name, _)| name).collect::<Vec<_>>().join("+"),
    };
    if let Some(own) = claims.get("sub_id") {
        assert_eq!(&set.subject.unwrap().write(), own);
    }
    (set.event.kind().to_string(), subject, set.event.at.map(|at| at.0), set.event.reason())
}

fn check(section: &str, claims: &Value, (kind, subject, at, reason): Told<'_>) {
    assert_eq!(told(claims), (kind.to_owned(), subject.to_owned(), at, reason.map(str::to_owned)), "{section}");
}

#[test]
fn the_forms_of_the_examples_of_caep_read() {
    let why = |admin: &str, user: &str, tag: &str| {
        let user = json!({tag: "altro", "en": user});
        json!({"initiating_entity": "policy", "reason_admin": {"en": admin}, "reason_user": user})
    };
    let with = |mut members: Value, more: Value| {
        members.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        members
    };
    let jwt = || json!({"format": "jwt_id", "iss": "https://idp.example/1/", "jti": "t-7"});
    let saml = json!({"format": "saml_assertion_id", "issuer": "https://idp.example/1/", "assertion_id": "_7"});
    let (at, tenant) = (Some(AT), opaque("tenant-7"));
    let session = json!({"format": "complex", "session": opaque("a|1.2|3"), "user": person(), "tenant": tenant});
    let device = json!({"format": "complex", "user": person(), "device": person(), "tenant": tenant});
    let only_device = json!({"format": "complex", "device": person(), "tenant": tenant});
    let revoked = "session-revoked";
    check("3.1.2", &caep(&opaque("a|1.2|3"), revoked, json!({})), (revoked, "opaque", at, None));
    let claims = caep(&session, revoked, why("P-7", "Two places at once.", "es-419"));
    check("3.1.2", &claims, (revoked, "session+tenant+user", at, Some("Two places at once.")));
    let claims = caep(&device, revoked, why("P-8", "The laptop is out of order.", "it"));
    check("3.1.2", &claims, (revoked, "device+tenant+user", at, Some("The laptop is out of order.")));

    let change = "token-claims-change";
    let role = json!({"claims": {"role": "guest"}});
    check("3.2.2", &caep(&jwt(), change, role), (change, "jwt_id", at, None));
    let left = with(why("P-9", "The network is another.", "it"), json!({"claims": {"at_desk": false}}));
    check("3.2.2", &caep(&jwt(), change, left), (change, "jwt_id", at, Some("The network is another.")));
    let role = json!({"claims": {"http://idp.example/claims/role": "guest"}});
    check("3.2.2", &caep(&saml, change, role), (change, "saml_assertion_id", at, None));

    let key = json!({
        "credential_type": "fido2-roaming", "change_type": "create", "fido2_aaguid": "2b1c",
        "friendly_name": "Jane's key", "initiating_entity": "user", "reason_admin": {"en": "By herself"},
    });
    let claims = caep(&person(), "credential-change", key);
    check("3.3.2", &claims, ("credential-change", "iss_sub", at, Some("By herself")));
    let changed = "assurance-level-change";
    let rose = json!({
        "namespace": "NIST-AAL", "current_level": "nist-aal3", "previous_level": "nist-aal1",
        "change_direction": "increase", "initiating_entity": "user",
    });
    check("3.4.2", &caep(&person(), changed, rose), (changed, "iss_sub", at, None));
    let custom = json!({"namespace": "Badge", "current_level": "worn", "initiating_entity": "user"});
    check("3.4.2", &caep(&person(), changed, custom), (changed, "iss_sub", at, None));
    let status = with(why("P-10", "It is elsewhere.", "it"), json!({"current_status": "not-compliant"}));
    let status = with(status, json!({"previous_status": "compliant"}));
    let claims = caep(&only_device, "device-compliance-change", status);
    check("3.5.2", &claims, ("device-compliance-change", "device+tenant", at, Some("It is elsewhere.")));
    let begun = json!({"fp_ua": "5d1f", "acr": "AAL3", "amr": ["hwk"]});
    check("3.6.2", &caep(&email(), "session-established", begun), ("session-established", "email", at, None));
    let seen = json!({"fp_ua": "5d1f", "ext_id": "77"});
    check("3.7.2", &caep(&email(), "session-presented", seen), ("session-presented", "email", at, None));
    let risk = json!({"current_level": "LOW", "previous_level": "HIGH", "principal": "USER", "risk_reason": "LEAKED"});
    check("3.8.2", &caep(&person(), "risk-level-change", risk), ("risk-level-change", "iss_sub", at, None));
}

#[test]
fn the_forms_of_the_examples_of_the_framework_and_of_risc_read() {
    // SSF 1.0: the verification and the change of a stream; several audiences; simple, complex and proprietary subjects
    let mut verification = set(&opaque("stream-7"), "verification", &json!({"state": "c3RhdGU="}));
    check("SSF, verification", &verification, ("verification", "opaque", None, None));
    verification["aud"] = json!(["gw.example/web", "gw.example/mobile"]);
    check("SSF, several audiences", &verification, ("verification", "opaque", None, None));
    assert_eq!(read(&verification).unwrap().aud, ["gw.example/web", "gw.example/mobile"]);
    let updated = set(&opaque("stream-7"), "stream-updated", &json!({"status": "paused", "reason": "Maintenance"}));
    check("SSF, stream updated", &updated, ("stream-updated", "opaque", None, None));
    let enabled = set(&email(), "account-enabled", &json!({}));
    check("SSF, simple subject", &enabled, ("account-enabled", "email", None, None));
    let phone = json!({"format": "phone_number", "phone_number": "+44 20 7946 0000"});
    let disabled = set(&phone, "account-disabled", &json!({"reason": "hijacking"}));
    check("SSF, telephone", &disabled, ("account-disabled", "phone_number", None, None));
    let changed = set(&email(), "token-claims-change", &json!({"claims": {"token": "another"}}));
    check("SSF, no time", &changed, ("token-claims-change", "email", None, None));
    let both = json!({"format": "complex", "user": person(), "device": person()});
    let revoked = caep(&both, "session-revoked", json!({"reason_user": {"es": "Otro", "en": "Another"}}));
    check("SSF, complex subject", &revoked, ("session-revoked", "device+user", Some(AT), Some("Another")));
    let shelf = json!({"format": "shelf_mark", "mark": "QA/76"});
    let mut own = caep(&shelf, "token-claims-change", json!({"claims": {"role": "guest"}}));
    // the example has a digit too many: it was made in the year 2451, and is no less a token
    own["iat"] = json!(15_200_000_000_u64);
    check("SSF, proprietary subject", &own, ("token-claims-change", "shelf_mark", Some(AT), None));

    // RISC 1.0: members that do nothing here are passed over
    for (kind, members) in [
        ("account-credential-change-required", json!({})),
        ("account-disabled", json!({"reason": "hijacking"})),
        ("identifier-changed", json!({"new-value": "j.roe@corp.example"})),
        ("identifier-recycled", json!({})),
        ("credential-compromise", json!({"credential_type": "password"})),
    ] {
        check("RISC", &set(&person(), kind, &members), (kind, "iss_sub", None, None));
    }
    // an example there has a comma too many
    let comma = br#"{"iss": "https://idp.example/1/", "sub_id": {"format": "opaque", "id": "7",}}"#;
    assert_eq!(Set::read(comma), Err(SetError::Shape));
}

#[test]
fn of_the_forms_of_rfc_8417_those_with_sub_or_two_events_are_refused_as_the_framework_says() {
    let without = |claims: &Value, name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        claims
    };
    let event = |kind: &str, members: Value| without(&set(&Value::Null, kind, &members), "sub_id");
    // section 2.1.1: a subject of a JWT, and an event with an extension
    let mut scim = event("urn:ietf:params:scim:event:passwordReset", json!({"id": "77"}));
    scim["sub"] = json!("https://scim.example/Users/77");
    scim["events"]["https://scim.example/reset-more"] = json!({"attempts": 3});
    assert_eq!(read(&scim), Err(SetError::Forbidden("sub")));
    assert_eq!(read(&without(&scim, "sub")), Err(SetError::Count(2)));
    // section 2.1.2: a logout token, which is for the application that signed the person in
    let logout = "http://schemas.openid.net/event/backchannel-logout";
    let mut claims = event(logout, json!({}));
    (claims["sub"], claims["sid"]) = (json!("jane"), json!("s-7"));
    assert_eq!(read(&claims), Err(SetError::Forbidden("sub")));
    check("2.1.2, by sid alone", &without(&claims, "sub"), (logout, "", None, None));
    // section 2.1.3: the event has an issuer and a subject of its own, which are no subject of ours
    let consent = "https://health.example/consent";
    let claims = event(consent, json!({"iss": "https://idp.example/1/", "sub": "jane", "terms": ["a"]}));
    check("2.1.3", &claims, (consent, "", None, None));
    // section 2.1.4: of before RFC 9493
    let subject = json!({"subject_type": "iss-sub", "iss": "https://idp.example/1/", "sub": "jane"});
    let claims = event("account-disabled", json!({"subject": subject, "reason": "hijacking"}));
    check("2.1.4", &claims, ("account-disabled", "iss_sub", None, None));
}
