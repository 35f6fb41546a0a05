//! Client library, gateway and issuer in one process, over real sockets on loopback: what a person would notice.

mod clock;
mod condition;
mod denial;
mod flight;
mod guest;
mod house;
mod identity;
mod issuer;
mod line;
mod local;
mod patience;
mod paused;
mod policy;
mod posture;
mod restart;
mod revoke;
mod risk;
mod road;
mod server;
mod session;
mod signals;
mod stranger;
mod theft;
mod tidy;
mod trouble;
mod workload;
