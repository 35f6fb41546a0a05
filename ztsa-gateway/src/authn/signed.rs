//! Signed tokens of others that are no issuers: security event tokens.

use serde_json::{Map, Value};

use super::error::TokenFault;
use super::jwks::{Keys, Verdict};
use super::jwt::Jwt;

/// Holds the public keys of one system that signs (RFC 7517).
#[derive(Clone, Debug, Default)]
pub struct PublicKeys(Keys);

impl PublicKeys {
    /// Reads a key set; keys of a kind that is not known here are left out.
    pub fn parse(set: &Value) -> PublicKeys {
        PublicKeys(Keys::parse(set))
    }

    /// Says whether there is no key in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Holds a token that was taken apart; nothing in it is proved before [`Signed::verify`] says so.
///
/// `none` and symmetric algorithms are refused when it is taken apart.
#[derive(Clone, Debug)]
pub struct Signed<'a>(Jwt<'a>);

impl<'a> Signed<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`TokenFault`] when it is malformed, over 64 KiB, encrypted, or its algorithm is not accepted.
    pub fn parse(token: &'a str) -> Result<Signed<'a>, TokenFault> {
        Jwt::parse(token).map(Signed)
    }

    /// The type in its header, without `application/`; empty when there is none.
    pub fn kind(&self) -> &str {
        self.0.bare_kind()
    }

    /// Its claims.
    pub fn claims(&self) -> &Map<String, Value> {
        self.0.claims()
    }

    /// Verifies the signature; `None` when the set has no such key, which may be newer than the set.
    pub fn verify(&self, keys: &PublicKeys) -> Option<bool> {
        match self.0.verify(&keys.0) {
            Verdict::Good => Some(true),
            Verdict::Bad => Some(false),
            Verdict::Unknown => None,
        }
    }
}
