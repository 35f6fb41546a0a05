//! Authentication as its callers see it: a small real issuer over HTTP, real keys, forged and worn-out tokens.

mod bound;
mod check;
mod fake;
mod issuer;
mod login;
mod person;
mod renewal;
mod vectors;
mod workload;
