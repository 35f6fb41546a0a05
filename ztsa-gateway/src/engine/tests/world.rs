//! A small installation in a directory of its own.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ztsa_net::clock::{Clock, ClockHand};
use ztsa_proto::jws::sha256_base64url;
use ztsa_proto::name::{Destination, DeviceId, UserId};
use ztsa_proto::problem::Problem;
use ztsa_proto::time::UnixTime;

use crate::audit::Audit;
use crate::authn::{Identity, Session};
use crate::config::{App, Config};
use crate::engine::{Engine, Parts};
use crate::lease::Lease;
use crate::posture::Posture;
use crate::store::Store;

pub(crate) const START: UnixTime = UnixTime(1_795_000_000);
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

const CONFIG: &str = r#"
public_url = "https://gw.example"
listen = ["127.0.0.1:0"]
[tls]
cert = "gw.pem"
key = "gw.key"
[[issuer]]
name = "corp"
issuer = "https://idp.example"
client_id = "ztsa-cli"
[store]
url = "sqlite:ztsa.db"
[[app]]
name = "wiki"
kind = "http"
target = "10.0.0.1:80"
[[app]]
name = "db"
kind = "postgresql"
target = "10.0.0.2:5432"
hosts = ["db.example"]
tags = ["prod"]
[[app]]
name = "payroll"
kind = "http"
target = "10.0.0.3:80"
"#;

pub(crate) const POLICIES: &str = r#"
@id("dev") @on_change("terminate")
permit (principal in Group::"dev", action == Action::"connect", resource);
@id("ops") permit (principal in Group::"ops", action == Action::"connect", resource == App::"payroll");
"#;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) hand: ClockHand,
    pub(crate) audit: Audit,
    dir: PathBuf,
    config: Config,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(POLICIES)
    }

    pub(crate) fn with(policies: &str) -> Self {
        Self::configured(policies, "")
    }

    /// With more configuration.
    pub(crate) fn configured(policies: &str, more: &str) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("ztsa-engine-{}-{number}", std::process::id()));
        std::fs::create_dir_all(dir.join("policies")).unwrap();
        std::fs::write(dir.join("policies/main.cedar"), policies).unwrap();
        std::fs::write(dir.join("gateway.toml"), format!("{CONFIG}{more}")).unwrap();
        certificate(&dir);
        let config = Config::load(&dir.join("gateway.toml")).unwrap();
        let (clock, hand) = Clock::manual(START);
        let (engine, audit) = Self::engine(&config, clock);
        Self { engine, hand, audit, dir, config }
    }

    fn engine(config: &Config, clock: Clock) -> (Engine, Audit) {
        let store = Store::open(&config.store).unwrap();
        let audit = Audit::open(&config.audit, &store).unwrap();
        let posture = Arc::new(Posture::default());
        let lookup = crate::lookup::Lookup::read(&config.risk).unwrap();
        let parts = Parts { config: Arc::new(config.clone()), store, audit: audit.clone(), posture, lookup, clock };
        (Engine::new(parts).unwrap(), audit)
    }

    /// Stops the gateway and starts it anew on the same directory, `later` seconds on.
    pub(crate) async fn restart(&mut self, later: u64) {
        self.engine.store().flush().await.unwrap();
        let now = self.engine.now();
        // the old one's store and audit log must be gone before the new one opens them
        let (spare, _) = Clock::manual(now);
        let mut memory = self.config.clone();
        memory.store = crate::config::StoreUrl::Memory;
        memory.audit.file = self.dir.join("meanwhile.ndjson");
        let (old, audit) = Self::engine(&memory, spare);
        drop((std::mem::replace(&mut self.engine, old), std::mem::replace(&mut self.audit, audit)));
        let (clock, hand) = Clock::manual(now.plus(Duration::from_secs(later)));
        (self.engine, self.audit) = Self::engine(&self.config, clock);
        self.hand = hand;
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Changes `gateway.toml`.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        let file = self.dir.join("gateway.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
    }

    pub(crate) fn app(&self, name: &str) -> Arc<App> {
        self.engine.config().apps.iter().find(|app| app.name.to_string() == name).cloned().unwrap()
    }

    /// Lets somebody sign in as the token endpoint does.
    pub(crate) fn session(&self, user: &str, groups: &[&str], device: &str) -> Arc<Session> {
        let now = self.engine.now();
        let identity = Identity {
            user: UserId { issuer: "https://idp.example".to_owned(), subject: user.to_owned() },
            name: Some(user.to_owned()),
            email: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            acr: None,
            amr: Vec::new(),
            auth_time: Some(now),
            issuer: "corp".to_owned(),
        };
        let id = format!("{user}-{device}-{}", now.0).parse().unwrap();
        self.signed_in(Session {
            id,
            identity: Arc::new(identity),
            device: thumbprint(device),
            started_at: now,
            issued_at: now,
            expires_at: now.plus(Duration::from_secs(300)),
        })
    }

    /// Renews a session, with other groups if wanted.
    pub(crate) fn renew(&self, session: &Session, groups: &[&str]) -> Arc<Session> {
        let now = self.engine.now();
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let identity = Arc::new(Identity { groups, ..(*session.identity).clone() });
        let expires_at = now.plus(Duration::from_secs(300));
        self.signed_in(Session { identity, issued_at: now, expires_at, ..session.clone() })
    }

    fn signed_in(&self, session: Session) -> Arc<Session> {
        let store = self.engine.store();
        let user = &session.identity.user;
        store.upsert_seen(user, &session.device, self.engine.now());
        let (name, email) = (session.identity.name.clone(), session.identity.email.clone());
        store.record_user(crate::store::User { id: user.clone(), name, email });
        store.keep_session(crate::store::SessionRow {
            id: session.id.clone(),
            user: user.clone(),
            device: session.device.clone(),
            started_at: session.started_at,
            login_at: session.started_at,
            ends_at: session.started_at.plus(self.engine.config().session.lifetime),
            identity: serde_json::to_string(&*session.identity).unwrap().into(),
        });
        let session = Arc::new(session);
        self.engine.begin_session(&session, PEER, false).unwrap();
        session
    }

    pub(crate) fn open(&self, session: &Arc<Session>, app: &str) -> Result<Lease, Arc<Problem>> {
        self.engine.open(session, &self.app(app), &self.to(app), PEER, None)
    }

    /// Where an app is asked for.
    pub(crate) fn to(&self, app: &str) -> Destination {
        format!("{app}:{}", self.app(app).target.port).parse().unwrap()
    }

    pub(crate) fn policies(&self, text: &str) {
        std::fs::write(self.dir.join("policies/main.cedar"), text).unwrap();
    }

    /// Reads the audit log, one event an element.
    pub(crate) async fn log(&self) -> Vec<serde_json::Value> {
        self.audit.flush().await;
        let text = std::fs::read_to_string(&self.config.audit.file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Writes a certificate of a new key.
pub(crate) fn certificate(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["gw.example".to_owned()]).unwrap();
    std::fs::write(dir.join("gw.pem"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("gw.key"), made.signing_key.serialize_pem()).unwrap();
}

pub(crate) fn thumbprint(device: &str) -> DeviceId {
    sha256_base64url(device.as_bytes()).parse().unwrap()
}
