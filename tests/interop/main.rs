//! ztsa against programs that others wrote: what a user's own tools notice.
//!
//! `cargo xtask test` installs the programs and builds the binaries that these tests start; a missing one is a failure.
//! Everything is on loopback, on free ports, in a temporary folder, and ends with its test.

// what tests stand on
mod folder;
mod process;
mod binary;
mod program;
mod gateway;
mod home;

// the tests
mod database;
mod shell;
mod cache;
mod command;
mod proxy;
mod ticket;
mod browser;
mod sign_in;
mod browser_flow;
mod terminal;
mod paused;
mod risk;
mod top;
mod embedded;
mod doctor;
mod issuer_page;
mod logout;
mod opaque_token;
mod outsider;
mod page_shape;
mod policy;
mod administrator;
mod proof;
mod relying_party;
mod balancer;
mod keyring;
mod chip;
mod herd;
mod audit_log;
