//! Local programs at the proxy's port: old, odd, slow and wrong ones.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use ztsa_core::client::Client;
use ztsa_core::listener::proxy::Proxy;

use crate::house::House;
use crate::local::{head, http_connect, socks5};
use crate::patience::soon;
use crate::server::{echo, rest};

async fn road() -> (House, Client, Proxy) {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let proxy = client.proxy("127.0.0.1:0").await.unwrap();
    (house, client, proxy)
}

async fn send(proxy: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_without_connect_reads_the_wiki_by_plain_http() {
    let (_house, _client, proxy) = road().await;
    for host in ["wiki", "wiki.ztsa"] {
        let request = format!("GET http://{host}/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let mut stream = send(proxy.local_addr(), request.as_bytes()).await;
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("<h1>The wiki</h1>"), "{answer}");
    }
    let request = b"GET http://payroll/ HTTP/1.1\r\nHost: payroll\r\nConnection: close\r\n\r\n";
    let answer = rest(&mut send(proxy.local_addr(), request).await).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("payroll is for the operations team"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn socks4a_and_ipv6_and_bytes_that_come_early_work() {
    let (_house, _client, proxy) = road().await;
    let mut request = vec![4, 1, 0, 7, 0, 0, 0, 1];
    request.extend_from_slice(b"me\0echo\0");
    request.extend_from_slice(b"early");
    let mut stream = send(proxy.local_addr(), &request).await;
    let mut answer = [0; 8];
    soon("the answer", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer[..2], [0, 90]);
    assert_eq!(crate::server::take(&mut stream, 5).await, "early");
    let six = *proxy.local_addrs().iter().find(|address| address.is_ipv6()).expect("a port on ::1, as on 127.0.0.1");
    assert_eq!(six.port(), proxy.local_addr().port());
    let (code, mut stream) = socks5(six, "echo", 7).await;
    assert_eq!(code, 0);
    echo(&mut stream, "by IPv6").await;
    let mut stream = send(proxy.local_addr(), b"CONNECT echo:7 HTTP/1.0\r\n\r\nearly").await;
    assert!(head(&mut stream).await.contains(" 200 "));
    assert_eq!(crate::server::take(&mut stream, 5).await, "early");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_refused_and_disturbs_nobody() {
    let (_house, _client, proxy) = road().await;
    let address = proxy.local_addr();
    let (code, mut bystander) = socks5(address, "echo", 7).await;
    assert_eq!(code, 0);
    // half a request, held open while the others try
    let _slow = [send(address, &[5]).await, send(address, b"CONN").await, send(address, &[5, 1, 0]).await];
    let wrong: [(&str, &[u8]); 7] = [
        ("nothing known", &[0xff; 64]),
        ("TLS", &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
        ("SOCKS5 without a method", &[5, 0]),
        ("SOCKS5 with a method that nobody has", &[5, 1, 0x80]),
        ("SOCKS5 BIND", &[5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1, 0, 80]),
        ("CONNECT without a port", b"CONNECT echo HTTP/1.1\r\nHost: echo\r\n\r\n"),
        ("an endless head", &[b'A'; 100_000]),
    ];
    for (what, bytes) in wrong {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // it may be cut while it is still being sent
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = soon(what, stream.read_to_end(&mut answer)).await;
        let said = String::from_utf8_lossy(&answer);
        assert!(!said.contains(" 200 "), "{what}: {said}");
        echo(&mut bystander, what).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_app_goes_nowhere() {
    let (house, _client, proxy) = road().await;
    // the gateway's own address, and an address on this machine that answers
    for to in ["localhost", "127.0.0.1", "169.254.169.254", "example.com", "0x7f000001", "[::1]"] {
        let (head, _) = http_connect(proxy.local_addr(), &format!("{to}:{}", house.address().port())).await;
        assert!(head.starts_with("HTTP/1.1 4"), "{to}: {head}");
    }
    assert!(house.leases().is_empty());
}
