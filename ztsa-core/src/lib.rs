//! The ztsa client library: sign in, keep the session, describe the device, open tunnels to apps, serve them locally.
//!
//! Modules, each naming only those above it: [`config`], [`http`] (requests with DPoP), [`discovery`] (who signs people
//! in), [`login`] (device and browser flow), [`store`] (sealed credentials), [`token`] (one session for all processes),
//! [`posture`] (what this device says about itself), [`api`] (the gateway's JSON endpoints).
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
