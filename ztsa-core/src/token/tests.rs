mod stage;

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use serde_json::json;

use self::stage::{NOW, Stage};
use super::*;
use crate::http::script::Reply;

#[tokio::test]
async fn a_sign_in_gives_a_session_that_the_next_process_adopts() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    assert!(matches!(tokens.session().await, Err(TokenError::LoginRequired(LoginReason::Never))));
    let session = stage.sign_in(&tokens).await.unwrap();
    assert_eq!((session.token.expose().as_str(), session.info.user.subject.as_str()), ("session-1", "alice"));
    let next = stage.process().await;
    assert_eq!(next.session().await.unwrap().token, session.token);
    assert_eq!(next.device(), tokens.device());
    assert_eq!(stage.count("/ztsa/v1/token"), 1, "the next process asks nobody");
    let status = next.status().await.unwrap();
    assert_eq!((status.store.to_string(), status.sign_in.unwrap().renewable), ("file".to_owned(), true));
    let exchange = stage.last("/ztsa/v1/token");
    assert_eq!(exchange.field("subject_token").as_deref(), Some("access-1"));
    assert_eq!(exchange.field("id_token").as_deref(), Some("a.b.c"));
    assert!(exchange.field("session").is_none());
    let name = crate::posture::device_name(&crate::posture::Sys::this());
    assert_eq!(exchange.field("device_name"), name, "by which an administrator recognises the device");
    let report = ztsa_proto::posture::check(
        &exchange.field("posture").unwrap(),
        &ztsa_proto::posture::Expected {
            audience: &stage.url(),
            device: &tokens.device(),
            now: NOW,
            skew: Duration::from_secs(60),
        },
    );
    let ids: Vec<String> = report.unwrap().report.checks.into_iter().map(|check| check.id).collect();
    assert_eq!(ids, ["os.kernel", "disk.root"], "only what the gateway asked for");
}

#[tokio::test]
async fn two_hundred_callers_in_two_processes_cause_one_refresh_and_one_exchange() {
    let stage = Stage::new().await;
    let first = stage.process().await;
    stage.sign_in(&first).await.unwrap();
    let second = stage.process().await;
    stage.advance(900);
    let calls = (0..200).map(|number| if number % 2 == 0 { first.session() } else { second.session() });
    let sessions = try_join_all(calls).await.unwrap();
    assert!(sessions.iter().all(|session| session.token.expose() == "session-2"));
    assert_eq!((stage.count("/refresh"), stage.count("/ztsa/v1/token")), (1, 2));
    assert_eq!(stage.last("/ztsa/v1/token").field("subject_token").as_deref(), Some("access-2"));
    assert_eq!(stage.last("/ztsa/v1/token").field("session").as_deref(), Some("s-1"), "the session goes on");
}

#[tokio::test]
async fn many_renewals_by_many_processes_never_use_a_refresh_token_twice() {
    let stage = Stage::new().await;
    stage.sign_in(&stage.process().await).await.unwrap();
    for round in 1..=5 {
        let mut processes = Vec::new();
        for _ in 0..6 {
            processes.push(stage.process().await);
        }
        stage.advance(900);
        for session in join_all(processes.iter().map(Tokens::session)).await {
            session.unwrap();
        }
        assert_eq!(stage.count("/refresh"), round, "the issuer revokes the family at the first reuse");
    }
}

#[tokio::test]
async fn a_session_is_renewed_at_sixty_per_cent_and_used_meanwhile() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    stage.advance(179);
    assert_eq!(tokens.session().await.unwrap().token.expose(), "session-1");
    stage.advance(2);
    stage.exchange(|_| Some(Reply::text(503, "text/plain", "")));
    assert_eq!(tokens.session().await.unwrap().token.expose(), "session-1", "still good while the gateway is away");
    let asked = stage.count("/ztsa/v1/token");
    tokens.session().await.unwrap();
    assert_eq!(stage.count("/ztsa/v1/token"), asked, "a gateway that is away is not asked at every call");
    stage.advance(120);
    let error = tokens.session().await.unwrap_err();
    assert!(error.is_temporary() && matches!(error, TokenError::Gateway(_)), "{error}");
    stage.exchange(|_| None);
    assert_eq!(tokens.session().await.unwrap().token.expose(), "session-2", "nobody was signed out");
}

#[tokio::test]
async fn only_a_well_formed_refusal_ends_a_sign_in() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    stage.advance(900);
    for reply in [
        Reply::html(200),
        Reply::html(401),
        Reply::html(400),
        Reply::text(400, "text/plain", ""),
        Reply::text(429, "text/plain", "slow down"),
        Reply::json(503, &json!({"error": "temporarily_unavailable"})),
        Reply::json(400, &json!({"error": "invalid_client"})),
        Reply::Close,
    ] {
        stage.refresh(move |_| Some(reply.clone()));
        let error = tokens.session().await.unwrap_err();
        assert!(!matches!(error, TokenError::LoginRequired(_)), "{error}");
        assert!(!error.hint().is_empty());
    }
    stage.refresh(|_| None);
    tokens.session().await.unwrap();
}

#[tokio::test]
async fn a_refresh_token_that_has_ended_is_sent_once() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    stage.advance(900);
    stage.refresh(|_| {
        Some(Reply::json(400, &json!({"error": "invalid_grant", "error_description": "revoked\u{1b}[2J"})))
    });
    let error = tokens.session().await.unwrap_err();
    assert_eq!(error.to_string(), "sign-in needed: the issuer does not prolong the sign-in: revoked (invalid_grant)");
    assert_eq!(error.hint(), "run `ztsa login`");
    let again = stage.process().await.session().await.unwrap_err();
    assert!(matches!(again, TokenError::LoginRequired(LoginReason::Expired)), "{again}");
    assert_eq!(stage.count("/refresh"), 1);
    stage.refresh(|_| None);
    assert_eq!(stage.sign_in(&tokens).await.unwrap().info.user.subject, "alice");
}

#[tokio::test]
async fn the_gateway_s_refusals_are_told_apart() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    for (error, code, login, refreshes) in [
        ("access_denied", "risk.user", false, 0),
        ("access_denied", "device.blocked", false, 0),
        ("invalid_grant", "session.revoked", true, 0),
        ("invalid_grant", "auth.expired", true, 1),
    ] {
        stage.advance(900);
        tokens.session().await.unwrap();
        stage.advance(250);
        let before = stage.count("/refresh");
        let status = ztsa_proto::problem::new(code).status;
        stage.exchange(move |_| {
            let mut body = serde_json::to_value(ztsa_proto::problem::new(code)).unwrap();
            body["error"] = json!(error);
            Some(Reply::json(status, &body))
        });
        stage.advance(60);
        let refused = tokens.session().await.unwrap_err();
        assert_eq!(matches!(refused, TokenError::LoginRequired(_)), login, "{code}: {refused}");
        assert_eq!(refused.problem().unwrap().code, code);
        assert_eq!(stage.count("/refresh") - before, refreshes, "{code}");
        stage.exchange(|_| None);
    }
    stage.advance(900);
    assert_eq!(tokens.session().await.unwrap().info.user.subject, "alice", "access returns without a new login");
}

#[tokio::test]
async fn an_access_token_that_ended_early_is_refreshed_once() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    stage.advance(301);
    stage.exchange(|request| {
        let stale = request.field("subject_token").as_deref() == Some("access-1");
        stale.then(|| Reply::json(400, &json!({"error": "invalid_grant", "error_description": "token revoked"})))
    });
    assert_eq!(tokens.session().await.unwrap().token.expose(), "session-2");
    assert_eq!(stage.count("/refresh"), 1);
}

#[tokio::test]
async fn a_gateway_that_cannot_decide_says_why_and_signs_nobody_out() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    stage.exchange(|_| {
        let mut body = serde_json::to_value(ztsa_proto::problem::new("auth.issuer")).unwrap();
        body["error"] = json!("temporarily_unavailable");
        Some(Reply::json(503, &body))
    });
    stage.advance(200);
    assert_eq!(tokens.session().await.unwrap().token.expose(), "session-1");
    stage.advance(200);
    let error = tokens.session().await.unwrap_err();
    assert_eq!((error.is_temporary(), error.problem().unwrap().code.as_str()), (true, "auth.issuer"));
}

#[tokio::test]
async fn a_stale_nonce_is_replaced_in_the_proof_and_in_the_report() {
    let stage = Stage::new().await;
    stage.demand_nonce("n-1");
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    stage.demand_nonce("n-2");
    stage.advance(301);
    tokens.session().await.unwrap();
    let last = stage.last("/ztsa/v1/token");
    let report = last.field("posture").unwrap();
    let claims: serde_json::Value = ztsa_proto::jws::Compact::parse(&report).unwrap().claims().unwrap();
    assert_eq!((&claims["eat_nonce"], &last.proof()["nonce"]), (&json!("n-2"), &json!("n-2")));
    assert_eq!(stage.count("/ztsa/v1/token"), 4, "one refusal for each new nonce");
}

#[tokio::test]
async fn a_rejected_session_is_replaced() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    let session = stage.sign_in(&tokens).await.unwrap();
    tokens.reject(&session);
    assert_eq!(tokens.session().await.unwrap().token.expose(), "session-2");
    tokens.reject(&session);
    assert_eq!(
        tokens.session().await.unwrap().token.expose(),
        "session-2",
        "an old rejection does not hit the new one"
    );
}

#[tokio::test]
async fn the_nonce_and_the_clock_are_known_to_the_next_process() {
    let stage = Stage::new().await;
    stage.demand_nonce("n-1");
    stage.sign_in(&stage.process().await).await.unwrap();
    assert_eq!(stage.count("/ztsa/v1/token"), 2, "refused once for the nonce");
    stage.advance(301);
    stage.process().await.session().await.unwrap();
    assert_eq!(stage.count("/ztsa/v1/token"), 3);
    assert_eq!(stage.count("/.well-known/oauth-protected-resource"), 1, "the metadata is kept too");
}

#[tokio::test]
async fn a_logout_tells_everybody_and_keeps_the_device() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    let device = tokens.device();
    let done = tokens.logout().await.unwrap();
    assert!(done.was_signed_in && done.gateway.is_ok() && done.issuer.unwrap());
    assert_eq!(stage.last("/revoke").field("token").as_deref(), Some("refresh-1"));
    assert_eq!((stage.last("/ztsa/v1/session").method.as_str(), stage.count("/ztsa/v1/session")), ("DELETE", 1));
    for tokens in [tokens, stage.process().await] {
        assert!(matches!(tokens.session().await, Err(TokenError::LoginRequired(LoginReason::Never))));
        assert_eq!(tokens.device(), device);
    }
}

#[tokio::test]
async fn a_logout_after_hours_of_silence_ends_the_session_too() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    stage.advance(4000);
    assert!(tokens.logout().await.unwrap().gateway.is_ok());
    assert_eq!((stage.last("/ztsa/v1/session").method.as_str(), stage.count("/ztsa/v1/session")), ("DELETE", 1));
}

#[tokio::test]
async fn a_logout_without_network_still_signs_out_here() {
    let stage = Stage::new().await;
    stage.sign_in(&stage.process().await).await.unwrap();
    let (dir, config) = stage.stop();
    let tokens =
        Tokens::open(config.clone(), Http::new(&config).unwrap(), Store::open(&config).unwrap()).await.unwrap();
    let done = tokens.logout().await.unwrap();
    assert!(done.was_signed_in && done.gateway.is_err() && done.issuer.is_err());
    assert!(matches!(tokens.session().await, Err(TokenError::LoginRequired(LoginReason::Never))));
    drop(dir);
}

#[tokio::test]
async fn a_changed_issuer_stops_the_sign_in_until_it_is_confirmed() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    let (real, asked) = (stage.url(), stage.count("/device"));
    stage.add_issuer("https://evil.example.com");
    stage.sign_in(&tokens).await.unwrap();
    assert_eq!(stage.count("/device"), asked + 1, "an issuer that nobody signs in at changes nothing");
    let evil = LoginOptions { issuer: Some("https://evil.example.com".to_owned()), ..LoginOptions::default() };
    assert!(stage.sign_in_with(&tokens, evil).await.is_err(), "and cannot be reached by name unseen");
    stage.client_id("other-client");
    stage.advance(4000);
    assert_eq!(stage.process().await.session().await.unwrap().token.expose(), "session-3", "who is signed in stays so");
    let error = stage.sign_in(&tokens).await.unwrap_err();
    assert!(error.to_string().contains("client: ztsa-cli -> other-client"), "{error}");
    assert!(error.hint().contains(&format!("`ztsa login --accept-issuer {real}`")), "{}", error.hint());
    assert_eq!(stage.count("/device"), asked + 1, "nobody was asked for anything");
    let accept = |issuer: &str| LoginOptions { accept_issuer: Some(issuer.to_owned()), ..LoginOptions::default() };
    assert!(stage.sign_in_with(&tokens, accept("https://evil.example.com")).await.is_err(), "not the one accepted");
    stage.sign_in_with(&tokens, accept(&real)).await.unwrap();
    stage.sign_in(&stage.process().await).await.unwrap();
}

#[tokio::test]
async fn a_fresh_sign_in_goes_on_with_the_session_where_the_gateway_lets_it() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    assert!(stage.last("/ztsa/v1/token").field("session").is_none(), "a first one has nothing to go on with");
    stage.sign_in(&tokens).await.unwrap();
    assert_eq!(stage.last("/ztsa/v1/token").field("session").as_deref(), Some("s-1"));
    stage.advance(100_000);
    stage.exchange(|request| {
        let mut over = serde_json::to_value(ztsa_proto::problem::new("session.expired")).unwrap();
        over["error"] = "invalid_grant".into();
        request.field("session").map(|_| Reply::json(400, &over))
    });
    let refreshed = stage.count("/refresh");
    stage.sign_in(&stage.process().await).await.unwrap();
    assert!(stage.last("/ztsa/v1/token").field("session").is_none(), "one that has ended is let go");
    assert_eq!(stage.count("/refresh"), refreshed, "what was just given is not refreshed");
}

#[tokio::test]
async fn one_process_asks_the_person_and_the_others_wait() {
    let stage = Stage::new().await;
    let (first, second) = (stage.process().await, stage.process().await);
    let turn = first.turn(|_| panic!("nobody was there before")).await.unwrap();
    let mut told = None;
    {
        let mut waiting = std::pin::pin!(second.turn(|holder| told = Some(holder.to_owned())));
        assert!(tokio::time::timeout(Duration::from_millis(100), &mut waiting).await.is_err());
        drop(turn);
        waiting.await.unwrap();
    }
    assert!(told.unwrap().contains(&std::process::id().to_string()));
}

#[tokio::test]
async fn a_process_that_opened_the_profile_before_the_first_sign_in_uses_its_key() {
    let stage = Stage::new().await;
    let (first, second) = (stage.process().await, stage.process().await);
    assert!(first.device() != second.device(), "there is no key on disk yet, and each made one");
    stage.sign_in(&first).await.unwrap();
    assert_eq!(second.session().await.unwrap().token.expose(), "session-1");
    assert_eq!(first.device(), second.device(), "what the sign-in gave is bound to the key on disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_was_killed_leaves_no_lock() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    stage.advance(900);
    stage.refresh(|_| Some(Reply::Hang));
    let hanging = stage.process().await;
    let killed = std::thread::spawn(move || {
        let process = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let waited =
            process.block_on(async { tokio::time::timeout(Duration::from_millis(300), hanging.session()).await });
        assert!(waited.is_err(), "it holds the lock and waits");
    });
    killed.join().unwrap();
    stage.refresh(|_| None);
    tokens.session().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_gives_up_in_the_middle_of_a_refresh_loses_nothing() {
    let stage = Stage::new().await;
    let tokens = stage.process().await;
    stage.sign_in(&tokens).await.unwrap();
    stage.advance(900);
    let (asked, mut refreshing) = tokio::sync::mpsc::unbounded_channel();
    let (given_up, answer) = std::sync::mpsc::channel::<()>();
    let answer = std::sync::Mutex::new(answer);
    stage.refresh(move |_| {
        asked.send(()).unwrap();
        // until the test lets go of the other end
        let _ = answer.lock().unwrap().recv();
        None
    });
    tokio::select! {
        session = tokens.session() => panic!("{session:?} before the answer"),
        _ = refreshing.recv() => {}
    }
    drop(given_up);
    assert_eq!(tokens.session().await.unwrap().token.expose(), "session-2");
    stage.advance(900);
    assert_eq!(tokens.session().await.unwrap().token.expose(), "session-3", "the rotated refresh token was kept");
}
