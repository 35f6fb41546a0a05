//! What is sealed: the issuer's tokens and the session, as JSON.

use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;
use ztsa_proto::{secret::Secret, session::SessionInfo, time::UnixTime};

use super::SessionToken;
use crate::{
    login::{Flow, Issuer, IssuerTokens},
    store::SecretBytes,
};

/// The issuer's tokens and how to prolong them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Credentials {
    pub(super) issuer: String,
    pub(super) client_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) resource: Option<String>,
    pub(super) token_endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) revocation_endpoint: Option<String>,
    /// Whether the issuer takes DPoP proofs.
    pub(super) dpop: bool,
    #[serde(serialize_with = "expose")]
    pub(super) access_token: Secret<String>,
    /// Whether the access token is bound to the device key.
    pub(super) bound: bool,
    pub(super) expires_at: UnixTime,
    #[serde(default, serialize_with = "expose_some")]
    pub(super) refresh_token: Option<Secret<String>>,
    /// When the refresh token ends, where the issuer says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) refresh_ends: Option<UnixTime>,
    /// How the person signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) flow: Option<Flow>,
    #[serde(default, serialize_with = "expose_some")]
    pub(super) id_token: Option<Secret<String>>,
}

impl Credentials {
    pub(super) fn new(issuer: &Issuer, flow: Flow, tokens: IssuerTokens) -> Self {
        Self {
            issuer: issuer.metadata.issuer.clone(),
            client_id: issuer.info.client_id.clone(),
            resource: issuer.info.resource.clone(),
            token_endpoint: issuer.metadata.token_endpoint.clone(),
            revocation_endpoint: issuer.metadata.revocation_endpoint.clone(),
            dpop: issuer.metadata.takes_dpop(),
            access_token: tokens.access_token,
            bound: tokens.bound,
            expires_at: tokens.expires_at,
            refresh_token: tokens.refresh_token,
            refresh_ends: tokens.refresh_ends,
            flow: Some(flow),
            id_token: tokens.id_token,
        }
    }

    /// Puts fresh tokens in; what the issuer did not send again stays (RFC 6749 6).
    pub(super) fn replace(&mut self, tokens: IssuerTokens) {
        self.access_token = tokens.access_token;
        self.bound = tokens.bound;
        self.expires_at = tokens.expires_at;
        if tokens.refresh_token.is_some() || tokens.refresh_ends.is_some() {
            self.refresh_ends = tokens.refresh_ends;
        }
        self.refresh_token = tokens.refresh_token.or(self.refresh_token.take());
        self.id_token = tokens.id_token.or(self.id_token.take());
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes)
            .inspect_err(|error| tracing::warn!(%error, "the stored sign-in is unreadable"))
            .ok()
    }

    pub(super) fn write(&self) -> SecretBytes {
        Zeroizing::new(serde_json::to_vec(self).unwrap_or_default())
    }
}

#[derive(Serialize, Deserialize)]
struct StoredSession {
    #[serde(serialize_with = "expose")]
    token: Secret<String>,
    info: SessionInfo,
    expires_at: UnixTime,
    renew_at: UnixTime,
}

pub(super) fn read_session(bytes: &[u8]) -> Option<SessionToken> {
    let StoredSession { token, info, expires_at, renew_at } = serde_json::from_slice(bytes).ok()?;
    Some(SessionToken { token, info, expires_at, renew_at })
}

pub(super) fn write_session(session: &SessionToken) -> SecretBytes {
    let SessionToken { token, info, expires_at, renew_at } = session.clone();
    Zeroizing::new(serde_json::to_vec(&StoredSession { token, info, expires_at, renew_at }).unwrap_or_default())
}

/// The one place where secrets become JSON: on the way into the sealed store.
fn expose<S: Serializer>(secret: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

#[expect(clippy::ref_option, reason = "serde's serialize_with gives a reference to the field")]
fn expose_some<S: Serializer>(secret: &Option<Secret<String>>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => serializer.serialize_some(secret.expose()),
        None => serializer.serialize_none(),
    }
}
