//! Every JSON document of the wire, as a newer, a broken and a hostile peer may send it.
#![cfg(test)]

use std::fmt::Debug;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;
use ztsa_proto::app::AppList;
use ztsa_proto::grant::{GrantRequest, GrantResponse, TicketRequest, TicketResponse};
use ztsa_proto::jwk::Jwk;
use ztsa_proto::jws::{Signer as _, SoftwareKey};
use ztsa_proto::metadata::{MetadataError, ResourceMetadata};
use ztsa_proto::session::{OAuthError, SessionClaims, SessionInfo, TokenResponse};
use ztsa_proto::set::delivery::{Fault, PollRequest, PollResponse};
use ztsa_proto::set::stream::{
    Stream, StreamRequest, StreamStatus, SubjectRequest, Transmitter, VerificationRequest, discovery_url,
};
use ztsa_proto::text::printable;
use ztsa_proto::why::WhyResponse;

/// A codec: the name of its document, a whole one, and how it is read; what was read is given as it is written again.
type Codec = (&'static str, Value, fn(&[u8]) -> Option<Value>);

fn codecs() -> Vec<Codec> {
    let session = json!({"session": "s", "expires_at": 301, "renew_before": 900,
        "user": {"issuer": "https://idp.example", "subject": "248", "name": "Alice", "email": "a@b", "groups": ["dev"]},
        "device": {"id": JKT, "state": "approved"},
        "risk": {"user": 40, "device": 1, "session": 2, "signals": [
            {"kind": "login_failures", "score": 40, "reason": "five", "source": "gateway", "expires_at": 9, "half_life": 60}]},
        "posture": [{"id": "disk.root", "state": "unknown", "reason": "absent", "value": {"a": [1]}, "source": "/proc",
            "at": 7, "ttl": 60}]});
    let problem = json!({"code": "posture.disk_encryption", "title": "t", "status": 403, "detail": "d", "remedy": "r",
        "retry": "after", "retry_after": 3, "policy": ["p"], "acr_values": "mfa", "max_age": 5, "decision": "d1", "waits": 1});
    let mut oauth = problem.clone();
    (oauth["error"], oauth["error_description"]) = (json!("access_denied"), json!("no"));
    let stream = json!({"stream_id": "1", "iss": "https://tr.example", "aud": ["https://gw.example"],
        "events_supported": ["a"], "events_requested": ["a"], "events_delivered": ["a"], "description": "ours",
        "min_verification_interval": 60, "inactivity_timeout": 600, "delivery": {"method": "urn:ietf:rfc:8935",
            "endpoint_url": "https://gw.example/ztsa/v1/signals", "authorization_header": SECRET}});
    vec![
        ("metadata", metadata(), read_metadata),
        (
            "session claims",
            json!({"iss": GATEWAY, "aud": GATEWAY, "sub": "https://idp.example|248", "client_id": "ztsa-cli", "iat": 1,
                "exp": 301, "jti": "j", "sid": "s", "cnf": {"jkt": JKT}, "acr": "mfa", "amr": ["pwd"], "auth_time": 1,
                "ztsa": {"issuer": "corp", "name": "Alice", "email": "a@b", "groups": ["dev"], "started_at": 1}}),
            plain::<SessionClaims>,
        ),
        ("session", session.clone(), shown::<SessionInfo>),
        (
            "token",
            json!({"access_token": SECRET, "token_type": "DPoP", "expires_in": 300, "issued_token_type": "x", "ztsa": session}),
            secret::<TokenResponse>,
        ),
        ("OAuth error", oauth, read_oauth_error),
        ("grant request", json!({"app": "db", "reason": "on call"}), shown::<GrantRequest>),
        ("grant", json!({"grant": "g1", "app": "db", "expires_at": 7, "limits": {}}), shown::<GrantResponse>),
        ("ticket request", json!({"app": "db", "for_seconds": 600, "uses": 3}), shown::<TicketRequest>),
        (
            "ticket",
            json!({"ticket": SECRET, "id": "t1", "app": "db", "expires_at": 7, "uses": 1}),
            secret::<TicketResponse>,
        ),
        (
            "apps",
            json!({"apps": [{"name": "db", "kind": "postgresql", "hosts": ["db.corp"], "port": 5432, "local_port": 15432,
                "tags": ["prod"], "needs": ["disk.root"], "access": {"state": "step_up", "problem": problem}}]}),
            shown::<AppList>,
        ),
        (
            "why",
            json!({"app": "db", "decision": "step_up", "problem": problem, "risk": {"user": 1},
                "policies": [{"id": "prod", "effect": "permit", "reason": "r"}],
                "missing": [{"fact": "disk.root", "state": "fail", "remedy": "r"}],
                "changes": [{"decision": "allow", "at": 9, "when": [
                    {"kind": "risk", "about": "user", "now": "40", "then": "39", "remedy": "r"}]}]}),
            read_why,
        ),
        ("key", json!({"kty": "EC", "crv": "P-256", "x": X, "y": Y, "kid": "1"}), plain::<Jwk>),
        ("fault", json!({"err": "invalid_key", "description": "d"}), shown::<Fault>),
        (
            "poll",
            json!({"maxEvents": 1, "returnImmediately": true, "ack": ["a"], "setErrs": {"b": {"err": "invalid_key"}}}),
            plain::<PollRequest>,
        ),
        ("polled", json!({"sets": {"a": "e30.e30."}, "moreAvailable": true}), plain::<PollResponse>),
        (
            "transmitter",
            json!({"spec_version": "1_0", "issuer": "https://tr.example", "jwks_uri": "https://tr.example/jwks",
                "delivery_methods_supported": ["urn:ietf:rfc:8935"], "configuration_endpoint": "u", "status_endpoint": "u",
                "add_subject_endpoint": "u", "remove_subject_endpoint": "u", "verification_endpoint": "u",
                "critical_subject_members": ["user"], "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6750"}],
                "default_subjects": "ALL"}),
            plain::<Transmitter>,
        ),
        ("stream", stream, hushed::<Stream>),
        (
            "stream request",
            json!({"stream_id": "1", "iss": "https://tr.example", "aud": ["https://gw.example"], "description": "ours",
                "events_requested": ["a"], "events_delivered": ["a"],
                "delivery": {"method": "urn:ietf:rfc:8936", "endpoint_url": "u", "authorization_header": SECRET}}),
            hushed::<StreamRequest>,
        ),
        ("stream status", json!({"stream_id": "1", "status": "paused", "reason": "r"}), plain::<StreamStatus>),
        (
            "subject",
            json!({"stream_id": "1", "subject": {"format": "email", "email": "a@b.example"}}),
            secret::<SubjectRequest>,
        ),
        ("verification", json!({"stream_id": "1", "state": "x"}), plain::<VerificationRequest>),
    ]
}

fn metadata() -> Value {
    let at = |path: &str| format!("{GATEWAY}/ztsa/v1/{path}");
    json!({"resource": GATEWAY, "resource_name": "Corp", "authorization_servers": ["https://idp.example"],
        "bearer_methods_supported": ["header"], "dpop_signing_alg_values_supported": ["ES256"],
        "dpop_bound_access_tokens_required": true,
        "ztsa": {"version": 1, "token_endpoint": at("token"), "session_endpoint": at("session"), "apps_endpoint": at("apps"),
            "grants_endpoint": at("grants"), "tickets_endpoint": at("tickets"), "why_endpoint": at("why"),
            "posture_endpoint": at("posture"), "events_endpoint": at("events"),
            "tunnel_template": format!("{GATEWAY}/.well-known/masque/tcp/{{target_host}}/{{target_port}}/"),
            "issuers": [{"issuer": "https://idp.example", "name": "corp", "client_id": "ztsa-cli", "scopes": ["openid"],
                "resource": GATEWAY, "device_flow": true, "browser_flow": true, "redirect_host": "localhost",
                "redirect_port": 8000}],
            "posture": ["disk.root"],
            "workload": [{"name": "deploy", "issuer": "https://ci.example", "audience": GATEWAY}]}})
}

/// Insists that what was read is written as what reads the same.
fn same<T: Serialize + PartialEq + Debug>(document: &T, read: impl Fn(&[u8]) -> Option<T>) -> Value {
    let written = serde_json::to_vec(document).unwrap();
    assert_eq!(read(&written).as_ref(), Some(document), "{}", String::from_utf8_lossy(&written));
    serde_json::from_slice(&written).unwrap()
}

fn plain<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) -> Option<Value> {
    let read = |json: &[u8]| serde_json::from_slice(json).ok();
    read(json).map(|document: T| same(&document, read))
}

/// A document whose texts are shown to people.
fn shown<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) -> Option<Value> {
    plain::<T>(json).inspect(|written| fit(written, ""))
}

/// A document that only reads, with a secret in it.
fn secret<T: DeserializeOwned + Debug>(json: &[u8]) -> Option<Value> {
    let document: T = serde_json::from_slice(json).ok()?;
    assert!(!format!("{document:?}").contains(SECRET));
    Some(Value::Null)
}

/// A document that is written with its secret, and shown without it.
fn hushed<T: Serialize + DeserializeOwned + PartialEq + Debug>(json: &[u8]) -> Option<Value> {
    secret::<T>(json)?;
    plain::<T>(json)
}

fn read_oauth_error(json: &[u8]) -> Option<Value> {
    OAuthError::from_json(json).map(|error| same(&error, OAuthError::from_json)).inspect(|written| fit(written, ""))
}

fn read_why(json: &[u8]) -> Option<Value> {
    let why: WhyResponse = serde_json::from_slice(json).ok()?;
    for change in &why.changes {
        let told = change.to_string();
        assert_eq!(printable(&told, usize::MAX - 1), told.trim_end());
    }
    shown::<WhyResponse>(json)
}

/// Metadata, which leads nowhere but to the gateway.
fn read_metadata(json: &[u8]) -> Option<Value> {
    let gateway = Url::parse(GATEWAY).unwrap();
    let read = |json: &[u8]| ResourceMetadata::from_json(json, &gateway).ok();
    let written = same(&read(json)?, read);
    let mut endpoints = 0;
    for (name, place) in written["ztsa"].as_object().unwrap() {
        if name.ends_with("_endpoint") || name == "tunnel_template" {
            assert_eq!(Url::parse(place.as_str().unwrap()).unwrap().origin(), gateway.origin(), "{name}");
            endpoints += 1;
        }
    }
    assert_eq!(endpoints, 9);
    Some(written)
}

/// Insists that each text is fit to print and no longer than people read; what a check saw may be longer.
fn fit(written: &Value, name: &str) {
    match written {
        Value::String(text) => {
            let limit = if name == "value" { usize::MAX - 1 } else { 1024 };
            assert_eq!(&printable(text, limit), text, "{name}");
        }
        Value::Array(items) => items.iter().for_each(|item| fit(item, name)),
        Value::Object(members) if name == "value" => members.values().for_each(|value| fit(value, "value")),
        Value::Object(members) => members.iter().for_each(|(name, value)| fit(value, name)),
        _ => {}
    }
}

/// Any JSON, with the words and numbers on which readers stumble.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::sample::select(vec![
            json!(0),
            json!(100),
            json!(101),
            json!(65_536),
            json!(-1),
            json!(0.5),
            json!(1e300)
        ]),
        ".{0,20}".prop_map(Value::from),
        Just(Value::from("\u{1b}[2J\u{202e}".to_owned() + &"x".repeat(1100))),
        prop::sample::select(vec![
            "",
            "db",
            "policy.no_match",
            "after",
            "\n",
            "https://gw.example@evil.example/",
            GATEWAY
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof!["code", "error", "user", "format", "[a-z_]{0,8}"];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(name, inner, 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The places of a document: a JSON pointer each.
fn places(document: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match document {
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(number, item)| places(item, &format!("{at}/{number}"), found));
        }
        Value::Object(members) => members.iter().for_each(|(name, item)| places(item, &format!("{at}/{name}"), found)),
        _ => {}
    }
}

/// Puts something else at a place of a document, or takes away what is there.
fn spoil(document: &mut Value, place: Index, other: Option<&Value>) {
    let mut found = Vec::new();
    places(document, "", &mut found);
    let at = place.get(&found);
    let (above, name) = at.rsplit_once('/').unwrap_or_default();
    match (other, document.pointer_mut(above)) {
        (None, Some(Value::Object(members))) => drop(members.remove(name)),
        (None, Some(Value::Array(items))) => items.clear(),
        _ => *document.pointer_mut(at).unwrap() = other.cloned().unwrap_or_default(),
    }
}

#[test]
fn whole_documents_read() {
    for (name, document, read) in codecs() {
        let written = read(document.to_string().as_bytes()).unwrap_or_else(|| panic!("{name} does not read"));
        assert!(written.is_null() || holds(&written, &document), "{name} is written as {written}");
    }
}

/// Whether all that was said is still there; what nobody knows (`kid`) may be gone.
fn holds(written: &Value, said: &Value) -> bool {
    match (written, said) {
        (Value::Object(written), Value::Object(said)) => said
            .iter()
            .all(|(name, said)| name == "kid" || written.get(name).is_some_and(|written| holds(written, said))),
        (Value::Array(written), Value::Array(said)) => {
            written.len() == said.len() && written.iter().zip(said).all(|(written, said)| holds(written, said))
        }
        _ => written == said,
    }
}

#[test]
fn documents_have_a_largest_size() {
    let gateway = Url::parse(GATEWAY).unwrap();
    let padded = |document: &str, length: usize| [document, &" ".repeat(length - document.len())].concat().into_bytes();
    let (metadata, error) = (metadata().to_string(), json!({"error": "x"}).to_string());
    assert!(ResourceMetadata::from_json(&padded(&metadata, 64 * 1024), &gateway).is_ok());
    assert_eq!(ResourceMetadata::from_json(&padded(&metadata, 64 * 1024 + 1), &gateway), Err(MetadataError::TooLarge));
    assert!(OAuthError::from_json(&padded(&error, 16 * 1024)).is_some());
    assert!(OAuthError::from_json(&padded(&error, 16 * 1024 + 1)).is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_spoilt_document_is_refused_or_written_back_as_it_was_read(
        wounds in vec((any::<Index>(), prop::option::weighted(0.8, any_json())), 1..4),
    ) {
        for (_, mut document, read) in codecs() {
            for (place, other) in &wounds {
                spoil(&mut document, *place, other.as_ref());
            }
            read(document.to_string().as_bytes());
        }
    }

    #[test]
    fn bytes_that_were_touched_or_cut_are_answered(
        at in any::<Index>(), byte: u8, cut in prop::option::of(any::<Index>()), noise in vec(any::<u8>(), 0..60), any in any_json(),
    ) {
        for (_, document, read) in codecs() {
            let mut bytes = document.to_string().into_bytes();
            *at.get_mut(&mut bytes) = byte;
            read(&bytes);
            bytes.truncate(cut.map_or(bytes.len(), |cut| cut.index(bytes.len())));
            bytes.extend(&noise);
            read(&bytes);
            read(&noise);
            read(any.to_string().as_bytes());
        }
    }

    #[test]
    fn any_issuer_has_one_place_for_its_document_or_none(issuer in any::<String>(), host in "[a-z]{1,9}", path in "(/[a-z0-9]{1,5}){0,3}") {
        let _ = discovery_url(&issuer);
        let url = discovery_url(&format!("https://{host}{path}")).unwrap();
        prop_assert_eq!(url.as_str(), format!("https://{host}/.well-known/ssf-configuration{path}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_key_is_read_as_it_was_written(_turn: u8) {
        let key = SoftwareKey::generate().unwrap().public_key().clone();
        let text = serde_json::to_vec(&key).unwrap();
        let read: Jwk = serde_json::from_slice(&text).unwrap();
        prop_assert_eq!((read.thumbprint(), read.point()), (key.thumbprint(), key.point()));
        prop_assert_eq!(Jwk::from_point(key.point()).unwrap(), read);
    }
}

const GATEWAY: &str = "https://gw.example";
const SECRET: &str = "Bearer s3cret-of-the-wire";
/// The key of RFC 9449's examples and its thumbprint.
const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
const X: &str = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs";
const Y: &str = "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA";
