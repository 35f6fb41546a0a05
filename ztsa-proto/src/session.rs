//! The session: the gateway's token, what it tells the client about it, and how asking for one fails.

mod oauth;

use serde::{Deserialize, Serialize};

use crate::name::{DeviceId, SessionId, UserId};
use crate::posture;
use crate::secret::Secret;
use crate::text::{clean, clean_list, clean_option};
use crate::time::UnixTime;

pub use oauth::OAuthError;

/// Holds the claims of the gateway's session token: a JWT of type [`TYP`] (RFC 9068) signed with ES256.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionClaims {
    /// The gateway's public URL.
    pub iss: String,
    /// The gateway's public URL again: the token is for nobody else.
    pub aud: String,
    /// The person.
    pub sub: UserId,
    /// The client that signed in.
    pub client_id: String,
    /// When the token was made.
    pub iat: UnixTime,
    /// When it ends.
    pub exp: UnixTime,
    /// The token's own identifier.
    pub jti: String,
    /// The session.
    pub sid: SessionId,
    /// The key that the token is bound to.
    pub cnf: Confirmation,
    /// How strongly the person signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acr: Option<String>,
    /// With what they signed in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amr: Vec<String>,
    /// When they signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<UnixTime>,
    /// What the RFC has no place for.
    pub ztsa: SessionIdentity,
}

/// Names the key that a token is bound to (RFC 9449 section 6.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    /// The thumbprint of the device's key.
    pub jkt: DeviceId,
}

/// Holds what the gateway learnt of the person when the session began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionIdentity {
    /// The issuer's name in the gateway's configuration.
    pub issuer: String,
    /// The person's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The person's e-mail address; for showing, never for deciding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The person's groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// When the session began.
    pub started_at: UnixTime,
}

/// Holds the answer of the token endpoint (RFC 8693 section 2.2.1).
///
/// It only reads: the gateway writes it by hand, so that no secret has a way to be written by accident.
#[derive(Clone, Debug, Deserialize)]
pub struct TokenResponse {
    /// The session token.
    pub access_token: Secret<String>,
    /// `DPoP`, in any case.
    pub token_type: String,
    /// For how many seconds the token holds.
    pub expires_in: u64,
    /// Which sort of token it is.
    #[serde(default)]
    pub issued_token_type: String,
    /// The session behind the token.
    pub ztsa: SessionInfo,
}

/// Tells the client about its session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The session.
    pub session: SessionId,
    /// The person.
    pub user: UserInfo,
    /// The device.
    pub device: DeviceInfo,
    /// When the token ends.
    pub expires_at: UnixTime,
    /// When the session ends, whatever is renewed until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_before: Option<UnixTime>,
    /// How risky the gateway holds them to be.
    #[serde(default)]
    pub risk: RiskInfo,
    /// What the device last reported, as the gateway judged it.
    #[serde(default)]
    pub posture: Vec<posture::Check>,
}

/// Tells who the gateway takes the person to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// The issuer.
    #[serde(deserialize_with = "clean")]
    pub issuer: String,
    /// The subject at the issuer.
    #[serde(deserialize_with = "clean")]
    pub subject: String,
    /// The name.
    #[serde(default, deserialize_with = "clean_option", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The e-mail address.
    #[serde(default, deserialize_with = "clean_option", skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The groups.
    #[serde(default, deserialize_with = "clean_list")]
    pub groups: Vec<String>,
}

/// Tells how the gateway holds the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The device.
    pub id: DeviceId,
    /// What an administrator said of it.
    pub state: DeviceState,
}

/// Says what an administrator said of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// It is managed.
    Approved,
    /// It must not be used.
    Blocked,
    /// Nothing yet. A state that this version does not know reads as this one.
    #[default]
    #[serde(other)]
    Unmanaged,
}

impl DeviceState {
    /// Gives the word of the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Blocked => "blocked",
            Self::Unmanaged => "unmanaged",
        }
    }
}

impl std::fmt::Display for DeviceState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// Holds the risk scores, 0 to 100, and the signals behind them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RiskInfo {
    /// The person's score.
    #[serde(default)]
    pub user: u8,
    /// The device's score.
    #[serde(default)]
    pub device: u8,
    /// The session's score.
    #[serde(default)]
    pub session: u8,
    /// What the scores are made of.
    #[serde(default)]
    pub signals: Vec<SignalInfo>,
}

/// Tells of one signal of risk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalInfo {
    /// Which sort of signal.
    #[serde(deserialize_with = "clean")]
    pub kind: String,
    /// How much it counts now.
    pub score: u8,
    /// Why it was given.
    #[serde(default, deserialize_with = "clean")]
    pub reason: String,
    /// Who gave it.
    #[serde(default, deserialize_with = "clean")]
    pub source: String,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixTime>,
    /// In how many seconds it loses half of what it counts, when it fades.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub half_life: Option<u64>,
}

/// The `typ` of a session token (RFC 9068 section 2.1).
pub const TYP: &str = "at+jwt";
/// The grant type of the exchange (RFC 8693 section 2.1).
pub const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The type of the issuer's and of the session token (RFC 8693 section 3).
pub const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The type of a job's token, which its platform signed (RFC 8693 section 3).
pub const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

#[cfg(test)]
mod tests;
