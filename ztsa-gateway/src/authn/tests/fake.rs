//! A small issuer over HTTP, and a gateway and a device to go with it.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use ztsa_proto::dpop::{self, ProofInput};
use ztsa_proto::jws::{self, Signer as _, SoftwareKey};
use ztsa_proto::name::DeviceId;
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use crate::authn::{Authn, AuthnError, ExchangeForm, Exchanged, Head, Session, SubjectKind};
use crate::config::{Config, StoreUrl};
use crate::store::Store;

pub(super) const NOW: UnixTime = UnixTime(1_795_000_000);
pub(super) const GATEWAY: &str = "https://gw.example.com";
pub(super) const TOKEN_PATH: &str = "/ztsa/v1/token";

/// What a path answers: status, content type, body. A status of 0 never answers.
pub(super) type Page = (u16, &'static str, String);

/// Serves pages from loopback, one connection each.
pub(super) struct Site {
    pub(super) url: String,
    pages: Arc<Mutex<HashMap<String, Page>>>,
    hits: Arc<Mutex<Vec<String>>>,
}

impl Site {
    pub(super) fn start() -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let pages: Arc<Mutex<HashMap<String, Page>>> = Arc::default();
        let hits: Arc<Mutex<Vec<String>>> = Arc::default();
        let (served, counted) = (Arc::clone(&pages), Arc::clone(&hits));
        std::thread::spawn(move || {
            let mut held = Vec::new();
            while let Ok((stream, _)) = listener.accept() {
                serve(stream, &served, &counted, &mut held);
            }
        });
        Site { url, pages, hits }
    }

    pub(super) fn page(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    pub(super) fn json(&self, path: &str, body: &Value) {
        self.page(path, (200, "application/json", body.to_string()));
    }

    /// How often a path was asked for.
    pub(super) fn hits(&self, path: &str) -> usize {
        self.hits.lock().unwrap().iter().filter(|hit| hit.split('\n').next() == Some(path)).count()
    }

    /// The last request for a path: path, head and body.
    pub(super) fn last(&self, path: &str) -> String {
        self.hits.lock().unwrap().iter().rfind(|hit| hit.split('\n').next() == Some(path)).cloned().unwrap_or_default()
    }
}

fn serve(
    stream: TcpStream,
    pages: &Mutex<HashMap<String, Page>>,
    hits: &Mutex<Vec<String>>,
    held: &mut Vec<TcpStream>,
) {
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    hits.lock().unwrap().push(format!("{path}\n{head}\n{}", String::from_utf8_lossy(&body)));
    let page = pages.lock().unwrap().get(&path).cloned();
    let (status, kind, text) = page.unwrap_or((404, "text/html", "<h1>nothing here</h1>".to_owned()));
    let mut stream = reader.into_inner();
    if status == 0 {
        held.push(stream);
        return;
    }
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        text.len()
    );
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(text.as_bytes()));
}

/// An issuer, a gateway that trusts it, and a device.
pub(super) struct World {
    pub(super) site: Site,
    pub(super) key: SoftwareKey,
    pub(super) store: Store,
    pub(super) authn: Authn,
    pub(super) device: SoftwareKey,
    pub(super) config: Config,
}

impl World {
    /// `extra` goes into the issuer's table.
    pub(super) fn new(extra: &str) -> World {
        let site = Site::start();
        let key = SoftwareKey::generate().unwrap();
        site.publish(&[&key]);
        let text = format!(
            "public_url = \"{GATEWAY}\"\ntls = {{ cert = \"c\", key = \"k\" }}\nstore.url = \"sqlite::memory:\"\n\
             [[issuer]]\nname = \"corp\"\nissuer = \"{}\"\nclient_id = \"ztsa-cli\"\n{extra}\n",
            site.url
        );
        let dir = std::env::temp_dir();
        let config = Config::parse(&text, &dir).unwrap();
        let store = Store::open(&StoreUrl::Memory).unwrap();
        let authn = Authn::new(&config, &store).unwrap();
        World { site, key, store, authn, device: SoftwareKey::generate().unwrap(), config }
    }

    /// The gateway after a restart on the same store.
    pub(super) fn restart(&mut self) {
        self.authn = Authn::new(&self.config, &self.store).unwrap();
    }

    pub(super) fn device_id(&self) -> DeviceId {
        self.device.public_key().thumbprint()
    }

    /// Alice's access token, with these claims in place of its own; `null` takes one away.
    pub(super) fn access(&self, changes: &Value) -> String {
        let claims = json!({
            "iss": self.site.url, "aud": GATEWAY, "sub": "alice", "client_id": "ztsa-cli",
            "iat": NOW.0, "exp": NOW.0 + 600, "jti": "j1",
        });
        self.signed(&json!({"typ": "at+jwt", "alg": "ES256", "kid": kid(&self.key)}), claims, changes)
    }

    /// Alice's ID token, likewise.
    pub(super) fn id(&self, changes: &Value) -> String {
        let claims = json!({
            "iss": self.site.url, "aud": "ztsa-cli", "sub": "alice", "iat": NOW.0, "exp": NOW.0 + 3600,
            "auth_time": NOW.0 - 10, "name": "Alice", "email": "alice@example.com", "groups": ["dev"], "acr": "mfa", "amr": ["pwd", "otp"],
        });
        self.signed(&json!({"typ": "JWT", "alg": "ES256", "kid": kid(&self.key)}), claims, changes)
    }

    pub(super) fn signed(&self, header: &Value, claims: Value, changes: &Value) -> String {
        jws::sign(&self.key, header, &changed(claims, changes)).unwrap()
    }

    /// Exchanges with a good proof.
    pub(super) async fn exchange(&self, form: ExchangeForm, now: UnixTime) -> Result<Exchanged, AuthnError> {
        self.exchange_from(&self.device, form, now).await
    }

    /// Exchanges from another device.
    pub(super) async fn exchange_from(
        &self,
        device: &SoftwareKey,
        form: ExchangeForm,
        now: UnixTime,
    ) -> Result<Exchanged, AuthnError> {
        let nonce = self.authn.nonce(now);
        let url = format!("{GATEWAY}{TOKEN_PATH}");
        let headers = proof(device, "POST", &url, None, Some(&nonce));
        let head = Head { method: "POST", url_path: TOKEN_PATH, headers: &headers };
        self.authn.exchange(form, &head, now).await.map_err(|failure| failure.error)
    }

    /// Signs alice in, and mints her token.
    pub(super) async fn session(&self, now: UnixTime) -> (Arc<Session>, String) {
        let exchanged = self.exchange(form(&self.access(&fresh(now)), Some(&self.id(&fresh(now)))), now).await.unwrap();
        let token = self.authn.mint(&exchanged.session).unwrap();
        (exchanged.session, token.expose().clone())
    }

    /// Asks for `GET /ztsa/v1/apps` with a token and a good proof.
    pub(super) fn check(&self, token: &str, now: UnixTime) -> Result<Arc<Session>, AuthnError> {
        let headers = self.request(token, now);
        self.authn.check(&Head { method: "GET", url_path: "/ztsa/v1/apps", headers: &headers }, now)
    }

    pub(super) fn request(&self, token: &str, now: UnixTime) -> HeaderMap {
        let url = format!("{GATEWAY}/ztsa/v1/apps");
        let mut headers = proof(&self.device, "GET", &url, Some(token), Some(&self.authn.nonce(now)));
        headers.insert("authorization", HeaderValue::try_from(format!("DPoP {token}")).unwrap());
        headers
    }
}

impl Site {
    /// Publishes the discovery document and these keys.
    pub(super) fn publish(&self, keys: &[&SoftwareKey]) {
        let url = &self.url;
        self.json(
            "/.well-known/openid-configuration",
            &json!({
                "issuer": url, "jwks_uri": format!("{url}/jwks"), "userinfo_endpoint": format!("{url}/userinfo"),
                "introspection_endpoint": format!("{url}/introspect"),
            }),
        );
        let keys: Vec<Value> = keys
            .iter()
            .map(|key| {
                let mut jwk = serde_json::to_value(key.public_key()).unwrap();
                jwk["kid"] = json!(kid(key));
                jwk
            })
            .collect();
        self.json("/jwks", &json!({"keys": keys}));
    }
}

pub(super) fn kid(key: &SoftwareKey) -> String {
    key.public_key().thumbprint().to_string()
}

/// Times of a sign-in at `now`.
pub(super) fn fresh(now: UnixTime) -> Value {
    json!({"iat": now.0, "exp": now.0 + 600, "auth_time": now.0})
}

pub(super) fn changed(mut claims: Value, changes: &Value) -> Value {
    let members = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() { drop(members.remove(name)) } else { drop(members.insert(name.clone(), value.clone())) }
    }
    claims
}

pub(super) fn form(access: &str, id: Option<&str>) -> ExchangeForm {
    ExchangeForm {
        subject_token: Secret::new(access.to_owned()),
        kind: SubjectKind::Access,
        id_token: id.map(|id| Secret::new(id.to_owned())),
        posture: None,
        session: None,
        device_name: None,
    }
}

pub(super) fn renewal(access: &str, session: &Session) -> ExchangeForm {
    ExchangeForm { session: Some(session.id.clone()), ..form(access, None) }
}

/// Headers with one proof; its clock says 1970, because a nonce proves the time.
pub(super) fn proof(key: &SoftwareKey, method: &str, url: &str, token: Option<&str>, nonce: Option<&str>) -> HeaderMap {
    let text = dpop::proof(key, &ProofInput { method, url, access_token: token, nonce, at: UnixTime(1000) }).unwrap();
    HeaderMap::from_iter([(http::HeaderName::from_static("dpop"), HeaderValue::try_from(text).unwrap())])
}

pub(super) fn after(seconds: u64) -> UnixTime {
    NOW.plus(Duration::from_secs(seconds))
}
