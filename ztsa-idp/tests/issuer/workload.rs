use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use ztsa_idp::{Config, Workload};
use ztsa_proto::jws::Compact;

use crate::desk::{Desk, GATEWAY};

fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_job_gets_its_token_by_githubs_protocol_and_by_its_request_token_only() {
    let desk = Desk::with(|config| Config { workload: true, ..config }).await;
    let (url, request_token) = desk.idp.request_token();
    let url = format!("{url}&audience={GATEWAY}");
    let asked = desk.http.get(&url).bearer_auth(request_token.expose()).send().await.unwrap();
    assert_eq!(asked.status(), 200);
    let body: Value = serde_json::from_slice(&asked.bytes().await.unwrap()).unwrap();
    let token = body["value"].as_str().unwrap();
    let told = claims(token);
    assert_eq!((&told["iss"], &told["aud"]), (&desk.idp.issuer().into(), &GATEWAY.into()));
    assert_eq!(told["sub"], "repo:octo-org/octo-repo:ref:refs/heads/main");
    // it is signed by a published key
    let keys = desk.http.get(desk.at("/jwks")).send().await.unwrap().bytes().await.unwrap();
    let keys: Value = serde_json::from_slice(&keys).unwrap();
    let key = serde_json::from_value(keys["keys"][0].clone()).unwrap();
    Compact::parse(token).unwrap().verify(&key).unwrap();
    for refused in [desk.http.get(&url), desk.http.get(&url).bearer_auth("guess")] {
        assert_eq!(refused.send().await.unwrap().status(), 401);
    }
}

#[tokio::test]
async fn a_pod_gets_a_token_for_its_service_account() {
    let desk = Desk::with(|config| Config { workload: true, ..config }).await;
    let (_, request_token) = desk.idp.request_token();
    let url = desk.at(&format!("/workload/kubernetes?audience={GATEWAY}&namespace=billing&serviceaccount=nightly"));
    let asked = desk.http.get(url).bearer_auth(request_token.expose()).send().await.unwrap();
    let by_http = claims(&asked.text().await.unwrap());
    let pod = Workload::Kubernetes { namespace: "billing".into(), service_account: "nightly".into() };
    let by_hand = claims(desk.idp.workload_token(&pod, GATEWAY).unwrap().expose());
    for name in ["iss", "sub", "aud", "exp", "kubernetes.io"] {
        assert_eq!(by_http[name], by_hand[name], "{name}");
    }
    assert_eq!(by_http["sub"], "system:serviceaccount:billing:nightly");
}

#[tokio::test]
async fn nobody_gets_the_token_of_a_job_unless_the_issuer_was_started_for_it() {
    let desk = Desk::new().await;
    let (url, request_token) = desk.idp.request_token();
    let asked = desk.http.get(url).bearer_auth(request_token.expose()).send().await.unwrap();
    assert_eq!(asked.status(), 404);
}
