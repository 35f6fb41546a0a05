use serde_json::json;

use crate::desk::{Answer, Desk};

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_reuse_ends_the_family() {
    let desk = Desk::new().await;
    let first = desk.tokens().await;
    let second = desk.refresh(first.text("refresh_token")).await;
    assert_eq!(second.status, 200, "{second:?}");
    assert_ne!(first.text("refresh_token"), second.text("refresh_token"));
    assert_eq!(second.claims("id_token")["sub"], "alice");
    assert_eq!(second.claims("id_token")["auth_time"], first.claims("id_token")["auth_time"]);

    desk.refresh(first.text("refresh_token")).await.refused(400, "invalid_grant");
    desk.refresh(second.text("refresh_token")).await.refused(400, "invalid_grant");
    for tokens in [&first, &second] {
        assert_eq!(desk.introspect(tokens.text("access_token")).await, json!({ "active": false }));
    }
}

#[tokio::test]
async fn a_refresh_may_narrow_the_scope_but_not_widen_it() {
    let desk = Desk::new().await;
    let tokens = desk.tokens().await;
    let fields = |token, scope| {
        [("client_id", "ztsa-cli"), ("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)]
    };
    let wider = desk.post("/token", &fields(tokens.text("refresh_token"), "openid groups")).await;
    wider.refused(400, "invalid_scope");
    let narrower = desk.post("/token", &fields(tokens.text("refresh_token"), "email")).await;
    assert_eq!(narrower.text("scope"), "email");
    assert!(narrower.body.get("id_token").is_none());
    assert_eq!(narrower.claims("access_token").get("groups"), None);
    let full = desk.refresh(narrower.text("refresh_token")).await;
    assert_eq!(full.text("scope"), "openid profile email offline_access");
}

#[tokio::test]
async fn tokens_expire_by_the_clock() {
    let desk = Desk::new().await;
    let tokens = desk.tokens().await;
    desk.pass(599);
    assert_eq!(userinfo(&desk, tokens.text("access_token")).await.status, 200);
    desk.pass(1);
    let expired = userinfo(&desk, tokens.text("access_token")).await;
    expired.refused(401, "invalid_token");
    assert!(expired.headers["www-authenticate"].to_str().unwrap().starts_with("Bearer "));
    assert_eq!(desk.introspect(tokens.text("access_token")).await, json!({ "active": false }));
    desk.pass(30 * 24 * 3600);
    desk.refresh(tokens.text("refresh_token")).await.refused(400, "invalid_grant");
}

#[tokio::test]
async fn userinfo_tells_what_the_scope_allows() {
    let desk = Desk::new().await;
    let tokens = desk.tokens().await;
    let info = userinfo(&desk, tokens.text("access_token")).await;
    assert_eq!(
        info.body,
        json!({
            "sub": "alice", "name": "Alice", "preferred_username": "alice", "groups": ["dev"],
            "email": "alice@example.com", "email_verified": true,
        })
    );
    userinfo(&desk, tokens.text("id_token")).await.refused(401, "invalid_token");
    userinfo(&desk, "rubbish").await.refused(401, "invalid_token");
    desk.send(desk.http.get(desk.at("/userinfo"))).await.refused(401, "invalid_token");
}

#[tokio::test]
async fn introspection_is_for_clients_with_a_secret() {
    let desk = Desk::new().await;
    let tokens = desk.tokens().await;
    let told = desk.introspect(tokens.text("access_token")).await;
    assert_eq!(told["active"], true);
    assert_eq!((&told["sub"], &told["username"], &told["groups"]), (&json!("alice"), &json!("alice"), &json!(["dev"])));
    assert_eq!((&told["client_id"], &told["token_type"]), (&json!("ztsa-cli"), &json!("Bearer")));
    for token in ["rubbish", tokens.text("id_token"), tokens.text("refresh_token")] {
        assert_eq!(desk.introspect(token).await, json!({ "active": false }), "{token}");
    }
    let token = ("token", tokens.text("access_token"));
    desk.post("/introspect", &[token]).await.refused(400, "invalid_request");
    desk.post("/introspect", &[token, ("client_id", "ztsa-cli")]).await.refused(401, "invalid_client");
    let wrong = [token, ("client_id", "ztsa-gateway"), ("client_secret", "guess")];
    desk.post("/introspect", &wrong).await.refused(401, "invalid_client");
    let right = [token, ("client_id", "ztsa-gateway"), ("client_secret", "ztsa-gateway")];
    assert_eq!(desk.post("/introspect", &right).await.body["active"], true);
    let basic = desk.http.post(desk.at("/introspect")).basic_auth("ztsa-gateway", Some("guess")).form(&[token]);
    let refused = desk.send(basic).await;
    refused.refused(401, "invalid_client");
    assert!(refused.headers["www-authenticate"].to_str().unwrap().starts_with("Basic "));
}

#[tokio::test]
async fn revocation_ends_a_token_of_the_client_and_is_silent_about_others() {
    let desk = Desk::new().await;
    let tokens = desk.tokens().await;
    let revoke = async |client: &[(&str, &str)], token: &str| {
        let fields: Vec<_> = client.iter().copied().chain([("token", token)]).collect();
        assert_eq!(desk.post("/revoke", &fields).await.status, 200);
    };
    let (cli, gateway) =
        ([("client_id", "ztsa-cli")], [("client_id", "ztsa-gateway"), ("client_secret", "ztsa-gateway")]);
    revoke(&cli, "rubbish").await;
    revoke(&gateway, tokens.text("refresh_token")).await;
    revoke(&gateway, tokens.text("access_token")).await;
    assert_eq!(desk.introspect(tokens.text("access_token")).await["active"], true);

    revoke(&cli, tokens.text("access_token")).await;
    assert_eq!(desk.introspect(tokens.text("access_token")).await["active"], false);
    let next = desk.refresh(tokens.text("refresh_token")).await;
    assert_eq!(desk.introspect(next.text("access_token")).await["active"], true);

    revoke(&cli, next.text("refresh_token")).await;
    assert_eq!(desk.introspect(next.text("access_token")).await["active"], false);
    desk.refresh(next.text("refresh_token")).await.refused(400, "invalid_grant");
    desk.post("/revoke", &[("client_id", "nobody"), ("token", "x")]).await.refused(401, "invalid_client");
}

async fn userinfo(desk: &Desk, token: &str) -> Answer {
    desk.send(desk.http.get(desk.at("/userinfo")).bearer_auth(token)).await
}
