//! Who signs people in for a gateway: protected resource metadata (RFC 9728), then the issuer's own (OpenID Connect
//! Discovery 1.0, RFC 8414).
//!
//! # Security
//! A gateway that names an issuer names who asks people for their password. So `resource` must equal the gateway's URL,
//! `issuer` must equal the issuer's, and the issuers seen at the first login are pinned ([`changes`]).

mod pin;

use serde::Deserialize;
use url::Url;
use ztsa_proto::{
    metadata::{IssuerInfo, MetadataError, ResourceMetadata},
    problem::Retry,
    text::printable,
};

use crate::{
    config::{Config, is_loopback, without_slash},
    http::{Http, HttpError, Request, Seen},
};

pub use self::pin::{Change, Changed, Pin, changes, pinned, strangers};

/// What an issuer says about itself; members that are not used here are ignored.
#[derive(Clone, Debug, Deserialize)]
pub struct IssuerMetadata {
    /// The issuer's identifier.
    pub issuer: String,
    /// Where codes and refresh tokens become tokens.
    pub token_endpoint: String,
    /// Where a browser signs in.
    #[serde(default)]
    pub authorization_endpoint: Option<String>,
    /// Where a device flow begins (RFC 8628); absent when the issuer has none.
    #[serde(default)]
    pub device_authorization_endpoint: Option<String>,
    /// Where tokens are revoked (RFC 7009).
    #[serde(default)]
    pub revocation_endpoint: Option<String>,
    /// The algorithms of DPoP proofs (RFC 9449 5.1); empty when the issuer does not say that it knows DPoP.
    #[serde(default)]
    pub dpop_signing_alg_values_supported: Vec<String>,
    /// Whether the browser flow's answer names the issuer (RFC 9207).
    #[serde(default)]
    pub authorization_response_iss_parameter_supported: bool,
    /// The values of `prompt` that the issuer knows (Initiating User Registration 1.0); empty when it does not say.
    #[serde(default)]
    pub prompt_values_supported: Vec<String>,
    /// The flows that the issuer offers; `None` when it does not say.
    #[serde(default)]
    pub grant_types_supported: Option<Vec<String>>,
}

impl IssuerMetadata {
    /// Whether the issuer says that it takes DPoP proofs signed with ES256.
    pub fn takes_dpop(&self) -> bool {
        self.dpop_signing_alg_values_supported.iter().any(|alg| alg == "ES256")
    }
}

/// Reads a gateway's metadata and checks that it speaks for itself.
///
/// # Errors
/// See [`DiscoveryError`].
///
/// # Cancel safety
/// Cancel-safe.
pub async fn gateway(http: &Http, config: &Config) -> Result<ResourceMetadata, DiscoveryError> {
    let url = well_known(&config.gateway, "oauth-protected-resource");
    let response = http.send(&Request::get(&url)).await.map_err(DiscoveryError::Gateway)?;
    if !response.status.is_success() {
        return Err(DiscoveryError::NotAGateway { seen: response.seen() });
    }
    ResourceMetadata::from_json(&response.body, &config.gateway).map_err(|error| match error {
        MetadataError::NotMetadata => DiscoveryError::NotAGateway { seen: response.seen() },
        other => DiscoveryError::Metadata(other),
    })
}

/// Reads an issuer's metadata, trying OpenID Connect's path and then RFC 8414's.
///
/// # Errors
/// See [`DiscoveryError`].
///
/// # Cancel safety
/// Cancel-safe.
pub async fn issuer(http: &Http, issuer: &str) -> Result<IssuerMetadata, DiscoveryError> {
    let invalid = |reason: &str| DiscoveryError::Issuer { issuer: issuer.to_owned(), reason: reason.to_owned() };
    let base = Url::parse(issuer).map_err(|error| invalid(&error.to_string()))?;
    if base.scheme() != "https" && !is_loopback(&base) {
        return Err(invalid("only https is used outside loopback"));
    }
    let oidc = format!("{}/.well-known/openid-configuration", without_slash(issuer));
    let mut refused = None;
    for url in [oidc, well_known(&base, "oauth-authorization-server")] {
        let response = http.send(&Request::get(&url)).await;
        let response =
            response.map_err(|source| DiscoveryError::IssuerUnreachable { issuer: issuer.to_owned(), source })?;
        if response.status.is_success() {
            let read = response.json();
            let metadata =
                read.map_err(|source| DiscoveryError::IssuerUnreachable { issuer: issuer.to_owned(), source })?;
            return check_issuer(issuer, metadata);
        }
        refused.get_or_insert(response.seen());
    }
    let source = refused.map_or_else(|| HttpError::Setup { reason: "no path tried".to_owned() }, HttpError::Unexpected);
    Err(DiscoveryError::IssuerUnreachable { issuer: issuer.to_owned(), source })
}

/// Chooses one of a gateway's issuers: the one named (by `issuer` or `name`), else the first.
///
/// # Errors
/// The gateway has no issuer, or none of that name.
pub fn choose<'m>(metadata: &'m ResourceMetadata, wanted: Option<&str>) -> Result<&'m IssuerInfo, DiscoveryError> {
    let issuers = &metadata.ztsa.issuers;
    let found = match wanted {
        None => issuers.first(),
        Some(wanted) => issuers.iter().find(|info| info.issuer == wanted || info.name == wanted),
    };
    found.ok_or_else(|| DiscoveryError::NoIssuer {
        wanted: wanted.map(str::to_owned),
        known: issuers.iter().map(|info| info.name.clone()).collect(),
    })
}

/// Why a gateway or an issuer could not be used.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// The gateway's metadata could not be read.
    #[error("the gateway's description could not be read: {0}")]
    Gateway(#[source] HttpError),
    /// What answers there is no ztsa gateway.
    #[error("{seen}, not the description of a ztsa gateway")]
    NotAGateway {
        /// What came back.
        seen: Seen,
    },
    /// The gateway's metadata is not to be trusted, or newer than this client.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// No issuer to sign in at.
    #[error("the gateway has no issuer{}; it names: {}", wanted.as_ref().map(|name| format!(" `{name}`")).unwrap_or_default(), known.join(", "))]
    NoIssuer {
        /// What was asked for.
        wanted: Option<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// The sign-in is not as it was at the first login, and nobody has confirmed that.
    #[error("the gateway now wants people to sign in elsewhere: {}", changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    IssuerChanged {
        /// The issuer that it names now.
        issuer: String,
        /// What has changed.
        changes: Vec<Change>,
    },
    /// The issuer's metadata could not be read.
    #[error("the issuer {issuer} could not be asked: {source}")]
    IssuerUnreachable {
        /// The issuer.
        issuer: String,
        /// What happened.
        source: HttpError,
    },
    /// The issuer's metadata is wrong.
    #[error("the issuer {issuer} cannot be used: {reason}")]
    Issuer {
        /// The issuer.
        issuer: String,
        /// What is wrong.
        reason: String,
    },
}

impl DiscoveryError {
    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Gateway(error) | Self::IssuerUnreachable { source: error, .. } => error.retry(),
            Self::NotAGateway { seen } if seen.is_temporary() => Retry::After { seconds: None },
            _ => Retry::Never,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Gateway(error) | Self::IssuerUnreachable { source: error, .. } => error.hint(),
            Self::NotAGateway { seen } if seen.is_temporary() => HttpError::Unexpected(seen.clone()).hint(),
            Self::NotAGateway { .. } => "check the gateway's URL; it is the `public_url` of gateway.toml".to_owned(),
            Self::Metadata(MetadataError::Resource { found, .. }) => {
                format!("if you trust it, run `ztsa login {found}`")
            }
            Self::Metadata(MetadataError::Version { .. }) => "update ztsa".to_owned(),
            Self::NoIssuer { .. } => "choose one of those with --issuer, or ask the gateway's administrator".to_owned(),
            Self::IssuerChanged { issuer, .. } => {
                let issuer = printable(issuer, 300);
                format!(
                    "ask the gateway's administrator whether this is right; if so, run `ztsa login --accept-issuer {issuer}`"
                )
            }
            Self::Metadata(_) | Self::Issuer { .. } => "tell the gateway's administrator".to_owned(),
        }
    }
}

fn check_issuer(asked: &str, metadata: IssuerMetadata) -> Result<IssuerMetadata, DiscoveryError> {
    let invalid = |reason: String| DiscoveryError::Issuer { issuer: asked.to_owned(), reason };
    if metadata.issuer != asked {
        return Err(invalid(format!("it calls itself `{}`, which must be exactly the same", metadata.issuer)));
    }
    let endpoints = [
        Some(&metadata.token_endpoint),
        metadata.authorization_endpoint.as_ref(),
        metadata.device_authorization_endpoint.as_ref(),
        metadata.revocation_endpoint.as_ref(),
    ];
    for endpoint in endpoints.into_iter().flatten() {
        let url =
            Url::parse(endpoint).map_err(|error| invalid(format!("its endpoint `{endpoint}` is no URL: {error}")))?;
        if url.scheme() != "https" && !(url.scheme() == "http" && is_loopback(&url)) {
            return Err(invalid(format!("its endpoint `{endpoint}` is not https")));
        }
    }
    Ok(metadata)
}

/// RFC 8414 3 and RFC 9728 3: the well-known part goes between host and path.
fn well_known(base: &Url, name: &str) -> String {
    let path = without_slash(base.path());
    format!("{}/.well-known/{name}{path}", base.origin().ascii_serialization())
}

#[cfg(test)]
mod tests;
