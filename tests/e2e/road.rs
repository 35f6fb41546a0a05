//! The road of a connection: sign in, see the apps, reach one by every way, end it in order.

use tokio::io::AsyncWriteExt as _;
use ztsa_core::client::Client;
use ztsa_core::listener::event::Event;
use ztsa_proto::app::AccessState;

use crate::house::House;
use crate::local::ways;
use crate::patience::soon;
use crate::server::{Server, echo, pass, rest, take};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_signs_in_by_a_code_and_sees_their_apps() {
    let house = House::new(&[]).await;
    let client = Client::open(house.config()).await.unwrap();
    let nobody = client.session().await.unwrap_err();
    assert!(nobody.to_string().contains("nobody is signed in"), "{nobody}");
    let prompt = house.login(&client, "alice").await;
    assert!(prompt.verification_uri.starts_with(house.dev.issuer()), "{prompt:?}");
    assert_eq!(prompt.user_code.len(), 9, "{prompt:?}");
    let session = client.session().await.unwrap();
    assert_eq!(session.info.user.email.as_deref(), Some("alice@example.com"));
    assert_eq!(session.info.user.groups, ["dev"]);
    let apps = soon("the apps", client.apps()).await.unwrap().apps;
    let state = |name: &str| apps.iter().find(|app| app.name.as_str() == name).map(|app| app.access.state);
    assert_eq!(state("echo"), Some(AccessState::Open));
    assert_eq!(state("wiki"), Some(AccessState::Open));
    assert_eq!(state("payroll"), Some(AccessState::Denied));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_is_reached_by_every_way() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    for way in ways(&client, "echo").await {
        let mut stream = way.open("echo").await;
        echo(&mut stream, &format!("by {}\n", way.name())).await;
        stream.shutdown().await.unwrap();
        assert_eq!(rest(&mut stream).await, "", "{}", way.name());
    }
    house.tunnels(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_direction_ends_by_itself_and_every_byte_is_counted() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    for way in ways(&client, "shop").await {
        for app_ends_first in [false, true] {
            let mut events = client.events();
            let mut near = way.open("shop").await;
            let mut far = shop.accept().await;
            let name = format!("{}, app ends first: {app_ends_first}", way.name());
            if app_ends_first {
                pass(&mut far, &mut near, "a greeting").await;
                far.shutdown().await.unwrap();
                assert_eq!(rest(&mut near).await, "", "{name}");
                pass(&mut near, &mut far, "and still a question").await;
                near.shutdown().await.unwrap();
                assert_eq!(rest(&mut far).await, "", "{name}");
            } else {
                near.write_all(b"and still a question").await.unwrap();
                near.shutdown().await.unwrap();
                assert_eq!(rest(&mut far).await, "and still a question", "{name}");
                pass(&mut far, &mut near, "a greeting").await;
                far.shutdown().await.unwrap();
                assert_eq!(rest(&mut near).await, "", "{name}");
            }
            drop(near);
            let counted = soon("the end of the connection", async {
                loop {
                    match events.next().await.unwrap() {
                        Event::Ended { sent, received, problem, .. } => return (sent, received, problem.is_none()),
                        _ => continue,
                    }
                }
            });
            assert_eq!(counted.await, (20, 10, true), "{name}");
        }
    }
    house.tunnels(0).await;
    let end = house.audit("an end with its traffic", |line| line["traffic"]["bytes_out"] == 20).await;
    assert_eq!(end["traffic"]["bytes_in"], 10, "{end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_streams_go_both_ways_at_once_and_arrive_whole() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let sent: String = (0..1_000_000).map(|number| format!("{number:07}\n")).collect();
    let forward = client.forward("shop", "127.0.0.1:0").await.unwrap();
    let near = tokio::net::TcpStream::connect(forward.local_addr()).await.unwrap();
    let far = shop.accept().await;
    let ((mut near_read, mut near_write), (mut far_read, mut far_write)) = (near.into_split(), far.into_split());
    let ask = async {
        near_write.write_all(sent.as_bytes()).await.unwrap();
        near_write.shutdown().await.unwrap();
    };
    let answer = async {
        far_write.write_all(sent.as_bytes()).await.unwrap();
        far_write.shutdown().await.unwrap();
    };
    let all = async { tokio::join!(ask, answer, rest(&mut far_read), rest(&mut near_read)) };
    let ((), (), there, back) = soon("both streams", all).await;
    assert!(there == sent, "what arrived at the app differs");
    assert!(back == sent, "what came back differs");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_crashes_resets_the_app_too() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let mut near = soon("the stream", client.connect("shop")).await.unwrap();
    let mut far = shop.accept().await;
    near.write_all(b"half a").await.unwrap();
    assert_eq!(take(&mut far, 6).await, "half a");
    drop(near);
    crate::server::reset(&mut far).await;
    house.tunnels(0).await;
}
