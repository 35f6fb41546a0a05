use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use serde_json::{Value, json};
use zeroize::Zeroizing;
use ztsa_net::clock::Clock;
use ztsa_proto::jws::SoftwareKey;

use super::{
    script::{Reply, Script},
    *,
};

fn client(url: &str, change: impl FnOnce(&mut Config)) -> Http {
    let mut config = Config::new(url).unwrap();
    config.timeouts.request = Duration::from_secs(5);
    change(&mut config);
    Http::new(&config).unwrap()
}

/// A server that does not listen yet: it refuses connections, and its port is nobody else's.
fn absent() -> tokio::net::TcpSocket {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
}

#[tokio::test]
async fn a_nonce_is_asked_for_once_and_kept() {
    for (path, status) in [("/token", 400), ("/resource", 401)] {
        let script = Script::serve(move |request| {
            let wanted = request.proof()["nonce"] == json!("n-1");
            match (wanted, status) {
                (true, _) => Reply::json(200, &json!({})).with("DPoP-Nonce", "n-2"),
                (false, 400) => Reply::json(400, &json!({"error": "use_dpop_nonce"})).with("DPoP-Nonce", "n-1"),
                (false, _) => Reply::text(401, "application/problem+json", "{}")
                    .with("WWW-Authenticate", "DPoP algs=\"ES256\", error=\"use_dpop_nonce\"")
                    .with("DPoP-Nonce", "n-1"),
            }
        })
        .await;
        let (http, key, url) =
            (client(&script.url, |_| {}), SoftwareKey::generate().unwrap(), format!("{}{path}", script.url));
        let response = http.send(&Request::post(&url, Body::None).signed(&key)).await.unwrap();
        assert_eq!((response.status.as_u16(), script.received().len()), (200, 2));
        assert_eq!(http.nonce(&url).as_deref(), Some("n-2"));
        let proofs: Vec<Value> = script.received().iter().map(script::Received::proof).collect();
        assert_ne!(proofs[0]["jti"], proofs[1]["jti"]);
        assert_eq!(proofs[0]["htu"], json!(url));
    }
}

#[tokio::test]
async fn a_server_that_never_takes_the_nonce_is_asked_twice_only() {
    let script = Script::serve(|_| Reply::json(400, &json!({"error": "use_dpop_nonce"})).with("DPoP-Nonce", "n")).await;
    let (http, key) = (client(&script.url, |_| {}), SoftwareKey::generate().unwrap());
    let response = http.send(&Request::post(&script.url, Body::None).signed(&key)).await.unwrap();
    assert_eq!((response.status.as_u16(), script.received().len()), (400, 2));
}

#[tokio::test]
async fn a_clock_ten_minutes_off_is_learned_from_the_first_refusal() {
    let script = Script::serve(|request| {
        let iat = request.proof()["iat"].as_u64().unwrap();
        let there = 1_795_352_700;
        let reply = if iat.abs_diff(there) <= 60 {
            Reply::json(200, &json!({}))
        } else {
            Reply::json(400, &json!({"error": "invalid_dpop_proof"}))
        };
        reply.with("Date", "Sun, 22 Nov 2026 13:05:00 GMT")
    })
    .await;
    let (clock, _hand) = Clock::manual(UnixTime(1_795_352_700 - 600));
    let (http, key) = (client(&script.url, |config| config.clock = clock), SoftwareKey::generate().unwrap());
    let response = http.send(&Request::post(&script.url, Body::None).signed(&key)).await.unwrap();
    assert_eq!(response.status.as_u16(), 200);
    assert_eq!((http.offset(&script.url), http.now(&script.url)), (600, UnixTime(1_795_352_700)));
    assert_eq!(http.now("https://another.example"), UnixTime(1_795_352_100), "clocks are learned per origin");
    http.send(&Request::post(&script.url, Body::None).signed(&key)).await.unwrap();
    assert_eq!(script.received().len(), 3, "the second request was right at once");
}

#[tokio::test]
async fn each_way_to_fail_is_told_apart() {
    let script = Script::serve(|request| match request.path.as_str() {
        "/hang" => Reply::Hang,
        "/close" => Reply::Close,
        "/large" => Reply::text(200, "application/json", &"x".repeat(BODY_LIMIT + 1)),
        "/moved" => Reply::text(302, "text/plain", "").with("Location", "http://portal.example/login"),
        _ => Reply::html(200),
    })
    .await;
    let http = client(&script.url, |_| {});
    let hurried = client(&script.url, |config| config.timeouts.request = Duration::from_secs(3));
    let absent = absent();
    let closed = format!("http://{}", absent.local_addr().unwrap());
    let at = |path: &str| format!("{}{path}", script.url);
    for (url, said, arrived, temporary) in [
        (at("/hang"), "did not answer in time", true, true),
        (at("/close"), "broke before the answer", true, true),
        (at("/large"), "sent more than", true, false),
        (closed, "cannot be reached", false, true),
        (script.url.replace("http", "https"), "is not safe", false, false),
        ("http://gw.example.com/".to_owned(), "only https", false, false),
        ("not a url".to_owned(), "cannot be used", false, false),
    ] {
        let http = if url.ends_with("/hang") { &hurried } else { &http };
        let error = http.send(&Request::get(&url)).await.unwrap_err();
        assert!(error.to_string().contains(said), "{url}: {error}");
        assert_eq!((error.may_have_arrived(), error.is_temporary()), (arrived, temporary), "{error}");
        assert!(!error.hint().is_empty());
    }
    for path in ["/moved", "/page"] {
        let error = http.send(&Request::get(&at(path))).await.unwrap().json::<Value>().unwrap_err();
        assert!(error.is_temporary() && error.hint().contains("sign in to this network"), "{path}: {error}");
    }
    assert_eq!(script.count("/login"), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_tried_again() {
    let server = absent();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let http = client(&url, |_| {});
    let request = Request::get(&url);
    let late = async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let listener = server.listen(1).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 204 X\r\nconnection: close\r\n\r\n").await.unwrap();
    };
    let (answer, ()) = tokio::join!(http.send(&request), late);
    assert_eq!(answer.unwrap().status.as_u16(), 204);
}

#[tokio::test]
async fn loopback_never_goes_through_a_proxy() {
    let script = Script::serve(|_| Reply::json(200, &json!({}))).await;
    let dead = Proxy::Through { url: Zeroizing::new("http://127.0.0.1:1".to_owned()), except: String::new() };
    let http = client(&script.url, |config| config.proxy = dead);
    assert_eq!(http.send(&Request::get(&script.url)).await.unwrap().status.as_u16(), 200);
    let outside = http.send(&Request::get("https://gw.example.invalid/")).await.unwrap_err();
    assert!(matches!(outside, HttpError::Unreachable { .. }), "{outside}");
}

#[tokio::test]
async fn a_bearer_token_has_no_proof_and_a_bound_one_names_itself() {
    let script = Script::serve(|_| Reply::json(200, &json!({}))).await;
    let (http, key) = (client(&script.url, |_| {}), SoftwareKey::generate().unwrap());
    let token = ztsa_proto::secret::Secret::new("t0ken".to_owned());
    let query = format!("{}/a?b=c", script.url);
    http.send(&Request::get(&query).with_token(&token)).await.unwrap();
    http.send(&Request::get(&query).with_token(&token).signed(&key)).await.unwrap();
    let mut exchange = Request::post(&query, Body::None).signed(&key);
    exchange.proved_token = Some(&token);
    http.send(&exchange).await.unwrap();
    let seen = script.received();
    assert_eq!((seen[0].header("authorization"), seen[0].header("dpop")), ("Bearer t0ken", ""));
    assert_eq!(seen[1].header("authorization"), "DPoP t0ken");
    let ath = json!(ztsa_proto::jws::sha256_base64url(b"t0ken"));
    assert_eq!((&seen[1].proof()["ath"], &seen[1].proof()["htu"]), (&ath, &json!(format!("{}/a", script.url))));
    assert_eq!((seen[2].header("authorization"), &seen[2].proof()["ath"]), ("", &ath));
}

#[tokio::test]
async fn a_long_answer_arrives_bit_by_bit_and_its_refusal_whole() {
    let asked = AtomicUsize::new(0);
    let script = Script::serve(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::text(200, "text/event-stream", "data: x\n\n"),
        _ => Reply::json(403, &json!({"code": "policy.no_match"})),
    })
    .await;
    let http = client(&script.url, |_| {});
    let mut stream = http.stream(&Request::get(&script.url)).await.unwrap().unwrap();
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "data: x\n\n");
    assert_eq!(stream.chunk().await.unwrap(), None);
    let refused = http.stream(&Request::get(&script.url)).await.unwrap().unwrap_err();
    assert_eq!(refused.status.as_u16(), 403);
}
