//! Tunnels to apps: HTTP/2 streams on few warm connections to the gateway.
//!
//! A warm client opens a tunnel in one round trip: the request carries the session token and a proof of the device key,
//! and the gateway decides, dials the app and answers.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ztsa_net::tunnel::{TunnelRecv, TunnelSend};
use ztsa_proto::name::{Destination, GrantId, TunnelId};
use ztsa_proto::problem::{Problem, Retry};

use crate::token::TokenError;

mod upstream;
mod connection;
mod early;
mod request;
mod pool;

pub use early::{EARLY_MAX, Early, Settled};
pub use pool::Pool;

/// What to ask for along with a tunnel.
#[derive(Debug, Clone, Default)]
pub struct OpenOptions {
    /// A grant that was obtained before; without it the gateway grants implicitly.
    pub grant: Option<GrantId>,
}

/// An open tunnel to an app. Dropping it resets it.
#[derive(Debug)]
pub struct Tunnel {
    /// The half that sends to the app.
    pub send: TunnelSend,
    /// The half that receives from the app.
    pub recv: TunnelRecv,
    /// The gateway's number of this tunnel, when it told one: events name it.
    pub id: Option<TunnelId>,
    /// Where it leads.
    pub to: Destination,
    /// Counts the tunnel on its connection for as long as it is held.
    pub held: Held,
}

/// One place on a connection, given back when dropped.
#[derive(Debug)]
pub struct Held(Arc<AtomicUsize>);

impl Held {
    pub(super) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Why a tunnel did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The gateway refused it, and says why.
    #[error("{}", describe(.0))]
    Refused(Box<Problem>),
    /// There is no session to ask with.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The gateway cannot be reached.
    #[error("the gateway {gateway} cannot be reached: {cause}")]
    Unreachable {
        /// Host and port.
        gateway: String,
        /// What failed.
        cause: String,
    },
    /// Something answered that is no ztsa gateway, or something between does not pass tunnels.
    #[error("{gateway} does not open tunnels: {seen}")]
    NotATunnel {
        /// Host and port.
        gateway: String,
        /// What was seen instead.
        seen: String,
    },
    /// The connection to the gateway ended while the tunnel was being opened.
    #[error("the connection to the gateway ended while the tunnel was being opened: {0}")]
    Lost(String),
    /// The device key could not sign.
    #[error("the device key could not sign: {0}")]
    Sign(String),
}

/// Whether a failed opening may be tried again at once, by another connection.
impl OpenError {
    /// Returns the gateway's problem, when it was the gateway that refused.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused(problem) => Some(problem),
            _ => None,
        }
    }

    /// Tells when trying again makes sense.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Refused(problem) => problem.retry,
            Self::Token(error) => error.retry(),
            Self::Unreachable { .. } | Self::Lost(_) => Retry::After { seconds: None },
            Self::NotATunnel { .. } | Self::Sign(_) => Retry::Never,
        }
    }

    /// Tells whether the gateway could not be reached at all, so that waiting for it is worth while.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Lost(_))
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Refused(problem) => {
                problem.remedy.clone().unwrap_or_else(|| "ask the gateway's administrator".into())
            }
            Self::Token(error) => error.hint(),
            Self::Unreachable { gateway, .. } => {
                format!("check the network, and that {gateway} is the right gateway (ztsa status)")
            }
            Self::NotATunnel { .. } => {
                "a proxy or load balancer in between must pass HTTP/2 extended CONNECT (RFC 8441)".into()
            }
            Self::Lost(_) => "try again".into(),
            Self::Sign(_) => "ztsa logout, then ztsa login, makes a new device key".into(),
        }
    }
}

fn describe(problem: &Problem) -> impl fmt::Display + '_ {
    if problem.detail.is_empty() { &problem.title } else { &problem.detail }
}
