use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::*;

fn gate() -> Gate {
    Gate::new(Arc::new(Doors::new(&"wiki:80".parse().unwrap(), None)), None)
}

#[tokio::test(start_paused = true)]
async fn what_is_held_up_is_handed_on_byte_for_byte_and_the_rest_is_not_looked_at() {
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let body: Vec<u8> = (0..=255).cycle().take(20_000).collect();
    let (mut near, far) = tokio::io::duplex(64 * 1024);
    let mut gate = gate();
    let mut read = Vec::new();
    let mut gated = gate.over(far);
    let program = async {
        near.write_all(b"POST /").await.unwrap();
        tokio::time::sleep(SLOWEST / 2).await;
        near.write_all(&head.as_bytes()["POST /".len()..]).await.unwrap();
        near.write_all(&body).await.unwrap();
        // what a second request says is the app's to judge
        near.write_all(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").await.unwrap();
        drop(near);
    };
    let (count, ()) = tokio::join!(gated.read_to_end(&mut read), program);
    let whole = [head.as_bytes(), &body, b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"].concat();
    assert_eq!(count.unwrap(), whole.len());
    assert_eq!(read, whole);
    assert!(gate.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_head_that_takes_too_long_is_refused_and_silence_is_not() {
    let (mut near, far) = tokio::io::duplex(1024);
    let mut gate = gate();
    let mut byte = [0];
    let mut gated = gate.over(far);
    let silent = tokio::time::timeout(SLOWEST * 10, gated.read(&mut byte)).await;
    assert!(silent.is_err(), "a program may wait for the server as long as it likes");
    near.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").await.unwrap();
    let begun = Instant::now();
    assert_eq!(gated.read(&mut byte).await.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(begun.elapsed(), SLOWEST);
    assert_eq!(gate.stranger().unwrap().problem().0.status, 408);
}

#[tokio::test]
async fn a_program_that_ends_in_the_middle_of_a_head_ends_so_at_the_app() {
    let (mut near, far) = tokio::io::duplex(1024);
    near.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    drop(near);
    let mut gate = gate();
    let mut read = String::new();
    gate.over(far).read_to_string(&mut read).await.unwrap();
    assert_eq!(read, "GET / HTTP/1.1\r\n");
}
