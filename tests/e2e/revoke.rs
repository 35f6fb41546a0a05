//! An administrator revokes: exactly what is named ends, never as if all was well.

use serde_json::json;
use ztsa_core::client::ConnectError;
use ztsa_core::listener::event::Event;

use crate::house::House;
use crate::local::all_ways;
use crate::patience::soon;
use crate::server::{Server, echo, pass, reset};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_tunnel_is_reset_at_both_ends_whatever_way_it_came() {
    let shop = Server::bind().await;
    let house = House::site("shop", shop.port()).await;
    let client = house.sign_in("alice").await;
    for way in all_ways(&client, "shop").await {
        let mut events = client.events();
        let (mut near, mut far) = way.meet("shop", &shop).await;
        // no word that a method could be: the port of a web app waits for the rest of a request
        pass(&mut near, &mut far, "(before)").await;
        pass(&mut far, &mut near, "before").await;
        let order = json!({"op": "sessions.revoke", "app": "shop", "reason": "the shop is closed"});
        assert_eq!(house.admin(order).await["tunnels"], 1, "{}", way.name());
        reset(&mut near).await;
        reset(&mut far).await;
        drop(near);
        let reason = soon("the reason", async {
            loop {
                match events.next().await.unwrap() {
                    Event::Ended { connection, problem, .. } if connection.way.as_str() == way.name() => {
                        return problem.unwrap();
                    }
                    _ => {}
                }
            }
        });
        let reason = reason.await;
        assert!(reason.to_string().contains("the shop is closed"), "{}: {reason}", way.name());
        // the sessions stay: the app opens again at once
        let (mut near, mut far) = way.meet("shop", &shop).await;
        pass(&mut near, &mut far, "(after)").await;
        drop((near, far));
        house.tunnels(0).await;
    }
    house.audit("the revoked end", |line| line["status_code"] == "session.revoked").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_person_who_is_named_loses_their_tunnels_and_has_to_sign_in_again() {
    let house = House::new(&[]).await;
    let (alice, bob) = (house.sign_in("alice").await, house.sign_in("bob").await);
    let mut hers = soon("a stream", alice.connect("echo")).await.unwrap();
    let mut his = soon("a stream", bob.connect("echo")).await.unwrap();
    echo(&mut hers, "hers").await;
    echo(&mut his, "his").await;
    house.admin(json!({"op": "sessions.revoke", "user": "alice", "reason": "she left"})).await;
    reset(&mut hers).await;
    echo(&mut his, "still his").await;
    assert!(hers.ended().unwrap().to_string().contains("she left"));
    let refused = soon("the refusal", alice.connect("echo:1")).await.unwrap_err();
    assert_eq!(refused.retry(), ztsa_proto::problem::Retry::AfterLogin, "{refused}");
    assert!(refused.hint().contains("ztsa login"), "{}", refused.hint());
    // another sign-in helps, and the same device is known again
    house.login(&alice, "alice").await;
    let mut again = soon("a stream", alice.connect("echo")).await.unwrap();
    echo(&mut again, "again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_session_of_two_ends_alone() {
    let house = House::new(&[]).await;
    let (laptop, phone) = (house.sign_in("alice").await, house.sign_in("alice").await);
    let mut first = soon("a stream", laptop.connect("echo")).await.unwrap();
    let mut second = soon("a stream", phone.connect("echo")).await.unwrap();
    let session = laptop.session().await.unwrap().info.session.to_string();
    let answer = house.admin(json!({"op": "sessions.revoke", "session": session, "reason": "one is enough"})).await;
    assert_eq!((&answer["sessions"], &answer["tunnels"]), (&json!(1), &json!(1)));
    reset(&mut first).await;
    echo(&mut second, "the other goes on").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_device_is_out_until_it_is_approved() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let device = client.session().await.unwrap().info.device.id.to_string();
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    house.admin(json!({"op": "devices.block", "device": device})).await;
    reset(&mut stream).await;
    let refused = soon("the refusal", client.connect("echo:1")).await.unwrap_err();
    let problem = refused.problem().unwrap_or_else(|| panic!("{refused}"));
    assert_eq!(problem.code, "device.blocked");
    assert!(problem.remedy.is_some());
    house.admin(json!({"op": "devices.approve", "device": device})).await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "in again, without a new login").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signing_out_ends_what_is_open() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "hello").await;
    let ended = soon("the sign-out", client.logout()).await.unwrap();
    assert!(ended.was_signed_in && ended.gateway.is_ok() && matches!(ended.issuer, Ok(true)), "{ended:?}");
    reset(&mut stream).await;
    let refused = soon("the refusal", client.connect("echo")).await.unwrap_err();
    assert!(
        matches!(&refused, ConnectError::Apps(error) if error.to_string().contains("nobody is signed in")),
        "{refused}"
    );
    house.tunnels(0).await;
}
