//! What no peer sends as a rule, and what none may.

use super::*;

#[tokio::test]
async fn what_comes_with_the_end_of_the_handshake_is_read_and_answered() {
    let ((mut near, far), (config, server)) = (duplex(1 << 16), configs());
    let mut client = rustls::ClientConnection::new(config, name()).unwrap();
    let talk = async {
        let (mut bytes, mut come) = (Vec::new(), [0; 4096]);
        while client.is_handshaking() {
            client.write_tls(&mut bytes).unwrap();
            near.write_all(&std::mem::take(&mut bytes)).await.unwrap();
            let count = near.read(&mut come).await.unwrap();
            client.read_tls(&mut &come[..count]).unwrap();
            client.process_new_packets().unwrap();
        }
        // Finished, a KeyUpdate that wants one in return, data and close_notify in one piece
        client.refresh_traffic_keys().unwrap();
        io::Write::write_all(&mut client.writer(), b"question").unwrap();
        client.send_close_notify();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        near.write_all(&bytes).await.unwrap();
        let mut answer = [0; 6];
        while io::Read::read_exact(&mut client.reader(), &mut answer).is_err() {
            let count = near.read(&mut come).await.unwrap();
            assert!(count > 0);
            client.read_tls(&mut &come[..count]).unwrap();
            client.process_new_packets().unwrap();
        }
        answer
    };
    let serve = async {
        let (mut server, mut got) = (accept(server, far).await.unwrap(), Vec::new());
        server.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"question");
        server.write_all(b"answer").await.unwrap();
        server.flush().await.unwrap();
        server
    };
    let (answer, _server) = tokio::join!(talk, serve);
    assert_eq!(&answer, b"answer");
}
