//! Who is who: several issuers at one gateway, jobs, and the list of devices.

use reqwest::StatusCode;
use serde_json::{Value, json};
use ztsa_core::http::Http;
use ztsa_core::login::Demand;
use ztsa_core::store::Store;
use ztsa_core::token::{LoginOptions, SessionToken, Tokens};
use ztsa_idp::{Config, Idp, User};
use ztsa_net::clock::Clock;
use ztsa_proto::dpop::{self, ProofInput};
use ztsa_proto::jws::{self, Signer as _, SoftwareKey};
use ztsa_proto::session::{JWT, TOKEN_EXCHANGE};

use crate::house::{Folder, House, approval, write_policy};
use crate::patience::soon;
use crate::server::{Server, echo, pass, reset};

/// Signs in at one of the gateway's issuers.
async fn sign_in(house: &House, name: &str, issuer: &str) -> (Tokens, std::sync::Arc<SessionToken>) {
    let config = house.config();
    let (http, store) = (Http::new(&config).unwrap(), Store::open(&config).unwrap());
    let tokens = Tokens::open(config, http, store).await.unwrap();
    let (flow, approved) = approval(name);
    let options = LoginOptions { issuer: Some(issuer.to_owned()), ..LoginOptions::default() };
    let (session, _) = soon("the sign-in", async { tokio::join!(tokens.login(flow, options), approved) }).await;
    (tokens, session.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_subject_at_two_issuers_is_two_people() {
    let audience = "https://two.example";
    let users = vec![User::new("alice", &["ops"])];
    let config = Config { audiences: vec![audience.to_owned()], users, ..Config::default() };
    let second = Idp::spawn(config).await.unwrap();
    let table = format!(
        "[[issuer]]\nname = \"two\"\nissuer = \"{}\"\nclient_id = \"ztsa-cli\"\naudiences = [\"{audience}\"]\n\
         resource = \"{audience}\"\nscopes = [\"openid\", \"profile\", \"email\", \"groups\", \"offline_access\"]\n",
        second.issuer()
    );
    let house = House::with(&[], &table).await;
    let (one, first) = sign_in(&house, "alice", "dev").await;
    let (two, other) = sign_in(&house, "alice", "two").await;
    let (first, other) = (&first.info, &other.info);
    assert_eq!((first.user.subject.as_str(), other.user.subject.as_str()), ("alice", "alice"));
    assert_eq!((first.user.issuer.as_str(), other.user.issuer.as_str()), (house.dev.issuer(), second.issuer()));
    assert_eq!(
        (first.user.groups.as_slice(), other.user.groups.as_slice()),
        (&["dev".to_owned()][..], &["ops".to_owned()][..])
    );
    let guess = house.try_admin(json!({"op": "sessions.revoke", "user": "alice"})).await.unwrap_err();
    assert!(guess.to_string().contains(second.issuer()), "never a guess: {guess}");
    let whole = format!("{}|alice", second.issuer());
    let revoked = house.admin(json!({"op": "sessions.revoke", "user": whole})).await;
    assert_eq!(revoked["sessions"], json!(1));
    let listed = house.admin(json!({"op": "sessions.list"})).await;
    let left: Vec<&Value> = listed["sessions"].as_array().unwrap().iter().map(|session| &session["session"]).collect();
    assert_eq!(left, [&json!(first.session)], "the other alice is not concerned");
    drop((one, two));
}

/// Exchanges a job's token for a session, as any program could.
async fn exchange(house: &House, key: &SoftwareKey, jwt: &str) -> (StatusCode, Value) {
    let (web, url) = (house.web(), format!("{}/ztsa/v1/token", house.dev.url()));
    let form = [("grant_type", TOKEN_EXCHANGE), ("subject_token_type", JWT), ("subject_token", jwt)];
    let mut nonce: Option<String> = None;
    loop {
        let input = ProofInput {
            method: "POST",
            url: &url,
            access_token: None,
            nonce: nonce.as_deref(),
            at: Clock::system().now(),
        };
        let proof = dpop::proof(key, &input).unwrap();
        let answer = soon("the answer", web.post(&url).header("DPoP", proof).form(&form).send()).await.unwrap();
        let status = answer.status();
        let next = answer.headers()["dpop-nonce"].to_str().unwrap().to_owned();
        let body: Value = answer.json().await.unwrap();
        if body["error"] != "use_dpop_nonce" || nonce.is_some() {
            return (status, body);
        }
        nonce = Some(next);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_gets_in_with_its_platform_s_token_and_nobody_else_with_a_copy() {
    let (folder, platform) = (Folder::new(), SoftwareKey::generate().unwrap());
    let mut jwk = serde_json::to_value(platform.public_key()).unwrap();
    jwk["kid"] = json!("k");
    let file = folder.join("jwks.json");
    std::fs::write(&file, json!({"keys": [jwk]}).to_string()).unwrap();
    let issuer = "https://cluster.example";
    let table = format!(
        "[[workload]]\nname = \"cluster\"\nissuer = \"{issuer}\"\njwks_file = \"{}\"\ngroups = [\"dev\"]\n\
         [workload.match]\n\"kubernetes.io.namespace\" = \"ci\"\n",
        file.display()
    );
    let house = House::with(&[], &table).await;
    let metadata: Value = {
        let url = format!("{}/.well-known/oauth-protected-resource", house.dev.url());
        soon("the metadata", house.web().get(url).send()).await.unwrap().json().await.unwrap()
    };
    let told = &metadata["ztsa"]["workload"];
    assert_eq!(told, &json!([{"name": "cluster", "issuer": issuer, "audience": house.dev.url()}]));
    let now = Clock::system().now().0;
    let token = |namespace: &str| {
        let claims = json!({
            "iss": issuer, "aud": [house.dev.url()], "sub": format!("system:serviceaccount:{namespace}:runner"),
            "iat": now, "nbf": now, "exp": now + 3600,
            "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": "runner"}},
        });
        jws::sign(&platform, &json!({"alg": "ES256", "kid": "k"}), &claims).unwrap()
    };
    let (own, thief) = (SoftwareKey::generate().unwrap(), SoftwareKey::generate().unwrap());
    let jwt = token("ci");
    let (status, body) = exchange(&house, &own, &jwt).await;
    assert_eq!((status, &body["token_type"]), (StatusCode::OK, &json!("DPoP")), "{body}");
    let info = &body["ztsa"];
    assert_eq!((&info["user"]["name"], &info["user"]["groups"]), (&json!("cluster"), &json!(["dev"])));
    let lasts = info["renew_before"].as_u64().unwrap() - now;
    assert!((3590..=3610).contains(&lasts), "a job's session lasts an hour: {lasts}");
    let (status, body) = exchange(&house, &thief, &jwt).await;
    assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")), "{body}");
    let line = house
        .audit("the copied token", |line| {
            line["status"] == "Failure" && line["message"].as_str().is_some_and(|text| text.contains("another device"))
        })
        .await;
    assert_eq!(line["device"]["uid"], json!(thief.public_key().thumbprint()));
    assert_eq!(line["user"]["uid"], json!(format!("{issuer}|system:serviceaccount:ci:runner")));
    let (status, body) = exchange(&house, &thief, &token("prod")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["detail"].as_str().unwrap().contains("`kubernetes.io.namespace` is \"prod\""), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_is_registered_recognised_blocked_and_leaves_a_line() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    soon("the report", client.posture()).await.unwrap();
    let listed = house.admin(json!({"op": "devices.list"})).await;
    let [device] = listed["devices"].as_array().unwrap().as_slice() else { panic!("{listed:?}") };
    assert_eq!((&device["state"], &device["name"]), (&json!("unmanaged"), &json!("Alice")));
    assert!(device["os"].as_str().is_some_and(|os| !os.is_empty()), "{device}");
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "before").await;
    house.admin(json!({"op": "devices.block", "device": device["device"]})).await;
    reset(&mut stream).await;
    assert!(soon("the refusal", client.connect("echo:1")).await.is_err());
    let line = house
        .audit("a blocked device's request", |line| {
            line["status_code"] == "device.blocked" && line["message"] == "a request of a blocked device was refused"
        })
        .await;
    assert_eq!(line["device"]["uid"], device["device"]);
    assert_eq!(line["user"]["uid"], json!(format!("{}|alice", house.dev.issuer())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_for_a_stronger_sign_in_goes_on_with_it() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let before = client.session().await.unwrap();
    let mut near = soon("a stream", client.connect("shop")).await.unwrap();
    let mut far = shop.accept().await;
    pass(&mut near, &mut far, "before").await;
    write_policy(
        &house.policies(),
        "second.cedar",
        "@id(\"second-factor\")\n@step_up(\"mfa\")\n@on_change(\"suspend\")\n\
         forbid (principal, action, resource == App::\"shop\") unless { context.auth.acr == \"mfa\" };\n",
    );
    let reloaded = house.admin(json!({"op": "policy.reload"})).await;
    assert_eq!(reloaded["tunnels"]["suspended"], json!(1));
    let (flow, approved) = approval("alice");
    let flow = flow.demand(Demand { acr_values: Some("mfa".to_owned()), ..Demand::default() });
    let (after, _) = soon("the sign-in", async { tokio::join!(client.login(flow), approved) }).await;
    let after = after.unwrap();
    assert_eq!(after.info.session, before.info.session, "the session goes on");
    assert!(after.info.renew_before >= before.info.renew_before);
    pass(&mut near, &mut far, "after").await;
    pass(&mut far, &mut near, "both ways").await;
}
