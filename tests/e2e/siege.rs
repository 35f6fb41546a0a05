//! Strangers who want to wear the gateway out: whoever is signed in, and whoever comes to sign in, does not notice.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use h2::client::SendRequest;
use http::{Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use ztsa_core::client::Client;
use ztsa_core::tunnel::{OpenOptions, Pool};
use ztsa_net::task::Scope;
use ztsa_proto::dpop::{self, ProofInput};

use crate::house::House;
use crate::patience::{SILENCE, soon, until};
use crate::server::echo;

/// An installation with somebody at work in it.
struct Besieged {
    house: House,
    at_work: ztsa_core::client::AppStream,
    _client: Client,
}

impl Besieged {
    async fn with(limits: &str) -> Self {
        let house = House::with(&[], &format!("[limits]\n{limits}\n")).await;
        let client = house.sign_in("alice").await;
        let at_work = soon("a stream", client.connect("echo")).await.unwrap();
        Self { house, at_work, _client: client }
    }

    /// Insists that those who are there go on, and that others can come.
    async fn serves_others(&mut self) {
        echo(&mut self.at_work, "undisturbed").await;
        let newcomer = self.house.sign_in("bob").await;
        let mut stream = soon("a stream", newcomer.connect("wiki")).await.unwrap();
        soon("a request", stream.write_all(b"GET / HTTP/1.0\r\n\r\n")).await.unwrap();
        assert_eq!(soon("an answer", stream.read(&mut [0; 5])).await.unwrap(), 5);
    }

    fn waiting(&self) -> u64 {
        self.house.dev.gateway().strangers().tally().waiting
    }

    /// An HTTP/2 connection of a stranger, which answers PING and SETTINGS as it should.
    async fn stranger(&self, scope: &Scope) -> SendRequest<Bytes> {
        let stream = self.house.door_for(b"h2").await;
        let (sender, connection) = soon("HTTP/2", h2::client::handshake(stream)).await.unwrap();
        scope.spawn(async move { drop(connection.await) });
        sender
    }

    fn request(&self, method: Method, path: &str) -> Request<()> {
        let uri = format!("{}{path}", self.house.dev.url());
        Request::builder().method(method).uri(uri).body(()).unwrap()
    }
}

/// Reads until the connection ends.
async fn ended(stream: &mut TlsStream<TcpStream>) {
    soon("the end of the connection", async { while let Ok(1..) = stream.read(&mut [0; 4096]).await {} }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_of_one_address_make_room_for_whoever_comes() {
    let mut besieged = Besieged::with("unauthenticated_per_address = 50").await;
    let scope = Scope::new();
    let mut idle = Vec::new();
    for number in 0..200 {
        if number % 2 == 0 {
            idle.push(besieged.stranger(&scope).await);
        } else {
            // shakes hands and says nothing
            let mut silent = besieged.house.door_for(b"h2").await;
            scope.spawn(async move { while let Ok(1..) = silent.read(&mut [0; 64]).await {} });
        }
        assert!(besieged.waiting() <= 50);
    }
    besieged.serves_others().await;
    until("what was cut to be gone", || (scope.running() <= 52).then_some(())).await;
    let tally = besieged.house.dev.gateway().strangers().tally();
    assert!(tally.crowded_out >= 150, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_warmed_too_early_is_opened_again_unnoticed() {
    let besieged = Besieged::with("unauthenticated_for = \"3s\"").await;
    let (tokens, _) = besieged.house.tokens("alice").await;
    let pool = Pool::new(tokens.config(), tokens.clone()).unwrap();
    let overdue = || besieged.house.dev.gateway().strangers().tally().overdue;
    let others = overdue();
    soon("a warm connection", pool.warm()).await.unwrap();
    assert_eq!(pool.usage(), (1, 0));
    until("the gateway to say goodbye", || (overdue() > others).then_some(())).await;
    let (echo, options) = ("echo:7".parse().unwrap(), OpenOptions::default());
    let tunnel = soon("a tunnel", pool.open(&echo, &options)).await.unwrap();
    // and the connection on which somebody is known stays
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(pool.usage().1, 1);
    drop(tunnel);
    soon("another tunnel", pool.open(&echo, &options)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_answers_every_ping_still_has_to_go() {
    let mut besieged = Besieged::with("unauthenticated_for = \"1s\"").await;
    let scope = Scope::new();
    let sender = besieged.stranger(&scope).await;
    let mut slow = besieged.house.door().await;
    slow.write_all(b"GET /ztsa/v1/apps HTTP/1.1\r\nHost: gate").await.unwrap();
    until("the end of the connection", || (scope.running() == 0).then_some(())).await;
    drop(sender);
    ended(&mut slow).await;
    besieged.serves_others().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_in_vain_again_and_again_is_cut() {
    let mut besieged = Besieged::with("refusals_per_connection = 20").await;
    let scope = Scope::new();
    for (method, path) in
        [(Method::GET, "/ztsa/v1/apps"), (Method::GET, "/no/such/place"), (Method::POST, "/ztsa/v1/token")]
    {
        let mut sender = besieged.stranger(&scope).await;
        let mut answered = 0;
        while let Ok(ready) = sender.clone().ready().await {
            sender = ready;
            let Ok((response, _)) = sender.send_request(besieged.request(method.clone(), path), true) else { break };
            answered += usize::from(soon("an answer", response).await.is_ok());
            assert!(answered <= 20, "{path}");
        }
        assert!(answered >= 18, "{path}: {answered}");
    }
    assert_eq!(besieged.house.dev.gateway().strangers().tally().refused, 3);
    besieged.serves_others().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_taken_back_at_once_end_their_connection() {
    let mut besieged = Besieged::with("").await;
    let scope = Scope::new();
    let mut sender = besieged.stranger(&scope).await;
    let mut sent = 0;
    while let Ok(ready) = sender.clone().ready().await {
        sender = ready;
        let request = besieged.request(Method::POST, "/ztsa/v1/token");
        let Ok((_, mut body)) = sender.send_request(request, false) else { break };
        body.send_reset(h2::Reason::CANCEL);
        sent += 1;
        assert!(sent < 100_000, "the gateway takes whatever comes");
        tokio::task::yield_now().await;
    }
    until("the end of the connection", || (scope.running() == 0).then_some(())).await;
    besieged.serves_others().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_that_drip_are_few_at_a_time() {
    let mut besieged = Besieged::with("refusals_per_connection = 1000").await;
    let scope = Scope::new();
    let mut sender = besieged.stranger(&scope).await;
    let mut dripping = Vec::new();
    for _ in 0..200 {
        sender = soon("room", sender.ready()).await.unwrap();
        let request = besieged.request(Method::POST, "/ztsa/v1/token");
        let (response, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"g"), false).unwrap();
        dripping.push((response, body));
    }
    let (_responses, bodies): (Vec<_>, Vec<_>) = dripping.into_iter().unzip();
    let reset = |mut body: h2::SendStream<Bytes>| async move { poll_fn(|context| body.poll_reset(context)).await };
    let mut resets: FuturesUnordered<_> = bodies.into_iter().map(reset).collect();
    for _ in 16..200 {
        let reason = soon("a refusal", resets.next()).await.unwrap();
        assert_eq!(reason.unwrap(), h2::Reason::REFUSED_STREAM);
    }
    let more = tokio::time::timeout(SILENCE, resets.next()).await;
    assert!(more.is_err(), "sixteen requests at once, as long as nobody is known: {more:?}");
    besieged.serves_others().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_takes_are_few_at_a_time() {
    let mut besieged = Besieged::with("refusals_per_connection = 1000").await;
    let scope = Scope::new();
    let stream = besieged.house.door_for(b"h2").await;
    // no room for a single byte of any answer
    let handshake = h2::client::Builder::new().initial_window_size(0).handshake::<_, Bytes>(stream);
    let (mut sender, connection) = soon("HTTP/2", handshake).await.unwrap();
    scope.spawn(async move { drop(connection.await) });
    let request = || besieged.request(Method::GET, "/.well-known/oauth-protected-resource");
    let mut asked = Vec::new();
    for _ in 0..200 {
        sender = soon("room", sender.ready()).await.unwrap();
        asked.push(sender.send_request(request(), true).unwrap().0);
    }
    let mut waiting = Vec::new();
    for answer in asked {
        match soon("an answer", answer).await {
            Ok(answer) => waiting.push(answer),
            Err(error) => assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM)),
        }
    }
    assert_eq!(waiting.len(), 16, "sixteen answers at once, as long as nobody is known");
    // what is taken back, or was read, makes room for the next
    drop(waiting);
    let mut answered = false;
    while !answered {
        sender = soon("room", sender.ready()).await.unwrap();
        let (answer, _) = sender.send_request(request(), true).unwrap();
        answered = soon("an answer", answer).await.is_ok();
    }
    besieged.serves_others().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_whose_session_was_revoked_takes_one_request_more() {
    let besieged = Besieged::with("").await;
    let scope = Scope::new();
    let (tokens, session) = besieged.house.tokens("bob").await;
    let mut sender = besieged.stranger(&scope).await;
    let url = format!("{}/ztsa/v1/apps", besieged.house.dev.url());
    let mut nonce = None;
    for expected in [401, 200, 200, 401] {
        if expected == 401 && nonce.is_some() {
            besieged.house.admin(serde_json::json!({"op": "sessions.revoke", "user": "bob"})).await;
        }
        let (token, at) = (session.token.expose().as_str(), tokens.now());
        let input = ProofInput { method: "GET", url: &url, access_token: Some(token), nonce: nonce.as_deref(), at };
        let request = Request::get(&url)
            .header("authorization", format!("DPoP {token}"))
            .header("dpop", dpop::proof(&*tokens.key(), &input).unwrap());
        sender = soon("room", sender.ready()).await.unwrap();
        let (answer, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
        let answer = soon("an answer", answer).await.unwrap();
        assert_eq!(answer.status(), expected);
        nonce = Some(answer.headers()["dpop-nonce"].to_str().unwrap().to_owned());
    }
    until("the end of the connection", || (scope.running() == 0).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_tunnels_of_one_person_leave_room_for_the_others() {
    let besieged = Besieged::with("max_tunnels = 6\ntunnels_per_person = 2").await;
    let (one, two) = (besieged.house.sign_in("bob").await, besieged.house.sign_in("bob").await);
    let first = soon("a stream", one.connect("echo")).await.unwrap();
    let second = soon("a stream", two.connect("echo")).await.unwrap();
    let refused = soon("a refusal", one.connect("echo")).await.unwrap_err();
    let problem = refused.problem().unwrap();
    assert!(problem.code == "gateway.limit" && problem.detail.contains("you have 2 open tunnels"), "{problem:?}");
    let others = besieged.house.sign_in("alice").await;
    let third = soon("a stream", others.connect("echo")).await.unwrap();
    drop((first, second, third));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_pings_fills_no_memory() {
    let mut besieged = Besieged::with("unauthenticated_for = \"2s\"").await;
    let mut flood = besieged.house.door_for(b"h2").await;
    flood.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let pings = b"\0\0\x08\x06\0\0\0\0\0pingping".repeat(1000);
    let mut written = 0_usize;
    // nothing is read: each PING's answer has to wait somewhere
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(500), flood.write_all(&pings)).await {
        written += pings.len();
        assert!(written < 64 << 20, "the gateway takes PINGs whose answers nobody reads");
    }
    besieged.serves_others().await;
    ended(&mut flood).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_too_large_is_refused_in_words() {
    let besieged = Besieged::with("").await;
    let scope = Scope::new();
    let mut sender = soon("room", besieged.stranger(&scope).await.ready()).await.unwrap();
    let (response, mut body) = sender.send_request(besieged.request(Method::POST, "/ztsa/v1/token"), false).unwrap();
    // more than is read, and never ended
    body.send_data(Bytes::from(vec![b'a'; 300 * 1024]), false).unwrap();
    let response = soon("an answer", response).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let mut body = response.into_body();
    let text = soon("the problem", body.data()).await.unwrap().unwrap();
    let problem = ztsa_proto::problem::Problem::from_json(&text).unwrap();
    assert!(problem.detail.contains("256 KiB"), "{problem:?}");
    let mut door = besieged.house.door().await;
    door.write_all(b"POST /ztsa/v1/token HTTP/1.1\r\nHost: gateway\r\nContent-Length: 300000\r\n\r\n").await.unwrap();
    // it may hang up before it has everything: its answer is there all the same
    let _ = door.write_all(&vec![b'a'; 290_000]).await;
    let mut answer = Vec::new();
    let _ = soon("an answer", door.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("256 KiB"), "{answer}");
}
