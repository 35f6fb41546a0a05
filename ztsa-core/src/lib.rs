//! The ztsa client library: sign in, keep the session, describe the device, open tunnels to apps, serve them locally.
//!
//! Modules, each naming only those above it: [`config`], [`http`] (requests with DPoP), [`discovery`] (who signs people
//! in), [`login`] (device and browser flow), [`store`] (sealed credentials), [`token`] (one session for all processes),
//! [`posture`] (what this device says about itself), [`api`] (the gateway's JSON endpoints), [`tunnel`] (HTTP/2 streams on warm
//! connections), [`stream`] (a tunnel as a byte stream), [`listener`] (where local programs come in), [`client`] (the
//! front door).
//!
//! The library reads no terminal and no home directory: values come in with [`config::Config`].

pub mod config;

pub mod http;

pub mod discovery;

pub mod login;

pub mod store;

pub mod posture;

pub mod token;

pub mod api;

pub mod tunnel;

pub mod stream;

pub mod listener;

pub mod client;

pub use crate::client::{AppStream, Client, Error};
pub use crate::config::Config;
pub use crate::listener::event::{Event, Events};
