//! The gateway notices what is out of the ordinary by itself, and the person is told why.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpStream;
use ztsa_core::api::Api;
use ztsa_core::listener::event::Event;
use ztsa_proto::dpop::{self, ProofInput};
use ztsa_proto::jws::{self, SoftwareKey};

use crate::house::{Folder, House};
use crate::patience::soon;
use crate::server::{Server, pass};

const RULE: &str =
    "[risk]\ninterval = \"1s\"\n[risk.signals.grant.refused]\ncount = 4\nweight = 64\nhalf_life = \"60s\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tries_one_door_after_the_other_is_paused_with_the_reason_and_goes_on_when_it_has_faded() {
    let shop = Server::bind().await;
    let house = House::with(&[("shop", shop.port())], RULE).await;
    let (alice, bob) = (house.sign_in("alice").await, house.sign_in("bob").await);
    let forward = alice.forward("shop", "127.0.0.1:0").await.unwrap();
    let mut events = alice.events();
    let mut near = TcpStream::connect(forward.local_addr()).await.unwrap();
    let mut far = shop.accept().await;
    pass(&mut near, &mut far, "before").await;
    let mut his = soon("his stream", bob.connect("shop")).await.unwrap();
    let mut app_of_his = shop.accept().await;

    for door in ["payroll", "salaries", "hr", "db-backup"] {
        let refused = soon("the refusal", alice.grant(&door.parse().unwrap(), None)).await.unwrap_err();
        assert!(["policy.forbidden", "app.unknown"].contains(&refused.problem().unwrap().code.as_str()), "{door}");
    }
    let problem = soon("the pause", async {
        loop {
            if let Event::Suspended { problem, .. } = events.next().await.unwrap() {
                return problem;
            }
        }
    })
    .await;
    assert_eq!(problem.code, "risk.user");
    assert!(problem.to_string().contains("4 requests within 10m for what you may not open"), "{problem}");
    pass(&mut his, &mut app_of_his, "not his risk").await;

    // an administrator sees the signal, and so does she
    let shown = house.admin(json!({"op": "risk.show", "user": "alice"})).await;
    assert_eq!(shown["risk"][0]["signals"][0]["kind"], "grant.refused", "{shown:?}");
    let info = soon("the session", alice.refresh()).await.unwrap();
    assert!(info.risk.signals.iter().any(|signal| signal.kind == "grant.refused"), "{info:?}");
    house
        .audit("the signal in the audit log", |event| {
            event["status_code"] == "grant.refused" && event.to_string().contains("64 of 100: 4 requests within 10m")
        })
        .await;

    // some seconds later it has faded below the threshold, and the same tunnel goes on without a new sign-in
    soon("access to return", async { while !matches!(events.next().await.unwrap(), Event::Restored(_)) {} }).await;
    pass(&mut near, &mut far, "after").await;
}

/// Waits until a signal of this kind stands for the session, its person or its device.
async fn noticed(api: &Api, kind: &str) {
    soon(kind, async {
        while !api.session().await.unwrap().risk.signals.iter().any(|signal| signal.kind == kind) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_tokens_and_requests_sent_again_are_noticed_by_the_device_s_key() {
    let house = House::new(&[]).await;
    let (tokens, session) = house.tokens("alice").await;
    let (api, key, web) = (Api::new(tokens.clone()), tokens.key(), house.web());
    let [exchange, about] = ["token", "session"].map(|path| format!("{}/ztsa/v1/{path}", house.dev.url()));
    let proof = |method: &str, url: &str, access_token: Option<&str>, nonce: &str| {
        let input = ProofInput { method, url, access_token, nonce: Some(nonce), at: tokens.now() };
        dpop::proof(&*key, &input).unwrap()
    };
    let answer = soon("a nonce", web.post(&exchange).send()).await.unwrap();
    let nonce = answer.headers()["dpop-nonce"].to_str().unwrap().to_owned();
    assert!(api.session().await.unwrap().risk.signals.is_empty());

    let claims = json!({"iss": "https://elsewhere.example", "sub": "alice", "aud": "x", "exp": 1});
    let header = json!({"typ": "at+jwt", "alg": "ES256", "kid": "k"});
    let forged = jws::sign(&SoftwareKey::generate().unwrap(), &header, &claims).unwrap();
    let body = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token={forged}\
         &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
    );
    for _ in 0..5 {
        let request = web.post(&exchange).header("DPoP", proof("POST", &exchange, None, &nonce)).body(body.clone());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        let answer = soon("the refusal", request.send()).await.unwrap();
        assert_eq!(answer.status(), 400, "{:?}", answer.text().await);
    }
    noticed(&api, "login.failed").await;

    let token = session.token.expose();
    for _ in 0..3 {
        let proof = proof("GET", &about, Some(token), &nonce);
        for status in [200, 401] {
            let request = web.get(&about).header("DPoP", &proof).header("authorization", format!("DPoP {token}"));
            assert_eq!(soon("the answer", request.send()).await.unwrap().status(), status);
        }
    }
    noticed(&api, "dpop.replay").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_to_a_destination_of_ill_repute_is_noticed_when_it_is_dialled() {
    let (shop, folder) = (Server::bind().await, Folder::new());
    std::fs::write(folder.join("bad.txt"), "bad.example\n").unwrap();
    let config = format!(
        "[risk]\ndestinations = [{:?}]\n[[app]]\nname = \"shop\"\nkind = \"tcp\"\ntarget = \"127.0.0.1:{}\"\n\
         hosts = [\"bad.example\"]\ntags = [\"sample\"]\n",
        folder.join("bad.txt"),
        shop.port()
    );
    let house = House::with(&[], &config).await;
    let client = house.sign_in("alice").await;
    let _stream = soon("a stream", client.connect("shop")).await.unwrap();
    let listed =
        |event: &Value| event["status_code"] == "destination.listed" && event.to_string().contains("bad.example");
    house.audit("the signal", listed).await;
    let info = soon("the session", client.refresh()).await.unwrap();
    assert!(info.risk.signals.iter().any(|signal| signal.kind == "destination.listed"), "{info:?}");
}
