//! What crosses the wire of ztsa.
//!
//! Names, keys, proofs, claims, posture reports, grants, problems, events and capsules: the values that the client and
//! the gateway exchange, each with one codec that refuses bad input clearly, bounded in size. There is no socket,
//! clock or runtime here: time is an argument ([`time::UnixTime`]).
//!
//! A module names only modules above it in this list.

pub mod secret;
pub mod time;
pub mod name;
pub mod text;
pub mod jwk;
pub mod jws;
pub mod dpop;
pub mod problem;
pub mod posture;
pub mod metadata;
pub mod session;
pub mod app;
pub mod grant;
pub mod why;
pub mod event;
pub mod capsule;
pub mod template;
pub mod set;
