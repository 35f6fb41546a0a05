//! The ztsa gateway: verifies, decides by policy, watches risk, carries the bytes, ends live tunnels when the answer changes.
//!
//! Modules stand in the order in which they may name each other: a module names only modules above it.

pub mod config;
pub mod place;
pub mod measure;
pub mod pace;
pub mod store;
pub mod lookup;
pub mod history;
pub mod audit;
pub mod metadata;
pub mod authn;
pub mod posture;
pub mod risk;
pub mod detect;
pub mod policy;
pub mod lease;
pub mod ticket;
pub mod engine;
pub mod signals;
pub mod certificate;
pub mod stranger;
pub mod reload;
pub mod admin;
pub mod dial;
pub mod serve;
pub mod listen;
pub mod metrics;
pub mod gateway;
#[cfg(feature = "dev")]
pub mod dev;
