use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ztsa_idp::{Config, Endpoint, Fault, Idp, IdpError};

use crate::desk::Desk;

#[tokio::test]
async fn discovery_names_the_issuer_and_what_it_can() {
    let desk = Desk::new().await;
    let openid = desk.send(desk.http.get(desk.at("/.well-known/openid-configuration"))).await.body;
    let oauth = desk.send(desk.http.get(desk.at("/.well-known/oauth-authorization-server"))).await.body;
    assert_eq!(openid, oauth);
    assert_eq!(openid["issuer"], desk.idp.issuer());
    for endpoint in ["authorization", "token", "device_authorization", "userinfo", "introspection", "revocation"] {
        let address = openid[format!("{endpoint}_endpoint")].as_str().unwrap();
        assert_ne!(desk.http.get(address).send().await.unwrap().status(), 404, "{address}");
    }
}

#[tokio::test]
async fn each_fault_looks_as_it_says_until_it_is_cleared() {
    let desk = Desk::new().await;
    let faults = desk.idp.faults();
    let get = async || desk.http.get(desk.at("/jwks")).send().await.unwrap();
    faults.set(Endpoint::Jwks, Fault::Portal);
    let portal = get().await;
    assert_eq!(
        (portal.status().as_u16(), &portal.headers()["content-type"]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(portal.text().await.unwrap().contains("Accept the terms"));
    faults.set(Endpoint::Jwks, Fault::TooManyRequests { retry_after: Some(7) });
    let busy = get().await;
    assert_eq!((busy.status().as_u16(), &busy.headers()["retry-after"]), (429, &"7".parse().unwrap()));
    faults.set(Endpoint::Jwks, Fault::Unavailable);
    assert_eq!(get().await.status(), 503);
    faults.set(Endpoint::Jwks, Fault::Empty);
    let empty = get().await;
    assert_eq!((empty.status().as_u16(), empty.text().await.unwrap().as_str()), (200, ""));
    faults.set(Endpoint::Jwks, Fault::Garbage);
    assert!(get().await.json::<serde_json::Value>().await.is_err());
    faults.set(Endpoint::Jwks, Fault::Hang);
    let hung = desk.http.get(desk.at("/jwks")).timeout(Duration::from_millis(200)).send().await;
    assert!(hung.unwrap_err().is_timeout());
    faults.set_times(Endpoint::Jwks, Fault::Unavailable, 1);
    assert_eq!(get().await.status(), 503);
    assert_eq!(get().await.status(), 200);
}

#[tokio::test]
async fn a_lost_answer_has_used_the_code_up() {
    let desk = Desk::with(|config| Config { approve: Some("alice".into()), ..config }).await;
    let started = desk.device().await;
    desk.idp.faults().set_times(Endpoint::Token, Fault::Lost, 1);
    let fields = [
        ("client_id", "ztsa-cli"),
        ("grant_type", crate::desk::DEVICE_CODE),
        ("device_code", started.text("device_code")),
    ];
    let lost = desk.http.post(desk.at("/token")).form(&fields).timeout(Duration::from_secs(5)).send().await;
    assert!(lost.unwrap_err().is_timeout());
    desk.post("/token", &fields).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn only_loopback_is_bound_and_only_known_users_approve() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let config = Config { listen: listen.parse().unwrap(), ..Config::default() };
        assert!(matches!(Idp::spawn(config).await.unwrap_err(), IdpError::NotLoopback(_)), "{listen}");
    }
    let config = Config { approve: Some("eve".into()), ..Config::default() };
    assert!(matches!(Idp::spawn(config).await.unwrap_err(), IdpError::UnknownUser(name) if name == "eve"));
    let idp = Idp::spawn(Config { listen: "[::1]:0".parse().unwrap(), ..Config::default() }).await.unwrap();
    assert_eq!(idp.issuer(), format!("http://[::1]:{}", idp.local_addr().port()));
    let taken = Config { listen: idp.local_addr(), ..Config::default() };
    assert!(matches!(Idp::spawn(taken).await.unwrap_err(), IdpError::Bind { .. }));
}

#[tokio::test]
async fn bad_requests_are_refused_and_nothing_ends() {
    let desk = Desk::new().await;
    let large = "a".repeat(70_000);
    let table = [
        ("POST /token HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n".to_owned(), "421"),
        ("GET /jwks HTTP/1.1\r\n\r\n".to_owned(), "421"),
        ("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), "404"),
        ("POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".to_owned(), "400"),
        (format!("POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n{large}"), "413"),
        (format!("GET /jwks HTTP/1.1\r\nHost: localhost\r\nX: {large}\r\n\r\n"), "431"),
        ("\0\u{1}\u{2} rubbish\r\n\r\n".to_owned(), "400"),
    ];
    for (request, status) in table {
        let mut stream = tokio::net::TcpStream::connect(desk.idp.local_addr()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(std::str::from_utf8(&head[9..]).unwrap(), status, "{:.60}", request.escape_debug().to_string());
    }
    assert_eq!(desk.tokens().await.status, 200);
}

#[tokio::test]
async fn shutdown_ends_what_hangs_and_frees_the_port() {
    let desk = Desk::new().await;
    let address = desk.idp.local_addr();
    desk.idp.faults().set(Endpoint::Jwks, Fault::Hang);
    let mut hanging = tokio::net::TcpStream::connect(address).await.unwrap();
    hanging.write_all(b"GET /jwks HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let shutdown = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        desk.idp.shutdown(Duration::from_millis(50)).await;
    };
    let mut rest = Vec::new();
    let (read, ()) = tokio::join!(hanging.read_to_end(&mut rest), shutdown);
    assert!(read.is_err() || rest.is_empty());
    let config = Config { listen: address, ..Config::default() };
    let idp = Idp::spawn(config).await.unwrap();
    let waiting = idp.closed();
    assert!(tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err());
}
