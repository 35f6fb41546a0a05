use serde_json::json;
use ztsa_idp::Config;
use ztsa_idp::person::Person;
use ztsa_proto::jws::{Signer as _, SoftwareKey};

use crate::desk::{ALL, DEVICE_CODE, Desk};

async fn approving() -> Desk {
    Desk::with(|config| Config { approve: Some("alice".into()), ..config }).await
}

fn poll(code: &str) -> [(&str, &str); 3] {
    [("client_id", "ztsa-cli"), ("grant_type", DEVICE_CODE), ("device_code", code)]
}

fn refresh(token: &str) -> [(&str, &str); 3] {
    [("client_id", "ztsa-cli"), ("grant_type", "refresh_token"), ("refresh_token", token)]
}

#[tokio::test]
async fn a_proof_binds_access_and_refresh_token_to_its_key() {
    let desk = approving().await;
    let (key, other) = (SoftwareKey::generate().unwrap(), SoftwareKey::generate().unwrap());
    let started = desk.device().await;
    let tokens = desk.post_with(&key, "/token", &poll(started.text("device_code"))).await;
    assert_eq!((tokens.status, tokens.text("token_type")), (200, "DPoP"));
    let jkt = key.public_key().thumbprint().to_string();
    assert_eq!(tokens.claims("access_token")["cnf"], json!({ "jkt": jkt }));
    assert_eq!(desk.introspect(tokens.text("access_token")).await["cnf"], json!({ "jkt": jkt }));

    let token = tokens.text("refresh_token");
    desk.post("/token", &refresh(token)).await.refused(400, "invalid_grant");
    desk.post_with(&other, "/token", &refresh(token)).await.refused(400, "invalid_grant");
    let next = desk.post_with(&key, "/token", &refresh(token)).await;
    assert_eq!((next.status, next.text("token_type")), (200, "DPoP"), "a wrong key must not end the family");
}

#[tokio::test]
async fn a_code_asked_for_with_a_key_is_redeemed_with_that_key_only() {
    let desk = Desk::new().await;
    let (key, other) = (SoftwareKey::generate().unwrap(), SoftwareKey::generate().unwrap());
    let fields = [("client_id", "ztsa-cli"), ("scope", ALL)];
    let started = desk.post_with(&key, "/device_authorization", &fields).await;
    Person::new("alice", "alice").approve(started.text("verification_uri_complete")).await.unwrap();
    let fields = poll(started.text("device_code"));
    desk.post("/token", &fields).await.refused(400, "invalid_grant");
    desk.post_with(&other, "/token", &fields).await.refused(400, "invalid_grant");
    assert_eq!(desk.post_with(&key, "/token", &fields).await.status, 200);
}

#[tokio::test]
async fn a_bad_proof_is_refused_and_uses_nothing_up() {
    let desk = approving().await;
    let key = SoftwareKey::generate().unwrap();
    let started = desk.device().await;
    let fields = poll(started.text("device_code"));
    let send = async |proofs: &[String]| {
        let request = desk.http.post(desk.at("/token")).form(&fields);
        let request = proofs.iter().fold(request, |request, proof| request.header("DPoP", proof));
        desk.send(request).await
    };
    let good = || desk.proof(&key, "POST", "/token", None, None);
    let early = good();
    desk.pass(61);
    let table = [
        ("rubbish", vec!["rubbish".to_owned()]),
        ("another method", vec![desk.proof(&key, "GET", "/token", None, None)]),
        ("another address", vec![desk.proof(&key, "POST", "/userinfo", None, None)]),
        ("too old", vec![early]),
        ("two proofs", vec![good(), good()]),
        ("a nonce that is not ours", vec![desk.proof(&key, "POST", "/token", None, Some("made-up"))]),
    ];
    for (case, proofs) in table {
        let answer = send(&proofs).await;
        let error = if case.contains("nonce") { "use_dpop_nonce" } else { "invalid_dpop_proof" };
        assert_eq!((answer.status, answer.text("error")), (400, error), "{case}: {answer:?}");
    }
    let proof = good();
    assert_eq!(send(std::slice::from_ref(&proof)).await.status, 200);
    send(&[proof]).await.refused(400, "invalid_dpop_proof");
}

#[tokio::test]
async fn a_demanded_nonce_is_handed_out_and_good_for_a_while() {
    let desk = Desk::with(|config| Config { approve: Some("alice".into()), dpop_nonce: true, ..config }).await;
    let key = SoftwareKey::generate().unwrap();
    let started = desk.device().await;
    let fields = poll(started.text("device_code"));
    let refused = desk.post_with(&key, "/token", &fields).await;
    refused.refused(400, "use_dpop_nonce");
    let nonce = refused.headers["dpop-nonce"].to_str().unwrap().to_owned();

    desk.pass(119);
    let proof = desk.proof(&key, "POST", "/token", None, Some(&nonce));
    let tokens = desk.send(desk.http.post(desk.at("/token")).header("DPoP", proof).form(&fields)).await;
    assert_eq!(tokens.status, 200, "{tokens:?}");
    assert!(tokens.headers.contains_key("dpop-nonce"));

    desk.pass(240);
    let token = tokens.text("access_token");
    let proof = desk.proof(&key, "GET", "/userinfo", Some(token), Some(&nonce));
    let request = desk.http.get(desk.at("/userinfo")).header("Authorization", format!("DPoP {token}"));
    let refused = desk.send(request.header("DPoP", proof)).await;
    refused.refused(401, "use_dpop_nonce");
    assert!(refused.headers["www-authenticate"].to_str().unwrap().starts_with("DPoP "));
    assert!(refused.headers.contains_key("dpop-nonce"));
}

#[tokio::test]
async fn a_bound_token_is_worth_nothing_without_its_key() {
    let desk = approving().await;
    let (key, other) = (SoftwareKey::generate().unwrap(), SoftwareKey::generate().unwrap());
    let started = desk.device().await;
    let tokens = desk.post_with(&key, "/token", &poll(started.text("device_code"))).await;
    let token = tokens.text("access_token");
    let ask = async |scheme: &str, proof: Option<String>| {
        let request = desk.http.get(desk.at("/userinfo")).header("Authorization", format!("{scheme} {token}"));
        let request = proof.into_iter().fold(request, |request, proof| request.header("DPoP", proof));
        desk.send(request).await
    };
    let proof = |key, token| Some(desk.proof(key, "GET", "/userinfo", token, None));
    ask("Bearer", None).await.refused(401, "invalid_token");
    ask("Bearer", proof(&key, Some(token))).await.refused(401, "invalid_token");
    ask("DPoP", None).await.refused(401, "invalid_dpop_proof");
    ask("DPoP", proof(&key, None)).await.refused(401, "invalid_dpop_proof");
    ask("DPoP", proof(&key, Some("another"))).await.refused(401, "invalid_dpop_proof");
    ask("DPoP", proof(&other, Some(token))).await.refused(401, "invalid_token");
    assert_eq!(ask("DPoP", proof(&key, Some(token))).await.body["sub"], "alice");
}
