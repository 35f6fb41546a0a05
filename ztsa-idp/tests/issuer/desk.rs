//! An issuer on a free port with a clock that the test moves, and a client of it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::HeaderMap;
use serde_json::Value;
use url::Url;
use ztsa_idp::person::Person;
use ztsa_idp::{Config, Idp};
use ztsa_net::clock::{Clock, ClockHand};
use ztsa_proto::dpop::{self, ProofInput};
use ztsa_proto::jws::{Compact, SoftwareKey};
use ztsa_proto::time::UnixTime;

pub(crate) const GATEWAY: &str = "https://gw.example";
pub(crate) const DEVICE_CODE: &str = "urn:ietf:params:oauth:grant-type:device_code";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const REDIRECT: &str = "http://127.0.0.1:4711/callback";
pub(crate) const ALL: &str = "openid profile email offline_access";

pub(crate) struct Desk {
    pub(crate) idp: Idp,
    pub(crate) clock: Clock,
    pub(crate) hand: ClockHand,
    pub(crate) http: reqwest::Client,
}

/// An answer to a program.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self::with(|config| config).await
    }

    pub(crate) async fn with(change: impl FnOnce(Config) -> Config) -> Self {
        let (clock, hand) = Clock::manual(UnixTime(1_800_000_000));
        let config = Config { clock: clock.clone(), audiences: vec![GATEWAY.into()], ..Config::default() };
        let idp = Idp::spawn(change(config)).await.unwrap();
        let tls = ztsa_net::tls::client_config(&ztsa_net::tls::Roots::mozilla(), &[]).unwrap();
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.as_ref().clone())
            .no_proxy()
            .user_agent("desk/1.0 <b>")
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(10));
        Self { idp, clock, hand, http: http.build().unwrap() }
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.idp.issuer())
    }

    pub(crate) fn pass(&self, seconds: u64) {
        self.hand.advance(Duration::from_secs(seconds));
    }

    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send(self.http.post(self.at(path)).form(fields)).await
    }

    /// Posts with a DPoP proof for exactly this request.
    pub(crate) async fn post_with(&self, key: &SoftwareKey, path: &str, fields: &[(&str, &str)]) -> Answer {
        let proof = self.proof(key, "POST", path, None, None);
        self.send(self.http.post(self.at(path)).header("DPoP", proof).form(fields)).await
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.json().await.unwrap_or(Value::Null) }
    }

    pub(crate) fn proof(
        &self,
        key: &SoftwareKey,
        method: &str,
        path: &str,
        access_token: Option<&str>,
        nonce: Option<&str>,
    ) -> String {
        let url = self.at(path);
        dpop::proof(key, &ProofInput { method, url: &url, access_token, nonce, at: self.clock.now() }).unwrap()
    }

    /// Starts a device authorization for everything.
    pub(crate) async fn device(&self) -> Answer {
        let started = self.post("/device_authorization", &[("client_id", "ztsa-cli"), ("scope", ALL)]).await;
        assert_eq!(started.status, 200, "{started:?}");
        started
    }

    pub(crate) async fn poll(&self, started: &Answer) -> Answer {
        let fields =
            [("client_id", "ztsa-cli"), ("grant_type", DEVICE_CODE), ("device_code", started.text("device_code"))];
        self.post("/token", &fields).await
    }

    /// Signs alice in by device flow.
    pub(crate) async fn tokens(&self) -> Answer {
        let started = self.device().await;
        Person::new("alice", "alice").approve(started.text("verification_uri_complete")).await.unwrap();
        let tokens = self.poll(&started).await;
        assert_eq!(tokens.status, 200, "{tokens:?}");
        tokens
    }

    pub(crate) async fn refresh(&self, token: &str) -> Answer {
        let fields = [("client_id", "ztsa-cli"), ("grant_type", "refresh_token"), ("refresh_token", token)];
        self.post("/token", &fields).await
    }

    pub(crate) async fn introspect(&self, token: &str) -> Value {
        let request = self.http.post(self.at("/introspect")).basic_auth("ztsa-gateway", Some("ztsa-gateway"));
        let answer = self.send(request.form(&[("token", token)])).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    }

    /// The address of an authorization request; `changes` put parameters in or, when empty, leave them out.
    pub(crate) fn authorize(&self, changes: &[(&str, &str)]) -> String {
        let mut fields = vec![
            ("client_id", "ztsa-cli"),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("scope", ALL),
            ("state", "xyz & more"),
            ("nonce", "n-0S6"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        for (name, value) in changes {
            fields.retain(|(known, _)| known != name);
            fields.push((name, value));
        }
        fields.retain(|(_, value)| !value.is_empty());
        Url::parse_with_params(&self.at("/authorize"), fields).unwrap().into()
    }

    pub(crate) async fn redeem(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let mut fields = vec![
            ("client_id", "ztsa-cli"),
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        for (name, value) in changes {
            fields.retain(|(known, _)| known != name);
            fields.push((name, value));
        }
        self.post("/token", &fields).await
    }
}

impl Answer {
    pub(crate) fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_else(|| panic!("no {member} in {self:?}"))
    }

    pub(crate) fn refused(&self, status: u16, error: &str) {
        assert_eq!((self.status, self.body["error"].as_str()), (status, Some(error)), "{self:?}");
        assert!(!self.text("error_description").is_empty());
        assert_eq!(self.headers["cache-control"], "no-store");
    }

    /// Reads the claims of a token of this answer without looking at its signature.
    pub(crate) fn claims(&self, member: &str) -> Value {
        claims(self.text(member))
    }
}

pub(crate) fn claims(token: &str) -> Value {
    Compact::parse(token).unwrap().claims().unwrap()
}

pub(crate) fn header(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap()
}

/// Reads one parameter of an address.
pub(crate) fn parameter(url: &Url, name: &str) -> Option<String> {
    url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}
