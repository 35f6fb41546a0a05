//! What a person consented to, and the two things a program holds of it: an authorization code, a refresh token.

use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ztsa_proto::name::DeviceId;
use ztsa_proto::time::UnixTime;

use crate::expiring::Expiring;
use crate::scope::Scope;
use crate::sign_in::Authentication;

/// Something a client asked for.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) client: String,
    pub(crate) scope: Scope,
    /// Configured audiences (RFC 8707).
    pub(crate) resources: Vec<String>,
    pub(crate) nonce: Option<String>,
    /// The key that the tokens are to be bound to, when the client said so already.
    pub(crate) key: Option<DeviceId>,
}

/// What a person consented to: one client, one sign-in.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    /// Every token made from this grant names it, so that they can be revoked together.
    pub(crate) id: String,
    pub(crate) ask: Ask,
    pub(crate) sign_in: Authentication,
}

/// Grants and tokens that were ended before their time.
#[derive(Debug)]
pub(crate) struct Revoked(Expiring<()>);

impl Revoked {
    pub(crate) fn new() -> Self {
        Self(Expiring::new(16_384))
    }

    /// Remembers `id` (of a grant or a token) until no token that names it can be alive.
    pub(crate) fn add(&mut self, id: &str, until: UnixTime, now: UnixTime) {
        self.0.insert(id.to_owned(), (), until, now);
    }

    pub(crate) fn has(&self, id: &str, now: UnixTime) -> bool {
        self.0.get(id, now).is_some()
    }
}

/// Authorization codes, each good for one exchange.
#[derive(Debug)]
pub(crate) struct Codes(Expiring<Code>);

#[derive(Debug)]
struct Code {
    grant: Grant,
    redirect: String,
    challenge: String,
    redeemed: bool,
}

/// What a client shows with a code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Redemption<'a> {
    pub(crate) code: &'a str,
    pub(crate) client: &'a str,
    pub(crate) redirect: Option<&'a str>,
    pub(crate) verifier: &'a str,
    pub(crate) key: Option<&'a DeviceId>,
}

/// Why a code is not exchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodeError {
    #[error("the code is unknown or has expired")]
    Unknown,
    #[error("the code was used before; every token made from it is revoked")]
    Reused(String),
    #[error("redirect_uri differs from the one of the authorization request")]
    Redirect,
    #[error("code_verifier does not fit code_challenge")]
    Verifier,
    #[error("the DPoP key differs from dpop_jkt of the authorization request")]
    Key,
}

impl Codes {
    pub(crate) fn new() -> Self {
        Self(Expiring::new(4096))
    }

    pub(crate) fn add(
        &mut self,
        code: String,
        (grant, redirect, challenge): (Grant, String, String),
        expires_at: UnixTime,
        now: UnixTime,
    ) {
        self.0.insert(code, Code { grant, redirect, challenge, redeemed: false }, expires_at, now);
    }

    /// Exchanges a code. Only a redemption that is right in everything uses it up.
    pub(crate) fn redeem(&mut self, shown: Redemption<'_>, now: UnixTime) -> Result<Grant, CodeError> {
        let code = self.0.get_mut(shown.code, now).ok_or(CodeError::Unknown)?;
        if code.grant.ask.client != shown.client {
            return Err(CodeError::Unknown);
        }
        if shown.redirect != Some(code.redirect.as_str()) {
            return Err(CodeError::Redirect);
        }
        if ztsa_proto::jws::sha256_base64url(shown.verifier.as_bytes()) != code.challenge {
            return Err(CodeError::Verifier);
        }
        if code.grant.ask.key.is_some() && code.grant.ask.key.as_ref() != shown.key {
            return Err(CodeError::Key);
        }
        if code.redeemed {
            return Err(CodeError::Reused(code.grant.id.clone()));
        }
        code.redeemed = true;
        Ok(code.grant.clone())
    }
}

/// Refresh tokens: each is good once and replaced by the next of its family (RFC 9700 section 4.14.2).
///
/// A token is `family.generation.mac`, so an old one is known as such for as long as its family lives.
pub(crate) struct Families {
    key: hmac::Key,
    families: Expiring<Family>,
}

#[derive(Debug)]
struct Family {
    grant: Grant,
    /// The device key that the tokens are bound to.
    key: Option<DeviceId>,
    generation: u64,
}

/// A refresh that is allowed: the grant and the next token.
#[derive(Debug)]
pub(crate) struct Refreshed {
    pub(crate) grant: Grant,
    pub(crate) token: String,
}

/// Why a refresh token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RefreshError {
    #[error("the refresh token is unknown, expired or revoked")]
    Unknown,
    #[error("the refresh token is bound to a DPoP key; the request needs a proof by that key")]
    Key,
    #[error("the refresh token was used before; it and all its successors are revoked")]
    Reused(String),
}

impl Families {
    pub(crate) fn new(key: hmac::Key) -> Self {
        Self { key, families: Expiring::new(16_384) }
    }

    /// Starts a family and returns its first token.
    pub(crate) fn start(&mut self, grant: Grant, key: Option<DeviceId>, ttl: Duration, now: UnixTime) -> String {
        let id = grant.id.clone();
        let token = self.token(&id, 0);
        self.families.insert(id, Family { grant, key, generation: 0 }, now.plus(ttl), now);
        token
    }

    /// Exchanges a token for its successor. A wrong client or key changes nothing; a token that was used before ends
    /// the family.
    pub(crate) fn rotate(
        &mut self,
        token: &str,
        (client, key): (&str, Option<&DeviceId>),
        ttl: Duration,
        now: UnixTime,
    ) -> Result<Refreshed, RefreshError> {
        let (id, generation) = self.read(token).ok_or(RefreshError::Unknown)?;
        let family = self.families.get(id, now).filter(|family| family.grant.ask.client == client);
        let family = family.ok_or(RefreshError::Unknown)?;
        if family.key.is_some() && family.key.as_ref() != key {
            return Err(RefreshError::Key);
        }
        if generation != family.generation {
            self.families.remove(id, now);
            return Err(RefreshError::Reused(id.to_owned()));
        }
        let next = family.generation + 1;
        let family = Family { grant: family.grant.clone(), key: family.key.clone(), generation: next };
        let refreshed = Refreshed { grant: family.grant.clone(), token: self.token(id, next) };
        self.families.insert(id.to_owned(), family, now.plus(ttl), now);
        Ok(refreshed)
    }

    /// Returns the grant of a token that would be accepted now.
    pub(crate) fn current(&self, token: &str, now: UnixTime) -> Option<(&Grant, Option<&DeviceId>)> {
        let (id, generation) = self.read(token)?;
        let family = self.families.get(id, now).filter(|family| family.generation == generation)?;
        Some((&family.grant, family.key.as_ref()))
    }

    /// Returns the grant that a token, current or used, belongs to.
    pub(crate) fn owner(&self, token: &str, now: UnixTime) -> Option<&Grant> {
        let (id, _) = self.read(token)?;
        self.families.get(id, now).map(|family| &family.grant)
    }

    pub(crate) fn end(&mut self, id: &str, now: UnixTime) {
        self.families.remove(id, now);
    }

    fn token(&self, id: &str, generation: u64) -> String {
        format!("{id}.{generation}.{}", self.mac(id, generation))
    }

    fn read<'t>(&self, token: &'t str) -> Option<(&'t str, u64)> {
        let mut parts = token.split('.');
        let (id, generation, mac) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        let expected = self.mac(id, generation);
        let same = constant_time::verify_slices_are_equal(expected.as_bytes(), mac.as_bytes()).is_ok();
        (same && parts.next().is_none()).then_some((id, generation))
    }

    fn mac(&self, id: &str, generation: u64) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, format!("refresh {id} {generation}").as_bytes()))
    }
}

#[cfg(test)]
mod tests;
