//! Access tokens (RFC 9068), ID tokens, and the claims of a person.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use ztsa_proto::jws::{self, Compact, Signer as _, random_id};
use ztsa_proto::name::DeviceId;
use ztsa_proto::time::UnixTime;

use crate::answer::Refusal;
use crate::config::User;
use crate::grant::Grant;
use crate::issuer::{Issuer, key_id};
use crate::scope::{Known, Scope};

/// What one answer of the token endpoint is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Minting<'a> {
    pub(crate) grant: &'a Grant,
    pub(crate) scope: &'a Scope,
    pub(crate) audiences: &'a [String],
    pub(crate) key: Option<&'a DeviceId>,
    /// Whether this is the answer to the sign-in itself and not a refresh: only then is `nonce` told.
    pub(crate) first: bool,
}

/// The claims of an access token that the issuer reads back.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Access {
    iss: String,
    pub(crate) sub: String,
    pub(crate) client_id: String,
    exp: u64,
    jti: String,
    pub(crate) scope: String,
    pub(crate) grant_id: String,
    pub(crate) cnf: Option<Confirmation>,
    #[serde(flatten)]
    pub(crate) rest: Map<String, Value>,
}

/// The key that a token is bound to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Confirmation {
    pub(crate) jkt: DeviceId,
}

impl Access {
    pub(crate) fn expires_at(&self) -> UnixTime {
        UnixTime(self.exp)
    }
}

impl Issuer {
    /// Makes an access token and, for the scope openid, an ID token; returns the token endpoint's answer.
    pub(crate) fn mint(&self, minting: Minting<'_>) -> Result<Map<String, Value>, Refusal> {
        let now = self.now();
        let access = self.sign("at+jwt", &self.access_claims(minting, now))?;
        let mut answer = Map::new();
        if minting.scope.has(Known::OpenId) {
            let id_token = self.sign("JWT", &self.id_claims(minting, &access, now))?;
            answer.insert("id_token".into(), id_token.into());
        }
        answer.insert("access_token".into(), access.into());
        answer.insert("token_type".into(), if minting.key.is_some() { "DPoP" } else { "Bearer" }.into());
        answer.insert("expires_in".into(), self.config.access_ttl.as_secs().into());
        answer.insert("scope".into(), minting.scope.to_string().into());
        Ok(answer)
    }

    /// Reads an access token of this issuer that is good now.
    pub(crate) fn access(&self, token: &str) -> Option<Access> {
        let now = self.now();
        let token = self.own(token, "at+jwt")?;
        let access: Access = token.claims().ok()?;
        let memory = self.memory();
        let revoked = memory.revoked.has(&access.grant_id, now) || memory.revoked.has(&access.jti, now);
        (access.iss == self.url && UnixTime(access.exp) > now && !revoked).then_some(access)
    }

    /// Ends one access token.
    pub(crate) fn revoke_access(&self, access: &Access) {
        let now = self.now();
        self.memory().revoked.add(&access.jti, UnixTime(access.exp), now);
    }

    /// Ends every token of a grant.
    pub(crate) fn revoke_grant(&self, id: &str) {
        let now = self.now();
        let mut memory = self.memory();
        memory.families.end(id, now);
        memory.revoked.add(id, now.plus(self.config.access_ttl), now);
    }

    /// Returns the subject of an ID token of this issuer, expired or not (OpenID Connect RP-Initiated Logout 2).
    pub(crate) fn id_token_subject(&self, token: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct Claims {
            iss: String,
            sub: String,
        }
        let claims: Claims = self.own(token, "JWT")?.claims().ok()?;
        (claims.iss == self.url).then_some(claims.sub)
    }

    fn own<'t>(&self, token: &'t str, kind: &str) -> Option<Compact<'t>> {
        let token = Compact::parse(token).ok()?;
        let header = token.header();
        if header.typ.as_deref() != Some(kind) {
            return None;
        }
        let keys = self.keys();
        let key = keys.iter().find(|key| header.kid.as_deref() == Some(&key_id(key)))?;
        token.verify(key.public_key()).ok()?;
        Some(token)
    }

    fn access_claims(&self, minting: Minting<'_>, now: UnixTime) -> Map<String, Value> {
        let Grant { id, ask, sign_in } = minting.grant;
        let mut claims = Map::new();
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", self.url.clone().into());
        put("sub", sign_in.user.name.clone().into());
        put("aud", self.audience(minting.audiences));
        put("client_id", ask.client.clone().into());
        put("iat", now.0.into());
        put("exp", now.plus(self.config.access_ttl).0.into());
        put("jti", random_id().into());
        put("scope", minting.scope.to_string().into());
        put("auth_time", sign_in.at.0.into());
        put("acr", sign_in.acr.name().into());
        put("amr", json!(sign_in.acr.methods()));
        put("grant_id", id.clone().into());
        if self.config.groups_in_access_token && has_groups(minting.scope) {
            put("groups", json!(sign_in.user.groups));
        }
        if let Some(key) = minting.key {
            put("cnf", json!({ "jkt": key }));
        }
        claims
    }

    fn id_claims(&self, minting: Minting<'_>, access: &str, now: UnixTime) -> Map<String, Value> {
        let Grant { ask, sign_in, .. } = minting.grant;
        let mut claims = person(&sign_in.user, minting.scope);
        let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        put("iss", self.url.clone().into());
        put("aud", ask.client.clone().into());
        put("iat", now.0.into());
        put("exp", now.plus(self.config.access_ttl).0.into());
        put("auth_time", sign_in.at.0.into());
        put("acr", sign_in.acr.name().into());
        put("amr", json!(sign_in.acr.methods()));
        put("at_hash", access_hash(access).into());
        if let Some(nonce) = ask.nonce.as_ref().filter(|_| minting.first) {
            put("nonce", nonce.clone().into());
        }
        claims
    }

    fn audience(&self, asked: &[String]) -> Value {
        match asked {
            [] => self.config.audiences.first().unwrap_or(&self.url).clone().into(),
            [one] => one.clone().into(),
            many => json!(many),
        }
    }

    pub(crate) fn sign(&self, kind: &str, claims: &Map<String, Value>) -> Result<String, Refusal> {
        let failed = || Refusal::new("server_error", "the token cannot be signed");
        let keys = self.keys();
        let key = keys.first().ok_or_else(failed)?;
        let header = json!({ "alg": "ES256", "typ": kind, "kid": key_id(key) });
        jws::sign(key.as_ref(), &header, claims).map_err(|_| failed())
    }
}

/// Returns what the scope tells of a person, in an ID token and at userinfo.
pub(crate) fn person(user: &User, scope: &Scope) -> Map<String, Value> {
    let mut claims = Map::new();
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("sub", user.name.clone().into());
    if scope.has(Known::Profile) {
        put("name", user.full_name.clone().into());
        put("preferred_username", user.name.clone().into());
    }
    if has_groups(scope) {
        put("groups", json!(user.groups));
    }
    if scope.has(Known::Email) {
        put("email", user.email.clone().into());
        put("email_verified", true.into());
    }
    claims
}

fn has_groups(scope: &Scope) -> bool {
    scope.has(Known::Profile) || scope.has(Known::Groups)
}

/// The left half of the SHA-256 of an access token (OpenID Connect Core 3.1.3.6).
fn access_hash(access: &str) -> String {
    let hash = digest::digest(&digest::SHA256, access.as_bytes());
    let half: Vec<u8> = hash.as_ref().iter().copied().take(16).collect();
    URL_SAFE_NO_PAD.encode(half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_access_token_hash_is_that_of_the_standards_example() {
        // OpenID Connect Core 1.0, appendix A.3
        assert_eq!(access_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"), "77QmUPtjPfzWtF2AnpK9RQ");
    }
}
