//! An issuer that misbehaves as issuers do: a clear word, nobody signed out, and all well when it is well again.

use std::time::Duration;

use ztsa_core::client::Client;
use ztsa_core::token::TokenError;
use ztsa_idp::{Endpoint, Fault};
use ztsa_net::clock::{Clock, ClockHand};

use crate::house::{House, approval};
use crate::patience::soon;
use crate::server::echo;

const FAULTS: [Fault; 5] =
    [Fault::Portal, Fault::TooManyRequests { retry_after: Some(7) }, Fault::Unavailable, Fault::Empty, Fault::Garbage];

/// A client whose clock the test holds, so that tokens end when it says so.
async fn signed_in(house: &House) -> (Client, ClockHand) {
    let mut config = house.config();
    let (clock, hand) = Clock::manual(Clock::system().now());
    config.clock = clock;
    let client = Client::open(config).await.unwrap();
    house.login(&client, "alice").await;
    (client, hand)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_issuer_signs_nobody_out() {
    let house = House::new(&[]).await;
    for fault in FAULTS {
        let (client, hand) = signed_in(&house).await;
        // the session and the issuer's token have both run out
        hand.advance(Duration::from_secs(11 * 60));
        house.dev.idp().faults().set(Endpoint::Token, fault);
        let error = soon("the failure", client.session()).await.unwrap_err();
        assert!(matches!(error, TokenError::Issuer(_)), "{fault:?}: {error:?}");
        let text = error.to_string();
        assert!(text.contains("the sign-in could not be prolonged"), "{fault:?}: {text}");
        assert!(text.contains("127.0.0.1"), "{fault:?} does not name the issuer: {text}");
        assert!(!error.hint().is_empty(), "{fault:?}");
        assert!(!error.hint().contains("ztsa login"), "{fault:?}: {}", error.hint());
        assert!(client.status().await.unwrap().sign_in.is_some(), "{fault:?} signed alice out");
        house.dev.idp().faults().clear_all();
        soon("the renewal", client.session()).await.unwrap_or_else(|error| panic!("after {fault:?}: {error}"));
        let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
        echo(&mut stream, "well again").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_live_tunnel_does_not_notice_a_failing_issuer() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    for endpoint in [Endpoint::Token, Endpoint::Jwks, Endpoint::Discovery, Endpoint::Userinfo] {
        house.dev.idp().faults().set(endpoint, Fault::Hang);
    }
    echo(&mut stream, "goes on").await;
    let mut new = soon("a new stream", client.connect("echo")).await.unwrap();
    echo(&mut new, "and another").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_survives_an_issuer_that_fails_for_a_while() {
    let house = House::new(&[]).await;
    let client = Client::open(house.config()).await.unwrap();
    for fault in [Fault::Portal, Fault::Unavailable, Fault::TooManyRequests { retry_after: Some(1) }] {
        house.dev.idp().faults().set_times(Endpoint::Token, fault, 1);
        house.login(&client, "alice").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_in_that_cannot_begin_says_what_is_in_the_way() {
    let house = House::new(&[]).await;
    let client = Client::open(house.config()).await.unwrap();
    for endpoint in [Endpoint::Discovery, Endpoint::Device] {
        for fault in FAULTS {
            house.dev.idp().faults().set(endpoint, fault);
            let (flow, _) = approval("alice");
            let error = soon("the failure", client.login(flow)).await.unwrap_err();
            let (text, hint) = (error.to_string(), error.hint());
            assert!(text.len() > 20 && !hint.is_empty(), "{endpoint:?} {fault:?}: {text}: {hint}");
            let word = match fault {
                Fault::Portal => "Welcome",
                Fault::TooManyRequests { .. } => "429",
                Fault::Unavailable => "503",
                _ => "",
            };
            assert!(text.contains(word), "{endpoint:?} {fault:?}: {text}");
        }
        house.dev.idp().faults().clear_all();
    }
    house.login(&client, "alice").await;
}
