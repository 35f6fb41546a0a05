//! Capsules as a broken or a hostile client sends them to a running gateway, and as a slow one does.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Version};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use ztsa_core::token::{SessionToken, Tokens};
use ztsa_net::task::Scope;
use ztsa_proto::capsule::{Capsule, Decoder, END, FINAL_DATA, NOTICE_MAX, SUSPEND, data_header, put_varint};
use ztsa_proto::template;

use crate::house::House;
use crate::patience::{soon, until};
use crate::server::{Server, reset, rest, take};

/// A client that is not ours, signed in and with a connection for tunnels.
struct Peer {
    sender: SendRequest<Bytes>,
    tokens: Tokens,
    session: Arc<SessionToken>,
    gateway: String,
    _scope: Scope,
}

/// One of its tunnels, and the app's end of it.
struct Road {
    id: String,
    send: SendStream<Bytes>,
    recv: RecvStream,
    decoder: Decoder,
    far: TcpStream,
}

impl Peer {
    async fn new(house: &House) -> Self {
        let (tokens, session) = house.tokens("alice").await;
        let stream = house.door_for(b"h2").await;
        let (sender, connection) = soon("HTTP/2", h2::client::handshake(stream)).await.unwrap();
        let scope = Scope::new();
        scope.spawn(async move { drop(connection.await) });
        until("the gateway's settings", || sender.is_extended_connect_protocol_enabled().then_some(())).await;
        Self { sender, tokens, session, gateway: house.dev.url().to_owned(), _scope: scope }
    }

    async fn open(&self, shop: &Server) -> Road {
        let url = format!("{}{}", self.gateway, template::path(&"shop:80".parse().unwrap()));
        // the first answer may only bring the nonce
        for _ in 0..2 {
            let proof = self.tokens.proof("CONNECT", &url, Some(&self.session.token)).await.unwrap();
            let request = Request::builder()
                .method(Method::CONNECT)
                .version(Version::HTTP_2)
                .uri(&url)
                .extension(Protocol::from_static(template::PROTOCOL))
                .header("authorization", format!("DPoP {}", self.session.token.expose()))
                .header("dpop", proof)
                .header("capsule-protocol", "?1")
                .body(())
                .unwrap();
            let mut sender = soon("room", self.sender.clone().ready()).await.unwrap();
            let (response, send) = sender.send_request(request, false).unwrap();
            let response = soon("an answer", response).await.unwrap();
            if let Some(nonce) = response.headers().get("dpop-nonce") {
                self.tokens.store_nonce(&url, nonce.to_str().unwrap());
            }
            if response.status().is_success() {
                let id = response.headers()["ztsa-tunnel"].to_str().unwrap().to_owned();
                let far = shop.accept().await;
                return Road { id, send, recv: response.into_body(), decoder: Decoder::new(), far };
            }
        }
        panic!("no tunnel");
    }
}

impl Road {
    fn say(&mut self, bytes: &[u8]) {
        self.send.send_data(Bytes::copy_from_slice(bytes), false).unwrap();
    }

    /// Reads what the app has sent until its end, or until the stream is reset.
    async fn heard(&mut self) -> Result<Vec<u8>, h2::Error> {
        let mut text = Vec::new();
        while let Some(chunk) = soon("what the gateway says", self.recv.data()).await {
            let mut chunk = chunk?;
            self.recv.flow_control().release_capacity(chunk.len())?;
            while let Some(capsule) = self.decoder.decode(&mut chunk).unwrap() {
                match capsule {
                    Capsule::Data(piece) => text.extend_from_slice(&piece),
                    Capsule::Fin => return Ok(text),
                    Capsule::Notice(notice) => panic!("{notice:?}"),
                }
            }
        }
        panic!("the stream ended without FINAL_DATA");
    }

    /// Insists that bytes go both ways and that each direction ends by itself, whether the stream ends with the last
    /// data or stays.
    async fn serves(mut self, ends: bool) {
        self.send.send_data(data("question", true).into(), ends).unwrap();
        assert_eq!(rest(&mut self.far).await, "question");
        self.far.write_all(b"answer").await.unwrap();
        self.far.shutdown().await.unwrap();
        assert_eq!(self.heard().await.unwrap(), b"answer");
    }
}

fn data(text: &str, last: bool) -> Vec<u8> {
    [&data_header(text.len(), last)[..], text.as_bytes()].concat()
}

/// A capsule of any type, which may announce another length than it has.
fn capsule(kind: u64, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    put_varint(&mut bytes, kind);
    put_varint(&mut bytes, length);
    bytes.extend_from_slice(payload);
    bytes.to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_breaks_the_protocol_is_reset_at_both_ends_and_its_neighbour_goes_on() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let peer = Peer::new(&house).await;
    let mut neighbour = peer.open(&shop).await;
    let wrong: [(&str, Vec<u8>, bool); 8] = [
        ("a notice that is no problem document", capsule(SUSPEND, 8, b"nonsense"), false),
        ("a notice that is too long", capsule(END, NOTICE_MAX + 1, b"{}"), false),
        ("a notice of the largest length there is", capsule(END, u64::MAX >> 2, b""), false),
        ("an end without a word", Vec::new(), true),
        ("an end inside a capsule's type", data("", false)[..3].to_vec(), true),
        ("an end inside a capsule's length", capsule(FINAL_DATA, 5, b"")[..4].to_vec(), true),
        ("an end inside of data", capsule(FINAL_DATA, 5, b"bye")[..].to_vec(), true),
        ("an end inside a capsule that nobody knows", capsule(0x17, 1 << 40, b"noise"), true),
    ];
    for (what, bytes, ends) in wrong {
        let mut road = peer.open(&shop).await;
        road.say(&data("before", false));
        assert_eq!(take(&mut road.far, 6).await, "before", "{what}");
        road.send.send_data(bytes.into(), ends).unwrap();
        reset(&mut road.far).await;
        let error = road.heard().await.expect_err(what);
        assert_eq!((error.reason(), error.is_reset()), (Some(Reason::CONNECT_ERROR), true), "{what}: {error}");
        // how it ended, with the bytes that were good, is in the audit log once
        let is_end = |line: &serde_json::Value| {
            line["connection_info"]["uid"] == json!(road.id) && line["traffic"]["bytes_out"].is_u64()
        };
        let line = house.audit(what, is_end).await;
        assert_eq!(line["status_code"], "client", "{what}: {line}");
        assert!(line["traffic"]["bytes_out"].as_u64() >= Some(6), "{what}: {line}");
        // the other tunnel of the same connection does not notice
        neighbour.say(&data(what, false));
        assert_eq!(take(&mut neighbour.far, what.len()).await, what);
    }
    neighbour.serves(true).await;
    house.tunnels(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_after_the_last_data_reaches_nobody() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let peer = Peer::new(&house).await;
    let mut road = peer.open(&shop).await;
    road.say(&[data("all", true), data("and more", false), data("and again", true)].concat());
    assert_eq!(rest(&mut road.far).await, "all");
    // the other direction does not suffer
    road.far.write_all(b"answer").await.unwrap();
    road.far.shutdown().await.unwrap();
    assert_eq!(road.heard().await.unwrap(), b"answer");
    let ended =
        |line: &serde_json::Value| line["connection_info"]["uid"] == json!(road.id) && line["traffic"].is_object();
    let line = house.audit("the end", ended).await;
    assert_eq!((&line["status_code"], &line["traffic"]["bytes_out"]), (&json!("completed"), &json!(3)), "{line}");
    peer.open(&shop).await.serves(false).await;
    house.tunnels(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn capsules_that_drip_byte_by_byte_arrive_whole() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let peer = Peer::new(&house).await;
    let mut road = peer.open(&shop).await;
    let notice = br#"{"code":"risk.user"}"#;
    let stream = [
        data("a slow ", false),
        capsule(0x17, 5, b"noise"),
        data("", false),
        capsule(SUSPEND, notice.len() as u64, notice),
        data("question", false),
        data("", true),
    ]
    .concat();
    for byte in &stream {
        road.say(&[*byte]);
        tokio::task::yield_now().await;
    }
    // a client's word on access is nothing: only the gateway decides
    assert_eq!(rest(&mut road.far).await, "a slow question");
    road.far.write_all(b"answer").await.unwrap();
    road.far.shutdown().await.unwrap();
    assert_eq!(road.heard().await.unwrap(), b"answer");
    house.tunnels(0).await;
}
