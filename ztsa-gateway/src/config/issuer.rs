//! `[[issuer]]`: who signs people in, and how far their tokens are trusted.

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;
use ztsa_proto::metadata::RedirectHost;

use super::error::{ConfigError, Fault};
use super::file::{self, Place};
use super::is_loopback;
use super::rule::unique;

/// Describes one OpenID Connect or OAuth issuer and how far its tokens are trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The short name used in policies, logs and messages.
    pub name: String,
    /// The issuer identifier, compared byte for byte with `iss`.
    pub issuer: String,
    /// The public client that `ztsa` signs in as.
    pub client_id: String,
    /// The scopes that `ztsa` asks for.
    ///
    /// # Defaults
    /// `openid profile email offline_access`.
    pub scopes: Vec<String>,
    /// The audiences accepted in this issuer's access tokens.
    ///
    /// # Defaults
    /// The gateway's `public_url` alone.
    pub audiences: Vec<String>,
    /// The claim that names a person's groups: in the access token, else the ID token, else userinfo.
    ///
    /// # Defaults
    /// `groups`.
    pub groups_claim: String,
    /// How this issuer's access tokens are verified.
    ///
    /// # Defaults
    /// `jwt`.
    pub tokens: Tokens,
    /// The RFC 8707 `resource` that `ztsa` asks for.
    ///
    /// # Defaults
    /// The gateway's `public_url` when `audiences` holds it, else none. An empty string means none.
    pub resource: Option<String>,
    /// Whether a JWT access token without `typ: at+jwt` is accepted (Entra ID, Google and older Okta send `JWT`).
    /// ID tokens are refused either way.
    ///
    /// # Defaults
    /// `false`.
    pub relaxed_typ: bool,
    /// Whether userinfo is asked for groups that neither token has.
    ///
    /// # Defaults
    /// `false`; always asked with `tokens = "userinfo"`.
    pub userinfo: bool,
    /// Whether the device flow (RFC 8628) is offered.
    ///
    /// # Defaults
    /// `true`.
    pub device_flow: bool,
    /// Whether the browser flow (RFC 8252) is offered.
    ///
    /// # Defaults
    /// `true`.
    pub browser_flow: bool,
    /// The host that browsers come back to, where the issuer takes another than the loopback address.
    pub redirect_host: Option<RedirectHost>,
    /// The port that browsers come back to, where the issuer compares it.
    ///
    /// # Defaults
    /// Any that is free.
    pub redirect_port: Option<NonZeroU16>,
    /// Extra roots, PEM, for an issuer behind a private CA.
    pub ca_file: Option<PathBuf>,
    /// Whether the issuer may be at a private address; addresses of metadata services are refused either way.
    ///
    /// # Defaults
    /// `false`; an issuer that is configured on loopback may be there.
    pub allow_private: bool,
    /// How long known keys are used while the issuer cannot be asked.
    ///
    /// # Defaults
    /// 1 h; 1 min to 24 h.
    pub outage_grace: Duration,
}

/// Says how an issuer's access tokens are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// A JWT (RFC 9068), checked against the issuer's published keys.
    Jwt,
    /// An opaque token: userinfo answers for it, and the ID token must bind it to this client with `at_hash`.
    Userinfo,
    /// An opaque token: the introspection endpoint (RFC 7662) answers for it.
    Introspection {
        /// The confidential client that may introspect.
        client_id: String,
        /// The file that holds its secret.
        client_secret_file: PathBuf,
    },
}

/// How long known keys are used while an issuer cannot be asked, unless it is said.
pub(super) const OUTAGE_GRACE: Duration = Duration::from_secs(3600);

/// Checks the tables.
pub(super) fn check(raw: &[file::Issuer], resource: &str) -> Result<Vec<Arc<Issuer>>, ConfigError> {
    let mut names: HashMap<&str, &Place> = HashMap::new();
    let mut identifiers: HashMap<&str, &Place> = HashMap::new();
    let mut issuers = Vec::with_capacity(raw.len());
    for issuer in raw {
        let name = issuer.name.get_ref();
        unique(&mut names, name, &issuer.place, "the issuer")?;
        unique(&mut identifiers, &issuer.issuer, &issuer.place, "the issuer")?;
        issuers.push(Arc::new(one(issuer, resource)?));
    }
    Ok(issuers)
}

fn one(raw: &file::Issuer, resource: &str) -> Result<Issuer, ConfigError> {
    let rule =
        |reason: String, remedy| ConfigError::at(&raw.place.file, Some(raw.place.line), Fault::Rule { reason, remedy });
    let name = raw.name.get_ref().clone();
    if !is_word(&name) {
        return Err(rule(
            format!("the issuer name {name:?} is not a short word"),
            "Use letters, digits and dashes, such as name = \"corp\".",
        ));
    }
    if raw.client_id.is_empty() {
        return Err(rule(
            format!("issuer `{name}`: `client_id` is empty"),
            "Register ztsa as a public client at the issuer and put its id here.",
        ));
    }
    secure(&raw.issuer).map_err(|(reason, remedy)| rule(format!("issuer `{name}`: {reason}"), remedy))?;
    let audiences = raw.audiences.clone().unwrap_or_else(|| vec![resource.to_owned()]);
    if audiences.is_empty() || audiences.iter().any(String::is_empty) {
        return Err(rule(
            format!("issuer `{name}`: `audiences` is empty: every token would be refused"),
            "Name the audience that the issuer puts in its access tokens for this gateway, or leave the key out.",
        ));
    }
    if audiences.contains(&raw.client_id) {
        return Err(rule(
            format!("issuer `{name}`: the client id is not an audience: ID tokens carry it"),
            "Have the issuer give access tokens an audience of their own, such as the gateway's URL.",
        ));
    }
    let tokens = match (raw.tokens, &raw.introspection) {
        (file::Tokens::Jwt, None) => Tokens::Jwt,
        (file::Tokens::Userinfo, None) => Tokens::Userinfo,
        (file::Tokens::Introspection, Some(with)) => Tokens::Introspection {
            client_id: with.client_id.clone(),
            client_secret_file: with.client_secret_file.clone(),
        },
        (file::Tokens::Introspection, None) => {
            return Err(rule(
                format!("issuer `{name}`: tokens = \"introspection\" needs a client that may introspect"),
                "Add introspection = { client_id = \"ztsa-gateway\", client_secret_file = \"introspection.secret\" }.",
            ));
        }
        (_, Some(_)) => {
            return Err(rule(
                format!("issuer `{name}`: `introspection` is given, but `tokens` is not \"introspection\""),
                "Set tokens = \"introspection\", or remove the other key.",
            ));
        }
    };
    let wanted = match &raw.resource {
        Some(text) if text.is_empty() => None,
        Some(text) => Some(text.clone()),
        None => audiences.iter().any(|audience| audience == resource).then(|| resource.to_owned()),
    };
    Ok(Issuer {
        name,
        issuer: raw.issuer.clone(),
        client_id: raw.client_id.clone(),
        scopes: raw
            .scopes
            .clone()
            .unwrap_or_else(|| ["openid", "profile", "email", "offline_access"].map(str::to_owned).to_vec()),
        audiences,
        groups_claim: raw.groups_claim.clone().unwrap_or_else(|| "groups".to_owned()),
        userinfo: raw.userinfo || tokens == Tokens::Userinfo,
        tokens,
        resource: wanted,
        relaxed_typ: raw.relaxed_typ,
        device_flow: raw.device_flow.unwrap_or(true),
        browser_flow: raw.browser_flow.unwrap_or(true),
        redirect_host: raw.redirect_host,
        redirect_port: raw.redirect_port,
        ca_file: raw.ca_file.clone(),
        allow_private: raw.allow_private,
        outage_grace: raw.outage_grace.map_or(OUTAGE_GRACE, |span| span.0),
    })
}

/// Says whether a name reads as one word in policies, logs and messages.
pub(super) fn is_word(name: &str) -> bool {
    (1..=63).contains(&name.len()) && !name.contains(|c: char| c.is_control() || c.is_whitespace() || c == '|')
}

/// Refuses an issuer that anybody on the way could play.
pub(super) fn secure(issuer: &str) -> Result<(), (String, &'static str)> {
    let url = Url::parse(issuer).map_err(|error| {
        (format!("{issuer:?} is not a URL ({error})"), "Write the issuer exactly as its discovery document does.")
    })?;
    match url.scheme() {
        "https" if url.host().is_some() => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return Err((
                format!("{issuer} is http: anybody on the way could sign people in"),
                "Use https; http is taken on loopback only.",
            ));
        }
        _ => {
            return Err((
                format!("{issuer:?} is not an https URL"),
                "Write the issuer exactly as its discovery document does.",
            ));
        }
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err((
            format!("{issuer} has a query or a fragment"),
            "Write the issuer exactly as its discovery document does.",
        ));
    }
    Ok(())
}
