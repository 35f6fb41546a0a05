//! Sign-in at an issuer: the device flow (RFC 8628) and the browser flow (RFC 8252, RFC 7636).
//!
//! Nothing is printed and nothing is opened here: a [`Prompt`] or a URL is handed to the caller's closure.

mod answer;
mod browser;
mod callback;
mod device;
mod error;
mod poll;

use ztsa_proto::{jws::Signer, metadata::IssuerInfo, secret::Secret, time::UnixTime};

pub(crate) use self::answer::{Refusal, read_tokens};
pub use self::{
    browser::BrowserFlow,
    device::{DeviceFlow, Prompt},
    error::{Flow, LoginError},
};
use crate::{discovery::IssuerMetadata, http::Http};

/// A way to sign in.
pub enum Login<'a> {
    /// A code is typed in on any device.
    Device(DeviceFlow<'a>),
    /// A browser on this machine signs in and comes back to a loopback address.
    Browser(BrowserFlow<'a>),
}

impl Login<'_> {
    /// Which of the two it is.
    pub fn flow(&self) -> Flow {
        match self {
            Self::Device(_) => Flow::Device,
            Self::Browser(_) => Flow::Browser,
        }
    }
}

impl<'a> From<DeviceFlow<'a>> for Login<'a> {
    fn from(flow: DeviceFlow<'a>) -> Self {
        Self::Device(flow)
    }
}

impl<'a> From<BrowserFlow<'a>> for Login<'a> {
    fn from(flow: BrowserFlow<'a>) -> Self {
        Self::Browser(flow)
    }
}

/// What an issuer gave for a sign-in or a refresh.
#[derive(Clone, Debug)]
pub struct IssuerTokens {
    /// The access token.
    pub access_token: Secret<String>,
    /// Whether the access token is bound to the device key (`token_type` `DPoP`).
    pub bound: bool,
    /// When the access token ends, by the issuer's clock.
    pub expires_at: UnixTime,
    /// The refresh token.
    pub refresh_token: Option<Secret<String>>,
    /// When the refresh token ends, by the issuer's clock, where the issuer says so.
    pub refresh_ends: Option<UnixTime>,
    /// The ID token.
    pub id_token: Option<Secret<String>>,
}

/// How strong and how fresh a sign-in has to be (RFC 9470).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The strengths that would do, the best first, with spaces between (`acr_values`).
    pub acr_values: Option<String>,
    /// How many seconds ago the person may have signed in at most (`max_age`).
    pub max_age: Option<u64>,
    /// Whether the person has to sign in now, whoever the issuer still knows.
    pub fresh: bool,
}

impl Demand {
    /// Whether nothing is demanded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The parameters of the request; `prompt` only where the issuer says that it knows it, because others refuse what
    /// they do not know.
    fn parameters(&self, metadata: &IssuerMetadata) -> Vec<(&'static str, String)> {
        let mut parameters = Vec::new();
        if let Some(values) = &self.acr_values {
            parameters.push(("acr_values", values.clone()));
        }
        let max_age = if self.fresh { Some(0) } else { self.max_age };
        parameters.extend(max_age.map(|seconds| ("max_age", seconds.to_string())));
        let known = metadata.prompt_values_supported.iter().any(|value| value == "login");
        if known && (self.fresh || self.max_age == Some(0)) {
            parameters.push(("prompt", "login".to_owned()));
        }
        parameters
    }
}

/// The issuer that a sign-in is at.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// How the gateway wants it to be used.
    pub info: IssuerInfo,
    /// What it says about itself.
    pub metadata: IssuerMetadata,
}

impl Issuer {
    pub(crate) fn signer<'k>(&self, key: &'k dyn Signer) -> Option<&'k dyn Signer> {
        self.metadata.takes_dpop().then_some(key)
    }
}

/// Signs in.
///
/// # Errors
/// See [`LoginError`].
///
/// # Cancel safety
/// Dropping the future gives the sign-in up; a code that was shown is of no more use.
pub async fn run(login: Login<'_>, http: &Http, issuer: &Issuer, key: &dyn Signer) -> Result<IssuerTokens, LoginError> {
    let info = &issuer.info;
    let (flow, offered) = match &login {
        Login::Device(_) => (Flow::Device, info.device_flow || !info.browser_flow),
        Login::Browser(_) => (Flow::Browser, info.browser_flow || !info.device_flow),
    };
    if !offered {
        return Err(LoginError::FlowMissing { flow });
    }
    match login {
        Login::Device(flow) => flow.run(http, issuer, key).await,
        Login::Browser(flow) => flow.run(http, issuer, key).await,
    }
}
