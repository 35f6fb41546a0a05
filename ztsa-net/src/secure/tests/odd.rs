//! What no peer sends as a rule, and what none may.

use super::*;

#[tokio::test]
async fn a_request_for_new_keys_is_answered_behind_data_that_followed_the_last_ones() {
    let (mut client, mut server) = ours().await;
    client.output.limit = 1;
    let (full, _stuck) = duplex(1);
    let mut open = std::mem::replace(&mut client.socket, full);
    // a record, a KeyUpdate by the limit, and another record wait
    assert_eq!(client.write(&vec![7; 20_000]).await.unwrap(), 20_000);
    let before = client.output.waiting();
    server.output.record(HANDSHAKE, &[24, 0, 0, 1, 1]).unwrap();
    server.flush().await.unwrap();
    let mut come = vec![0; 1 << 16];
    let count = open.read(&mut come).await.unwrap();
    come.truncate(count);
    client.input = Input::new(come);
    while client.take_record().unwrap() {}
    assert_eq!(client.output.waiting(), before + 27);
}

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

#[tokio::test]
async fn data_before_a_refused_record_is_handed_on_and_nothing_of_the_record() {
    for refused in [(ALERT, vec![2, 40]), (HANDSHAKE, vec![1, 0, 0, 0]), (99, b"what is this".to_vec())] {
        let (mut client, mut server) = ours().await;
        client.output.record(DATA, b"good").unwrap();
        client.output.record(refused.0, &refused.1).unwrap();
        client.flush().await.unwrap();
        let mut got = Vec::new();
        assert!(server.read_to_end(&mut got).await.is_err());
        assert_eq!(got, b"good", "{refused:?}");
    }
}

#[tokio::test]
async fn what_a_sane_peer_never_sends_is_refused_with_its_alert() {
    let empty = |times: usize| vec![(DATA, Vec::new()); times];
    for (records, told, says) in [
        (vec![(ALERT, vec![2, 40])], None, "alert 40"),
        (vec![(ALERT, vec![])], Some(10), "empty alert has no place"),
        (vec![(ALERT, vec![2])], Some(50), "alert cannot be read"),
        (vec![(HANDSHAKE, vec![1, 0, 0, 0])], Some(10), "handshake message has no place"),
        (vec![(HANDSHAKE, vec![4, 0]), (DATA, vec![1])], Some(10), "in the middle of a handshake message"),
        (vec![(HANDSHAKE, vec![24, 0, 0, 1, 7])], Some(47), "KeyUpdate holds a value"),
        // only servers give tickets, and this comes from a client
        (vec![(HANDSHAKE, vec![4, 0, 0, 1, 0])], Some(10), "NewSessionTicket has no place"),
        (vec![(20, vec![1])], Some(10), "record of such a type"),
        (empty(33), Some(10), "too many empty records"),
        (vec![(ALERT, vec![1, 90]); 33], Some(10), "too many alerts"),
    ] {
        let (mut client, mut server) = ours().await;
        for (kind, content) in records {
            client.output.record(kind, &content).unwrap();
        }
        client.flush().await.unwrap();
        let error = server.read(&mut [0; 8]).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error} is not {says}");
        assert!(server.write(b"x").await.is_err());
        // nor is the content of a refused record ever data, or a fatal alert answered
        assert!(server.read(&mut [0; 8]).await.is_err());
        server.shutdown().await.unwrap();
        drop(server);
        let seen = client.read(&mut [0; 8]).await.unwrap_err();
        match told {
            Some(alert) => assert!(seen.to_string().contains(&format!("alert {alert} ")), "{seen}"),
            None => assert_eq!(seen.kind(), io::ErrorKind::UnexpectedEof),
        }
    }
}
