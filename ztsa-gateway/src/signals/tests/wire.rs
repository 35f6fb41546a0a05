//! A gateway that listens to one transmitter, whose key the test holds.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use ztsa_proto::jws::{self, Header, Signer as _, SoftwareKey};
use ztsa_proto::set::event::Kind;
use ztsa_proto::set::{Set, TYP};

use crate::engine::tests::World;
use crate::signals::receiver::{Receiver, Receivers, Refusal, Taken};

pub(super) const IDP: &str = "https://idp.example";
const POLICIES: &str = r#"@id("dev") permit (principal in Group::"dev", action == Action::"connect", resource);
@id("compliant") @on_change("suspend") @code("posture.device_compliant")
forbid (principal, action == Action::"connect", resource == App::"db")
unless { context.device.posture.device_compliant.state == "pass" };
"#;

pub(super) struct Wire {
    pub(super) world: World,
    pub(super) receivers: Receivers,
    pub(super) key: SoftwareKey,
    count: u32,
}

impl Wire {
    /// Listens to the issuer's own transmitter.
    pub(super) fn new() -> Wire {
        Wire::with("")
    }

    /// With more keys in the transmitter's table.
    pub(super) fn with(more: &str) -> Wire {
        Wire::by_hand(&format!("api_token_file = \"push.token\"\n{more}"))
    }

    /// Listens to a stream that was made by hand.
    pub(super) fn by_hand(more: &str) -> Wire {
        let table = format!(
            "[[signals.transmitter]]\nname = \"corp\"\nissuer = \"{IDP}\"\npush_token_file = \"push.token\"\n\
             keys_file = \"keys.json\"\nemail_domains = [\"corp.example\"]\n{more}\n"
        );
        let world = World::configured(POLICIES, &table);
        let key = SoftwareKey::generate().unwrap();
        let keys = json!({"keys": [key.public_key()]});
        std::fs::write(world.dir().join("push.token"), "0123456789abcdefghij\n").unwrap();
        std::fs::write(world.dir().join("keys.json"), keys.to_string()).unwrap();
        let receivers = Receivers::new(&world.engine.config(), &world.engine).unwrap();
        Wire { world, receivers, key, count: 0 }
    }

    pub(super) fn receiver(&self) -> Arc<Receiver> {
        Arc::clone(self.receivers.named("corp").unwrap())
    }

    /// Stops the gateway and starts it anew.
    pub(super) async fn restart(&mut self, later: u64) {
        // the old handles hold the store open
        let spare = World::new();
        let old =
            std::mem::replace(&mut self.receivers, Receivers::new(&spare.engine.config(), &spare.engine).unwrap());
        drop(old);
        self.world.restart(later).await;
        self.receivers = Receivers::new(&self.world.engine.config(), &self.world.engine).unwrap();
    }

    /// Claims of the transmitter about somebody, made and happened `ago` seconds before now.
    pub(super) fn claims(&mut self, ago: u64, sub_id: &Value, kind: &str, members: &Value) -> Value {
        self.count += 1;
        let at = self.world.engine.now().minus(Duration::from_secs(ago));
        let mut members = members.clone();
        members["event_timestamp"] = json!(at);
        let uri = kind.parse::<Kind>().map_or_else(|_| kind.to_owned(), |kind| kind.uri());
        json!({
            "iss": IDP,
            "aud": ["https://gw.example"],
            "jti": format!("jti-{}", self.count),
            "iat": at,
            "sub_id": sub_id,
            "events": {uri: members},
        })
    }

    pub(super) fn sign(&self, claims: &Value) -> String {
        jws::sign(&self.key, &Header::es256(TYP), claims).unwrap()
    }

    /// Sends claims, signed.
    pub(super) async fn send(&self, claims: &Value) -> Result<Taken, Refusal> {
        self.receiver().take(&self.sign(claims)).await
    }

    /// Tells of an event that happened `ago` seconds before now.
    pub(super) async fn tell(&mut self, ago: u64, sub_id: &Value, kind: &str, members: &Value) -> Taken {
        let claims = self.claims(ago, sub_id, kind, members);
        self.send(&claims).await.unwrap()
    }

    /// The last line of the audit log about a signal.
    pub(super) async fn said(&self) -> String {
        let log = self.world.log().await;
        let code = |line: &Value| line["status_code"].as_str().is_some_and(|code| code.starts_with("signal."));
        log.iter().rfind(|line| code(line)).and_then(|line| line["message"].as_str()).unwrap_or_default().to_owned()
    }
}

pub(super) fn person(subject: &str) -> Value {
    json!({"format": "iss_sub", "iss": IDP, "sub": subject})
}

/// Reads the claims of a token without proving it.
pub(super) fn read(token: &str) -> Set {
    let jws = jws::Compact::parse(token).unwrap();
    let claims: serde_json::Map<String, Value> = jws.claims().unwrap();
    Set::from_claims(&claims).unwrap()
}
