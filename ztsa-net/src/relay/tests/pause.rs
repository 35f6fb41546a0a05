use tokio::sync::mpsc;
use ztsa_proto::capsule::Capsule;

use super::*;

/// A tunnel whose client lets `window` bytes of each tunnel come, and another number later when it is given one.
async fn narrow(window: u32) -> (Tunnel, mpsc::Sender<u32>) {
    let scope = Scope::new();
    let (near, far) = tokio::io::duplex(1 << 20);
    let mut builder = http2::client();
    builder.initial_window_size(window);
    let (mut server, (client, mut connection)) =
        tokio::try_join!(http2::server().handshake::<_, Bytes>(far), builder.handshake::<_, Bytes>(near)).unwrap();
    let (widen, mut wider) = mpsc::channel(1);
    scope.spawn(async move {
        tokio::select! {
            _ = &mut connection => return,
            Some(window) = wider.recv() => connection.set_initial_window_size(window).unwrap(),
        }
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
    let tunnel = Tunnel {
        client: (TunnelSend::new(client_send, Framing::Capsules), TunnelRecv::new(client_recv, Framing::Capsules)),
        gateway: (TunnelSend::new(gateway_send, Framing::Capsules), TunnelRecv::new(gateway_recv, Framing::Capsules)),
        _scope: scope,
    };
    (tunnel, widen)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_owed_one_word_however_often_access_changes() {
    let [odd, weak] = ["risk.user", "posture.disk_encryption"].map(|code| Arc::new(problem::new(code)));
    let pause = |problem: &Arc<Problem>| Notice::Suspend(Box::new(Problem::clone(problem)));
    let second = Duration::from_secs(1);
    let paused = Access::Suspended(weak.clone());
    for (window, last, owed) in [
        (0, paused.clone(), vec![pause(&weak)]),
        // that it is over is told all the same: the client may have heard of it from the stream of events
        (0, Access::Open, vec![Notice::Resume]),
        // the first word is on its way; what came after it counts once
        (64, paused, vec![pause(&odd), pause(&weak)]),
        (64, Access::Open, vec![pause(&odd), Notice::Resume]),
    ] {
        let (tunnel, widen) = narrow(window).await;
        let (_app, remote) = tokio::io::duplex(4096);
        let (access, receiver) = watch::channel(Access::Open);
        let (_send, mut recv) = tunnel.client;
        let at_gateway = Traffic::default();
        let mut notices = Vec::new();
        tokio::select! {
            end = run(remote, tunnel.gateway, Authority::Own(receiver), &at_gateway) => panic!("{end}"),
            () = async {
                for _ in 0..200 {
                    access.send_replace(Access::Suspended(Arc::clone(&odd)));
                    tokio::time::sleep(second).await;
                    access.send_replace(Access::Open);
                    tokio::time::sleep(second).await;
                }
                access.send_replace(last);
                tokio::time::sleep(second).await;
                widen.send(1 << 20).await.unwrap();
                while let Ok(next) = tokio::time::timeout(60 * second, recv.next()).await {
                    let Ok(Capsule::Notice(notice)) = next else { panic!("{next:?}") };
                    notices.push(notice);
                }
            } => {}
        }
        assert!(notices == owed, "a window of {window}: {} notices, {:?}", notices.len(), notices.last());
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_no_silence_of_a_half_closed_relay() {
    let tunnel = tunnel(Framing::Capsules).await;
    let (mut program, local) = tokio::io::duplex(4096);
    let (mut app, remote) = tokio::io::duplex(4096);
    let (access, receiver) = watch::channel(Access::Open);
    let (at_client, at_gateway) = (Traffic::default(), Traffic::default());
    let mut ignore = |_: &Notice| {};
    let minutes = |minutes: u64| tokio::time::sleep(Duration::from_secs(60 * minutes));
    let (client, gateway, ()) = tokio::join!(
        run(local, tunnel.client, Authority::Peer(&mut ignore), &at_client),
        run(remote, tunnel.gateway, Authority::Own(receiver), &at_gateway),
        async {
            program.shutdown().await.unwrap();
            minutes(1).await;
            access.send_replace(Access::Suspended(Arc::new(problem::new("risk.user"))));
            minutes(70).await;
            access.send_replace(Access::Open);
            minutes(29).await;
            app.write_all(b"late").await.unwrap();
            app.shutdown().await.unwrap();
            let mut answer = Vec::new();
            program.read_to_end(&mut answer).await.unwrap();
            assert_eq!(answer, b"late");
        }
    );
    assert!(matches!(client, End::Finished), "{client}");
    assert!(matches!(gateway, End::Finished), "{gateway}");
}
