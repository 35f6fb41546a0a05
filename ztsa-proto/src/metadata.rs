//! What the gateway says of itself to anyone (RFC 9728 protected resource metadata) with one extra member, `ztsa`.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::posture::Wanted;
use crate::text::printable;

/// Describes the gateway as a protected resource; unknown members are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceMetadata {
    /// The gateway's identifier, exactly its configured public URL.
    pub resource: String,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_name: Option<String>,
    /// The issuers that it trusts.
    #[serde(default)]
    pub authorization_servers: Vec<String>,
    /// How a token may be sent: in the header only.
    #[serde(default)]
    pub bearer_methods_supported: Vec<String>,
    /// The algorithms of proofs.
    #[serde(default)]
    pub dpop_signing_alg_values_supported: Vec<String>,
    /// Whether tokens must be bound to a key.
    #[serde(default)]
    pub dpop_bound_access_tokens_required: bool,
    /// What the RFC has no place for.
    pub ztsa: Ztsa,
}

/// Holds the gateway's endpoints as absolute URLs, its issuers, and the posture checks that it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ztsa {
    /// The version of the protocol: [`VERSION`].
    pub version: u32,
    /// Where an issuer's token is exchanged for a session (RFC 8693).
    pub token_endpoint: String,
    /// Where the session is read and ended.
    pub session_endpoint: String,
    /// Where the apps are listed.
    pub apps_endpoint: String,
    /// Where grants are asked for.
    pub grants_endpoint: String,
    /// Where tickets are asked for.
    pub tickets_endpoint: String,
    /// Where a decision is explained.
    pub why_endpoint: String,
    /// Where posture reports go.
    pub posture_endpoint: String,
    /// Where events come from.
    pub events_endpoint: String,
    /// The template of a tunnel's URL, with `{target_host}` and `{target_port}`.
    pub tunnel_template: String,
    /// How to sign in at each issuer.
    pub issuers: Vec<IssuerInfo>,
    /// The posture checks that policies use.
    #[serde(default)]
    pub posture: Vec<Wanted>,
    /// Whose jobs may sign in with a token of their own, and which audience that must have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workload: Vec<WorkloadInfo>,
}

/// Says how a job signs in with the token that its platform gives it (RFC 8693, [`session::JWT`](crate::session::JWT)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadInfo {
    /// The name in the gateway's configuration.
    pub name: String,
    /// The issuer of the tokens, exactly as their `iss` has it.
    pub issuer: String,
    /// The audience to ask the platform for; the token must be for it alone.
    pub audience: String,
}

/// Says how to sign in at one issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuerInfo {
    /// The issuer's identifier.
    pub issuer: String,
    /// Its name in the gateway's configuration.
    pub name: String,
    /// The public client to sign in as.
    pub client_id: String,
    /// The scopes to ask for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The resource to ask for (RFC 8707), where the issuer wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Whether the device flow may be used.
    #[serde(default)]
    pub device_flow: bool,
    /// Whether the browser flow may be used.
    #[serde(default)]
    pub browser_flow: bool,
    /// The host that the browser comes back to, where the issuer takes another than the loopback address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_host: Option<RedirectHost>,
    /// The port that the browser comes back to, where the issuer compares it (RFC 8252 section 7.3 says that it must not).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_port: Option<NonZeroU16>,
}

/// Says what stands for this machine in a redirect URI.
///
/// # Security
/// Nothing else can be said: the browser brings the authorization code there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedirectHost {
    /// `localhost`, as Entra ID wants it (RFC 8252 section 8.3 would rather have the address).
    #[serde(rename = "localhost")]
    Localhost,
}

impl RedirectHost {
    /// Gives the text of the URI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Localhost => "localhost",
        }
    }
}

impl ResourceMetadata {
    /// Reads the document and checks it against the URL that the person gave.
    ///
    /// # Errors
    /// [`MetadataError`] when it is over 64 KiB, no such document, of a newer protocol, names another resource than
    /// asked for, or sends the client to another origin than the gateway's.
    ///
    /// # Security
    /// `resource` must equal the gateway's URL (RFC 9728 section 3.3; a final `/` does not count), and every endpoint
    /// must lie at its origin, so that no document can send tokens elsewhere.
    pub fn from_json(json: &[u8], gateway: &Url) -> Result<Self, MetadataError> {
        if json.len() > LARGEST {
            return Err(MetadataError::TooLarge);
        }
        // the version is judged before the rest, which a newer protocol may have changed
        let outline: Outline = serde_json::from_slice(json).map_err(|_| MetadataError::NotMetadata)?;
        if outline.ztsa.version != VERSION {
            return Err(MetadataError::Version { found: outline.ztsa.version });
        }
        let metadata: Self = serde_json::from_slice(json).map_err(|_| MetadataError::NotMetadata)?;
        metadata.check(gateway)?;
        Ok(metadata)
    }

    fn check(&self, gateway: &Url) -> Result<(), MetadataError> {
        let asked = bare(gateway.as_str());
        if bare(&self.resource) != asked {
            return Err(MetadataError::Resource { asked: asked.to_owned(), found: printable(&self.resource, 256) });
        }
        for (name, endpoint) in self.ztsa.endpoints() {
            let url = Url::parse(endpoint).map_err(|_| MetadataError::Endpoint { name })?;
            if url.origin() != gateway.origin() || !url.username().is_empty() {
                return Err(MetadataError::Endpoint { name });
            }
        }
        Ok(())
    }
}

impl Ztsa {
    fn endpoints(&self) -> [(&'static str, &str); 9] {
        [
            ("token_endpoint", &self.token_endpoint),
            ("session_endpoint", &self.session_endpoint),
            ("apps_endpoint", &self.apps_endpoint),
            ("grants_endpoint", &self.grants_endpoint),
            ("tickets_endpoint", &self.tickets_endpoint),
            ("why_endpoint", &self.why_endpoint),
            ("posture_endpoint", &self.posture_endpoint),
            ("events_endpoint", &self.events_endpoint),
            ("tunnel_template", &self.tunnel_template),
        ]
    }
}

/// Tells why a gateway's metadata was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// It is over 64 KiB.
    #[error("the gateway's metadata is larger than 64 KiB")]
    TooLarge,
    /// It does not read: not a gateway, or a captive portal's page.
    #[error("the answer is not a ztsa gateway's metadata: check the gateway's URL")]
    NotMetadata,
    /// It speaks another version of the protocol.
    #[error("the gateway speaks version {found} of the protocol, this client speaks version 1: update ztsa")]
    Version {
        /// The gateway's version.
        found: u32,
    },
    /// It describes another resource.
    #[error("{asked} says that it is {found}: use that URL if you trust it")]
    Resource {
        /// The URL that was asked.
        asked: String,
        /// The resource that it names.
        found: String,
    },
    /// An endpoint is no URL or lies elsewhere.
    #[error("the gateway's {name} is not at the gateway's own address")]
    Endpoint {
        /// The member's name.
        name: &'static str,
    },
}

/// A URL without its final slash.
fn bare(url: &str) -> &str {
    url.strip_suffix('/').unwrap_or(url)
}

#[derive(Deserialize)]
struct Outline {
    ztsa: Version,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The path of the document (RFC 9728 section 3).
pub const PATH: &str = "/.well-known/oauth-protected-resource";
/// The version of the protocol that this crate speaks.
pub const VERSION: u32 = 1;
const LARGEST: usize = 64 * 1024;

#[cfg(test)]
mod tests;
