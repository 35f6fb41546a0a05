use std::sync::{Arc, Mutex};

use serde_json::json;
use tokio::sync::mpsc;
use ztsa_proto::{jws::SoftwareKey, metadata::IssuerInfo};

use super::*;
use crate::{
    config::Config,
    discovery::IssuerMetadata,
    http::script::{Reply, Script},
};

fn issuer(url: &str) -> Issuer {
    let metadata: IssuerMetadata = serde_json::from_value(json!({
        "issuer": url, "token_endpoint": format!("{url}/token"), "authorization_endpoint": format!("{url}/auth?tenant=1"),
        "authorization_response_iss_parameter_supported": true,
    }))
    .unwrap();
    let info: IssuerInfo =
        serde_json::from_value(json!({"issuer": url, "name": "dev", "client_id": "ztsa-cli", "scopes": ["openid"]}))
            .unwrap();
    Issuer { info, metadata }
}

fn id_token(nonce: &str) -> String {
    format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(json!({ "nonce": nonce }).to_string()))
}

/// How long a sign-in waits that ends by itself.
const LONG: Duration = Duration::from_secs(30);

/// Plays the person's browser: takes the URL, and comes back with what the test makes of it.
async fn sign_in(
    back: impl Fn(&Url) -> Vec<(&'static str, String)>,
    wrong_nonce: bool,
    wait: Duration,
) -> (Script, Result<IssuerTokens, LoginError>) {
    let asked: Arc<Mutex<Option<Url>>> = Arc::default();
    let at_issuer = Arc::clone(&asked);
    let script = Script::serve(move |request| {
        let asked = at_issuer.lock().unwrap().clone().unwrap();
        let value = |name: &str| asked.query_pairs().find(|(key, _)| key == name).unwrap().1.into_owned();
        let verifier = PkceCodeVerifier::new(request.field("code_verifier").unwrap());
        let challenge = PkceCodeChallenge::from_code_verifier_sha256(&verifier);
        if challenge.as_str() != value("code_challenge") || request.field("redirect_uri") != Some(value("redirect_uri"))
        {
            return Reply::json(400, &json!({"error": "invalid_grant"}));
        }
        let nonce = if wrong_nonce { "other".to_owned() } else { value("nonce") };
        Reply::json(200, &json!({"access_token": "a", "token_type": "Bearer", "id_token": id_token(&nonce)}))
    })
    .await;
    let (urls, mut opened) = mpsc::unbounded_channel();
    let flow = BrowserFlow::new(move |url: &str| urls.send(url.to_owned()).unwrap())
        .demand(Demand { max_age: Some(60), acr_values: Some("mfa".to_owned()), fresh: false })
        .wait(wait);
    let http = Http::new(&Config::new(&script.url).unwrap()).unwrap();
    let (issuer, key) = (issuer(&script.url), SoftwareKey::generate().unwrap());
    let browser = async {
        let url = Url::parse(&opened.recv().await.unwrap()).unwrap();
        *asked.lock().unwrap() = Some(url.clone());
        assert!(url.query().unwrap().contains("acr_values=mfa&max_age=60"), "{url}");
        let redirect = url.query_pairs().find(|(key, _)| key == "redirect_uri").unwrap().1.into_owned();
        let strange = http.send(&Request::get(&redirect.replace("/callback", "/favicon.ico"))).await.unwrap();
        assert_eq!(strange.status.as_u16(), 404);
        let back = Url::parse_with_params(&redirect, back(&url)).unwrap();
        let _ = http.send(&Request::get(back.as_str())).await;
    };
    let (done, ()) = tokio::join!(flow.run(&http, &issuer, &key), browser);
    (script, done)
}

fn state(url: &Url) -> String {
    url.query_pairs().find(|(key, _)| key == "state").unwrap().1.into_owned()
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

#[tokio::test]
async fn the_browser_comes_back_and_the_person_is_in() {
    let back = |url: &Url| vec![("code", "c".to_owned()), ("state", state(url)), ("iss", origin(url))];
    let (script, done) = sign_in(back, false, LONG).await;
    assert_eq!(done.unwrap().access_token.expose(), "a");
    assert_eq!(script.received().len(), 1);
}

#[tokio::test]
async fn what_does_not_belong_to_this_sign_in_is_refused() {
    let code = || ("code", "c".to_owned());
    let (_, done) =
        sign_in(|url| vec![code(), ("state", state(url)), ("iss", "https://evil.example".to_owned())], false, LONG)
            .await;
    assert!(done.unwrap_err().to_string().contains("another issuer"));
    let (_, done) = sign_in(|url| vec![code(), ("state", state(url))], false, LONG).await;
    assert!(done.unwrap_err().to_string().contains("another issuer"), "iss is missing though announced");
    let (script, done) =
        sign_in(|url| vec![code(), ("state", "guess".to_owned()), ("iss", origin(url))], false, Duration::from_secs(2))
            .await;
    assert!(matches!(done, Err(LoginError::NoCallback { .. })), "a foreign callback does not end the sign-in");
    assert!(script.received().is_empty());
    let (_, done) = sign_in(|url| vec![code(), ("state", state(url)), ("iss", origin(url))], true, LONG).await;
    assert!(done.unwrap_err().to_string().contains("nonce"));
}

#[tokio::test]
async fn a_refusal_is_told_with_its_words() {
    let back = |url: &Url| {
        let text = "you may\u{1b}[31m not".to_owned();
        vec![
            ("error", "access_denied".to_owned()),
            ("error_description", text),
            ("state", state(url)),
            ("iss", origin(url)),
        ]
    };
    let (_, done) = sign_in(back, false, LONG).await;
    assert_eq!(done.unwrap_err().to_string(), "the sign-in was denied: you may not (access_denied)");
}

#[test]
fn a_prompt_is_asked_for_only_where_it_is_known() {
    let mut metadata = issuer("https://idp.example.com").metadata;
    let fresh = Demand { fresh: true, ..Demand::default() };
    assert_eq!(fresh.parameters(&metadata), [("max_age", "0".to_owned())]);
    metadata.prompt_values_supported = vec!["none".to_owned(), "login".to_owned()];
    assert_eq!(fresh.parameters(&metadata), [("max_age", "0".to_owned()), ("prompt", "login".to_owned())]);
    assert!(Demand::default().is_empty() && Demand::default().parameters(&metadata).is_empty());
}
