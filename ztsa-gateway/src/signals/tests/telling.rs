use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::post;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower::ServiceExt as _;
use ztsa_net::task::Scope;
use ztsa_proto::set::event::Level;
use ztsa_proto::set::{Happening, Subject};

use super::wire::read;
use crate::authn::{PublicKeys, Signed};
use crate::engine::tests::World;
use crate::lease::Selector;
use crate::signals::Signals;

const POLICIES: &str = r#"@id("dev") permit (principal in Group::"dev", action == Action::"connect", resource);"#;
const SIEM: &str = "siem-siem-siem-siem";
const OTHER: &str = "other-other-other-other";

/// A gateway that tells two receivers.
struct Teller {
    world: World,
    router: Router,
    scope: Scope,
}

impl Teller {
    fn new(more: &str) -> Teller {
        let text = format!(
            "[[signals.receiver]]\nname = \"siem\"\naudience = \"https://siem.example\"\ntoken_file = \"siem.token\"\n{more}\n\
             [[signals.receiver]]\nname = \"other\"\naudience = \"other\"\ntoken_file = \"other.token\"\nsubject = \"iss_sub\"\n"
        );
        let world = World::configured(POLICIES, &text);
        std::fs::write(world.dir().join("siem.token"), SIEM).unwrap();
        std::fs::write(world.dir().join("other.token"), OTHER).unwrap();
        let (router, scope) = Self::begin(&world);
        Teller { world, router, scope }
    }

    fn begin(world: &World) -> (Router, Scope) {
        let (signals, scope) = (Signals::new(&world.engine.config(), &world.engine).unwrap(), Scope::new());
        signals.start(&scope.spawner());
        (signals.router(), scope)
    }

    /// Stops telling, and starts it anew on the same state.
    async fn restart(&mut self) {
        let spare = World::new();
        let (router, scope) = Self::begin(&spare);
        drop(std::mem::replace(&mut self.router, router));
        let old = std::mem::replace(&mut self.scope, scope);
        old.drain(Duration::from_millis(100)).await;
        self.world.restart(1).await;
        (self.router, self.scope) = Self::begin(&self.world);
    }

    async fn ask(&self, method: Method, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        let request = request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(20), self.router.clone().oneshot(request)).await.unwrap();
        let answer = answer.unwrap();
        let status = answer.status();
        let body = to_bytes(answer.into_body(), 1024 * 1024).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn create(&self, token: &str, body: &Value) -> Value {
        let (status, stream) = self.ask(Method::POST, STREAM, token, body).await;
        assert_eq!(status, StatusCode::CREATED, "{stream}");
        stream
    }

    async fn poll(&self, stream: &Value, token: &str, body: &Value) -> Vec<(String, String)> {
        let url = stream["delivery"]["endpoint_url"].as_str().unwrap();
        let path = url.strip_prefix("https://gw.example").unwrap();
        let (status, answer) = self.ask(Method::POST, path, token, body).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        let sets = answer["sets"].as_object().unwrap().iter();
        sets.map(|(jti, token)| (jti.clone(), token.as_str().unwrap().to_owned())).collect()
    }

    /// Waits for one token, and acknowledges it.
    async fn next(&self, stream: &Value, token: &str) -> ztsa_proto::set::Set {
        let sets = self.poll(stream, token, &json!({"maxEvents": 1})).await;
        let [(jti, set)] = sets.as_slice() else { panic!("{} tokens", sets.len()) };
        assert!(self.poll(stream, token, &json!({"ack": [jti], "maxEvents": 0})).await.is_empty());
        let (_, keys) = self.ask(Method::GET, "/ztsa/v1/ssf/jwks", "", &json!({})).await;
        let signed = Signed::parse(set).unwrap();
        assert_eq!((signed.kind(), signed.verify(&PublicKeys::parse(&keys))), ("secevent+jwt", Some(true)));
        let set = read(set);
        assert_eq!((set.jti.as_str(), set.iss.as_str()), (jti.as_str(), "https://gw.example"));
        set
    }
}

const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const STREAM: &str = "/ztsa/v1/ssf/stream";

#[tokio::test]
async fn what_changes_here_is_told_to_those_who_asked() {
    let teller = Teller::new("");
    let stream = teller.create(SIEM, &json!({"description": "all"})).await;
    assert_eq!(stream["aud"], json!(["https://siem.example"]));
    assert_eq!(stream["events_delivered"].as_array().map(Vec::len), Some(4));
    let plain = teller.create(OTHER, &json!({"events_requested": ["urn:x", stream["events_supported"][1]]})).await;
    assert_eq!(plain["events_delivered"].as_array().map(Vec::len), Some(1));
    let alice = teller.world.session("alice", &["dev"], "laptop");
    let set = teller.next(&stream, SIEM).await;
    assert!(matches!(set.event.happening, Happening::SessionEstablished { .. }));
    let Some(Subject::Complex(about)) = set.subject else { panic!() };
    let names: Vec<&str> = about.members().map(|(name, _)| name).collect();
    assert_eq!(names, ["device", "session", "user"]);
    let user = crate::store::Subject::User(alice.identity.user.clone());
    teller.world.engine.risk_set(&user, 90, "odd hours", None);
    let set = teller.next(&stream, SIEM).await;
    assert!(set.event.reason().unwrap().contains("odd hours"));
    assert_eq!(set.claims()["events"].as_object().unwrap().values().next().unwrap()["current_level"], "HIGH");
    teller.world.engine.risk_clear(&user);
    let set = teller.next(&stream, SIEM).await;
    let event = set.claims()["events"].as_object().unwrap().values().next().unwrap().clone();
    assert_eq!((&event["current_level"], &event["previous_level"]), (&json!("LOW"), &json!("HIGH")));
    let device = vec![(
        "device.compliant".to_owned(),
        crate::posture::Attested {
            state: ztsa_proto::posture::State::Fail,
            source: "edr".to_owned(),
            at: teller.world.engine.now(),
            expires_at: teller.world.engine.now().plus(Duration::from_secs(60)),
        },
    )];
    teller.world.engine.attest(&alice.device, device);
    let set = teller.next(&stream, SIEM).await;
    assert_eq!(set.event.happening, Happening::DeviceComplianceChange { compliant: false });
    teller.world.engine.revoke(&Selector::User(alice.identity.user.clone()), "left the company");
    let set = teller.next(&stream, SIEM).await;
    assert_eq!(set.event.happening, Happening::SessionRevoked);
    assert!(set.event.reason_admin["en"].contains("left the company"));
    // the other asked for one event, and knows people by issuer and subject
    let set = teller.next(&plain, OTHER).await;
    assert_eq!(set.event.happening, Happening::SessionRevoked);
    assert!(matches!(set.subject, Some(Subject::Simple(ztsa_proto::set::Identifier::IssSub { .. }))));
    assert!(teller.poll(&stream, SIEM, &json!({"returnImmediately": true})).await.is_empty());
}

#[tokio::test]
async fn the_end_of_sessions_from_before_a_restart_is_told_once() {
    let mut teller = Teller::new("");
    let stream = teller.create(SIEM, &json!({"events_requested": [SESSION_REVOKED]})).await;
    let alice = teller.world.session("alice", &["dev"], "laptop");
    let bob = teller.world.session("bob", &["dev"], "tablet");
    let cara = teller.world.session("cara", &["dev"], "phone");
    teller.restart().await;
    let engine = teller.world.engine.clone();
    let about = crate::store::Subject::User(bob.identity.user.clone());
    let peer = std::net::IpAddr::from([127, 0, 0, 1]);
    for again in [false, true] {
        engine.revoke(&Selector::User(alice.identity.user.clone()), "left the company");
        engine.cut(&about, engine.now(), "corp says so");
        engine.end_session(&cara, peer);
        if again {
            break;
        }
        for session in [&alice, &bob, &cara] {
            let set = teller.next(&stream, SIEM).await;
            assert_eq!(set.event.happening, Happening::SessionRevoked);
            let Some(Subject::Complex(about)) = set.subject else { panic!() };
            let id = ztsa_proto::set::Identifier::Opaque { id: session.id.to_string() };
            assert_eq!(about.member("session"), Some(&id));
            assert!(about.member("user").is_some() && about.member("device").is_some());
        }
    }
    // told already: what comes next is what happens next
    let dora = teller.world.session("dora", &["dev"], "watch");
    teller.world.engine.revoke(&Selector::User(dora.identity.user.clone()), "left the company");
    let Some(Subject::Complex(about)) = teller.next(&stream, SIEM).await.subject else { panic!() };
    let id = ztsa_proto::set::Identifier::Opaque { id: dora.id.to_string() };
    assert_eq!(about.member("session"), Some(&id));
}

#[tokio::test]
async fn good_news_is_told_after_a_restart_too() {
    let mut teller = Teller::new("");
    let stream = teller.create(SIEM, &json!({})).await;
    let alice = teller.world.session("alice", &["dev"], "laptop");
    let user = crate::store::Subject::User(alice.identity.user.clone());
    let attest = |teller: &Teller, state: ztsa_proto::posture::State| {
        let (at, source) = (teller.world.engine.now(), "edr".to_owned());
        let told = crate::posture::Attested { state, source, at, expires_at: at.plus(Duration::from_secs(600)) };
        teller.world.engine.attest(&alice.device, vec![("device.compliant".to_owned(), told)]);
    };
    teller.world.engine.risk_set(&user, 90, "odd hours", None);
    attest(&teller, ztsa_proto::posture::State::Fail);
    for _ in ["the session's beginning", "the risk", "the device"] {
        teller.next(&stream, SIEM).await;
    }
    for again in [false, true] {
        teller.restart().await;
        // the second time there is nothing left to tell
        teller.world.engine.risk_clear(&user);
        attest(&teller, ztsa_proto::posture::State::Pass);
        if again {
            break;
        }
        let set = teller.next(&stream, SIEM).await;
        let wanted = (Level::Low, Some(Level::High));
        let Happening::RiskLevelChange { current, previous, .. } = set.event.happening else { panic!() };
        assert_eq!((current, previous), wanted);
        let set = teller.next(&stream, SIEM).await;
        assert_eq!(set.event.happening, Happening::DeviceComplianceChange { compliant: true });
    }
    // nothing is left to tell: what comes next is what happens next
    teller.world.session("dora", &["dev"], "phone");
    assert!(matches!(teller.next(&stream, SIEM).await.event.happening, Happening::SessionEstablished { .. }));
}

#[tokio::test]
async fn streams_are_managed_as_the_standard_says_and_by_their_own_receiver_only() {
    let mut teller = Teller::new("");
    let (status, document) = teller.ask(Method::GET, "/.well-known/ssf-configuration", "", &json!({})).await;
    assert_eq!(
        (status, &document["issuer"], &document["spec_version"]),
        (StatusCode::OK, &json!("https://gw.example"), &json!("1_0"))
    );
    let stream = teller.create(SIEM, &json!({})).await;
    let id = stream["stream_id"].as_str().unwrap().to_owned();
    let of = |path: &str| format!("{path}?stream_id={id}");
    let (none, get) = (json!({}), Method::GET);
    for (path, token, wanted) in [
        (STREAM.to_owned(), "wrong", StatusCode::UNAUTHORIZED),
        (STREAM.to_owned(), "", StatusCode::UNAUTHORIZED),
        (of(STREAM), OTHER, StatusCode::NOT_FOUND),
        (of("/ztsa/v1/ssf/status"), OTHER, StatusCode::NOT_FOUND),
        ("/ztsa/v1/ssf/status".to_owned(), SIEM, StatusCode::BAD_REQUEST),
        (of(STREAM), SIEM, StatusCode::OK),
    ] {
        assert_eq!(teller.ask(get.clone(), &path, token, &none).await.0, wanted, "{path} {token}");
    }
    let listed = |streams: &Value| streams.as_array().map(Vec::len);
    assert_eq!(listed(&teller.ask(get.clone(), STREAM, OTHER, &none).await.1), Some(0));
    let revoked = stream["events_supported"][1].clone();
    let change = json!({"stream_id": id, "events_requested": [revoked], "description": "less"});
    let (status, changed) = teller.ask(Method::PATCH, STREAM, SIEM, &change).await;
    assert_eq!(
        (status, &changed["events_delivered"], &changed["description"]),
        (StatusCode::OK, &json!([revoked]), &json!("less"))
    );
    let wrong = json!({"stream_id": id, "iss": "https://evil.example"});
    assert_eq!(teller.ask(Method::PATCH, STREAM, SIEM, &wrong).await.0, StatusCode::BAD_REQUEST);
    let (_, whole) = teller.ask(Method::PUT, STREAM, SIEM, &json!({"stream_id": id})).await;
    assert_eq!((listed(&whole["events_delivered"]), &whole["description"]), (Some(4), &Value::Null));
    // nothing is pushed into the network behind the gateway
    for url in [
        "http://siem.example/",
        "https://127.0.0.1/",
        "https://localhost/",
        "https://10.0.0.1/x",
        "https://[::1]/",
        "ftp://a",
        "x",
    ] {
        let push = json!({"delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": url}});
        assert_eq!(teller.ask(Method::POST, STREAM, SIEM, &push).await.0, StatusCode::BAD_REQUEST, "{url}");
    }
    let paused = json!({"stream_id": id, "status": "paused", "reason": "maintenance"});
    assert_eq!(teller.ask(Method::POST, "/ztsa/v1/ssf/status", SIEM, &paused).await.0, StatusCode::OK);
    teller.world.session("alice", &["dev"], "laptop");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(teller.poll(&stream, SIEM, &json!({"returnImmediately": true})).await.is_empty(), "held back");
    // what was agreed on, and what waits, outlives a restart
    teller.restart().await;
    let (_, status) = teller.ask(get.clone(), &of("/ztsa/v1/ssf/status"), SIEM, &none).await;
    assert_eq!((&status["status"], &status["reason"]), (&json!("paused"), &json!("maintenance")));
    let enabled = json!({"stream_id": id, "status": "enabled"});
    teller.ask(Method::POST, "/ztsa/v1/ssf/status", SIEM, &enabled).await;
    assert!(matches!(teller.next(&stream, SIEM).await.event.happening, Happening::SessionEstablished { .. }));
    let verify = json!({"stream_id": id, "state": "abc"});
    assert_eq!(teller.ask(Method::POST, "/ztsa/v1/ssf/verify", SIEM, &verify).await.0, StatusCode::NO_CONTENT);
    assert_eq!(teller.ask(Method::POST, "/ztsa/v1/ssf/verify", SIEM, &verify).await.0, StatusCode::TOO_MANY_REQUESTS);
    let heartbeat = teller.next(&stream, SIEM).await;
    assert_eq!(heartbeat.event.happening, Happening::Verification { state: Some("abc".to_owned()) });
    assert_eq!(heartbeat.subject.unwrap().write(), json!({"format": "opaque", "id": id}));
    let bob = json!({"format": "iss_sub", "iss": "https://idp.example", "sub": "bob"});
    let subject = json!({"stream_id": id, "subject": bob});
    assert_eq!(
        teller.ask(Method::POST, "/ztsa/v1/ssf/subjects/remove", SIEM, &subject).await.0,
        StatusCode::NO_CONTENT
    );
    teller.world.session("bob", &["dev"], "desk");
    teller.world.session("carol", &["dev"], "phone");
    let about = teller.next(&stream, SIEM).await.subject.unwrap().write();
    assert_eq!(about["user"]["sub"], "carol", "of bob it wants to hear nothing");
    assert_eq!(teller.ask(Method::POST, "/ztsa/v1/ssf/subjects/add", SIEM, &subject).await.0, StatusCode::OK);
    assert_eq!(teller.ask(Method::DELETE, &of(STREAM), SIEM, &none).await.0, StatusCode::NO_CONTENT);
    assert_eq!(teller.ask(Method::DELETE, &of(STREAM), SIEM, &none).await.0, StatusCode::NOT_FOUND);
    for _ in 0..4 {
        teller.create(SIEM, &json!({})).await;
    }
    assert_eq!(teller.ask(Method::POST, STREAM, SIEM, &json!({})).await.0, StatusCode::CONFLICT);
    assert_eq!(teller.ask(Method::POST, STREAM, SIEM, &json!([])).await.0, StatusCode::BAD_REQUEST);
}

/// A receiver on loopback that answers as the test says, and keeps what came.
struct Ear {
    url: String,
    heard: Arc<std::sync::Mutex<Vec<(StatusCode, String, String)>>>,
    answers: Arc<std::sync::Mutex<Vec<StatusCode>>>,
    scope: Scope,
}

impl Ear {
    async fn new(answers: &[StatusCode]) -> Ear {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/events", listener.local_addr().unwrap());
        let heard: Arc<std::sync::Mutex<Vec<_>>> = Arc::default();
        let answers = Arc::new(std::sync::Mutex::new(answers.to_vec()));
        let (kept, told) = (Arc::clone(&heard), Arc::clone(&answers));
        let router = Router::new().route(
            "/events",
            post(async move |headers: http::HeaderMap, body: String| {
                let status = { told.lock().unwrap().pop().unwrap_or(StatusCode::ACCEPTED) };
                let token = headers["authorization"].to_str().unwrap().to_owned();
                kept.lock().unwrap().push((status, token, body));
                if status == StatusCode::REQUEST_TIMEOUT {
                    std::future::pending::<()>().await;
                }
                status
            }),
        );
        let scope = Scope::new();
        scope.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Ear { url, heard, answers, scope }
    }

    async fn count(&self, count: usize) -> Vec<(StatusCode, String, String)> {
        for _ in 0..2000 {
            let heard = self.heard.lock().unwrap().clone();
            if heard.len() >= count {
                return heard;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} of {count} came", self.heard.lock().unwrap().len());
    }
}

#[tokio::test]
async fn a_push_is_tried_again_in_order_until_it_is_taken() {
    let ear = Ear::new(&[StatusCode::UNAUTHORIZED, StatusCode::BAD_GATEWAY]).await;
    let more = format!("private = true\npush_url = \"{}\"\npush_token_file = \"siem.token\"", ear.url);
    let teller = Teller::new(&more);
    teller.world.session("alice", &["dev"], "laptop");
    teller.world.session("bob", &["dev"], "desk");
    let heard = ear.count(4).await;
    let subs: Vec<_> =
        heard.iter().map(|(_, _, token)| read(token).subject.unwrap().write()["user"]["sub"].clone()).collect();
    assert_eq!(subs, ["alice", "alice", "alice", "bob"]);
    assert_eq!(read(&heard[0].2).jti, read(&heard[2].2).jti, "the same token, so that it counts once");
    assert!(heard.iter().all(|(_, token, _)| token == &format!("Bearer {SIEM}")));
}

#[tokio::test]
async fn a_receiver_that_never_answers_holds_up_nobody_and_loses_nothing() {
    let ear = Ear::new(&[StatusCode::REQUEST_TIMEOUT]).await;
    let more = format!("private = true\npush_url = \"{}\"\npush_token_file = \"siem.token\"", ear.url);
    let mut teller = Teller::new(&more);
    let stream = teller.create(OTHER, &json!({})).await;
    let alice = teller.world.session("alice", &["dev"], "laptop");
    ear.count(1).await;
    // it hangs; decisions and the other receiver go on
    let began = std::time::Instant::now();
    assert!(teller.world.open(&alice, "wiki").is_ok());
    for number in 0..50 {
        teller.world.session(&format!("user{number}"), &["dev"], "shared");
    }
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    assert!(matches!(teller.next(&stream, OTHER).await.event.happening, Happening::SessionEstablished { .. }));
    teller.restart().await;
    let heard = ear.count(52).await;
    let mut names: Vec<String> = heard
        .iter()
        .skip(1)
        .map(|(_, _, token)| read(token).subject.unwrap().write()["user"]["sub"].as_str().unwrap().to_owned())
        .collect();
    names.dedup();
    let wanted: Vec<String> =
        std::iter::once("alice".to_owned()).chain((0..50).map(|number| format!("user{number}"))).collect();
    assert_eq!(names, wanted, "all of them, in order, after a restart");
    assert!(ear.answers.lock().unwrap().is_empty());
    ear.scope.drain(Duration::ZERO).await;
}
