//! Two gateways tell each other, over real HTTP: what ends at one ends at the other.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::house::{Folder, House};
use crate::patience::soon;
use crate::server::{echo, reset};

const TOKEN: &str = "a-credential-of-both-sides";

/// A folder with the credential.
fn credentials() -> Folder {
    let folder = Folder::new();
    fs::write(folder.join("token"), format!("{TOKEN}\n")).unwrap();
    folder
}

/// The table of the gateway that tells.
fn told(token: &Path, ca: Option<&Path>) -> String {
    let ca = ca.map(|ca| format!("ca_file = {ca:?}\nprivate = true\n")).unwrap_or_default();
    format!("[[signals.receiver]]\nname = \"listener\"\naudience = \"listener\"\ntoken_file = {token:?}\n{ca}")
}

/// The table of the gateway that listens. No heartbeat comes in time to bring along a signal that woke nobody.
fn listens(teller: &House, token: &Path, more: &str) -> String {
    let (url, ca) = (teller.dev.url(), teller.dev.ca_file());
    let issuer = teller.dev.issuer();
    format!(
        "[[signals.transmitter]]\nname = \"teller\"\nissuer = \"{url}\"\naudiences = [\"listener\"]\n\
         api_token_file = {token:?}\nca_file = {ca:?}\nprivate = true\npeople = [\"dev\"]\nverify_every = \"10m\"\n\
         aliases = {{ \"{issuer}\" = \"dev\" }}\n{more}\n"
    )
}

/// Waits until the stream between them is agreed on.
async fn agreed(teller: &House) -> Value {
    let web = teller.web();
    let url = format!("{}/ztsa/v1/ssf/stream", teller.dev.url());
    soon("the stream", async {
        loop {
            let streams = web.get(&url).bearer_auth(TOKEN).send().await;
            if let Ok(answer) = streams
                && let Ok(streams) = answer.json::<Vec<Value>>().await
                && let Some(stream) = streams.first()
            {
                return stream.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// Alice loses her sessions at one gateway; her tunnel at the other ends with the reason, bob's stays.
async fn ends_at_both(teller: &House, listener: &House) {
    let _there = teller.sign_in("alice").await;
    let (alice, bob) = (listener.sign_in("alice").await, listener.sign_in("bob").await);
    let mut hers = soon("a stream", alice.connect("echo")).await.unwrap();
    let mut his = soon("a stream", bob.connect("echo")).await.unwrap();
    echo(&mut hers, "hers").await;
    echo(&mut his, "his").await;
    teller.admin(json!({"op": "sessions.revoke", "user": "alice", "reason": "she left"})).await;
    reset(&mut hers).await;
    echo(&mut his, "still his").await;
    let reason = hers.ended().unwrap().to_string();
    assert!(reason.contains("teller says") && reason.contains("she left"), "{reason}");
    let line = listener.audit("the signal", |line| line["status_code"] == "signal.session-revoked").await;
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("teller: session-revoked, jti") && message.contains("alice"), "{message}");
    // signing in again helps
    listener.login(&alice, "alice").await;
    let mut again = soon("a stream", alice.connect("echo")).await.unwrap();
    echo(&mut again, "again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_at_one_gateway_ends_at_another_that_polls() {
    let keys = credentials();
    let token = keys.join("token");
    let teller = House::with(&[], &told(&token, None)).await;
    let listener = House::with(&[], &listens(&teller, &token, "")).await;
    let stream = agreed(&teller).await;
    assert_eq!(stream["delivery"]["method"], "urn:ietf:rfc:8936", "{stream}");
    ends_at_both(&teller, &listener).await;
    // the listener restarts, finds its stream again, and what was told meanwhile comes
    let restarted = listener.restart().await;
    assert_eq!(agreed(&teller).await["stream_id"], stream["stream_id"]);
    ends_at_both(&teller, &restarted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ends_at_one_gateway_ends_at_another_that_is_pushed_to() {
    let keys = credentials();
    let token = keys.join("token");
    // it does not tell yet: the listener asks again and again
    let teller = House::new(&[]).await;
    let push = format!("push_token_file = {token:?}\ndelivery = \"push\"");
    let listener = House::with(&[], &listens(&teller, &token, &push)).await;
    fs::write(teller.folder.join("added.toml"), told(&token, Some(&listener.dev.ca_file()))).unwrap();
    let teller = teller.restart().await;
    let stream = agreed(&teller).await;
    let endpoint = format!("{}/ztsa/v1/signals/teller", listener.dev.url());
    assert_eq!(stream["delivery"]["endpoint_url"], endpoint);
    assert_eq!(stream["delivery"].get("authorization_header"), None, "a credential is never shown");
    ends_at_both(&teller, &listener).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_and_strangers_are_turned_away_and_nothing_else_is_felt() {
    let keys = credentials();
    let token = keys.join("token");
    let teller = House::new(&[]).await;
    let push = format!("push_token_file = {token:?}\n");
    let listener = House::with(&[], &listens(&teller, &token, &push)).await;
    let client = listener.sign_in("alice").await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    let url = format!("{}/ztsa/v1/signals/teller", listener.dev.url());
    let push = async |token: &str, body: String| {
        let request = listener.web().post(&url).bearer_auth(token);
        soon("an answer", request.header("content-type", "application/secevent+jwt").body(body).send()).await
    };
    for size in [70_000, 10_000_000] {
        assert_eq!(too_much(&listener, size).await, "HTTP/1.1 413 Payload Too Large", "{size} bytes");
    }
    assert_eq!(push("somebody-else-entirely", "x".to_owned()).await.unwrap().status(), 401);
    let answer = push(TOKEN, "no.token.here".to_owned()).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.json::<Value>().await.unwrap()["err"], "invalid_request");
    // a token of the right issuer while its keys cannot be had: it should come again
    let head = "eyJhbGciOiJFUzI1NiIsInR5cCI6InNlY2V2ZW50K2p3dCJ9";
    let claims = base64(&json!({"iss": teller.dev.url()}));
    assert_eq!(push(TOKEN, format!("{head}.{claims}.AAAA")).await.unwrap().status(), 503);
    // the gateway that tells nobody has no such place
    let nowhere = teller.web().get(format!("{}/.well-known/ssf-configuration", teller.dev.url())).send().await;
    assert_eq!(nowhere.unwrap().status(), 404);
    echo(&mut stream, "still here").await;
}

/// Announces so many bytes, sends at most one megabyte of them, and gives the first line of the answer.
async fn too_much(listener: &House, size: usize) -> String {
    let mut door = listener.door().await;
    let head = format!(
        "POST /ztsa/v1/signals/teller HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/secevent+jwt\r\nContent-Length: {size}\r\n\r\n"
    );
    door.write_all(head.as_bytes()).await.unwrap();
    // it may hang up before it has everything: its answer is there all the same
    let _ = door.write_all(&vec![b'x'; size.min(1_000_000)]).await;
    let mut answer = Vec::new();
    while !answer.contains(&b'\r') {
        assert_ne!(soon("the answer", door.read_buf(&mut answer)).await.unwrap(), 0, "it hung up");
    }
    String::from_utf8_lossy(&answer).lines().next().unwrap().to_owned()
}

/// Base64url without a library for it.
fn base64(value: &Value) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let text = value.to_string();
    let bits =
        |chunk: &[u8]| chunk.iter().chain(&[0, 0]).take(3).fold(0, |bits, byte| (bits << 8) | usize::from(*byte));
    let letters = |chunk: &[u8]| {
        let bits = bits(chunk);
        (0..=chunk.len()).map(move |place| char::from(ALPHABET[(bits >> (18 - 6 * place)) & 63])).collect::<String>()
    };
    text.as_bytes().chunks(3).map(letters).collect()
}
