//! The local side: where programs of this machine come in.
//!
//! Modules, each naming only those above it: [`event`] (what is told), `sockets` and [`guard`] (who may come in),
//! `intake` (the first bytes), [`dial`] (what is wanted from the client), `told` (an app as a stream), `gate` (what a
//! web page says), `local` (how a connection is carried and
//! closed), [`listen`] (where to stand), `serving` (the shape of what listens), `socks5`, `socks4`, `pac`, `desk` (what a proxy's connections share),
//! `http`,
//! [`forward`], [`stdio`], [`proxy`].
//!
//! No name is ever resolved here: names go to the gateway as they are.

pub mod event;

pub(crate) mod sockets;

pub mod guard;

pub(crate) mod intake;

pub mod dial;

pub(crate) mod told;

pub(crate) mod gate;

pub(crate) mod local;

pub mod listen;

pub(crate) mod serving;

pub(crate) mod socks5;

pub(crate) mod socks4;

pub(crate) mod pac;

pub(crate) mod desk;

pub(crate) mod http;

pub mod forward;

pub mod stdio;

pub mod proxy;

pub use self::sockets::Holder;

#[cfg(test)]
mod tests;
