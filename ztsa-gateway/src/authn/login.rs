//! From an issuer's tokens to a person: who they are, which groups they are in, when they signed in.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use ztsa_proto::name::{DeviceId, UserId};
use ztsa_proto::time::UnixTime;

use super::error::TokenFault;
use super::form::ExchangeForm;
use super::issuer::{Asker, Issuer};
use super::jwt::{self, Jwt};
use super::{Authn, AuthnError, Identity, cache, claim};
use crate::config::Tokens;

/// The most groups of one person, and the longest name of one.
const MOST_GROUPS: usize = 512;
const LONGEST: usize = 256;

/// Holds what the tokens of one exchange prove.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub(super) identity: Identity,
    /// When the person signed in, as far as it can be known: `auth_time`, else the oldest issue time.
    pub(super) at: Option<UnixTime>,
    /// When the issuer made the person's token.
    pub(super) issued: Option<UnixTime>,
    /// Whether the tokens name any groups; when not, those of the session that is renewed stay.
    pub(super) says_groups: bool,
    /// Whether the tokens name an address, be it one that does not count; when not, that of the session that is renewed stays.
    pub(super) says_email: bool,
    /// How long a session of it may last, where that is less than any session may.
    pub(super) lifetime: Option<Duration>,
    /// The token that it was proved by.
    pub(super) token: Token,
}

/// Tells one token from others, for as long as it can be used.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// The name of its issuer in the configuration.
    pub(super) issuer: String,
    pub(super) what: &'static str,
    pub(super) fingerprint: cache::Key,
    pub(super) until: UnixTime,
    /// How many devices may use it: one token with many keys is a stolen one.
    pub(super) devices: usize,
}

/// How many devices one person's token may be used from.
const DEVICES: usize = 3;
/// How long a token is remembered whose end is not known, and the longest that any is.
const LONGEST_TOKEN: Duration = Duration::from_secs(24 * 3600);

type Claims = Map<String, Value>;

impl Authn {
    /// Finds the issuer of an exchange: by the access token, else the ID token, else the only one that gives opaque tokens.
    pub(super) fn issuer_of(&self, form: &ExchangeForm, renewed: Option<&str>) -> Result<Arc<Issuer>, AuthnError> {
        let trust = self.trust.load();
        let named = |token: &str| -> Option<String> { Jwt::parse(token).ok()?.issuer().map(str::to_owned) };
        let token = form.subject_token.expose();
        let found = jwt::looks_like_one(token).then(|| named(token)).flatten();
        let found = found.or_else(|| named(form.id_token.as_ref()?.expose())).or_else(|| renewed.map(str::to_owned));
        if let Some(identifier) = found {
            let unknown = || AuthnError::UnknownIssuer(ztsa_proto::text::printable(&identifier, 256));
            let known = trust.issuers.iter().find(|known| known.config.issuer == identifier);
            return known.cloned().ok_or_else(unknown);
        }
        let mut opaque = trust.issuers.iter().filter(|issuer| issuer.config.tokens != Tokens::Jwt);
        match (opaque.next(), opaque.next(), trust.issuers.as_slice()) {
            // where there is one issuer only, let it say what is wrong with the token
            (Some(only), None, _) | (None, None, [only]) => Ok(Arc::clone(only)),
            _ => Err(AuthnError::Form("an opaque token needs the `id_token` beside it, to say whose it is".to_owned())),
        }
    }
}

impl Issuer {
    /// Proves the tokens of an exchange.
    ///
    /// Where the session is renewed that this person and device already hold, an ID token that has run out, or that was issued
    /// with an earlier access token, is passed over instead of refused.
    pub(super) async fn login(
        &self,
        form: &ExchangeForm,
        asker: Asker<'_>,
        now: UnixTime,
    ) -> Result<Login, AuthnError> {
        let Asker { device, renewing, .. } = asker;
        let token = form.subject_token.expose();
        if self.config.tokens == Tokens::Userinfo && !renewing {
            // nobody makes this gateway ask about a token that they made up
            self.vouched(form, now).await?;
        }
        let mut access = match &self.config.tokens {
            Tokens::Jwt => self.access(token, now).await?,
            Tokens::Userinfo => self.userinfo(token, asker, now).await?,
            Tokens::Introspection { .. } => self.introspected(token, asker, now).await?,
        };
        bound(&access, device).map_err(|fault| self.refused(ACCESS, fault))?;
        let subject = subject_of(&access).ok_or_else(|| self.refused(ACCESS, TokenFault::Claim("sub")))?;
        let id = self.id_token(form, &access, &subject, renewing, now).await?;
        if self.config.userinfo && self.config.tokens != Tokens::Userinfo && self.groups(&[&access, &id])?.is_none() {
            let more = self.userinfo(token, asker, now).await?;
            // OpenID Connect Core section 5.3.2: never another person's answer
            if subject_of(&more).as_deref() != Some(&subject) {
                return Err(self.refused("userinfo answer", TokenFault::Subject));
            }
            if more.contains_key("email") && !access.contains_key("email") {
                // whether an address is verified is said of the one beside it
                access.remove("email_verified");
            }
            for (name, value) in more {
                access.entry(name).or_insert(value);
            }
        }
        // a signature may be written in two ways, what it signs in one
        let signed = Jwt::parse(token).map_or_else(|_| cache::key(token), |jwt| jwt.fingerprint());
        let ends = jwt::time(&access, "exp").ok().flatten().map(|ends| ends.plus(jwt::SKEW));
        let most = now.plus(LONGEST_TOKEN);
        let token = Token {
            issuer: self.config.name.clone(),
            what: ACCESS,
            fingerprint: signed,
            until: ends.map_or(most, |ends| ends.min(most)),
            devices: DEVICES,
        };
        self.person(&access, &id, &subject, token)
    }

    async fn access(&self, token: &str, now: UnixTime) -> Result<Claims, AuthnError> {
        let refused = |fault| self.refused(ACCESS, fault);
        let jwt = Jwt::parse(token).map_err(refused)?;
        self.authority.verify(&jwt, ACCESS, now).await?;
        jwt.access(&self.config, now).map_err(refused)
    }

    async fn introspected(&self, token: &str, asker: Asker<'_>, now: UnixTime) -> Result<Claims, AuthnError> {
        let refused = |fault| self.refused(ACCESS, fault);
        let claims = self.introspect(token, asker, now).await?;
        if claims.get("iss").is_some_and(|iss| iss.as_str() != Some(&self.config.issuer)) {
            return Err(refused(TokenFault::Issuer));
        }
        if jwt::time(&claims, "exp").map_err(refused)?.is_some_and(|expires| expires.plus(jwt::SKEW) <= now) {
            return Err(refused(TokenFault::Inactive));
        }
        let audiences = jwt::audiences(&claims);
        let for_us = audiences.iter().any(|audience| self.config.audiences.iter().any(|accepted| accepted == audience));
        // an answer without `aud` is judged by the client that the token was given to
        let by_client =
            audiences.is_empty() && claims.get("client_id").and_then(Value::as_str) == Some(&self.config.client_id);
        if for_us || by_client {
            Ok(claims)
        } else {
            Err(refused(TokenFault::Audience { found: jwt::listed(&audiences) }))
        }
    }

    /// Proves that the issuer signed an ID token for this opaque access token.
    async fn vouched(&self, form: &ExchangeForm, now: UnixTime) -> Result<(), AuthnError> {
        let refused = |fault| self.refused(ID, fault);
        let token = form.id_token.as_ref().ok_or_else(|| refused(TokenFault::NoIdToken))?;
        let jwt = Jwt::parse(token.expose()).map_err(refused)?;
        self.authority.verify(&jwt, ID, now).await?;
        let hashes = jwt.hashes(form.subject_token.expose());
        jwt.identity(&self.config, now).map_err(refused)?;
        match hashes {
            Some(true) => Ok(()),
            _ => Err(refused(TokenFault::AccessHash)),
        }
    }

    /// Proves the ID token, where there is one; empty when there is none, or when it is to be passed over.
    async fn id_token(
        &self,
        form: &ExchangeForm,
        access: &Claims,
        subject: &str,
        renewing: bool,
        now: UnixTime,
    ) -> Result<Claims, AuthnError> {
        let refused = |fault| self.refused(ID, fault);
        let opaque = self.config.tokens == Tokens::Userinfo;
        let Some(token) = &form.id_token else {
            return if opaque && !renewing { Err(refused(TokenFault::NoIdToken)) } else { Ok(Claims::new()) };
        };
        let jwt = Jwt::parse(token.expose()).map_err(refused)?;
        self.authority.verify(&jwt, ID, now).await?;
        let hashes = jwt.hashes(form.subject_token.expose());
        let claims = match jwt.identity(&self.config, now) {
            Ok(claims) => claims,
            Err(TokenFault::Expired(_)) if renewing => return Ok(Claims::new()),
            Err(fault) => return Err(refused(fault)),
        };
        if subject_of(&claims).as_deref() != Some(subject) {
            return Err(refused(TokenFault::Subject));
        }
        match hashes {
            Some(true) => Ok(claims),
            _ if renewing => Ok(claims),
            // userinfo does not say for whom an opaque token was issued: only this hash does
            None if opaque => Err(refused(TokenFault::AccessHash)),
            None => Ok(claims),
            // a refreshed access token beside the ID token of the sign-in
            Some(false) if !opaque && refreshed(access, &claims) => Ok(claims),
            Some(false) => Err(refused(TokenFault::AccessHash)),
        }
    }

    fn person(&self, access: &Claims, id: &Claims, subject: &str, token: Token) -> Result<Login, AuthnError> {
        let refused = |fault| self.refused(ACCESS, fault);
        let user = UserId::new(&self.config.issuer, subject).map_err(|_| refused(TokenFault::Claim("sub")))?;
        let either = |name: &str| text(id, name).or_else(|| text(access, name));
        let auth_time = match jwt::time(id, "auth_time").map_err(|fault| self.refused(ID, fault))? {
            Some(time) => Some(time),
            None => jwt::time(access, "auth_time").map_err(refused)?,
        };
        let issued = [jwt::time(access, "iat").map_err(refused)?, jwt::time(id, "iat").map_err(refused)?];
        let groups = self.groups(&[access, id])?;
        if groups.is_none() && [access, id].iter().any(|claims| self.overflows(claims)) {
            return Err(refused(TokenFault::GroupOverage));
        }
        let addresses = [id, access].map(address);
        let email = addresses.iter().flatten().next();
        // where one calls it unverified, the silence of the other says nothing
        let same = |other: &&(String, bool)| email.is_some_and(|(email, _)| email.eq_ignore_ascii_case(&other.0));
        let verified = addresses.iter().flatten().filter(same).all(|(_, verified)| *verified);
        Ok(Login {
            says_groups: groups.is_some(),
            says_email: email.is_some(),
            lifetime: None,
            token,
            issued: issued.into_iter().flatten().next(),
            at: auth_time.or(issued.into_iter().flatten().min()),
            identity: Identity {
                user,
                name: either("name").or_else(|| either("preferred_username")),
                email: email.filter(|_| verified).map(|(email, _)| email.clone()),
                groups: groups.unwrap_or_default(),
                acr: either("acr"),
                amr: words(id.get("amr").or_else(|| access.get("amr"))).unwrap_or_default(),
                auth_time,
                issuer: self.config.name.clone(),
            },
        })
    }

    /// Says whether claims point elsewhere for the groups, or only say that there are some.
    fn overflows(&self, claims: &Claims) -> bool {
        let name = self.config.groups_claim.as_str();
        let elsewhere = claims.get("_claim_names").and_then(|names| names.get(name)).is_some();
        elsewhere || (name == "groups" && claims.get("hasgroups").is_some_and(|has| has != &Value::Bool(false)))
    }

    /// Finds the groups in the first claims that have any: under the claim's own name, else along its dots (`realm_access.roles`).
    ///
    /// # Errors
    /// They are more or longer than is taken: what is left out of them could be what a policy forbids.
    fn groups(&self, sources: &[&Claims]) -> Result<Option<Vec<String>>, AuthnError> {
        let name = &self.config.groups_claim;
        let Some(value) = sources.iter().find_map(|claims| claim::find(claims, name).filter(|value| lists(value)))
        else {
            return Ok(None);
        };
        let several = || value.as_array().into_iter().flatten().filter_map(Value::as_str).chain(value.as_str());
        if several().filter(|group| !group.is_empty()).count() > MOST_GROUPS
            || several().any(|group| group.len() > LONGEST)
        {
            return Err(self.refused("sign-in", TokenFault::TooManyGroups));
        }
        Ok(words(Some(value)))
    }
}

/// Says whether an access token is newer than the ID token beside it, as after a refresh.
fn refreshed(access: &Claims, id: &Claims) -> bool {
    let issued = |claims| jwt::time(claims, "iat").ok().flatten();
    matches!((issued(access), issued(id)), (Some(access), Some(id)) if access > id)
}

/// Refuses a token that is bound to another key than the one that proves possession (RFC 9449 section 6).
pub(super) fn bound(claims: &Claims, device: &DeviceId) -> Result<(), TokenFault> {
    match claims.get("cnf") {
        None | Some(Value::Null) => Ok(()),
        Some(key) if key.get("jkt").and_then(Value::as_str) == Some(device.as_str()) => Ok(()),
        Some(_) => Err(TokenFault::Device),
    }
}

/// Reads `sub` as it is.
///
/// # Security
/// A subject is never made fit to print: two that differ in what nobody sees would become one person. Such are refused.
pub(super) fn subject_of(claims: &Claims) -> Option<String> {
    let subject = claims.get("sub")?.as_str()?;
    (ztsa_proto::text::printable(subject, LONGEST) == subject).then(|| subject.to_owned())
}

fn text(claims: &Claims, name: &str) -> Option<String> {
    let text = claims.get(name)?.as_str()?;
    (!text.is_empty()).then(|| ztsa_proto::text::printable(text, LONGEST))
}

/// Reads the address, when claims have one, and whether it counts: not where the issuer itself calls it unverified.
fn address(claims: &Claims) -> Option<(String, bool)> {
    let email = text(claims, "email")?;
    let verified = match claims.get("email_verified") {
        None => true,
        // some issuers write it as a text
        Some(Value::String(word)) => word == "true",
        Some(word) => word == &Value::Bool(true),
    };
    Some((email, verified))
}

/// Says whether a value is read as words.
fn lists(value: &Value) -> bool {
    value.is_string() || value.is_array()
}

/// Reads a list of words, or one word; what is no text or too long is left out.
fn words(value: Option<&Value>) -> Option<Vec<String>> {
    let fits = |word: &&str| !word.is_empty() && word.len() <= LONGEST;
    match value? {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(several) => {
            Some(several.iter().filter_map(Value::as_str).filter(fits).take(MOST_GROUPS).map(str::to_owned).collect())
        }
        _ => None,
    }
}

const ACCESS: &str = "access token";
const ID: &str = "ID token";
