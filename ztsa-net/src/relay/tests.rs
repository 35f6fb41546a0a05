mod pause;

use super::*;
use crate::http2;
use crate::task::Scope;
use crate::tunnel::Framing;
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use ztsa_proto::capsule::CapsuleError;
use ztsa_proto::problem;

/// A client's and a gateway's end of one tunnel on a real HTTP/2 connection over a pipe.
struct Tunnel {
    client: (TunnelSend, TunnelRecv),
    gateway: (TunnelSend, TunnelRecv),
    _scope: Scope,
}

async fn tunnel(framing: Framing) -> Tunnel {
    let scope = Scope::new();
    let (near, far) = tokio::io::duplex(1 << 20);
    let (mut server, (client, connection)) =
        tokio::try_join!(http2::server().handshake::<_, Bytes>(far), http2::client().handshake::<_, Bytes>(near))
            .unwrap();
    scope.spawn(async move {
        let _ = connection.await;
    });
    let mut client = client.ready().await.unwrap();
    let request = http::Request::connect("app:1").body(()).unwrap();
    let (response, client_send) = client.send_request(request, false).unwrap();
    let (request, mut respond) = server.accept().await.unwrap().unwrap();
    let gateway_send = respond.send_response(http::Response::new(()), false).unwrap();
    let gateway_recv = request.into_body();
    scope.spawn(async move { while server.accept().await.is_some() {} });
    let client_recv = response.await.unwrap().into_body();
    Tunnel {
        client: (TunnelSend::new(client_send, framing), TunnelRecv::new(client_recv, framing)),
        gateway: (TunnelSend::new(gateway_send, framing), TunnelRecv::new(gateway_recv, framing)),
        _scope: scope,
    }
}

/// Runs a relay over a pipe; the pipe closes when the relay ends.
async fn run(
    local: DuplexStream,
    (send, recv): (TunnelSend, TunnelRecv),
    authority: Authority<'_>,
    meter: &dyn Meter,
) -> End {
    let (mut reader, mut writer) = tokio::io::split(local);
    relay(&mut reader, &mut writer, send, recv, authority, meter).await
}

#[tokio::test]
async fn bytes_and_half_closes_pass_both_ways() {
    for framing in [Framing::Capsules, Framing::Plain] {
        let tunnel = tunnel(framing).await;
        let (mut program, local) = tokio::io::duplex(4096);
        let (mut app, remote) = tokio::io::duplex(4096);
        let (_access, receiver) = watch::channel(Access::Open);
        let (at_client, at_gateway) = (Traffic::default(), Traffic::default());
        let mut ignore = |_: &Notice| {};
        let (client, gateway, (), ()) = tokio::join!(
            run(local, tunnel.client, Authority::Peer(&mut ignore), &at_client),
            run(remote, tunnel.gateway, Authority::Own(receiver), &at_gateway),
            async {
                program.write_all(&vec![1; 3_000_000]).await.unwrap();
                program.shutdown().await.unwrap();
                let mut answer = Vec::new();
                program.read_to_end(&mut answer).await.unwrap();
                assert_eq!(answer.len(), 2_000_000);
            },
            async {
                let mut request = Vec::new();
                app.read_to_end(&mut request).await.unwrap();
                assert_eq!(request.len(), 3_000_000);
                app.write_all(&vec![2; 2_000_000]).await.unwrap();
                app.shutdown().await.unwrap();
            }
        );
        assert!(matches!(client, End::Finished), "{client}");
        assert!(matches!(gateway, End::Finished), "{gateway}");
        assert_eq!(at_client.read(), (3_000_000, 2_000_000));
        assert_eq!(at_gateway.read(), (2_000_000, 3_000_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_fast_tunnel_moves_in_large_pieces_alone() {
    const BYTES: usize = 16 << 20;
    let tunnel = tunnel(Framing::Capsules).await;
    let (mut program, local) = tokio::io::duplex(BYTES);
    program.write_all(&vec![1; BYTES]).await.unwrap();
    let traffic = Traffic::default();
    let mut ignore = |_: &Notice| {};
    let (_send, mut recv) = tunnel.gateway;
    let mut pieces = Vec::new();
    tokio::select! {
        end = run(local, tunnel.client, Authority::Peer(&mut ignore), &traffic) => panic!("{end}"),
        () = async {
            // one capsule may come in more than one piece of a frame: what counts is how the frames were cut
            while pieces.iter().sum::<usize>() < BYTES {
                let Ok(ztsa_proto::capsule::Capsule::Data(piece)) = recv.next().await else { panic!("no data") };
                recv.release(piece.len());
                pieces.push(piece.len());
            }
        } => {}
    }
    // once it is fast, nearly all of it moves in the largest pieces, and next to none in scraps
    let large = pieces.iter().filter(|length| **length == crate::tunnel::BULK_MAX).count();
    assert!(large * crate::tunnel::BULK_MAX > BYTES / 10 * 9, "{pieces:?}");
    assert!(pieces.iter().filter(|length| **length < 4096).count() <= 2, "{pieces:?}");
}

#[tokio::test]
async fn a_cut_is_never_a_clean_end() {
    let tunnel = tunnel(Framing::Capsules).await;
    let (mut program, local) = tokio::io::duplex(4096);
    let (mut send, _recv) = tunnel.gateway;
    send.room().await.unwrap();
    let mut buffer = bytes::BytesMut::zeroed(crate::tunnel::HEADROOM);
    buffer.extend_from_slice(b"half a result");
    send.data(buffer).unwrap();
    let traffic = Traffic::default();
    let mut ignore = |_: &Notice| {};
    let (end, ()) = tokio::join!(run(local, tunnel.client, Authority::Peer(&mut ignore), &traffic), async {
        let mut half = [0; 13];
        program.read_exact(&mut half).await.unwrap();
        drop(send);
    });
    assert!(matches!(end, End::Tunnel(TunnelError::Reset(h2::Reason::CONNECT_ERROR))), "{end}");
}

#[tokio::test]
async fn a_stream_that_ends_without_final_data_is_truncated() {
    let tunnel = tunnel(Framing::Capsules).await;
    let (mut send, _recv) = tunnel.gateway;
    // the end that a peer without capsules, or one that was cut, would make
    send.notice(&Notice::End(Box::new(problem::new("session.revoked")))).unwrap();
    let mut recv = tunnel.client.1;
    assert!(matches!(recv.next().await, Ok(ztsa_proto::capsule::Capsule::Notice(Notice::End(_)))));
    assert!(matches!(recv.next().await, Err(TunnelError::Capsule(CapsuleError::Truncated))));
}

#[tokio::test(start_paused = true)]
async fn suspension_holds_every_byte_and_resumption_loses_none() {
    let tunnel = tunnel(Framing::Capsules).await;
    let (mut program, local) = tokio::io::duplex(4096);
    let (mut app, remote) = tokio::io::duplex(4096);
    let (access, receiver) = watch::channel(Access::Open);
    let (at_client, at_gateway) = (Traffic::default(), Traffic::default());
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut tell = move |notice: &Notice| told.send(notice.clone()).unwrap();
    let reason = Arc::new(problem::new("risk.user"));
    let (client, gateway, ()) = tokio::join!(
        run(local, tunnel.client, Authority::Peer(&mut tell), &at_client),
        run(remote, tunnel.gateway, Authority::Own(receiver), &at_gateway),
        async {
            access.send_replace(Access::Suspended(reason.clone()));
            assert_eq!(heard.recv().await, Some(Notice::Suspend(Box::new((*reason).clone()))));
            program.write_all(b"question").await.unwrap();
            app.write_all(b"unasked").await.unwrap();
            let minute = Duration::from_secs(60);
            assert!(tokio::time::timeout(minute, app.read_u8()).await.is_err(), "a byte reached the app");
            assert!(tokio::time::timeout(minute, program.read_u8()).await.is_err(), "a byte reached the program");
            access.send_replace(Access::Open);
            assert_eq!(heard.recv().await, Some(Notice::Resume));
            let (mut question, mut unasked) = ([0; 8], [0; 7]);
            app.read_exact(&mut question).await.unwrap();
            program.read_exact(&mut unasked).await.unwrap();
            assert_eq!((&question, &unasked), (b"question", b"unasked"));
            access.send_replace(Access::Ended(reason.clone()));
            assert_eq!(heard.recv().await, Some(Notice::End(Box::new((*reason).clone()))));
        }
    );
    assert!(matches!(&client, End::Access(problem) if **problem == *reason), "{client}");
    assert!(matches!(&gateway, End::Access(problem) if **problem == *reason), "{gateway}");
}

#[tokio::test(start_paused = true)]
async fn each_new_reason_for_a_pause_is_told_once() {
    let tunnel = tunnel(Framing::Capsules).await;
    let (_program, local) = tokio::io::duplex(4096);
    let (_app, remote) = tokio::io::duplex(4096);
    let (access, receiver) = watch::channel(Access::Open);
    let (at_client, at_gateway) = (Traffic::default(), Traffic::default());
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let mut tell = move |notice: &Notice| told.send(notice.clone()).unwrap();
    let [odd, weak] = ["risk.user", "posture.disk_encryption"].map(|code| Arc::new(problem::new(code)));
    let pause = |problem: &Arc<Problem>| Notice::Suspend(Box::new(Problem::clone(problem)));
    tokio::select! {
        end = run(local, tunnel.client, Authority::Peer(&mut tell), &at_client) => panic!("{end}"),
        end = run(remote, tunnel.gateway, Authority::Own(receiver), &at_gateway) => panic!("{end}"),
        () = async {
            for reason in [&odd, &odd, &weak] {
                access.send_replace(Access::Suspended(Arc::clone(reason)));
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            access.send_replace(Access::Open);
            let notices = [heard.recv().await, heard.recv().await, heard.recv().await].map(Option::unwrap);
            assert_eq!(notices, [pause(&odd), pause(&weak), Notice::Resume]);
            // a pause that begins anew is told anew
            access.send_replace(Access::Suspended(Arc::clone(&weak)));
            assert_eq!(heard.recv().await, Some(pause(&weak)));
        } => {}
    }
}

/// A meter that notes how much had moved, and when, each time that nothing moved any more.
struct Stops {
    traffic: Traffic,
    begun: Instant,
    seen: std::sync::Mutex<Vec<(u64, Duration)>>,
}

impl Meter for Stops {
    fn sent(&self, bytes: u64) {
        self.traffic.sent(bytes);
    }

    fn received(&self, bytes: u64) {
        self.traffic.received(bytes);
    }

    fn total(&self) -> u64 {
        self.traffic.total()
    }

    fn stopped(&self) {
        self.seen.lock().unwrap().push((self.total(), self.begun.elapsed()));
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_byte_before_a_pause_and_before_an_end_is_noted_when_it_is_the_last() {
    let tunnel = tunnel(Framing::Capsules).await;
    let (_program, local) = tokio::io::duplex(4096);
    let (mut app, remote) = tokio::io::duplex(1 << 20);
    let (access, receiver) = watch::channel(Access::Open);
    let stops = Stops { traffic: Traffic::default(), begun: Instant::now(), seen: std::sync::Mutex::default() };
    let ignored = Traffic::default();
    let mut ignore = |_: &Notice| {};
    let reason = Arc::new(problem::new("risk.user"));
    let second = Duration::from_secs(1);
    app.write_all(&[1; 1000]).await.unwrap();
    let (_, gateway, ()) = tokio::join!(
        run(local, tunnel.client, Authority::Peer(&mut ignore), &ignored),
        run(remote, tunnel.gateway, Authority::Own(receiver), &stops),
        async {
            tokio::time::sleep(second).await;
            access.send_replace(Access::Suspended(reason.clone()));
            tokio::time::sleep(second).await;
            app.write_all(&[1; 500]).await.unwrap();
            tokio::time::sleep(second).await;
            access.send_replace(Access::Open);
            tokio::time::sleep(second).await;
            access.send_replace(Access::Ended(reason.clone()));
        }
    );
    assert!(matches!(gateway, End::Access(_)), "{gateway}");
    assert_eq!(*stops.seen.lock().unwrap(), [(1000, second), (1500, 4 * second)], "each once, and at once");
}

#[tokio::test(start_paused = true)]
async fn an_ending_reaches_a_client_whose_program_does_not_read() {
    let tunnel = tunnel(Framing::Capsules).await;
    let (_program, local) = tokio::io::duplex(1024);
    let (mut app, remote) = tokio::io::duplex(1 << 20);
    let (access, receiver) = watch::channel(Access::Open);
    let (at_client, at_gateway) = (Traffic::default(), Traffic::default());
    let mut ignore = |_: &Notice| {};
    let (client, gateway, ()) = tokio::join!(
        run(local, tunnel.client, Authority::Peer(&mut ignore), &at_client),
        run(remote, tunnel.gateway, Authority::Own(receiver), &at_gateway),
        async {
            let bulk = vec![0; 16 << 20];
            let full = app.write_all(&bulk);
            assert!(tokio::time::timeout(Duration::from_secs(5), full).await.is_err());
            access.send_replace(Access::Ended(Arc::new(problem::new("session.revoked"))));
        }
    );
    assert!(matches!(gateway, End::Access(_)), "{gateway}");
    // the reason was dropped with the bytes that it stood behind; that there was one was not
    assert!(matches!(&client, End::Tunnel(error) if error.is_withdrawn()), "{client}");
}

#[tokio::test(start_paused = true)]
async fn a_half_closed_relay_that_stays_silent_is_ended() {
    let tunnel = tunnel(Framing::Capsules).await;
    let (mut program, local) = tokio::io::duplex(4096);
    let traffic = Traffic::default();
    let mut ignore = |_: &Notice| {};
    let started = Instant::now();
    let (end, ()) = tokio::join!(run(local, tunnel.client, Authority::Peer(&mut ignore), &traffic), async {
        program.shutdown().await.unwrap();
    });
    assert!(matches!(end, End::Idle), "{end}");
    assert!(started.elapsed() >= HALF_CLOSED_IDLE);
}

#[tokio::test(start_paused = true)]
async fn paused_tunnels_do_not_stop_another_one_on_their_connection() {
    let scope = Scope::new();
    let (near, far) = tokio::io::duplex(1 << 20);
    let (mut server, (client, connection)) =
        tokio::try_join!(http2::server().handshake::<_, Bytes>(far), http2::client().handshake::<_, Bytes>(near))
            .unwrap();
    scope.spawn(async move {
        let _ = connection.await;
    });
    let mut held = Vec::new();
    let (streams, mut accepted) = tokio::sync::mpsc::unbounded_channel();
    scope.spawn(async move {
        while let Some(Ok((request, mut respond))) = server.accept().await {
            let send = respond.send_response(http::Response::new(()), false).unwrap();
            streams.send((send, request.into_body())).unwrap();
        }
    });
    for paused in 0..33 {
        let mut client = client.clone().ready().await.unwrap();
        let (response, send) = client.send_request(http::Request::connect("app:1").body(()).unwrap(), false).unwrap();
        let (server_send, server_recv) = accepted.recv().await.unwrap();
        let recv = response.await.unwrap().into_body();
        let mut gateway = TunnelSend::new(server_send, Framing::Capsules);
        let mut reader = TunnelRecv::new(recv, Framing::Capsules);
        if paused < 32 {
            // fill the tunnel's whole window: its reader never reads
            let fill = async {
                loop {
                    let room = gateway.room().await.unwrap();
                    gateway.data(bytes::BytesMut::zeroed(crate::tunnel::HEADROOM + room)).unwrap();
                }
            };
            assert!(tokio::time::timeout(Duration::from_secs(1), fill).await.is_err());
            held.push((gateway, reader, send, server_recv));
        } else {
            gateway.room().await.unwrap();
            let mut buffer = bytes::BytesMut::zeroed(crate::tunnel::HEADROOM);
            buffer.extend_from_slice(b"SELECT 1");
            gateway.data(buffer).unwrap();
            let answer = tokio::time::timeout(Duration::from_millis(50), reader.next()).await;
            assert_eq!(answer.unwrap().unwrap(), ztsa_proto::capsule::Capsule::Data(Bytes::from_static(b"SELECT 1")));
        }
    }
}
