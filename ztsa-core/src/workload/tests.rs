use serde_json::{Value, json};

use super::*;
use crate::{
    config::Config,
    http::script::{Reply, Script, TempDir},
};

const NOW: UnixTime = UnixTime(1_795_352_700);

fn jwt(claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", encode(&json!({"alg": "ES256"})), encode(claims))
}

fn job(issuer: &str, audience: &Value) -> String {
    jwt(&json!({"iss": issuer, "sub": "repo:acme/app:ref:refs/heads/main", "aud": audience, "exp": NOW.0 + 300}))
}

fn offers() -> Vec<WorkloadInfo> {
    let offer = |issuer: &str| WorkloadInfo {
        name: "deploy".to_owned(),
        issuer: issuer.to_owned(),
        audience: "https://gw.example.com".to_owned(),
    };
    vec![offer(GITHUB), offer("https://ci.example.com")]
}

#[test]
fn a_token_for_somebody_else_is_not_sent() {
    let name = WorkloadName::Variable("JOB_JWT".to_owned());
    let judged = |token: String| check(&name, &Secret::new(token), &offers(), NOW);
    for audience in [json!("https://gw.example.com"), json!(["other", "https://gw.example.com"])] {
        judged(job("https://ci.example.com", &audience)).unwrap();
    }
    let expired = jwt(&json!({"iss": GITHUB, "aud": "https://gw.example.com", "exp": NOW.0 - 61}));
    for (token, said, hint) in [
        (job(GITHUB, &json!("sts.amazonaws.com")), "is for the audience sts.amazonaws.com", "https://gw.example.com"),
        (job(GITHUB, &json!(null)), "for the audience nobody", "https://gw.example.com"),
        (job("https://evil.example\u{1b}[2J", &json!("x")), "and this gateway takes jobs of", "[[workload]]"),
        (expired, "has ended at 2026", "cannot be renewed"),
        ("not a token".to_owned(), "env:JOB_JWT holds is not a JWT", "env:JOB_JWT"),
        (String::new(), "not a JWT", "env:JOB_JWT"),
    ] {
        let error = judged(token).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.hint().contains(hint), "{}", error.hint());
        assert!(!error.to_string().contains('\u{1b}'));
    }
}

#[tokio::test]
async fn github_is_asked_as_its_documentation_says() {
    let token = job(GITHUB, &json!("https://gw.example.com"));
    let answer = token.clone();
    let script = Script::serve(move |_| Reply::json(200, &json!({"count": 1, "value": answer.clone()}))).await;
    let http = Http::new(&Config::new(&script.url).unwrap()).unwrap();
    let url = format!("{}/token?api-version=2.0", script.url);
    let given = from_github(&url, &Secret::new("request".to_owned()), "https://gw.example.com", &http).await.unwrap();
    assert_eq!(given.expose(), &token);
    let asked = script.received().pop().unwrap();
    assert_eq!(asked.path, "/token?api-version=2.0&audience=https%3A%2F%2Fgw.example.com");
    assert_eq!(asked.header("authorization"), "Bearer request");
}

#[tokio::test]
async fn a_workflow_without_the_permission_is_told_of_it() {
    let script = Script::serve(|_| Reply::json(403, &json!({"message": "Resource not accessible"}))).await;
    let http = Http::new(&Config::new(&script.url).unwrap()).unwrap();
    let error = from_github(&script.url, &Secret::new("request".to_owned()), "a", &http).await.unwrap_err();
    assert!(error.to_string().contains("403") && error.hint().contains("id-token: write"), "{error}");
}

#[test]
fn two_jobs_on_one_machine_share_nothing_and_a_renewed_token_keeps_its_place() {
    let dir = TempDir::new();
    let path = dir.path().join("token");
    let at = |sub: &str, number: u64| {
        std::fs::write(&path, jwt(&json!({"iss": GITHUB, "sub": sub, "iat": number}))).unwrap();
        folder(&Workload::File(path.clone()))
    };
    assert_eq!(at("a", 1), at("a", 2));
    assert_ne!(at("a", 1), at("b", 1));
    let github = |token: &str| {
        folder(&Workload::GitHub { url: "https://pipelines".to_owned(), token: Secret::new(token.to_owned()) })
    };
    assert_ne!(github("job-1"), github("job-2"));
}

#[test]
fn a_file_that_is_missing_is_named() {
    let error = read(Path::new("/nowhere/token")).unwrap_err();
    assert!(error.to_string().contains("/nowhere/token") && error.hint().contains("serviceAccountToken"));
}
