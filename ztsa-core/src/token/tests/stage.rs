//! An issuer with rotation and reuse detection, and a gateway that exchanges, in one small server.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use ztsa_net::clock::{Clock, ClockHand};
use ztsa_proto::time::UnixTime;

use crate::{
    config::{Config, StoreChoice, TpmChoice},
    http::{
        Http,
        script::{Received, Reply, Script, TempDir},
    },
    login::DeviceFlow,
    store::Store,
    token::{LoginOptions, SessionToken, SignInError, Tokens},
};

pub(super) const NOW: UnixTime = UnixTime(1_795_352_700);

type Override = Box<dyn Fn(&Received) -> Option<Reply> + Send + Sync>;

#[derive(Default)]
struct Plan {
    url: String,
    issuers: Vec<String>,
    client: String,
    nonce: Option<String>,
    refresh: Option<Override>,
    exchange: Option<Override>,
    refreshed: usize,
    exchanged: usize,
    dead: bool,
}

pub(super) struct Stage {
    script: Script,
    plan: Arc<Mutex<Plan>>,
    dir: TempDir,
    config: Config,
    hand: ClockHand,
}

impl Stage {
    pub(super) async fn new() -> Self {
        let plan: Arc<Mutex<Plan>> = Arc::default();
        let served = Arc::clone(&plan);
        let script = Script::serve(move |request| served.lock().unwrap().answer(request)).await;
        plan.lock().unwrap().url.clone_from(&script.url);
        plan.lock().unwrap().issuers.push(script.url.clone());
        let (clock, hand) = Clock::manual(NOW);
        let dir = TempDir::new();
        let mut config = Config::new(&script.url).unwrap();
        config.state = Some(dir.path().to_owned());
        config.store = StoreChoice::File;
        config.tpm = TpmChoice::Off;
        config.clock = clock;
        Self { script, plan, dir, config, hand }
    }

    /// Opens the profile as another process does.
    pub(super) async fn process(&self) -> Tokens {
        let http = Http::new(&self.config).unwrap();
        Tokens::open(self.config.clone(), http, Store::open(&self.config).unwrap()).await.unwrap()
    }

    pub(super) async fn sign_in(&self, tokens: &Tokens) -> Result<Arc<SessionToken>, SignInError> {
        self.sign_in_with(tokens, LoginOptions::default()).await
    }

    pub(super) async fn sign_in_with(
        &self,
        tokens: &Tokens,
        options: LoginOptions,
    ) -> Result<Arc<SessionToken>, SignInError> {
        tokens.login(DeviceFlow::new(|_| ()), options).await
    }

    pub(super) fn url(&self) -> String {
        self.script.url.clone()
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.hand.advance(std::time::Duration::from_secs(seconds));
    }

    /// How often a path was asked for; `/refresh` counts refreshes at `/token`.
    pub(super) fn count(&self, path: &str) -> usize {
        self.matching(path).len()
    }

    pub(super) fn last(&self, path: &str) -> Received {
        self.matching(path).pop().unwrap()
    }

    pub(super) fn refresh(&self, with: impl Fn(&Received) -> Option<Reply> + Send + Sync + 'static) {
        self.plan.lock().unwrap().refresh = Some(Box::new(with));
    }

    pub(super) fn exchange(&self, with: impl Fn(&Received) -> Option<Reply> + Send + Sync + 'static) {
        self.plan.lock().unwrap().exchange = Some(Box::new(with));
    }

    pub(super) fn demand_nonce(&self, nonce: &str) {
        self.plan.lock().unwrap().nonce = Some(nonce.to_owned());
    }

    pub(super) fn add_issuer(&self, issuer: &str) {
        self.plan.lock().unwrap().issuers.push(issuer.to_owned());
    }

    /// Makes the gateway name another client, and an issuer that does not exist besides.
    pub(super) fn client_id(&self, client: &str) {
        self.plan.lock().unwrap().client = client.to_owned();
    }

    /// Ends the server; the state stays.
    pub(super) fn stop(self) -> (TempDir, Config) {
        (self.dir, self.config)
    }

    fn matching(&self, path: &str) -> Vec<Received> {
        let refresh = |request: &Received| request.field("grant_type").as_deref() == Some("refresh_token");
        let received = self.script.received().into_iter();
        match path {
            "/refresh" => received.filter(refresh).collect(),
            path => received.filter(|request| request.path == path).collect(),
        }
    }
}

impl Plan {
    fn answer(&mut self, request: &Received) -> Reply {
        match request.path.as_str() {
            "/.well-known/oauth-protected-resource" => Reply::json(200, &self.metadata()),
            "/.well-known/openid-configuration" => {
                let at = |path: &str| format!("{}{path}", self.url);
                let document = json!({
                    "issuer": self.url, "token_endpoint": at("/token"), "device_authorization_endpoint": at("/device"),
                    "revocation_endpoint": at("/revoke"),
                });
                Reply::json(200, &document)
            }
            "/device" => Reply::json(
                200,
                &json!({"device_code": "d", "user_code": "ABCD", "verification_uri": "https://idp/d", "expires_in": 60, "interval": 1}),
            ),
            "/token" if request.field("grant_type").as_deref() == Some("refresh_token") => self.rotate(request),
            "/token" => {
                (self.refreshed, self.dead) = (0, false);
                Reply::json(200, &self.tokens())
            }
            "/ztsa/v1/token" => self.session(request),
            "/revoke" => Reply::json(200, &json!({})),
            "/ztsa/v1/session" => Reply::text(204, "text/plain", ""),
            other => Reply::text(404, "text/plain", other),
        }
    }

    fn rotate(&mut self, request: &Received) -> Reply {
        if let Some(reply) = self.refresh.as_ref().and_then(|refresh| refresh(request)) {
            return reply;
        }
        if self.dead || request.field("refresh_token") != Some(format!("refresh-{}", self.refreshed + 1)) {
            self.dead = true;
            return Reply::json(400, &json!({"error": "invalid_grant", "error_description": "reuse detected"}));
        }
        self.refreshed += 1;
        Reply::json(200, &self.tokens())
    }

    fn tokens(&self) -> Value {
        let number = self.refreshed + 1;
        json!({
            "access_token": format!("access-{number}"), "token_type": "Bearer", "expires_in": 600,
            "refresh_token": format!("refresh-{number}"), "id_token": "a.b.c",
        })
    }

    fn session(&mut self, request: &Received) -> Reply {
        let proof = request.proof();
        if self.nonce.is_some() && proof["nonce"].as_str() != self.nonce.as_deref() {
            return Reply::json(400, &json!({"error": "use_dpop_nonce"}))
                .with("DPoP-Nonce", self.nonce.as_deref().unwrap());
        }
        if let Some(reply) = self.exchange.as_ref().and_then(|exchange| exchange(request)) {
            return reply;
        }
        self.exchanged += 1;
        let device =
            ztsa_proto::jws::Compact::parse(request.header("dpop")).unwrap().header().jwk.clone().unwrap().thumbprint();
        Reply::json(
            200,
            &json!({
                "access_token": format!("session-{}", self.exchanged), "token_type": "DPoP", "expires_in": 300,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "ztsa": {
                    "session": "s-1", "user": {"issuer": self.url, "subject": "alice"},
                    "device": {"id": device, "state": "unmanaged"}, "expires_at": NOW,
                },
            }),
        )
    }

    fn client(&self) -> &str {
        if self.client.is_empty() { "ztsa-cli" } else { &self.client }
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| format!("{}/ztsa/v1/{path}", self.url);
        json!({
            "resource": self.url, "authorization_servers": self.issuers,
            "ztsa": {
                "version": 1, "token_endpoint": at("token"), "session_endpoint": at("session"), "apps_endpoint": at("apps"),
                "grants_endpoint": at("grants"), "tickets_endpoint": at("tickets"), "why_endpoint": at("why"),
                "posture_endpoint": at("posture"), "events_endpoint": at("events"), "tunnel_template": at("tunnel"),
                "issuers": self.issuers.iter().map(|issuer| json!({"issuer": issuer, "name": "dev", "client_id": self.client(), "scopes": ["openid"]})).collect::<Vec<_>>(),
                "posture": ["os.kernel", "disk.root"],
            },
        })
    }
}
