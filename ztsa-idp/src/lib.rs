//! A small OpenID Connect issuer for development and tests.
//!
//! It does for real what a client of an issuer needs: discovery, device authorization (RFC 8628), the authorization code
//! flow with PKCE (RFC 7636) for native programs (RFC 8252), refresh tokens with rotation, DPoP (RFC 9449), JWT access
//! tokens (RFC 9068) for a resource (RFC 8707), step-up (RFC 9470), userinfo, introspection and revocation, with pages that
//! people use, and the tokens that platforms give their jobs ([`Workload`]). It keeps everything in memory.
//!
//! # Security
//! Its users have well-known passwords and it speaks plain HTTP, so it refuses to bind anything but loopback.
//!
//! ```no_run
//! # async fn example() -> Result<(), ztsa_idp::IdpError> {
//! let config = ztsa_idp::Config { approve: Some("alice".into()), ..Default::default() };
//! let idp = ztsa_idp::Idp::spawn(config).await?;
//! println!("{}", idp.issuer());
//! idp.shutdown(std::time::Duration::from_secs(1)).await;
//! # Ok(()) }
//! ```
//!
//! Modules, each naming only those above it: `fault`, `config`, `expiring`, `scope`, `form`, `sign_in`, `grant`,
//! `device`, `browser`, `answer`, `issuer`, `token`, `workload`, `page`, `endpoint`, `server`, [`person`].

mod fault;

mod config;

mod expiring;

mod scope;

mod form;

mod sign_in;

mod grant;

mod device;

mod browser;

mod answer;

mod issuer;

mod token;

mod workload;

mod page;

mod endpoint;

mod server;

pub mod person;

pub use config::{Client, Config, User};
pub use fault::{Endpoint, Fault, Faults};
pub use server::{Idp, IdpError};
pub use workload::Workload;
