//! Issuers' JWTs: taken apart, verified by a key, and judged claim by claim (RFC 9068, OpenID Connect Core).

use std::time::Duration;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use ztsa_proto::time::UnixTime;

use super::error::TokenFault;
use super::jwks::{Algorithm, Hash, Keys, Verdict};
use super::{IssuerConfig, cache};

/// The largest token that is read.
const LARGEST: usize = 64 * 1024;
/// How far clocks may differ.
pub(super) const SKEW: Duration = Duration::from_secs(60);

/// Holds a JWT that was taken apart. Nothing in it is proved before [`Jwt::verify`] says so.
#[derive(Clone, Debug)]
pub(super) struct Jwt<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key: Option<String>,
    kind: Option<String>,
    claims: Map<String, Value>,
}

/// Says whether a token has the look of a JWT; what has not is opaque.
pub(super) fn looks_like_one(token: &str) -> bool {
    token.split('.').count() >= 3 && token.starts_with("ey")
}

impl<'a> Jwt<'a> {
    /// Takes a token apart.
    pub(super) fn parse(token: &'a str) -> Result<Jwt<'a>, TokenFault> {
        if token.len() > LARGEST {
            return Err(TokenFault::Malformed);
        }
        let parts: Vec<&str> = token.splitn(6, '.').collect();
        let [header, payload, signature] = parts.as_slice() else {
            return Err(if parts.len() == 5 { TokenFault::Encrypted } else { TokenFault::Opaque });
        };
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenFault::Malformed);
        let object =
            |bytes: Vec<u8>| serde_json::from_slice::<Map<String, Value>>(&bytes).map_err(|_| TokenFault::Malformed);
        let head = object(decode(header)?)?;
        let text = |name: &str| head.get(name).and_then(Value::as_str);
        let name = text("alg").ok_or(TokenFault::Malformed)?;
        let algorithm = Algorithm::parse(name).ok_or_else(|| TokenFault::Algorithm(short(name)))?;
        if head.contains_key("crit") {
            return Err(TokenFault::Critical);
        }
        Ok(Jwt {
            signed: token.get(..header.len() + 1 + payload.len()).ok_or(TokenFault::Malformed)?,
            signature: decode(signature)?,
            algorithm,
            key: text("kid").map(str::to_owned),
            kind: text("typ").map(str::to_owned),
            claims: object(decode(payload)?)?,
        })
    }

    /// The issuer that the token says it is of.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss").and_then(Value::as_str)
    }

    /// Verifies the signature.
    pub(super) fn verify(&self, keys: &Keys) -> Verdict {
        keys.verify(self.key.as_deref(), self.algorithm, self.signed.as_bytes(), &self.signature)
    }

    /// Judges the claims of an access token whose signature is good, and gives them out.
    ///
    /// # Security
    /// An ID token is never taken, however relaxed the issuer's table is: it proves a login to a client, not a right to an audience.
    pub(super) fn access(self, issuer: &IssuerConfig, now: UnixTime) -> Result<Map<String, Value>, TokenFault> {
        let kind = self.bare_kind();
        let is_access = kind.eq_ignore_ascii_case("at+jwt");
        if !is_access && !(issuer.relaxed_typ && (kind.is_empty() || kind.eq_ignore_ascii_case("jwt"))) {
            return Err(TokenFault::Type(if kind.is_empty() {
                "missing".to_owned()
            } else {
                format!("{:?}", short(kind))
            }));
        }
        if ["nonce", "at_hash", "c_hash"].iter().any(|claim| self.claims.contains_key(*claim)) {
            return Err(TokenFault::IdToken);
        }
        self.common(issuer, now)?;
        let audiences = self.audiences();
        if !audiences.iter().any(|audience| issuer.audiences.iter().any(|accepted| accepted == audience)) {
            let only_client = audiences == [issuer.client_id.as_str()];
            return Err(if only_client && !is_access {
                TokenFault::IdToken
            } else {
                TokenFault::Audience { found: listed(&audiences) }
            });
        }
        Ok(self.claims)
    }

    /// Judges the claims of an ID token whose signature is good, and gives them out. `at_hash` is judged by [`Jwt::hashes`].
    pub(super) fn identity(self, issuer: &IssuerConfig, now: UnixTime) -> Result<Map<String, Value>, TokenFault> {
        if self.bare_kind().eq_ignore_ascii_case("at+jwt") {
            return Err(TokenFault::Type("\"at+jwt\": an access token".to_owned()));
        }
        self.common(issuer, now)?;
        let audiences = self.audiences();
        let party = self.claims.get("azp").and_then(Value::as_str);
        let for_client = audiences.contains(&issuer.client_id.as_str());
        let by_client =
            party.is_none_or(|party| party == issuer.client_id) && (audiences.len() == 1 || party.is_some());
        if !for_client || !by_client {
            return Err(TokenFault::Audience { found: listed(&audiences) });
        }
        Ok(self.claims)
    }

    /// Judges the claims of a job's token whose signature is good, and gives them out; the audience is left to the caller.
    pub(super) fn workload(self, issuer: &str, now: UnixTime) -> Result<Map<String, Value>, TokenFault> {
        let kind = self.bare_kind();
        if !kind.is_empty() && !kind.eq_ignore_ascii_case("jwt") {
            return Err(TokenFault::WorkloadType(format!("{:?}", short(kind))));
        }
        if self.issuer() != Some(issuer) {
            return Err(TokenFault::Issuer);
        }
        times(&self.claims, now)?;
        Ok(self.claims)
    }

    /// The SHA-256 of what is signed: unlike the token's text it cannot be changed by changing the signature's form.
    pub(super) fn fingerprint(&self) -> cache::Key {
        cache::key(self.signed)
    }

    /// Says whether `at_hash` is that of an access token; `None` when the token has no `at_hash`.
    pub(super) fn hashes(&self, access_token: &str) -> Option<bool> {
        let hash = self.claims.get("at_hash")?.as_str()?;
        let algorithm = match self.algorithm.hash() {
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        };
        let full = digest::digest(algorithm, access_token.as_bytes());
        let half = full.as_ref().get(..full.as_ref().len() / 2)?;
        Some(URL_SAFE_NO_PAD.encode(half) == hash.trim_end_matches('='))
    }

    fn common(&self, issuer: &IssuerConfig, now: UnixTime) -> Result<(), TokenFault> {
        if self.issuer() != Some(&issuer.issuer) {
            return Err(TokenFault::Issuer);
        }
        times(&self.claims, now)
    }

    /// The claims, whoever made them.
    pub(super) fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The type, without `application/`.
    pub(super) fn bare_kind(&self) -> &str {
        let kind = self.kind.as_deref().unwrap_or_default();
        match kind.split_at_checked("application/".len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
            _ => kind,
        }
    }

    fn audiences(&self) -> Vec<&str> {
        audiences(&self.claims)
    }
}

/// Judges `exp`, `nbf` and `iat`; the first and last must be there.
fn times(claims: &Map<String, Value>, now: UnixTime) -> Result<(), TokenFault> {
    let expires = time(claims, "exp")?.ok_or(TokenFault::Claim("exp"))?;
    if expires.plus(SKEW) <= now {
        return Err(TokenFault::Expired(now.since(expires)));
    }
    let issued = time(claims, "iat")?.ok_or(TokenFault::Claim("iat"))?;
    let begins = time(claims, "nbf")?.unwrap_or(issued);
    if begins.max(issued) > now.plus(SKEW) {
        return Err(TokenFault::NotYet);
    }
    Ok(())
}

/// Reads a time; whole seconds, though some issuers send fractions.
pub(super) fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<UnixTime>, TokenFault> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let seconds = value.as_u64().or_else(|| whole(value.as_f64()?));
            seconds.map(|seconds| Some(UnixTime(seconds))).ok_or(TokenFault::Claim(name))
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
fn whole(seconds: f64) -> Option<u64> {
    (0.0..4e9).contains(&seconds).then_some(seconds as u64)
}

/// Reads `aud`: one text or several.
pub(super) fn audiences(claims: &Map<String, Value>) -> Vec<&str> {
    match claims.get("aud") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Lists audiences for people.
pub(super) fn listed(audiences: &[&str]) -> String {
    match audiences {
        [] => "nobody in particular".to_owned(),
        some => some.iter().take(4).map(|audience| format!("{:?}", short(audience))).collect::<Vec<_>>().join(", "),
    }
}

fn short(text: &str) -> String {
    ztsa_proto::text::printable(text, 128)
}
