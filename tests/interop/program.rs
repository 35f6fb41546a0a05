//! The real programs: each starts on a free loopback port in a folder of its own, and ends when it is dropped.

pub mod certificate;
pub mod chromium;
pub mod glewlwyd;
pub mod haproxy;
pub mod http_server;
pub mod keyring;
pub mod idp;
pub mod node;
pub mod oidc_provider;
pub mod page;
pub mod postgres;
pub mod redis;
pub mod sshd;
pub mod witness;
