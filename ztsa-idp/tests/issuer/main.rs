//! The issuer as its clients and its people meet it: over HTTP, on a real socket.
#![cfg(test)]

mod browser;
mod desk;
mod device;
mod dpop;
mod fault;
mod page;
mod token;
mod workload;
