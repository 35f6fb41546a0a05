//! A transmitter of another make: it signs with RS256, allows one stream, shows it without a list, and comes up late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};
use ztsa_net::task::Scope;
use ztsa_proto::set::Happening;

use super::wire::person;
use crate::engine::tests::World;
use crate::lease::Access;
use crate::signals::Signals;
use crate::signals::receiver::{Refusal, Taken};

pub(super) const POLICIES: &str =
    r#"@id("dev") permit (principal in Group::"dev", action == Action::"connect", resource);"#;
pub(super) const TOKEN: &str = "0123456789abcdefghij";

pub(super) struct Foreign {
    url: String,
    key: aws_lc_rs::rsa::KeyPair,
    stream: Mutex<Value>,
    queue: Mutex<BTreeMap<String, String>>,
    /// What a poll brings in the place of tokens.
    pub(super) odd: Mutex<BTreeMap<String, Value>>,
    pub(super) polls: Mutex<Vec<Value>>,
    asked: Mutex<Vec<String>>,
    /// Whether its document names where heartbeats are asked for.
    beats: bool,
    /// What it was asked to echo.
    states: Mutex<Vec<Value>>,
    /// The name of its key.
    kid: Mutex<String>,
}

type Shared = State<Arc<Foreign>>;

impl Foreign {
    pub(super) fn new(url: &str, beats: bool) -> Arc<Foreign> {
        let stream = json!({
            "stream_id": "only-one", "iss": url, "aud": ["https://gw.example", "https://gw.example/other"],
            "delivery": {"method": "urn:ietf:rfc:8935", "endpoint_url": "https://gone.example/"},
            "events_requested": [], "events_delivered": [],
        });
        let key = aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        let (queue, polls, asked) = (Mutex::default(), Mutex::default(), Mutex::default());
        Arc::new(Foreign {
            url: url.to_owned(),
            key,
            stream: Mutex::new(stream),
            queue,
            odd: Mutex::default(),
            polls,
            asked,
            beats,
            states: Mutex::default(),
            kid: Mutex::new("r".to_owned()),
        })
    }

    pub(super) fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/ssf-configuration", get(document))
            .route("/jwks", get(keys))
            .route("/stream", get(read).post(create).patch(change))
            .route("/status", get(status))
            .route("/verify", post(verify))
            .route("/poll", post(poll))
            .with_state(Arc::clone(self))
    }

    fn sign(&self, claims: &Value) -> String {
        let part = |value: &Value| B64.encode(value.to_string());
        let kid = self.kid.lock().unwrap().clone();
        let message = format!("{}.{}", part(&json!({"typ": "secevent+jwt", "alg": "RS256", "kid": kid})), part(claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        let random = aws_lc_rs::rand::SystemRandom::new();
        let encoding = &aws_lc_rs::signature::RSA_PKCS1_SHA256;
        self.key.sign(encoding, &random, message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", B64.encode(signature))
    }

    pub(super) fn tell(&self, jti: &str, now: u64, sub_id: &Value, kind: &str, members: &Value) {
        let uri = kind.parse::<ztsa_proto::set::event::Kind>().unwrap().uri();
        let claims = json!({
            "iss": self.url, "aud": ["https://gw.example"], "jti": jti, "iat": now,
            "sub_id": sub_id, "events": {uri: members},
        });
        self.queue.lock().unwrap().insert(jti.to_owned(), self.sign(&claims));
    }
}

async fn document(State(foreign): Shared) -> Json<Value> {
    let at = |path: &str| format!("{}/{path}", foreign.url);
    Json(json!({
        "issuer": foreign.url, "jwks_uri": at("jwks"), "configuration_endpoint": at("stream"),
        "status_endpoint": at("status"), "verification_endpoint": foreign.beats.then(|| at("verify")),
    }))
}

async fn keys(State(foreign): Shared) -> Json<Value> {
    // RSAPublicKey (RFC 8017 A.1.1) of 2048 bits: two headers and a zero, the modulus, a header, the exponent
    let public = aws_lc_rs::signature::KeyPair::public_key(&foreign.key);
    let (n, e) = (&public.as_ref()[9..265], &public.as_ref()[267..]);
    Json(
        json!({"keys": [{"kty": "RSA", "kid": *foreign.kid.lock().unwrap(), "use": "sig", "n": B64.encode(n), "e": B64.encode(e)}]}),
    )
}

async fn read(State(foreign): Shared, headers: HeaderMap) -> Result<Json<Value>, StatusCode> {
    let known = headers.get("authorization").is_some_and(|token| token == &format!("Bearer {TOKEN}"));
    if known { Ok(Json(foreign.stream.lock().unwrap().clone())) } else { Err(StatusCode::UNAUTHORIZED) }
}

async fn create(State(foreign): Shared) -> StatusCode {
    foreign.asked.lock().unwrap().push("create".to_owned());
    StatusCode::CONFLICT
}

async fn change(State(foreign): Shared, Json(request): Json<Value>) -> Json<Value> {
    let word = |name: &str| request["delivery"][name].as_str().map(|word| format!(" {word}")).unwrap_or_default();
    foreign.asked.lock().unwrap().push(format!("change{}", word("authorization_header")));
    let mut stream = foreign.stream.lock().unwrap();
    stream["events_requested"] = request["events_requested"].clone();
    stream["delivery"] = match request["delivery"]["method"].as_str() {
        Some("urn:ietf:rfc:8935") => {
            json!({"method": "urn:ietf:rfc:8935", "endpoint_url": request["delivery"]["endpoint_url"]})
        }
        _ => json!({"method": "urn:ietf:rfc:8936", "endpoint_url": format!("{}/poll", foreign.url)}),
    };
    Json(stream.clone())
}

async fn status(State(foreign): Shared) -> Json<Value> {
    foreign.asked.lock().unwrap().push("status".to_owned());
    Json(json!({"stream_id": "only-one", "status": "enabled"}))
}

async fn verify(State(foreign): Shared, Json(request): Json<Value>) -> StatusCode {
    foreign.states.lock().unwrap().push(request["state"].clone());
    let sub_id = json!({"format": "opaque", "id": "only-one"});
    foreign.tell("beat", 1_795_000_000, &sub_id, "verification", &json!({"state": request["state"]}));
    StatusCode::NO_CONTENT
}

/// It never holds a poll open, and brings more than it is asked for.
async fn poll(State(foreign): Shared, Json(request): Json<Value>) -> Json<Value> {
    let (mut queue, mut odd) = (foreign.queue.lock().unwrap(), foreign.odd.lock().unwrap());
    for jti in request["ack"].as_array().into_iter().flatten() {
        queue.remove(jti.as_str().unwrap());
    }
    for (jti, _) in request["setErrs"].as_object().into_iter().flatten() {
        queue.remove(jti);
        odd.remove(jti);
    }
    foreign.polls.lock().unwrap().push(request);
    // in the order of their names
    let tokens = queue.iter().map(|(jti, token)| (jti.clone(), json!(token)));
    let sets: BTreeMap<String, Value> = tokens.chain(odd.clone()).collect();
    Json(json!({"sets": sets}))
}

fn read_state(token: &str) -> String {
    match super::wire::read(token).event.happening {
        Happening::Verification { state } => state.unwrap(),
        other => panic!("{other:?}"),
    }
}

pub(super) async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if ready() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited for {what}");
}

#[tokio::test]
async fn a_transmitter_of_another_make_that_was_down_is_heard_when_it_comes_up() {
    // refuses connections until it listens
    let down = TcpSocket::new_v4().unwrap();
    down.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", down.local_addr().unwrap());
    let table = format!(
        "[[signals.transmitter]]\nname = \"foreign\"\nissuer = \"{url}\"\nprivate = true\n\
         api_token_file = \"api.token\"\npeople = [\"corp\"]\nverify_every = \"10s\"\n"
    );
    let world = World::configured(POLICIES, &table);
    std::fs::write(world.dir().join("api.token"), TOKEN).unwrap();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    let (signals, scope) = (Signals::new(&world.engine.config(), &world.engine).unwrap(), Scope::new());
    signals.start(&scope.spawner());
    tokio::time::sleep(Duration::from_millis(300)).await;
    let foreign = Foreign::new(&url, true);
    let now = world.engine.now().0;
    foreign.tell("one", now, &person("alice"), "session-revoked", &json!({"reason_admin": {"en": "policy"}}));
    foreign.tell("two", now, &json!({"format": "opaque"}), "session-revoked", &json!({}));
    let listener = down.listen(64).unwrap();
    let router = foreign.router();
    scope.spawn(async move { axum::serve(listener, router).await.unwrap() });
    until("the tunnel's end", || lease.tunnel().access() != Access::Open).await;
    until("the answers", || foreign.queue.lock().unwrap().is_empty()).await;
    assert_eq!(foreign.asked.lock().unwrap()[..2], ["create", "change"], "the only stream is made ours");
    let polls = foreign.polls.lock().unwrap().clone();
    let acknowledged =
        |jti: &str| polls.iter().any(|poll| poll["ack"].as_array().is_some_and(|ack| ack.contains(&json!(jti))));
    assert!(acknowledged("one") && acknowledged("beat") && !acknowledged("two"), "{polls:?}");
    let fault = polls.iter().find_map(|poll| poll["setErrs"].get("two"));
    assert_eq!(fault.map(|fault| &fault["err"]), Some(&json!("invalid_request")));
    // a transmitter that answers at once is not asked without a pause
    let before = foreign.polls.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let after = foreign.polls.lock().unwrap().len();
    assert!(after - before <= 2, "{} polls in 1.5 s", after - before);
    scope.drain(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_push_stream_that_is_called_enabled_and_delivers_nothing_is_silent_where_heartbeats_can_be_asked_for() {
    for beats in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let table = format!(
            "[[signals.transmitter]]\nname = \"foreign\"\nissuer = \"{url}\"\nprivate = true\npeople = [\"corp\"]\n\
             api_token_file = \"api.token\"\npush_token_file = \"api.token\"\nverify_every = \"10s\"\n\
             stale_after = \"20s\"\nwhen_stale = \"refuse\"\n"
        );
        let world = World::configured(POLICIES, &table);
        std::fs::write(world.dir().join("api.token"), TOKEN).unwrap();
        let alice = world.session("alice", &["dev"], "laptop");
        let (signals, scope) = (Signals::new(&world.engine.config(), &world.engine).unwrap(), Scope::new());
        let (foreign, watch) = (Foreign::new(&url, beats), || signals.receivers().watch(world.engine.now()));
        let router = foreign.router();
        scope.spawn(async move { axum::serve(listener, router).await.unwrap() });
        world.hand.advance(Duration::from_secs(30));
        watch();
        assert!(world.open(&alice, "wiki").is_err(), "nothing was heard for 30 s, and nobody was asked yet");
        signals.start(&scope.spawner());
        let waits = || foreign.asked.lock().unwrap().contains(&"status".to_owned());
        until("the status", waits).await;
        if beats {
            until("the heartbeat", || !foreign.queue.lock().unwrap().is_empty()).await;
            watch();
            assert!(world.open(&alice, "wiki").is_err(), "enabled is no delivery");
            let state = read_state(&foreign.queue.lock().unwrap()["beat"]);
            let other = json!({"format": "opaque", "id": "another"});
            foreign.tell("other", world.engine.now().0, &other, "verification", &json!({"state": state}));
            let token = foreign.queue.lock().unwrap()["other"].clone();
            let taken = signals.receivers().named("foreign").unwrap().take(&token).await;
            assert!(matches!(taken, Err(Refusal::Fault(fault)) if fault.err == "invalid_request"));
            watch();
            assert!(world.open(&alice, "wiki").is_err(), "that was about another stream");
            let token = foreign.queue.lock().unwrap()["beat"].clone();
            signals.receivers().named("foreign").unwrap().take(&token).await.unwrap();
        }
        watch();
        assert!(world.open(&alice, "wiki").is_ok(), "heartbeats: {beats}");
        scope.drain(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn a_credential_that_was_changed_reaches_the_transmitter_at_the_next_start() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let table = format!(
        "[[signals.transmitter]]\nname = \"foreign\"\nissuer = \"{url}\"\nprivate = true\npeople = [\"corp\"]\n\
         api_token_file = \"api.token\"\npush_token_file = \"push.token\"\n"
    );
    let world = World::configured(POLICIES, &table);
    std::fs::write(world.dir().join("api.token"), TOKEN).unwrap();
    let (foreign, server) = (Foreign::new(&url, true), Scope::new());
    let router = foreign.router();
    server.spawn(async move { axum::serve(listener, router).await.unwrap() });
    for word in ["first-first-first-first", "second-second-second"] {
        std::fs::write(world.dir().join("push.token"), word).unwrap();
        let (signals, scope) = (Signals::new(&world.engine.config(), &world.engine).unwrap(), Scope::new());
        signals.start(&scope.spawner());
        let told = format!("change Bearer {word}");
        until("the credential", || foreign.asked.lock().unwrap().contains(&told)).await;
        scope.drain(Duration::from_secs(1)).await;
    }
    server.drain(Duration::ZERO).await;
}

#[tokio::test]
async fn a_key_that_is_newer_than_the_last_fetch_is_asked_for_again_and_one_that_is_not_there_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let table = format!(
        "[[signals.transmitter]]\nname = \"foreign\"\nissuer = \"{url}\"\nprivate = true\npeople = [\"corp\"]\n\
         push_token_file = \"push.token\"\n"
    );
    let world = World::configured(POLICIES, &table);
    std::fs::write(world.dir().join("push.token"), TOKEN).unwrap();
    let signals = Signals::new(&world.engine.config(), &world.engine).unwrap();
    let (foreign, server) = (Foreign::new(&url, true), Scope::new());
    let router = foreign.router();
    server.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let take = async |jti: &str, kid: &str| {
        let own = foreign.kid.lock().unwrap().clone();
        kid.clone_into(&mut foreign.kid.lock().unwrap());
        foreign.tell(jti, world.engine.now().0, &person("alice"), "session-revoked", &json!({}));
        *foreign.kid.lock().unwrap() = own;
        let token = foreign.queue.lock().unwrap()[jti].clone();
        signals.receivers().named("foreign").unwrap().take(&token).await
    };
    assert!(take("one", "r").await.is_ok(), "its keys are fetched");
    world.hand.advance(Duration::from_secs(5));
    assert!(matches!(take("two", "s").await, Err(Refusal::Later(_))), "nobody has asked for that key");
    world.hand.advance(Duration::from_secs(5));
    let refused = take("three", "s").await;
    assert!(matches!(refused, Err(Refusal::Fault(fault)) if fault.err == "invalid_key"), "it is not there");
    *foreign.kid.lock().unwrap() = "s".to_owned();
    world.hand.advance(Duration::from_secs(10));
    assert!(take("two", "s").await.is_ok(), "the new key is there");
    server.drain(Duration::ZERO).await;
}

#[tokio::test]
async fn two_heartbeats_that_were_asked_for_may_come_in_any_order_and_more_than_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let table = format!(
        "[[signals.transmitter]]\nname = \"foreign\"\nissuer = \"{url}\"\nprivate = true\npeople = [\"corp\"]\n\
         api_token_file = \"api.token\"\npush_token_file = \"api.token\"\n"
    );
    let world = World::configured(POLICIES, &table);
    std::fs::write(world.dir().join("api.token"), TOKEN).unwrap();
    let (foreign, scope) = (Foreign::new(&url, true), Scope::new());
    let router = foreign.router();
    scope.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let signals = Signals::new(&world.engine.config(), &world.engine).unwrap();
    for count in 1..=2 {
        // whoever starts asks at once
        signals.start(&scope.spawner());
        until("a heartbeat", || foreign.states.lock().unwrap().len() == count).await;
    }
    let states = foreign.states.lock().unwrap().clone();
    for (number, state) in states.iter().enumerate().rev() {
        let (jti, stream) = (format!("beat {number}"), json!({"format": "opaque", "id": "only-one"}));
        foreign.tell(&jti, world.engine.now().0, &stream, "verification", &json!({"state": state}));
        let token = foreign.queue.lock().unwrap()[&jti].clone();
        let receiver = signals.receivers().named("foreign").unwrap();
        assert_eq!(receiver.take(&token).await, Ok(Taken::Applied), "{jti}");
        // whoever was not heard to take it sends it again, maybe as another token
        assert_eq!(receiver.take(&token).await, Ok(Taken::Again), "{jti}");
        foreign.tell("again", world.engine.now().0, &stream, "verification", &json!({"state": state}));
        let token = foreign.queue.lock().unwrap()["again"].clone();
        assert_eq!(receiver.take(&token).await, Ok(Taken::Again), "{jti}");
    }
    scope.drain(Duration::from_secs(1)).await;
}
