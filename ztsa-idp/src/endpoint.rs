//! The endpoints, each a thin shell: read the request, ask the issuer, answer.

pub(crate) mod visitor;

pub(crate) mod discovery;

pub(crate) mod device;

pub(crate) mod verification;

pub(crate) mod authorize;

pub(crate) mod interaction;

pub(crate) mod token;

pub(crate) mod userinfo;

pub(crate) mod introspection;

pub(crate) mod revocation;

pub(crate) mod logout;

pub(crate) mod workload;

use std::net::IpAddr;

/// The address that a request came from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The paths of the endpoints.
pub(crate) mod path {
    pub(crate) const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
    pub(crate) const OAUTH_METADATA: &str = "/.well-known/oauth-authorization-server";
    pub(crate) const JWKS: &str = "/jwks";
    pub(crate) const AUTHORIZE: &str = "/authorize";
    pub(crate) const TOKEN: &str = "/token";
    pub(crate) const DEVICE_AUTHORIZATION: &str = "/device_authorization";
    pub(crate) const VERIFICATION: &str = "/device";
    pub(crate) const USERINFO: &str = "/userinfo";
    pub(crate) const INTROSPECTION: &str = "/introspect";
    pub(crate) const REVOCATION: &str = "/revoke";
    pub(crate) const END_SESSION: &str = "/end_session";
    pub(crate) const GITHUB: &str = "/workload/github";
    pub(crate) const KUBERNETES: &str = "/workload/kubernetes";
}
