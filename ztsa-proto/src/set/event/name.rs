//! The names of events.

use std::fmt;
use std::str::FromStr;

/// Names an event type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// CAEP: a session ended.
    SessionRevoked,
    /// CAEP: claims of a token are others now.
    TokenClaimsChange,
    /// CAEP: a password, key or second factor was made, changed or removed.
    CredentialChange,
    /// CAEP: the assurance of a sign-in is another now.
    AssuranceLevelChange,
    /// CAEP: a device is compliant now, or no more.
    DeviceComplianceChange,
    /// CAEP: a session began.
    SessionEstablished,
    /// CAEP: a session was seen.
    SessionPresented,
    /// CAEP: a risk is another now.
    RiskLevelChange,
    /// RISC: the person must change a credential.
    AccountCredentialChangeRequired,
    /// RISC: the account was deleted.
    AccountPurged,
    /// RISC: the account was disabled.
    AccountDisabled,
    /// RISC: the account was enabled.
    AccountEnabled,
    /// RISC: an address or a number is another now.
    IdentifierChanged,
    /// RISC: an address or a number belongs to another person now.
    IdentifierRecycled,
    /// RISC: a credential is known to others.
    CredentialCompromise,
    /// RISC: the person takes part in the exchange of events.
    OptIn,
    /// RISC: the person begins to opt out.
    OptOutInitiated,
    /// RISC: the person stays in.
    OptOutCancelled,
    /// RISC: the person is out.
    OptOutEffective,
    /// RISC: the recovery of an account began.
    RecoveryActivated,
    /// RISC: what an account is recovered with is another now.
    RecoveryInformationChanged,
    /// RISC, deprecated for [`Kind::SessionRevoked`]: all sessions of an account ended.
    SessionsRevoked,
    /// OAuth event of RISC transmitters: all tokens of an account were revoked.
    TokensRevoked,
    /// SSF: a heartbeat.
    Verification,
    /// SSF: the stream was paused, disabled or enabled.
    StreamUpdated,
    /// An event that is not known here, by its URI.
    Other(String),
}

/// Every event that is known here, with its URI's last parts.
const TABLE: [(Kind, &str, &str); 25] = [
    (Kind::SessionRevoked, CAEP, "session-revoked"),
    (Kind::TokenClaimsChange, CAEP, "token-claims-change"),
    (Kind::CredentialChange, CAEP, "credential-change"),
    (Kind::AssuranceLevelChange, CAEP, "assurance-level-change"),
    (Kind::DeviceComplianceChange, CAEP, "device-compliance-change"),
    (Kind::SessionEstablished, CAEP, "session-established"),
    (Kind::SessionPresented, CAEP, "session-presented"),
    (Kind::RiskLevelChange, CAEP, "risk-level-change"),
    (Kind::AccountCredentialChangeRequired, RISC, "account-credential-change-required"),
    (Kind::AccountPurged, RISC, "account-purged"),
    (Kind::AccountDisabled, RISC, "account-disabled"),
    (Kind::AccountEnabled, RISC, "account-enabled"),
    (Kind::IdentifierChanged, RISC, "identifier-changed"),
    (Kind::IdentifierRecycled, RISC, "identifier-recycled"),
    (Kind::CredentialCompromise, RISC, "credential-compromise"),
    (Kind::OptIn, RISC, "opt-in"),
    (Kind::OptOutInitiated, RISC, "opt-out-initiated"),
    (Kind::OptOutCancelled, RISC, "opt-out-cancelled"),
    (Kind::OptOutEffective, RISC, "opt-out-effective"),
    (Kind::RecoveryActivated, RISC, "recovery-activated"),
    (Kind::RecoveryInformationChanged, RISC, "recovery-information-changed"),
    (Kind::SessionsRevoked, RISC, "sessions-revoked"),
    (Kind::TokensRevoked, OAUTH, "tokens-revoked"),
    (Kind::Verification, SSF, "verification"),
    (Kind::StreamUpdated, SSF, "stream-updated"),
];

impl Kind {
    /// Finds the kind of an event type's URI.
    #[must_use]
    pub fn of(uri: &str) -> Self {
        let name = uri.strip_prefix(BASE);
        let known = name.and_then(|name| {
            let (family, name) = name.split_once("/event-type/")?;
            TABLE.iter().find(|(_, own, known)| {
                // Google verifies its RISC streams with an event of its own
                (*own == family || (family == RISC && *own == SSF)) && *known == name
            })
        });
        known.map_or_else(|| Self::Other(super::shown(uri)), |(kind, _, _)| kind.clone())
    }

    /// Gives the event type's URI.
    #[must_use]
    pub fn uri(&self) -> String {
        match self {
            Self::Other(uri) => uri.clone(),
            known => {
                let row = TABLE.iter().find(|(kind, _, _)| kind == known);
                row.map(|(_, family, name)| format!("{BASE}{family}/event-type/{name}")).unwrap_or_default()
            }
        }
    }

    /// Goes through all events that are known here.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(kind, _, _)| kind.clone())
    }

    /// Says whether it speaks of the stream itself, not of a person, device or session.
    #[must_use]
    pub fn is_of_stream(&self) -> bool {
        matches!(self, Self::Verification | Self::StreamUpdated)
    }
}

/// Writes the short name, such as `session-revoked`; the URI of an event that is not known here.
impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = TABLE.iter().find(|(kind, _, _)| kind == self).map(|(_, _, name)| *name);
        match (self, known) {
            (Self::Other(uri), _) => formatter.pad(uri),
            (_, name) => formatter.pad(name.unwrap_or_default()),
        }
    }
}

/// Reads a short name, such as `session-revoked`; the error holds the names that are known.
impl FromStr for Kind {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = TABLE.iter().find(|(_, _, known)| *known == name).map(|(kind, _, _)| kind.clone());
        found.ok_or_else(|| TABLE.map(|(_, _, name)| name).join(", "))
    }
}

const BASE: &str = "https://schemas.openid.net/secevent/";
const CAEP: &str = "caep";
const RISC: &str = "risc";
const OAUTH: &str = "oauth";
const SSF: &str = "ssf";
