//! Jobs that sign in with the token that their platform gives them: no secret, no person, and nothing that lasts.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use ztsa_core::client::Client;
use ztsa_core::config::{StoreChoice, TpmChoice, Workload};
use ztsa_core::token::TokenError;
use ztsa_core::workload::WorkloadError;
use ztsa_idp::{Config, Idp};
use ztsa_net::clock::Clock;
use ztsa_proto::secret::Secret;

use crate::house::House;
use crate::patience::soon;
use crate::server::echo;

/// The platform of the jobs, and a gateway that takes those of one repository and of one service account.
async fn platform() -> (Idp, House) {
    let listen = "127.0.0.1:0".parse().unwrap();
    let idp = Idp::spawn(Config { workload: true, listen, ..Config::default() }).await.unwrap();
    let table = |name: &str, subject: &str| {
        format!(
            "[[workload]]\nname = \"{name}\"\nissuer = \"{}\"\naudience = \"ztsa\"\nmatch = {{ sub = \"{subject}\" }}\n\
             groups = [\"dev\"]\n",
            idp.issuer()
        )
    };
    let tables = table("deploy", "repo:octo-org/octo-repo:ref:refs/heads/main")
        + &table("nightly", "system:serviceaccount:billing:nightly");
    let house = House::with(&[], &tables).await;
    (idp, house)
}

fn pod(idp: &Idp, account: &str, audience: &str) -> String {
    let pod = ztsa_idp::Workload::Kubernetes { namespace: "billing".into(), service_account: account.into() };
    idp.workload_token(&pod, audience).unwrap().expose().clone()
}

async fn reaches(client: &Client) {
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "from the job").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_github_actions_works_with_nothing_but_its_platforms_token() {
    let (idp, house) = platform().await;
    let (url, token) = idp.request_token();
    let mut config = house.config();
    config.workload = Some(Workload::GitHub { url, token });
    let client = Client::open(config).await.unwrap();
    reaches(&client).await;
    let session = soon("the session", client.session()).await.unwrap();
    assert_eq!(session.info.user.subject, "repo:octo-org/octo-repo:ref:refs/heads/main");
    let status = client.status().await.unwrap();
    assert_eq!(status.sign_in.unwrap().issuer, "the job's token from github");
    let (url, _) = idp.request_token();
    let mut config = house.config();
    config.workload = Some(Workload::GitHub { url, token: Secret::new("another".to_owned()) });
    let error = soon("the refusal", Client::open(config).await.unwrap().session()).await.unwrap_err();
    assert!(matches!(&error, TokenError::Workload(WorkloadError::Refused { .. })), "{error}");
    assert!(error.hint().contains("id-token: write"), "{}", error.hint());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projected_token_is_read_anew_for_each_renewal_and_shared_by_processes() {
    let (idp, house) = platform().await;
    let file = house.folder.join("token");
    let mut config = house.config();
    let (clock, hand) = Clock::manual(Clock::system().now());
    (config.clock, config.store, config.tpm) = (clock, StoreChoice::File, TpmChoice::Off);
    config.state = Some(house.folder.join("state"));
    config.workload = Some(Workload::File(file.clone()));
    fs::write(&file, pod(&idp, "nightly", "ztsa")).unwrap();
    let client = Client::open(config.clone()).await.unwrap();
    reaches(&client).await;
    let first = client.session().await.unwrap();
    let next = Client::open(config.clone()).await.unwrap();
    assert_eq!(soon("the next process", next.session()).await.unwrap().token, first.token);
    // no token of the platform stays on this machine: the dot before its claims would show it
    let kept = files(&house.folder.join("state"));
    assert!(kept.iter().all(|path| !fs::read(path).unwrap().windows(4).any(|four| four == b".eyJ")), "{kept:?}");
    assert!(kept.iter().all(|path| !path.ends_with("credentials")), "{kept:?}");
    // the kubelet has taken the token away, then brings another
    hand.advance(Duration::from_secs(400));
    fs::remove_file(&file).unwrap();
    let error = soon("the failure", client.session()).await.unwrap_err();
    assert!(error.to_string().contains(file.to_str().unwrap()), "{error}");
    fs::write(&file, pod(&idp, "nightly", "ztsa")).unwrap();
    let renewed = soon("the renewal", client.session()).await.unwrap();
    assert_ne!(renewed.token, first.token);
    assert_eq!(renewed.info.session, first.info.session, "the session goes on");
    // another job on the same machine has a session of its own, or none
    fs::write(&file, pod(&idp, "intruder", "ztsa")).unwrap();
    let other = Client::open(config).await.unwrap();
    let error = soon("the refusal", other.session()).await.unwrap_err();
    assert!(matches!(error, TokenError::Denied(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_another_service_never_reaches_the_gateway() {
    let (idp, house) = platform().await;
    let mut config = house.config();
    let token = Secret::new(pod(&idp, "nightly", "https://vault.example.com"));
    config.workload = Some(Workload::Variable { name: "JOB_JWT".to_owned(), token });
    let error = soon("the refusal", Client::open(config).await.unwrap().session()).await.unwrap_err();
    assert!(matches!(&error, TokenError::Workload(WorkloadError::Audience { .. })), "{error}");
    assert!(error.to_string().contains("env:JOB_JWT") && error.hint().contains("audience ztsa"), "{error}");
    let mut config = house.config();
    config.workload = Some(Workload::Variable { name: "JOB_JWT".to_owned(), token: Secret::new("hunter2".to_owned()) });
    let error = soon("the refusal", Client::open(config).await.unwrap().session()).await.unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hunter2"));
}

fn files(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
