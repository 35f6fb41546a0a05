//! What happened: the events of CAEP 1.0, RISC 1.0 and of the Shared Signals Framework 1.0 itself.

mod name;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{SetError, shown};
use crate::time::UnixTime;

pub use name::Kind;

/// Holds one event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The event type's URI.
    pub uri: String,
    /// What happened.
    pub happening: Happening,
    /// When it happened, as far as the transmitter says: `event_timestamp`, else `toe`.
    pub at: Option<UnixTime>,
    /// Who caused it: `admin`, `user`, `policy` or `system`.
    pub initiator: Option<String>,
    /// Why, for administrators, by language.
    pub reason_admin: Reasons,
    /// Why, for the person, by language.
    pub reason_user: Reasons,
    /// Facts about a device in our own member `ztsa`, at most 128; what is no text is there as JSON.
    pub facts: BTreeMap<String, String>,
    /// For how many seconds those facts are to be believed, in the same member.
    pub lasts: Option<u64>,
    /// What stands there in place of a number of seconds.
    pub unread: Option<String>,
}

/// Holds one reason in some languages.
pub type Reasons = BTreeMap<String, String>;

/// Says what happened, with what the event type adds.
#[derive(Clone, Debug, PartialEq)]
pub enum Happening {
    /// CAEP `session-revoked`.
    SessionRevoked,
    /// CAEP `token-claims-change`, with the new values.
    TokenClaimsChange {
        /// The claims that changed.
        claims: Map<String, Value>,
    },
    /// CAEP `credential-change`.
    CredentialChange {
        /// Such as `password` or `fido2-platform`.
        credential: String,
        /// `create`, `revoke`, `update` or `delete`.
        change: String,
    },
    /// CAEP `assurance-level-change`.
    AssuranceLevelChange {
        /// Whose levels these are, such as `NIST-AAL`.
        namespace: String,
        /// The level now.
        current: String,
        /// Whether it rose, where that is known.
        rose: Option<bool>,
    },
    /// CAEP `device-compliance-change`.
    DeviceComplianceChange {
        /// Whether the device is compliant now.
        compliant: bool,
    },
    /// CAEP `session-established`.
    SessionEstablished {
        /// The authentication context class.
        acr: Option<String>,
        /// The authentication methods.
        amr: Vec<String>,
    },
    /// CAEP `session-presented`.
    SessionPresented,
    /// CAEP `risk-level-change`.
    RiskLevelChange {
        /// What the risk is of: `USER`, `DEVICE`, `SESSION` or another.
        principal: String,
        /// The level now.
        current: Level,
        /// The level before.
        previous: Option<Level>,
        /// What contributed to it.
        reason: Option<String>,
    },
    /// SSF `verification`.
    Verification {
        /// The receiver's word, given back.
        state: Option<String>,
    },
    /// SSF `stream-updated`.
    StreamUpdated {
        /// `enabled`, `paused` or `disabled`.
        status: String,
        /// Why.
        reason: Option<String>,
    },
    /// RISC `account-disabled`.
    AccountDisabled {
        /// `hijacking` or `bulk-account`.
        reason: Option<String>,
    },
    /// RISC `credential-compromise`.
    CredentialCompromise {
        /// Such as `password`.
        credential: String,
    },
    /// An event without members of its own, or one that is not known here: its kind says which.
    Plain(Kind),
}

/// Ranks a risk (CAEP 1.0 section 3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// `LOW`.
    Low,
    /// `MEDIUM`.
    Medium,
    /// `HIGH`.
    High,
}

impl Level {
    /// Gives the word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
        }
    }

    fn read(word: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High].into_iter().find(|level| level.as_str().eq_ignore_ascii_case(word))
    }
}

impl Event {
    /// Makes an event that happened at a time.
    #[must_use]
    pub fn new(happening: Happening, at: UnixTime) -> Self {
        let kind = happening.kind();
        Self {
            uri: kind.uri(),
            happening,
            at: Some(at),
            initiator: None,
            reason_admin: Reasons::new(),
            reason_user: Reasons::new(),
            facts: BTreeMap::new(),
            lasts: None,
            unread: None,
        }
    }

    /// Adds a reason in English, for administrators and for the person.
    #[must_use]
    pub fn because(mut self, reason: &str) -> Self {
        self.reason_admin.insert("en".to_owned(), shown(reason));
        self.reason_user.insert("en".to_owned(), shown(reason));
        self
    }

    /// Says of what kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match &self.happening {
            Happening::Plain(_) => Kind::of(&self.uri),
            happening => happening.kind(),
        }
    }

    /// Gives the reason to show: the one for the person, else the one for administrators; English where there is a choice.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let pick = |reasons: &Reasons| -> Option<String> {
            let english = reasons.iter().find(|(tag, _)| tag.starts_with("en")).map(|(_, text)| text);
            english.or_else(|| reasons.values().next()).cloned()
        };
        pick(&self.reason_user).or_else(|| pick(&self.reason_admin))
    }

    pub(super) fn read(uri: &str, members: &Map<String, Value>) -> Result<Self, SetError> {
        if uri.is_empty() || uri.len() > LONGEST {
            return Err(SetError::Claim("events"));
        }
        let kind = Kind::of(uri);
        let from = Members { kind: &kind, members };
        let own = members.get("ztsa").and_then(Value::as_object);
        let lasts = own.and_then(|own| own.get("lasts"));
        Ok(Self {
            uri: uri.to_owned(),
            happening: happening(&kind, &from)?,
            at: from.time("event_timestamp")?,
            initiator: from.text("initiating_entity"),
            reason_admin: reasons(members.get("reason_admin")),
            reason_user: reasons(members.get("reason_user")),
            facts: facts(own.and_then(|own| own.get("facts"))),
            lasts: lasts.and_then(Value::as_u64),
            unread: lasts.filter(|lasts| lasts.as_u64().is_none()).map(word),
        })
    }

    pub(super) fn write(&self) -> Map<String, Value> {
        let mut members = Map::new();
        let mut put = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        if let Some(at) = self.at.filter(|_| !matches!(self.happening, Happening::Verification { .. })) {
            put("event_timestamp", json!(at));
        }
        if let Some(initiator) = &self.initiator {
            put("initiating_entity", json!(initiator));
        }
        for (name, reasons) in [("reason_admin", &self.reason_admin), ("reason_user", &self.reason_user)] {
            if !reasons.is_empty() {
                put(name, json!(reasons));
            }
        }
        let lasts = self.lasts.map(Value::from).or_else(|| self.unread.clone().map(Value::from));
        match lasts {
            None if self.facts.is_empty() => {}
            None => put("ztsa", json!({"facts": self.facts})),
            Some(lasts) => put("ztsa", json!({"facts": self.facts, "lasts": lasts})),
        }
        members.extend(self.happening.write());
        members
    }
}

impl Happening {
    /// Says of what kind it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::SessionRevoked => Kind::SessionRevoked,
            Self::TokenClaimsChange { .. } => Kind::TokenClaimsChange,
            Self::CredentialChange { .. } => Kind::CredentialChange,
            Self::AssuranceLevelChange { .. } => Kind::AssuranceLevelChange,
            Self::DeviceComplianceChange { .. } => Kind::DeviceComplianceChange,
            Self::SessionEstablished { .. } => Kind::SessionEstablished,
            Self::SessionPresented => Kind::SessionPresented,
            Self::RiskLevelChange { .. } => Kind::RiskLevelChange,
            Self::Verification { .. } => Kind::Verification,
            Self::StreamUpdated { .. } => Kind::StreamUpdated,
            Self::AccountDisabled { .. } => Kind::AccountDisabled,
            Self::CredentialCompromise { .. } => Kind::CredentialCompromise,
            Self::Plain(kind) => kind.clone(),
        }
    }

    fn write(&self) -> Map<String, Value> {
        let level = |level: &Option<Level>| level.map(Level::as_str);
        let compliance = |compliant: bool| if compliant { "compliant" } else { "not-compliant" };
        let written = match self {
            Self::SessionRevoked | Self::SessionPresented | Self::Plain(_) => json!({}),
            Self::TokenClaimsChange { claims } => json!({"claims": claims}),
            Self::CredentialChange { credential, change } => {
                json!({"credential_type": credential, "change_type": change})
            }
            Self::AssuranceLevelChange { namespace, current, rose } => {
                let direction = rose.map(|rose| if rose { "increase" } else { "decrease" });
                json!({"namespace": namespace, "current_level": current, "change_direction": direction})
            }
            Self::DeviceComplianceChange { compliant } => {
                json!({"previous_status": compliance(!compliant), "current_status": compliance(*compliant)})
            }
            Self::SessionEstablished { acr, amr } => {
                let amr = Some(amr).filter(|amr| !amr.is_empty());
                json!({"acr": acr, "amr": amr})
            }
            Self::RiskLevelChange { principal, current, previous, reason } => json!({
                "principal": principal,
                "current_level": current.as_str(),
                "previous_level": level(previous),
                "risk_reason": reason,
            }),
            Self::Verification { state } => json!({"state": state}),
            Self::StreamUpdated { status, reason } => json!({"status": status, "reason": reason}),
            Self::AccountDisabled { reason } => json!({"reason": reason}),
            Self::CredentialCompromise { credential } => json!({"credential_type": credential}),
        };
        match written {
            Value::Object(members) => members.into_iter().filter(|(_, value)| !value.is_null()).collect(),
            _ => Map::new(),
        }
    }
}

fn happening(kind: &Kind, from: &Members<'_>) -> Result<Happening, SetError> {
    Ok(match kind {
        Kind::SessionRevoked => Happening::SessionRevoked,
        Kind::TokenClaimsChange => {
            let claims = from.members.get("claims").and_then(Value::as_object);
            Happening::TokenClaimsChange { claims: claims.cloned().ok_or_else(|| from.lacks("claims"))? }
        }
        Kind::CredentialChange => Happening::CredentialChange {
            credential: from.needed("credential_type")?,
            change: from.needed("change_type")?,
        },
        Kind::AssuranceLevelChange => Happening::AssuranceLevelChange {
            namespace: from.needed("namespace")?,
            current: from.needed("current_level")?,
            rose: match from.text("change_direction").as_deref() {
                Some("increase") => Some(true),
                Some("decrease") => Some(false),
                _ => None,
            },
        },
        Kind::DeviceComplianceChange => Happening::DeviceComplianceChange {
            compliant: match from.needed("current_status")?.as_str() {
                "compliant" => true,
                "not-compliant" => false,
                _ => return Err(from.lacks("current_status")),
            },
        },
        Kind::SessionEstablished => {
            let amr = from.members.get("amr").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let amr = amr.iter().filter_map(Value::as_str).take(MOST).map(shown).collect();
            Happening::SessionEstablished { acr: from.text("acr"), amr }
        }
        Kind::SessionPresented => Happening::SessionPresented,
        Kind::RiskLevelChange => Happening::RiskLevelChange {
            principal: from.text("principal").unwrap_or_default(),
            current: from
                .text("current_level")
                .and_then(|word| Level::read(&word))
                .ok_or_else(|| from.lacks("current_level"))?,
            previous: from.text("previous_level").and_then(|word| Level::read(&word)),
            reason: from.text("risk_reason"),
        },
        Kind::Verification => Happening::Verification { state: from.exact("state") },
        Kind::StreamUpdated => Happening::StreamUpdated { status: from.needed("status")?, reason: from.text("reason") },
        Kind::AccountDisabled => Happening::AccountDisabled { reason: from.text("reason") },
        Kind::CredentialCompromise => Happening::CredentialCompromise { credential: from.needed("credential_type")? },
        plain => Happening::Plain(plain.clone()),
    })
}

/// The members of an event, as they came.
struct Members<'a> {
    kind: &'a Kind,
    members: &'a Map<String, Value>,
}

impl Members<'_> {
    fn lacks(&self, member: &'static str) -> SetError {
        SetError::Member { event: self.kind.to_string(), member }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.members.get(name).and_then(Value::as_str).map(shown)
    }

    /// A text that is compared, so that nothing may be taken out of it.
    fn exact(&self, name: &str) -> Option<String> {
        self.members.get(name).and_then(Value::as_str).filter(|text| text.len() <= LONGEST).map(str::to_owned)
    }

    fn needed(&self, name: &'static str) -> Result<String, SetError> {
        self.text(name).filter(|text| !text.is_empty()).ok_or_else(|| self.lacks(name))
    }

    fn time(&self, name: &'static str) -> Result<Option<UnixTime>, SetError> {
        match self.members.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone()).map(Some).map_err(|_| self.lacks(name)),
        }
    }
}

/// Reads a reason by language; some transmitters write one text.
fn reasons(value: Option<&Value>) -> Reasons {
    match value {
        Some(Value::String(text)) => Reasons::from([("en".to_owned(), shown(text))]),
        Some(Value::Object(languages)) => {
            let texts = languages.iter().take(MOST).filter_map(|(tag, text)| Some((shown(tag), shown(text.as_str()?))));
            texts.filter(|(_, text)| !text.is_empty()).collect()
        }
        _ => Reasons::new(),
    }
}

fn facts(value: Option<&Value>) -> BTreeMap<String, String> {
    let facts = value.and_then(Value::as_object).into_iter().flatten();
    facts.take(MOST_FACTS).map(|(id, state)| (shown(id), word(state))).collect()
}

/// A value as text: what is of another sort is there to be shown.
fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| shown(&value.to_string()), shown)
}

const MOST: usize = 16;
const MOST_FACTS: usize = 128;
const LONGEST: usize = 512;
