use std::sync::Arc;

use proptest::prelude::*;
use rustls::{ClientConfig, HandshakeKind, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::tls;

mod odd;

/// The settings of a client and of the server that it trusts.
fn configs() -> (Arc<ClientConfig>, Arc<ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let roots = tls::Roots::mozilla().with_pem(certificate.as_bytes()).unwrap();
    let server = tls::server_config(certificate.as_bytes(), key.as_bytes(), &[b"h2"]).unwrap();
    (tls::client_config(&roots, &[b"h2", b"http/1.1"]).unwrap(), server)
}

fn name() -> rustls::pki_types::ServerName<'static> {
    "localhost".try_into().unwrap()
}

trait Line: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Line for T {}

/// Which side is ours; the other is rustls' whole implementation.
#[derive(Debug, Clone, Copy)]
enum Ours {
    Client,
    Server,
    Both,
}

/// A client and a server, joined by a pipe that holds `room` bytes.
async fn pair(ours: Ours, room: usize) -> (Box<dyn Line>, Box<dyn Line>) {
    let ((near, far), (client, server)) = (duplex(room), configs());
    let connecting = async {
        match ours {
            Ours::Server => Box::new(TlsConnector::from(client).connect(name(), near).await.unwrap()) as Box<dyn Line>,
            _ => Box::new(connect(client, name(), near).await.unwrap()),
        }
    };
    let accepting = async {
        match ours {
            Ours::Client => Box::new(TlsAcceptor::from(server).accept(far).await.unwrap()) as Box<dyn Line>,
            _ => Box::new(accept(server, far).await.unwrap()),
        }
    };
    tokio::join!(connecting, accepting)
}

/// Both ends ours, with the inside open.
async fn ours() -> (Secure<DuplexStream>, Secure<DuplexStream>) {
    let ((near, far), (client, server)) = (duplex(1 << 20), configs());
    let (client, server) = tokio::join!(connect(client, name(), near), accept(server, far));
    (client.unwrap(), server.unwrap())
}

/// Sends the pieces, then close_notify.
async fn send(line: &mut (impl AsyncWrite + Unpin), pieces: &[Vec<u8>]) {
    for piece in pieces {
        line.write_all(piece).await.unwrap();
        line.flush().await.unwrap();
    }
    line.shutdown().await.unwrap();
}

async fn both_ways(ours: Ours, room: usize, down: &[Vec<u8>], up: &[Vec<u8>]) {
    let (client, server) = pair(ours, room).await;
    let ((mut client_in, mut client_out), (mut server_in, mut server_out)) =
        (tokio::io::split(client), tokio::io::split(server));
    let (mut came_down, mut came_up) = (Vec::new(), Vec::new());
    let ((), (), one, other) = tokio::join!(
        send(&mut server_out, down),
        send(&mut client_out, up),
        client_in.read_to_end(&mut came_down),
        server_in.read_to_end(&mut came_up),
    );
    one.and(other).unwrap();
    assert!(came_down == down.concat() && came_up == up.concat(), "{ours:?} {room}");
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let length = prop_oneof![0..40_usize, 16_300..16_500_usize, 0..300_000_usize];
    let piece = (length, any::<u8>()).prop_map(|(length, seed)| {
        (0..length).map(|at| at.to_le_bytes()[0].wrapping_mul(31) ^ at.to_le_bytes()[1] ^ seed).collect()
    });
    proptest::collection::vec(piece, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_byte_arrives_from_and_at_rustls_and_the_end_is_one(
        ours in prop_oneof![Just(Ours::Client), Just(Ours::Server), Just(Ours::Both)],
        room in prop_oneof![4000..6000_usize, 6000..400_000_usize], down in pieces(), up in pieces(),
    ) {
        run(both_ways(ours, room, &down, &up));
    }

    #[test]
    fn a_stream_that_was_touched_brings_a_prefix_and_then_an_error(
        length in 1..100_000_usize, at in any::<proptest::sample::Index>(), flip in 1..=255_u8, touch in any::<bool>(),
    ) {
        run(async {
            let (mut client, mut server) = ours().await;
            let sent: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            server.write_all(&sent).await.unwrap();
            server.flush().await.unwrap();
            // what is on its way: the tickets of the handshake perhaps, then the records of data
            let (instead, mut middle) = duplex(1 << 20);
            let mut pipe = std::mem::replace(&mut client.socket, instead);
            let mut way = vec![0; 1 << 20];
            let count = pipe.read(&mut way).await.unwrap();
            way.truncate(count);
            let first = count - (length + length.div_ceil(16_384) * 22);
            let place = at.index(count - first);
            if touch {
                way[first + place] ^= flip;
            } else {
                way.truncate(first + place);
            }
            middle.write_all(&way).await.unwrap();
            middle.shutdown().await.unwrap();
            let mut got = Vec::new();
            let error = client.read_to_end(&mut got).await.unwrap_err();
            assert!(sent.starts_with(&got) && got.len() <= place, "{} bytes of {place}", got.len());
            if !touch {
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            }
            // and never anything again
            assert!(client.read(&mut [0; 9]).await.is_err());
        });
    }
}

#[test]
fn keys_are_renewed_at_their_limit_and_rustls_follows() {
    for limit in [1, 2, 17, 40] {
        run(async {
            let ((near, far), (client, server)) = (duplex(1 << 16), configs());
            let (client, server) = tokio::join!(connect(client, name(), near), TlsAcceptor::from(server).accept(far));
            let (mut client, mut server) = (client.unwrap(), server.unwrap());
            client.output.limit = limit;
            let sent = vec![vec![0x5a; 700_000], vec![1], vec![2; 16_385]];
            let mut got = Vec::new();
            let ((), read) = tokio::join!(send(&mut client, &sent), server.read_to_end(&mut got));
            read.unwrap();
            assert!(got == sent.concat(), "limit {limit}");
        });
    }
}

#[tokio::test]
async fn a_peer_that_renews_its_keys_is_followed_and_answered() {
    let ((near, far), (client, server)) = (duplex(1 << 20), configs());
    let (client, server) = tokio::join!(connect(client, name(), near), TlsAcceptor::from(server).accept(far));
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    for turn in 0..100_u8 {
        // asks for the same in return
        server.get_mut().1.refresh_traffic_keys().unwrap();
        server.write_all(&[turn; 3]).await.unwrap();
        server.flush().await.unwrap();
        let mut bytes = [0; 3];
        client.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [turn; 3]);
        assert!(client.output.sealed() <= 2, "the answer has begun a new key");
        client.write_all(&bytes).await.unwrap();
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, [turn; 3]);
    }
}

#[tokio::test]
async fn requests_for_new_keys_are_answered_once_while_the_socket_is_full() {
    let (mut client, mut server) = ours().await;
    let (full, _stuck) = duplex(1);
    let open = std::mem::replace(&mut client.socket, full);
    for _ in 0..30 {
        server.output.record(HANDSHAKE, &[24, 0, 0, 1, 1]).unwrap();
        let secret = server.secrets.next_sent().unwrap();
        server.output.rekey(&secret);
    }
    server.write_all(b"data").await.unwrap();
    // what has come is read from the pipe of before
    let (mut back, feed) = (open, &mut client);
    let mut come = vec![0; 1 << 16];
    let count = back.read(&mut come).await.unwrap();
    come.truncate(count);
    feed.input = Input::new(come);
    let mut bytes = [0; 4];
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"data");
    assert!(client.output.waiting() <= 27, "one KeyUpdate waits, not thirty");
}

#[tokio::test]
async fn a_ticket_lets_the_next_connection_resume() {
    let (client, server) = configs();
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let (near, far) = duplex(1 << 16);
        let accepting = TlsAcceptor::from(server.clone()).accept(far);
        let (near, far) = tokio::join!(connect(client.clone(), name(), near), accepting);
        let (mut near, mut far) = (near.unwrap(), far.unwrap());
        far.write_all(b"x").await.unwrap();
        near.read_exact(&mut [0]).await.unwrap();
        kinds.push(far.get_ref().1.handshake_kind());
    }
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
}

#[tokio::test]
async fn a_connection_that_is_cut_is_no_end_of_file() {
    for ours in [Ours::Client, Ours::Server, Ours::Both] {
        let (mut client, mut server) = pair(ours, 1 << 16).await;
        server.write_all(b"half of it").await.unwrap();
        server.flush().await.unwrap();
        drop(server);
        let mut got = Vec::new();
        let error = client.read_to_end(&mut got).await.unwrap_err();
        assert_eq!((error.kind(), &got[..]), (io::ErrorKind::UnexpectedEof, &b"half of it"[..]), "{ours:?}");
    }
}

#[tokio::test]
async fn a_direction_that_is_closed_leaves_the_other_open() {
    for ours in [Ours::Client, Ours::Both] {
        let (mut client, mut server) = pair(ours, 1 << 16).await;
        server.shutdown().await.unwrap();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
        client.write_all(b"still here").await.unwrap();
        client.shutdown().await.unwrap();
        assert_eq!(client.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        let mut got = Vec::new();
        server.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"still here");
    }
}

#[tokio::test]
async fn empty_records_and_padding_between_data_do_no_harm() {
    let (mut client, mut server) = ours().await;
    for _ in 0..100 {
        client.output.record(DATA, &[]).unwrap();
        client.output.record(0, b"padded\x17\0\0\0").unwrap();
        client.flush().await.unwrap();
        let mut bytes = [0; 6];
        server.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"padded");
    }
}

#[tokio::test]
async fn an_idle_stream_holds_no_buffer_and_one_in_a_record_a_small_one() {
    let (mut client, mut server) = ours().await;
    server.write_all(&vec![7; 600_000]).await.unwrap();
    server.flush().await.unwrap();
    let mut got = vec![0; 600_000];
    client.read_exact(&mut got).await.unwrap();
    let pending = |stream: &mut Secure<DuplexStream>| {
        let mut byte = [0; 1];
        let mut context = Context::from_waker(std::task::Waker::noop());
        Pin::new(stream).poll_read(&mut context, &mut ReadBuf::new(&mut byte)).is_pending()
    };
    assert!(pending(&mut client));
    assert_eq!((client.input.capacity(), server.output.waiting()), (0, 0));
    // the beginning of a record
    server.output.record(DATA, &[1; 5000]).unwrap();
    let part = server.output.cut(3000);
    server.socket.write_all(&part).await.unwrap();
    assert!(pending(&mut client));
    assert!((3000..=32 * 1024).contains(&client.input.capacity()), "{}", client.input.capacity());
}

#[tokio::test]
async fn the_protocol_is_agreed_on_and_a_peer_of_tls_1_2_is_told_apart() {
    let (client, _server) = ours().await;
    assert_eq!(client.alpn(), Some(&b"h2"[..]));

    let ((near, far), (client, _)) = (duplex(1 << 16), configs());
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let roots = tls::Roots::mozilla().with_pem(made.cert.pem().as_bytes()).unwrap();
    let older = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![made.cert.der().clone()],
            rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
        )
        .unwrap();
    drop(client);
    let client = tls::client_config(&roots, &[b"h2"]).unwrap();
    let (connected, _accepted) =
        tokio::join!(connect(client, name(), near), TlsAcceptor::from(Arc::new(older)).accept(far));
    assert!(matches!(connected, Err(HandshakeError::Older)), "{connected:?}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_refused_and_the_server_learns_why() {
    let ((near, far), (_, server)) = (duplex(1 << 16), configs());
    let stranger = tls::client_config(&tls::Roots::mozilla(), &[b"h2"]).unwrap();
    let (connected, accepted) = tokio::join!(connect(stranger, name(), near), accept(server, far));
    let error = connected.unwrap_err().to_string();
    assert!(error.contains("UnknownIssuer"), "{error}");
    let seen = accepted.unwrap_err().to_string();
    assert!(seen.contains("UnknownCA"), "{seen}");
}

#[tokio::test]
async fn garbage_and_silence_end_a_handshake() {
    for (bytes, kind) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], io::ErrorKind::InvalidData),
        (&[22, 3, 3, 0x40, 0][..], io::ErrorKind::UnexpectedEof),
        (&[][..], io::ErrorKind::UnexpectedEof),
    ] {
        for serves in [false, true] {
            let ((near, mut far), (client, server)) = (duplex(1 << 16), configs());
            far.write_all(bytes).await.unwrap();
            far.shutdown().await.unwrap();
            let failed = if serves {
                accept(server, near).await.unwrap_err()
            } else {
                connect(client, name(), near).await.unwrap_err()
            };
            assert!(matches!(&failed, HandshakeError::Io(error) if error.kind() == kind), "{bytes:?} {failed:?}");
        }
    }
}
