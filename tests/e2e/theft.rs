//! What a thief of tokens, grants and proofs can do with them: nothing.

use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use ztsa_core::api::Api;
use ztsa_core::token::{SessionToken, Tokens};
use ztsa_core::tunnel::{OpenOptions, Pool};
use ztsa_idp::{Config, Idp};
use ztsa_proto::dpop::{self, ProofInput};
use ztsa_proto::grant::{GrantRequest, TicketRequest};
use ztsa_proto::jws::{Signer, SoftwareKey};
use ztsa_proto::problem::Problem;

use crate::house::House;
use crate::local::head;
use crate::patience::soon;

/// A request for the apps as somebody makes it who has a token in the hand.
struct Desk {
    web: reqwest::Client,
    url: String,
    tokens: Tokens,
    session: std::sync::Arc<SessionToken>,
}

impl Desk {
    async fn new(house: &House) -> Self {
        let (tokens, session) = house.tokens("alice").await;
        Self { web: house.web(), url: format!("{}/ztsa/v1/apps", house.dev.url()), tokens, session }
    }

    fn token(&self) -> &str {
        self.session.token.expose()
    }

    async fn ask(&self, scheme: &str, proof: Option<&str>) -> reqwest::Response {
        let request = self.web.get(&self.url).header(AUTHORIZATION, format!("{scheme} {}", self.token()));
        let request = proof.into_iter().fold(request, |request, proof| request.header("DPoP", proof));
        soon("the answer", request.send()).await.unwrap()
    }

    /// The gateway's newest nonce.
    async fn nonce(&self) -> String {
        let answer = self.ask("DPoP", Some(&self.proof(&*self.tokens.key(), &self.url, "GET", None))).await;
        assert_eq!(answer.status(), 401);
        assert!(challenge(&answer).contains("use_dpop_nonce"), "{answer:?}");
        answer.headers()["dpop-nonce"].to_str().unwrap().to_owned()
    }

    fn proof(&self, key: &dyn Signer, url: &str, method: &str, nonce: Option<&str>) -> String {
        let input = ProofInput { method, url, access_token: Some(self.token()), nonce, at: self.tokens.now() };
        dpop::proof(key, &input).unwrap()
    }
}

fn challenge(answer: &reqwest::Response) -> String {
    answer.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

async fn refused(answer: reqwest::Response, error: &str) {
    assert_eq!(answer.status(), 401);
    let challenge = challenge(&answer);
    assert!(challenge.starts_with("DPoP") && challenge.contains(error), "{challenge}");
    assert!(challenge.contains("resource_metadata="), "{challenge}");
    let body = answer.bytes().await.unwrap();
    let problem = Problem::from_json(&body).unwrap();
    assert!(problem.code.starts_with("auth."), "{problem:?}");
    assert!(problem.remedy.is_some(), "{problem:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_is_good_for_one_request_and_for_that_request_only() {
    let house = House::new(&[]).await;
    let desk = Desk::new(&house).await;
    let (key, nonce) = (desk.tokens.key(), desk.nonce().await);
    let proof = desk.proof(&*key, &desk.url, "GET", Some(&nonce));
    assert_eq!(desk.ask("DPoP", Some(&proof)).await.status(), 200);
    refused(desk.ask("DPoP", Some(&proof)).await, "invalid_dpop_proof").await;
    let other_method = desk.proof(&*key, &desk.url, "POST", Some(&nonce));
    refused(desk.ask("DPoP", Some(&other_method)).await, "invalid_dpop_proof").await;
    let other_url = desk.proof(&*key, &format!("{}/ztsa/v1/session", house.dev.url()), "GET", Some(&nonce));
    refused(desk.ask("DPoP", Some(&other_url)).await, "invalid_dpop_proof").await;
    refused(desk.ask("DPoP", Some("e30.e30.e30")).await, "invalid_dpop_proof").await;
    refused(desk.ask("DPoP", None).await, "invalid").await;
    // an honest one is still good
    let proof = desk.proof(&*key, &desk.url, "GET", Some(&nonce));
    assert_eq!(desk.ask("DPoP", Some(&proof)).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_session_token_is_useless_without_the_device_key() {
    let house = House::new(&[]).await;
    let desk = Desk::new(&house).await;
    let nonce = desk.nonce().await;
    let thief = SoftwareKey::generate().unwrap();
    let proof = desk.proof(&thief, &desk.url, "GET", Some(&nonce));
    refused(desk.ask("DPoP", Some(&proof)).await, "invalid").await;
    refused(desk.ask("Bearer", None).await, "invalid").await;
    let proof = desk.proof(&*desk.tokens.key(), &desk.url, "GET", Some(&nonce));
    refused(desk.ask("Bearer", Some(&proof)).await, "invalid").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_for_one_app_does_not_open_another_nor_serve_another_person() {
    let house = House::new(&[]).await;
    let (alice, _) = house.tokens("alice").await;
    let (bob, _) = house.tokens("bob").await;
    let request = GrantRequest { app: "echo".parse().unwrap(), reason: Some("a test".to_owned()) };
    let grant = soon("the grant", Api::new(alice.clone()).grant(&request)).await.unwrap().grant;
    let open = async |tokens: &Tokens, to: &str| {
        let pool = Pool::new(tokens.config(), tokens.clone()).unwrap();
        let options = OpenOptions { grant: Some(grant.clone()) };
        let opened = soon("the tunnel", pool.open(&to.parse().unwrap(), &options)).await;
        opened.map(drop).map_err(|error| error.problem().map(|problem| problem.code.clone()))
    };
    assert_eq!(open(&alice, "echo:7").await, Ok(()));
    assert_eq!(open(&alice, "wiki:80").await, Err(Some("grant.unknown".to_owned())));
    assert_eq!(open(&bob, "echo:7").await, Err(Some("grant.unknown".to_owned())));
    house.audit("the grant's reason", |line| line.to_string().contains("a test")).await;
}

/// Asks the gateway by classic CONNECT, as other people's clients do.
async fn classic(house: &House, app: &str, authorization: &str) -> String {
    let mut stream = house.door().await;
    let request = format!("CONNECT {app} HTTP/1.1\r\nHost: {app}\r\nProxy-Authorization: {authorization}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    head(&mut stream).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_opens_its_app_as_often_as_it_says_and_a_session_token_is_none() {
    let house = House::new(&[]).await;
    let (tokens, session) = house.tokens("alice").await;
    let request = TicketRequest { app: "echo".parse().unwrap(), for_seconds: Some(60), uses: Some(1) };
    let ticket = soon("the ticket", Api::new(tokens).ticket(&request)).await.unwrap();
    let bearer = format!("Bearer {}", ticket.ticket.expose());
    let other_app = classic(&house, "wiki:80", &bearer).await;
    assert!(other_app.starts_with("HTTP/1.1 407"), "{other_app}");
    let opened = classic(&house, "echo:7", &bearer).await;
    assert!(opened.starts_with("HTTP/1.1 200"), "{opened}");
    let used_up = classic(&house, "echo:7", &bearer).await;
    assert!(used_up.starts_with("HTTP/1.1 407"), "{used_up}");
    let token = classic(&house, "echo:7", &format!("Bearer {}", session.token.expose())).await;
    assert!(token.starts_with("HTTP/1.1 407"), "{token}");
}

/// A token that an issuer really signs for a resource, for a person who approves at once.
async fn signed_for(web: &reqwest::Client, idp: &Idp, resource: &str) -> String {
    let post = async |path: &str, fields: &[(&str, &str)]| -> Value {
        let answer = web.post(format!("{}{path}", idp.issuer())).form(fields).send();
        soon("the issuer's answer", answer).await.unwrap().json().await.unwrap()
    };
    let client = ("client_id", "ztsa-cli");
    let begun = post("/device_authorization", &[client, ("scope", "openid"), ("resource", resource)]).await;
    let code = ("device_code", begun["device_code"].as_str().unwrap());
    let grant = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");
    let given = post("/token", &[client, code, grant]).await;
    given["access_token"].as_str().unwrap().to_owned()
}

/// Exchanges an issuer's token with a new device's key; gives what the gateway says to it.
async fn exchanged(house: &House, web: &reqwest::Client, token: &str) -> (u16, Value) {
    let (key, endpoint) = (SoftwareKey::generate().unwrap(), format!("{}/ztsa/v1/token", house.dev.url()));
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
    ];
    let mut nonce: Option<String> = None;
    loop {
        let (url, at) = (endpoint.as_str(), ztsa_net::clock::Clock::system().now());
        let input = ProofInput { method: "POST", url, access_token: None, nonce: nonce.as_deref(), at };
        let proof = dpop::proof(&key, &input).unwrap();
        let answer = soon("the answer", web.post(url).header("DPoP", proof).form(&fields).send()).await.unwrap();
        let (status, asked) = (answer.status().as_u16(), nonce.is_some());
        nonce = answer.headers().get("dpop-nonce").map(|value| value.to_str().unwrap().to_owned());
        let body: Value = answer.json().await.unwrap();
        if asked {
            return (status, body);
        }
        assert_eq!(body["error"], "use_dpop_nonce", "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_another_audience_begins_no_session() {
    // one issuer, whose tokens for the gateway name another resource than those for somebody else's service
    let (ours, theirs) = ("https://ours.example", "https://theirs.example");
    let audiences = [ours, theirs].map(str::to_owned).to_vec();
    let config = Config { audiences, approve: Some("bob".to_owned()), ..Config::default() };
    let idp = Idp::spawn(config).await.unwrap();
    let table = format!(
        "[[issuer]]\nname = \"two\"\nissuer = \"{}\"\nclient_id = \"ztsa-cli\"\naudiences = [\"{ours}\"]\n",
        idp.issuer()
    );
    let house = House::with(&[], &table).await;
    let web = house.web();
    let token = signed_for(&web, &idp, theirs).await;
    let (status, body) = exchanged(&house, &web, &token).await;
    assert_eq!((status, body["error"].as_str()), (400, Some("invalid_grant")), "{body}");
    assert!(body["error_description"].as_str().unwrap().contains(theirs), "{body}");
    // nothing but the audience was wrong with it
    let token = signed_for(&web, &idp, ours).await;
    let (status, body) = exchanged(&house, &web, &token).await;
    assert_eq!((status, body["token_type"].as_str()), (200, Some("DPoP")), "{body}");
}
