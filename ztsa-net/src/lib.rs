//! What both ends of ztsa do with sockets.
//!
//! Modules, each naming only those above it: [`memory`] (what the allocator keeps), [`task`] (who owns what runs),
//! [`lane`] (threads that carry connections), [`clock`], [`tls`], [`accept`], [`wide`] (large reads under TLS 1.2), [`record`] (the record layer of TLS 1.3), [`secure`]
//! (a stream over it), [`http2`] (settings and keep-alive), [`tunnel`]
//! (capsules on an HTTP/2 stream), [`relay`] (local socket to tunnel and back), [`splice`] (the same without capsules).

pub mod memory;

pub mod task;

pub mod lane;

pub mod clock;

pub mod tls;

pub mod accept;

pub mod wide;

pub mod record;

pub mod secure;

pub mod http2;

pub mod tunnel;

pub mod relay;

pub mod splice;
