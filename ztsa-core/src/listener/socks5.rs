//! SOCKS5 (RFC 1928, RFC 1929) on the local port, through `fast-socks5`'s typed server protocol.
//!
//! What that library leaves open is closed here: names are never resolved, an IP address in a domain's clothes becomes
//! an IP address, user name and password are read by us (constant time, no log, an empty password is no error), short
//! writes cannot cut a reply ([`Intake`]), and the caller sets the deadline.

use fast_socks5::server::{AuthMethod, AuthMethodSuccessState, Socks5ServerProtocol, SocksServerError, states};
use fast_socks5::util::target_addr::TargetAddr;
use fast_socks5::{ReplyError, Socks5Command};
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ztsa_proto::name::{Destination, HostName, NameError};
use ztsa_proto::problem::Problem;
use ztsa_proto::secret::Secret;

use super::intake::Intake;

/// The first byte of a SOCKS5 conversation.
pub(crate) const FIRST_BYTE: u8 = 5;

/// Why a SOCKS conversation ended before a destination was known; the client has been answered where it can be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocksError {
    /// The client asked for something that is not TCP CONNECT.
    #[error("only CONNECT is served here, the client asked for {0}")]
    Command(&'static str),
    /// The destination is not one.
    #[error("the client asked for a destination that cannot be: {0}")]
    Name(#[from] NameError),
    /// User name or password are wrong, or none was offered.
    #[error("the client did not give the listener's password")]
    Password,
    /// The conversation does not follow the protocol, or was cut.
    #[error("the SOCKS conversation broke off: {0}")]
    Broken(String),
}

/// A client that asked for a destination and waits for the answer.
pub(crate) struct Asked<S> {
    proto: Socks5ServerProtocol<Intake<S>, states::CommandRead>,
    /// Where it wants to go.
    pub(crate) to: Destination,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Asked<S> {
    /// Tells the client that it is connected, and returns the stream with the bytes that arrived early.
    pub(crate) async fn granted(self) -> Result<Intake<S>, SocksError> {
        Ok(self.proto.reply_success(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))).await?)
    }

    /// Tells the client why not, as far as SOCKS has a word for it.
    pub(crate) async fn refused(self, problem: &Problem) -> Result<(), SocksError> {
        Ok(self.proto.reply_error(&reply(problem)).await?)
    }
}

/// Reads a client's greeting and request.
///
/// Without a `password` a client is let in as it likes: without one, or with any user name and password.
///
/// # Errors
/// [`SocksError`]; the client has been told with the protocol's own code: 0xFF or a failed authentication for the
/// password, 0x07 for BIND and UDP ASSOCIATE, 0x08 for an unknown address type, 0x04 for a name that cannot be.
pub(crate) async fn ask<S>(intake: Intake<S>, password: Option<&Secret<String>>) -> Result<Asked<S>, SocksError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    const ANY: &[Method] = &[Method::Open, Method::Password];
    const PASSWORD: &[Method] = &[Method::Password];
    let methods = if password.is_some() { PASSWORD } else { ANY };
    let started = Socks5ServerProtocol::start(intake).negotiate_auth(methods).await?;
    let (proto, command, target) = authenticate(started, password).await?.finish_auth().read_command().await?;
    let refused = match command {
        Socks5Command::TCPConnect => None,
        Socks5Command::TCPBind => Some("BIND"),
        Socks5Command::UDPAssociate => Some("UDP ASSOCIATE"),
    };
    if let Some(name) = refused {
        proto.reply_error(&ReplyError::CommandNotSupported).await?;
        return Err(SocksError::Command(name));
    }
    match destination(&target) {
        Ok(to) => Ok(Asked { proto, to }),
        Err(error) => {
            proto.reply_error(&ReplyError::HostUnreachable).await?;
            Err(error.into())
        }
    }
}

fn destination(target: &TargetAddr) -> Result<Destination, NameError> {
    match target {
        TargetAddr::Ip(address) => Destination::new(HostName::from(address.ip()), address.port()),
        TargetAddr::Domain(name, port) => Destination::new(name.parse()?, *port),
    }
}

/// Chooses SOCKS5's reply (RFC 1928 section 6) for a refusal.
pub(crate) fn reply(problem: &Problem) -> ReplyError {
    match problem.code.as_str() {
        "app.unknown" | "app.unreachable" => ReplyError::HostUnreachable,
        "app.refused" => ReplyError::ConnectionRefused,
        "app.timeout" | "auth.expired" | "session.expired" | "session.lapsed" | "grant.expired" => {
            ReplyError::TtlExpired
        }
        "auth.step_up" | "session.revoked" | "grant.unknown" | "ticket.invalid" => ReplyError::ConnectionNotAllowed,
        code => match code.split('.').next() {
            Some("policy" | "risk" | "posture" | "device") => ReplyError::ConnectionNotAllowed,
            Some("gateway" | "network") => ReplyError::NetworkUnreachable,
            _ => ReplyError::GeneralFailure,
        },
    }
}

impl From<SocksServerError> for SocksError {
    fn from(error: SocksServerError) -> Self {
        match error {
            SocksServerError::AuthMethodUnacceptable(_) => Self::Password,
            SocksServerError::UnknownCommand(_) => Self::Command("an unknown command"),
            other => Self::Broken(other.to_string()),
        }
    }
}

/// How a client may introduce itself.
#[derive(Debug, Clone, Copy)]
enum Method {
    Open,
    Password,
}

/// A stream on which a method has been agreed.
struct Started<T> {
    method: Method,
    stream: T,
}

/// A stream whose client has introduced itself.
struct Introduced<T>(T);

impl<T> AuthMethod<T> for Method {
    type StartingState = Started<T>;

    fn method_id(self) -> u8 {
        match self {
            Self::Open => 0,
            Self::Password => 2,
        }
    }

    fn new(self, inner: T) -> Started<T> {
        Started { method: self, stream: inner }
    }
}

impl<T> AuthMethodSuccessState<T> for Introduced<T> {
    fn into_inner(self) -> T {
        self.0
    }
}

/// Reads user name and password (RFC 1929 section 2); any user name will do.
async fn authenticate<T>(started: Started<T>, password: Option<&Secret<String>>) -> Result<Introduced<T>, SocksError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let Started { method, mut stream } = started;
    if matches!(method, Method::Open) {
        return Ok(Introduced(stream));
    }
    let version = stream.read_u8().await?;
    if version != 1 {
        return Err(SocksError::Broken(format!("version {version} of the password exchange")));
    }
    let _user = field(&mut stream).await?;
    let given = field(&mut stream).await?;
    let good = password.is_none_or(|wanted| Secret::new(wanted.expose().as_bytes().to_vec()) == given);
    stream.write_all(&[1, u8::from(!good)]).await?;
    stream.flush().await?;
    if good { Ok(Introduced(stream)) } else { Err(SocksError::Password) }
}

async fn field<T: AsyncRead + Unpin>(stream: &mut T) -> Result<Secret<Vec<u8>>, SocksError> {
    let length = stream.read_u8().await?;
    let mut bytes = vec![0; usize::from(length)];
    stream.read_exact(&mut bytes).await?;
    Ok(Secret::new(bytes))
}

impl From<std::io::Error> for SocksError {
    fn from(error: std::io::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

#[cfg(test)]
mod tests;
