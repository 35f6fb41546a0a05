//! Strangers at the gateway's door: silent, loud and wrong; the people who are signed in do not notice.

use std::time::Duration;

use http::header::WWW_AUTHENTICATE;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use ztsa_proto::dpop::{self, ProofInput};
use ztsa_proto::jws::{self, SoftwareKey};
use ztsa_proto::problem::Problem;
use ztsa_proto::time::UnixTime;

use crate::house::House;
use crate::patience::soon;
use crate::server::echo;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_are_ended_and_keep_nobody_out() {
    let house = House::new(&[]).await;
    let mut silent = Vec::new();
    for number in 0..100 {
        let mut stream = TcpStream::connect(house.address()).await.unwrap();
        if number % 2 == 0 {
            // the beginning of a TLS record that never goes on
            stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        }
        silent.push(stream);
    }
    let client = house.sign_in("alice").await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "among strangers").await;
    for stream in &mut silent {
        // an end of file or a reset: both are an end
        let _ = soon("the end of a silent connection", stream.read(&mut [0; 64])).await;
    }
    echo(&mut stream, "still here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_tls_is_ended_at_once() {
    let house = House::new(&[]).await;
    for bytes in [&b"GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"[..], &[0xff; 4096], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut stream = TcpStream::connect(house.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let ended = async { while let Ok(1..) = stream.read(&mut [0; 1024]).await {} };
        tokio::time::timeout(Duration::from_secs(9), ended).await.expect("it is ended before a deadline");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_never_comes_holds_no_connection() {
    let house = House::new(&[]).await;
    let slow: [&[u8]; 4] = [
        b"POST /ztsa/v1/token HTTP/1.1\r\nHost: gateway\r\nContent-Length: 100\r\n\r\ngrant",
        b"POST /ztsa/v1/token HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ngr",
        b"GET /ztsa/v1/apps HTTP/1.1\r\nHost: gate",
        b"",
    ];
    let mut streams = Vec::new();
    for bytes in slow {
        let mut stream = house.door().await;
        stream.write_all(bytes).await.unwrap();
        streams.push(stream);
    }
    for stream in &mut streams {
        let ended = async { while let Ok(1..) = stream.read(&mut [0; 1024]).await {} };
        soon("the end of a slow request", ended).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_a_session_get_nothing_but_the_way_to_one() {
    let house = House::new(&[]).await;
    let web = house.web();
    let at = |path: &str| format!("{}{path}", house.dev.url());
    for path in ["/ztsa/v1/apps", "/ztsa/v1/session", "/ztsa/v1/events", "/ztsa/v1/why?app=payroll"] {
        let answer = soon("the answer", web.get(at(path)).send()).await.unwrap();
        assert_eq!(answer.status(), 401, "{path}");
        let challenge = answer.headers()[WWW_AUTHENTICATE].to_str().unwrap().to_owned();
        let metadata = format!("{}/.well-known/oauth-protected-resource", house.dev.url());
        assert!(challenge.starts_with("DPoP") && challenge.contains(&metadata), "{path}: {challenge}");
        let problem = Problem::from_json(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!((problem.code.as_str(), problem.exit()), ("auth.required", 3), "{path}");
    }
    for (path, status) in [("/nothing/here", 404), ("/ztsa/v1/token", 405), ("/ztsa/v1/../v1/apps/", 404)] {
        assert_eq!(soon("the answer", web.get(at(path)).send()).await.unwrap().status(), status, "{path}");
    }
    let big = vec![b'a'; 4 << 20];
    let answer = soon("the answer", web.post(at("/ztsa/v1/token")).body(big).send()).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status().is_client_error()));
    let answer =
        soon("the answer", web.get(at("/ztsa/v1/apps")).header("authorization", "DPoP ".repeat(3000)).send()).await;
    assert!(answer.is_err() || answer.is_ok_and(|answer| answer.status().is_client_error()));
    let healthy = soon("the answer", web.get(at("/healthz")).send()).await.unwrap();
    assert_eq!(healthy.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_hangs_up_while_an_issuer_is_asked_does_not_have_it_asked_again() {
    let issuer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", issuer.local_addr().unwrap());
    let table = format!("[[issuer]]\nname = \"slow\"\nissuer = \"{url}\"\nclient_id = \"c\"\n");
    let house = House::with(&[], &table).await;
    let at = format!("{}/ztsa/v1/token", house.dev.url());
    let answer = soon("a nonce", house.web().post(&at).send()).await.unwrap();
    let nonce = answer.headers()["dpop-nonce"].to_str().unwrap().to_owned();
    let key = SoftwareKey::generate().unwrap();
    let token = jws::sign(&key, &json!({"typ": "at+jwt", "alg": "ES256", "kid": "k"}), &json!({"iss": url})).unwrap();
    let mut held = Vec::new();
    for round in 0..3 {
        let nonce = Some(nonce.as_str());
        let input = ProofInput { method: "POST", url: &at, access_token: None, nonce, at: UnixTime(1) };
        let proof = dpop::proof(&key, &input).unwrap();
        let body = format!(
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={token}\
             &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
        );
        let mut stranger = house.door_for(b"http/1.1").await;
        let head = format!(
            "POST /ztsa/v1/token HTTP/1.1\r\nHost: gateway\r\nDPoP: {proof}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stranger.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        let asked = tokio::time::timeout(Duration::from_secs(if round == 0 { 20 } else { 1 }), issuer.accept()).await;
        assert_eq!(asked.is_ok(), round == 0, "asked in round {round}");
        held.extend(asked);
        drop(stranger);
    }
}
