//! What a device says about itself, as it changes under what is open: told at once, believed only when proved.

use serde_json::json;
use ztsa_core::api::Api;
use ztsa_core::client::{AppStream, Client};
use ztsa_core::config::ClientCertificate;
use ztsa_core::listener::event::{Event, Events};
use ztsa_proto::event::{Event as Told, EventKind};
use ztsa_proto::jws::Signer as _;
use ztsa_proto::posture::{State, sign};

use crate::house::{Folder, House, write_policy};
use crate::patience::soon;
use crate::server::echo;

/// Wants a file on the device.
const AGENT: &str = "@id(\"agent\")\n@on_change(\"suspend\")\nforbid (principal, action, resource == App::\"echo\")\n\
    unless { context.device.posture.file.agent.state == \"pass\" };\n";

async fn enforce(house: &House, text: &str) {
    write_policy(&house.policies(), "device.cedar", text);
    house.admin(json!({"op": "policy.reload"})).await;
}

/// Waits for word of the gateway.
async fn event(events: &mut Events, what: &str, wanted: impl Fn(&Told) -> bool) {
    let is = |event: &Event| matches!(event, Event::Gateway(told) if wanted(told));
    soon(what, async { while !is(&events.next().await.unwrap()) {} }).await;
}

/// Opens the app as soon as the gateway has heard what it wants to know.
async fn opened(client: &Client) -> AppStream {
    soon("access", async {
        loop {
            match client.connect("echo").await {
                Ok(stream) => return stream,
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_for_the_worse_is_told_at_once_and_access_returns_with_the_change_back() {
    let here = Folder::new();
    let file = here.join("agent.conf");
    std::fs::write(&file, "as delivered").unwrap();
    let config = format!("[[posture.file]]\nname = \"agent\"\nlinux = {:?}\nmacos = {:?}\n", file, file);
    let house = House::with(&[], &config).await;
    let client = house.sign_in("alice").await;
    let mut events = client.events();
    let mut stream = opened(&client).await;
    // a policy that begins to ask makes nobody lose what is open
    enforce(&house, AGENT).await;
    soon("the answer", async {
        while !client.refresh().await.unwrap().posture.iter().any(|check| check.id == "file.agent") {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
    echo(&mut stream, "the file is there").await;
    let needs = client.apps().await.unwrap().apps.into_iter().find(|app| app.name.as_str() == "echo").unwrap().needs;
    assert_eq!(needs, ["file.agent"], "the person may know why they are asked");
    std::fs::remove_file(&file).unwrap();
    event(&mut events, "the suspension", |told| {
        let problem = told.problem.as_ref();
        told.kind == EventKind::Suspended && problem.is_some_and(|problem| problem.detail.contains("file.agent (fail)"))
    })
    .await;
    let refused = client.connect("echo").await.unwrap_err();
    assert_eq!(refused.problem().unwrap().exit(), 5, "{refused}");
    std::fs::write(&file, "as delivered").unwrap();
    event(&mut events, "the restoration", |told| told.kind == EventKind::Restored).await;
    echo(&mut stream, "and there again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_since_before_anybody_listened_is_told() {
    let here = Folder::new();
    let file = here.join("agent.conf");
    std::fs::write(&file, "as delivered").unwrap();
    let config = format!("[[posture.file]]\nname = \"agent\"\nlinux = {file:?}\nmacos = {file:?}\n");
    let house = House::with(&[], &config).await;
    let client = house.sign_in("alice").await;
    // the client knows what is asked for, and does not follow what changes
    assert!(client.apps().await.is_ok());
    enforce(
        &house,
        "@id(\"agent\")\nforbid (principal, action, resource == App::\"echo\")\n\
         unless { context.device.posture.file.agent.state == \"pass\" };\n",
    )
    .await;
    let _events = client.events();
    echo(&mut opened(&client).await, "it was asked for").await;
}

/// Writes an authority's certificate, and a client certificate of it with its key.
fn certificates(folder: &Folder, name: &str) -> ClientCertificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, name);
    std::fs::write(folder.join(&format!("{name}-ca.pem")), authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(authority, key);
    let own = rcgen::KeyPair::generate().unwrap();
    let mut client = rcgen::CertificateParams::new(vec!["laptop.example".to_owned()]).unwrap();
    client.extended_key_usages.push(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
    let (chain, key) = (folder.join(&format!("{name}.pem")), folder.join(&format!("{name}.key")));
    std::fs::write(&chain, client.signed_by(&own, &issuer).unwrap().pem()).unwrap();
    std::fs::write(&key, own.serialize_pem()).unwrap();
    ClientCertificate { chain, key }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_counts_when_its_key_proves_it_and_its_authority_is_the_right_one() {
    let here = Folder::new();
    let (corp, other) = (certificates(&here, "corp"), certificates(&here, "other"));
    let config = format!("[[posture.certificate]]\nname = \"corp\"\nca_file = {:?}\n", here.join("corp-ca.pem"));
    let house = House::with(&[], &config).await;
    enforce(
        &house,
        "@id(\"corp\")\nforbid (principal, action, resource == App::\"echo\")\n\
         unless { context.device.posture.cert.corp.state == \"pass\" };\n",
    )
    .await;
    let stolen = ClientCertificate { chain: corp.chain.clone(), key: other.key.clone() };
    for (certificate, state) in
        [(Some(corp), State::Pass), (Some(other), State::Fail), (Some(stolen), State::Fail), (None, State::Unknown)]
    {
        let client = Client::open(ztsa_core::config::Config { certificate, ..house.config() }).await.unwrap();
        house.login(&client, "alice").await;
        let known = soon("the session", client.refresh()).await.unwrap().posture;
        let check = known.iter().find(|check| check.id == "cert.corp").unwrap();
        assert_eq!(check.state, state, "{check:?}");
        match soon("the answer", client.connect("echo")).await {
            Ok(_) => assert_eq!(state, State::Pass),
            Err(error) => assert_eq!(
                (state == State::Pass, error.problem().unwrap().code.as_str()),
                (false, "posture.certificate")
            ),
        }
        client.close().await;
    }
}

/// The gateway has nothing but proofs to go by: that one can no longer be made is told as soon as it is so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_certificate_that_goes_or_comes_is_told_at_once() {
    let here = Folder::new();
    let corp = certificates(&here, "corp");
    let named = |name| format!("[[posture.certificate]]\nname = {name:?}\nca_file = {:?}\n", here.join("corp-ca.pem"));
    // as many as may be, and each has its proof in one report
    let config: String = ["corp", "two", "three", "four"].map(named).concat();
    let house = House::with(&[], &config).await;
    enforce(
        &house,
        "@id(\"corp\")\n@on_change(\"suspend\")\nforbid (principal, action, resource == App::\"echo\")\n\
         unless { [\"pass\"].contains(context.device.posture.cert.corp.state)\n\
         && context.device.posture.cert.two.state == \"pass\" && context.device.posture.cert.three.state == \"pass\"\n\
         && context.device.posture.cert.four.state == \"pass\" };\n",
    )
    .await;
    let config = ztsa_core::config::Config { certificate: Some(corp.clone()), ..house.config() };
    let client = Client::open(config).await.unwrap();
    house.login(&client, "alice").await;
    let mut events = client.events();
    let mut stream = opened(&client).await;
    echo(&mut stream, "shown").await;
    let key = std::fs::read(&corp.key).unwrap();
    std::fs::remove_file(&corp.key).unwrap();
    event(&mut events, "the suspension", |told| told.kind == EventKind::Suspended).await;
    std::fs::write(&corp.key, key).unwrap();
    event(&mut events, "the restoration", |told| told.kind == EventKind::Restored).await;
    echo(&mut stream, "and shown again").await;
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_report_that_is_too_much_or_not_this_device_s_changes_nothing() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let (tokens, session) = house.tokens("alice").await;
    let api = Api::new(tokens.clone());
    let before = soon("the session", api.session()).await.unwrap();
    let url = format!("{}/ztsa/v1/posture", house.dev.url());
    let report = client.posture().await.unwrap();
    let check = report.checks[0].clone();
    let many = (0..10_000).map(|n| ztsa_proto::posture::Check { id: format!("x.a.c{n}"), ..check.clone() }).collect();
    let flood = ztsa_proto::posture::Report { checks: many, ..report.clone() };
    let large = ztsa_proto::posture::Check { value: Some("x".repeat(2_000).into()), ..check.clone() };
    let oversized = ztsa_proto::posture::Report { checks: vec![large], ..report.clone() };
    let thief = ztsa_proto::jws::SoftwareKey::generate().unwrap();
    let key = tokens.key();
    let resource = house.dev.url();
    for (name, jws) in [
        ("10,000 checks", sign(&*key, &flood, resource, None, tokens.now()).unwrap()),
        ("an oversized value", sign(&*key, &oversized, resource, None, tokens.now()).unwrap()),
        ("another device", sign(&thief, &report, resource, None, tokens.now()).unwrap()),
        ("another gateway", sign(&*key, &report, "https://evil.example", None, tokens.now()).unwrap()),
        (
            "an old one",
            sign(&*key, &report, resource, None, tokens.now().minus(std::time::Duration::from_secs(600))).unwrap(),
        ),
    ] {
        let mut nonce = None;
        let answer = loop {
            let input = ztsa_proto::dpop::ProofInput {
                method: "POST",
                url: &url,
                access_token: Some(session.token.expose()),
                nonce: nonce.as_deref(),
                at: tokens.now(),
            };
            let proof = ztsa_proto::dpop::proof(&*key, &input).unwrap();
            let request = house.web().post(&url).header("DPoP", proof).body(jws.clone());
            let request = request.header("Authorization", format!("DPoP {}", session.token.expose()));
            let answer = soon("the answer", request.send()).await.unwrap();
            let given = answer.headers().get("dpop-nonce").and_then(|nonce| nonce.to_str().ok()).map(str::to_owned);
            if nonce.is_some() || given.is_none() {
                break answer;
            }
            nonce = given;
        };
        let status = answer.status().as_u16();
        let problem = ztsa_proto::problem::Problem::from_json(&answer.bytes().await.unwrap()).unwrap();
        let told = if status == 413 { "request.invalid" } else { "posture." };
        assert!((400..500).contains(&status) && problem.code.starts_with(told), "{name}: {status} {problem:?}");
    }
    // nothing was stored of the device that sent all this, nor of the other
    let info = soon("the session", api.session()).await.unwrap();
    assert_eq!(info.device.id, key.public_key().thumbprint());
    assert_eq!(info.posture, before.posture);
    let info = soon("the session", client.refresh()).await.unwrap();
    assert!(info.posture.len() < 10, "{:?}", info.posture.len());
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "and nobody else is harmed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_away_hears_everything_again() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let _events = client.events();
    assert!(!soon("the session", client.refresh()).await.unwrap().posture.is_empty());
    let house = house.restart().await;
    soon("the report", async {
        while client.refresh().await.map_or(true, |info| info.posture.is_empty()) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    })
    .await;
    drop(house);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_comes_back_and_asks_for_something_else_is_told_it() {
    let here = Folder::new();
    let file = here.join("agent.conf");
    std::fs::write(&file, "as delivered").unwrap();
    let config = format!("[[posture.file]]\nname = \"agent\"\nlinux = {file:?}\nmacos = {file:?}\n");
    let house = House::with(&[], &config).await;
    let client = house.sign_in("alice").await;
    let _events = client.events();
    echo(&mut opened(&client).await, "before anybody asks").await;
    let house = house.restart_after(|policies| write_policy(policies, "device.cedar", AGENT)).await;
    echo(&mut opened(&client).await, "after it was told").await;
    drop(house);
}
