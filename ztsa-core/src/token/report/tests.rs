use std::{cell::RefCell, collections::BTreeMap};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use ztsa_proto::posture::{Check, Reason, State};

use super::*;
use crate::{
    config::{ClientCertificate, Config, StoreChoice},
    http::{Http, script::TempDir},
    store::Store,
};

const URL: &str = "https://gw.example";
const ENDPOINT: &str = "https://gw.example/posture";

/// A device that shows a certificate, and a gateway that asks for it and for the kernel.
struct Device {
    here: TempDir,
    tokens: Tokens,
    metadata: ResourceMetadata,
    /// What the gateway knows.
    kept: RefCell<BTreeMap<String, Check>>,
}

impl Device {
    async fn new() -> Self {
        let here = TempDir::new();
        let [chain, key] = ["chain.pem", "key.pem"].map(|name| here.path().join(name));
        let certificate = Some(ClientCertificate { chain, key });
        let config = Config { certificate, store: StoreChoice::Memory, ..Config::new(URL).unwrap() };
        let (http, store) = (Http::new(&config).unwrap(), Store::open(&config).unwrap());
        http.store_nonce(URL, "n-1");
        let at = |path: &str| format!("{URL}/{path}");
        let metadata = serde_json::from_value(json!({
            "resource": URL, "authorization_servers": [URL],
            "ztsa": {
                "version": 1, "token_endpoint": at("t"), "session_endpoint": at("s"), "apps_endpoint": at("a"),
                "grants_endpoint": at("g"), "tickets_endpoint": at("k"), "why_endpoint": at("w"),
                "posture_endpoint": ENDPOINT, "events_endpoint": at("e"), "tunnel_template": at("c"),
                "issuers": [{"issuer": URL, "name": "dev", "client_id": "c"}], "posture": ["os.kernel", "cert.corp"],
            },
        }));
        let tokens = Tokens::open(config, http, store).await.unwrap();
        let device = Self { here, tokens, metadata: metadata.unwrap(), kept: RefCell::default() };
        device.write("chain.pem", "CERTIFICATE", b"one");
        device.write_key();
        device
    }

    fn write(&self, name: &str, label: &str, der: &[u8]) {
        let pem = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der));
        std::fs::write(self.here.path().join(name), pem).unwrap();
    }

    fn write_key(&self) {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        self.write("key.pem", "PRIVATE KEY", key.to_pkcs8v1().unwrap().as_ref());
    }

    async fn news(&self) -> Report {
        self.tokens.news(self.tokens.collect(&self.metadata).await)
    }

    async fn sign(&self, report: &Report) -> Signed {
        self.tokens.sign_report(report, &self.metadata, ENDPOINT).await.unwrap()
    }

    /// The gateway takes what was signed.
    fn take(&self, signed: &Signed) {
        let told = signed.says.report.checks.iter().map(|check| (check.id.clone(), check.clone()));
        self.kept.borrow_mut().extend(told);
        let kept: Vec<Check> = self.kept.borrow().values().cloned().collect();
        let info = json!({
            "session": "s", "user": {"issuer": URL, "subject": "alice"},
            "device": {"id": self.tokens.device(), "state": "unmanaged"}, "expires_at": 1, "posture": kept,
        });
        self.tokens.reported(&signed.says, &serde_json::from_value(info).unwrap());
    }

    async fn tell(&self) -> Vec<String> {
        let news = self.news().await;
        self.take(&self.sign(&news).await);
        news.checks.into_iter().map(|check| check.id).collect()
    }
}

fn certificate(report: &Report) -> &Check {
    report.checks.iter().find(|check| check.id == "cert.corp").unwrap()
}

#[tokio::test]
async fn a_certificate_that_goes_while_a_report_is_made_and_comes_back_is_told_again() {
    let device = Device::new().await;
    let seen = device.news().await;
    assert_eq!(certificate(&seen).state, State::Pass);
    let key = std::fs::read(device.here.path().join("key.pem")).unwrap();
    std::fs::remove_file(device.here.path().join("key.pem")).unwrap();
    let signed = device.sign(&seen).await;
    assert_eq!(certificate(&signed.says.report).state, State::Unknown);
    device.take(&signed);
    std::fs::write(device.here.path().join("key.pem"), key).unwrap();
    assert_eq!(device.tell().await, ["cert.corp"]);
    assert!(device.news().await.checks.is_empty(), "and only once");
}

#[tokio::test]
async fn without_a_nonce_nothing_is_proved_and_the_next_report_proves_it() {
    let device = Device::new().await;
    let elsewhere = "https://other.example/posture";
    let signed = device.tokens.sign_report(&device.news().await, &device.metadata, elsewhere).await.unwrap();
    let told = certificate(&signed.says.report);
    assert_eq!((told.state, told.reason), (State::Unknown, Some(Reason::Absent)));
    device.take(&signed);
    assert_eq!(device.tell().await, ["cert.corp"]);
    assert!(device.news().await.checks.is_empty());
}

#[tokio::test]
async fn another_certificate_and_another_key_are_news() {
    let device = Device::new().await;
    assert_eq!(device.tell().await, ["os.kernel", "cert.corp"]);
    assert!(device.news().await.checks.is_empty());
    device.write("chain.pem", "CERTIFICATE", b"two");
    assert_eq!(device.tell().await, ["cert.corp"]);
    device.write_key();
    assert_eq!(device.tell().await, ["cert.corp"]);
    assert!(device.news().await.checks.is_empty());
}
