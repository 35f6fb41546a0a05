//! The gateway's own session tokens: signed and verified with a key of its own (RFC 9068 shape).

use std::sync::Arc;

use http::HeaderMap;
use ztsa_proto::jws::{self, Compact, Header, JwsError, Signer as _, SoftwareKey};
use ztsa_proto::secret::Secret;
use ztsa_proto::session::{Confirmation, SessionClaims, SessionIdentity, TYP};

use super::{AuthnError, AuthnSetupError, Identity, Session};
use crate::store::Store;

/// The name of the signing key in the store.
const KEY: &str = "session-signing-es256";
/// The largest session token that is looked at: a header has to fit into a request.
const LARGEST: usize = 32 * 1024;

/// Signs and reads session tokens.
pub(super) struct Minter {
    key: SoftwareKey,
    resource: String,
}

impl Minter {
    /// Takes the key from the store, making it the first time.
    pub(super) fn new(store: &Store, resource: &str) -> Result<Minter, AuthnSetupError> {
        let bytes = store.secret_key(KEY, || SoftwareKey::generate().map(|key| key.to_pkcs8()))?;
        let key = SoftwareKey::from_pkcs8(bytes.expose()).map_err(|cause| AuthnSetupError::Key(cause.to_string()))?;
        Ok(Minter { key, resource: resource.to_owned() })
    }

    pub(super) fn mint(&self, session: &Session) -> Result<Secret<String>, AuthnError> {
        let identity = &session.identity;
        let claims = SessionClaims {
            iss: self.resource.clone(),
            aud: self.resource.clone(),
            sub: identity.user.clone(),
            client_id: "ztsa".to_owned(),
            iat: session.issued_at,
            exp: session.expires_at,
            jti: jws::random_id(),
            sid: session.id.clone(),
            cnf: Confirmation { jkt: session.device.clone() },
            acr: identity.acr.clone(),
            amr: identity.amr.clone(),
            auth_time: identity.auth_time,
            ztsa: SessionIdentity {
                issuer: identity.issuer.clone(),
                name: identity.name.clone(),
                email: identity.email.clone(),
                groups: identity.groups.clone(),
                started_at: session.started_at,
            },
        };
        jws::sign(&self.key, &Header::es256(TYP), &claims)
            .map(Secret::new)
            .map_err(|cause| AuthnError::Unavailable(cause.to_string()))
    }

    /// Verifies a token and reads the session in it; its expiry is left to the caller.
    pub(super) fn read(&self, token: &str) -> Result<Session, AuthnError> {
        if token.len() > LARGEST {
            return Err(AuthnError::Token("it is too large"));
        }
        let jws = Compact::parse(token).map_err(|_| AuthnError::Token("it is not a JWT"))?;
        if !jws.header().is_typ(TYP) {
            return Err(AuthnError::Token("it is of another type"));
        }
        jws.verify(self.key.public_key()).map_err(|error| match error {
            JwsError::Algorithm => AuthnError::Token("it is signed with another algorithm"),
            _ => AuthnError::Token("the gateway did not sign it"),
        })?;
        let claims: SessionClaims = jws.claims().map_err(|_| AuthnError::Token("its claims do not read"))?;
        if claims.iss != self.resource || claims.aud != self.resource {
            return Err(AuthnError::Token("it is for another gateway"));
        }
        let identity = Identity {
            user: claims.sub,
            name: claims.ztsa.name,
            email: claims.ztsa.email,
            groups: claims.ztsa.groups,
            acr: claims.acr,
            amr: claims.amr,
            auth_time: claims.auth_time,
            issuer: claims.ztsa.issuer,
        };
        Ok(Session {
            id: claims.sid,
            identity: Arc::new(identity),
            device: claims.cnf.jkt,
            started_at: claims.ztsa.started_at,
            issued_at: claims.iat,
            expires_at: claims.exp,
        })
    }
}

impl std::fmt::Debug for Minter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minter").field("resource", &self.resource).finish_non_exhaustive()
    }
}

/// Takes the token out of `Authorization: DPoP TOKEN`.
///
/// # Security
/// A token that is bound to a key is never taken as `Bearer` (RFC 9449 section 7.2).
pub(super) fn authorization(headers: &HeaderMap) -> Result<&str, AuthnError> {
    let mut values = headers.get_all(http::header::AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthnError::Missing)?;
    if values.next().is_some() {
        return Err(AuthnError::Scheme("several Authorization headers"));
    }
    let value = value.to_str().map_err(|_| AuthnError::Scheme("bytes that are no token"))?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthnError::Scheme("Bearer"));
    }
    if !scheme.eq_ignore_ascii_case("dpop") {
        return Err(AuthnError::Scheme("another scheme"));
    }
    let token = token.trim_matches(' ');
    if token.is_empty() { Err(AuthnError::Missing) } else { Ok(token) }
}
