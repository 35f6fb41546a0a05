//! The handshake: rustls', driven over a socket, and its keys taken when it is done.

use std::io;
use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedConnectionCommon, UnbufferedStatus};
use rustls::{
    ClientConfig, ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion, ServerConfig, SupportedCipherSuite,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Secrets, Secure};
use crate::record;

/// Most bytes of a handshake that may wait: rustls takes messages of up to 64 KiB, which may come in many records.
const WAITING_MAX: usize = 256 * 1024;
/// Bytes read at a time.
const READ: usize = 4 * 1024;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The socket failed, or the handshake did: the source is a [`rustls::Error`] then.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer speaks TLS 1.2 only, which this does not; another connection by rustls alone may.
    #[error("the peer does not speak TLS 1.3")]
    Older,
}

/// Makes a client's handshake over `socket`. The configuration must allow secrets to be taken, as those of [`crate::tls`] do.
///
/// # Errors
/// [`HandshakeError`]; the peer has been told where TLS has an alert for it.
///
/// # Cancel safety
/// Not cancel-safe: dropping the future drops the connection.
pub async fn connect<S>(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    mut socket: S,
) -> Result<Secure<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = UnbufferedClientConnection::new(config, name).map_err(wrong)?;
    let come = shake(&mut *connection, Side::client, &mut socket).await?;
    let agreed = Agreed::of(&connection)?;
    let (keys, secrets) = connection.dangerous_into_kernel_connection().map_err(wrong)?;
    agreed.secure(socket, &keys, Box::new(secrets), come)
}

/// Makes a server's handshake over `socket`. The configuration must allow secrets to be taken, as those of [`crate::tls`] do.
///
/// # Errors
/// [`HandshakeError`]; the peer has been told where TLS has an alert for it.
///
/// # Cancel safety
/// Not cancel-safe: dropping the future drops the connection.
pub async fn accept<S>(config: Arc<ServerConfig>, mut socket: S) -> Result<Secure<S>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = UnbufferedServerConnection::new(config).map_err(wrong)?;
    let come = shake(&mut *connection, Side::server, &mut socket).await?;
    let agreed = Agreed::of(&connection)?;
    let (keys, secrets) = connection.dangerous_into_kernel_connection().map_err(wrong)?;
    agreed.secure(socket, &keys, Box::new(secrets), come)
}

/// How either side's connection takes what has come.
struct Side;

impl Side {
    fn client<'c, 'i>(
        connection: &'c mut UnbufferedConnectionCommon<ClientConnectionData>,
        come: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        connection.process_tls_records(come)
    }

    fn server<'c, 'i>(
        connection: &'c mut UnbufferedConnectionCommon<ServerConnectionData>,
        come: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        connection.process_tls_records(come)
    }
}

/// Bytes before the content of a record: type, version, length.
const HEADER: usize = 5;

/// What has come. rustls is given one record at a time, so that it takes none behind the one that ends the handshake: it
/// would keep back the answer to a KeyUpdate, and what it had gathered of a message in pieces.
#[derive(Default)]
struct Come {
    bytes: Vec<u8>,
    /// Bytes in front that rustls is given.
    given: usize,
    /// Bytes of them that are whole records.
    whole: usize,
}

impl Come {
    /// Gives one record more, or what has come of it, and returns whether that is anything new.
    fn give(&mut self) -> bool {
        let waiting = self.bytes.get(self.whole..).unwrap_or_default();
        let length = match waiting.split_first_chunk::<HEADER>() {
            Some((&[.., high, low], _)) => HEADER + usize::from(u16::from_be_bytes([high, low])),
            None => HEADER,
        };
        let (before, came) = (self.given, length.min(waiting.len()));
        self.given = self.whole + came;
        if came == length {
            self.whole = self.given;
        }
        self.given > before
    }

    fn given(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.given).unwrap_or_default()
    }

    fn discard(&mut self, count: usize) {
        self.bytes.drain(..count.min(self.given));
        (self.given, self.whole) = (self.given.saturating_sub(count), self.whole.saturating_sub(count));
    }
}

/// What is to be done next.
enum Next {
    Go,
    Read,
    Write,
    Done,
    Fail(rustls::Error),
}

/// Drives a handshake to its end, and returns what came behind it.
async fn shake<S, D>(
    connection: &mut UnbufferedConnectionCommon<D>,
    process: impl for<'c, 'i> Fn(&'c mut UnbufferedConnectionCommon<D>, &'i mut [u8]) -> UnbufferedStatus<'c, 'i, D>,
    socket: &mut S,
) -> Result<Vec<u8>, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut come, mut go) = (Come::default(), Vec::new());
    loop {
        let UnbufferedStatus { discard, state } = process(connection, come.given());
        let next = match state {
            Err(error) => Next::Fail(error),
            Ok(state) => step(state, &mut go)?,
        };
        come.discard(discard);
        match next {
            Next::Go => {}
            Next::Write => socket.write_all(&std::mem::take(&mut go)).await?,
            // rustls has seen to it that the message which ends the handshake is the last of its record
            Next::Done => {
                socket.flush().await?;
                return Ok(come.bytes);
            }
            Next::Read => {
                while !come.give() {
                    read(socket, &mut come.bytes).await?;
                }
            }
            Next::Fail(error) => {
                tell(connection, process, come.given(), &mut go);
                // the peer may be gone; why it failed is what counts
                let _ = socket.write_all(&go).await;
                let _ = socket.flush().await;
                return Err(wrong(error).into());
            }
        }
    }
}

/// Takes one step of a handshake: encodes into `go`.
fn step<D>(state: ConnectionState<'_, '_, D>, go: &mut Vec<u8>) -> io::Result<Next> {
    match state {
        ConnectionState::EncodeTlsData(mut data) => {
            let begin = go.len();
            let mut encoded = data.encode(&mut []);
            if let Err(EncodeError::InsufficientSize(size)) = encoded {
                go.resize(begin + size.required_size, 0);
                encoded = data.encode(go.get_mut(begin..).unwrap_or_default());
            }
            encoded.map(|_| Next::Go).map_err(io::Error::other)
        }
        ConnectionState::TransmitTlsData(data) => {
            data.done();
            Ok(Next::Write)
        }
        ConnectionState::BlockedHandshake => Ok(Next::Read),
        ConnectionState::WriteTraffic(_) => Ok(Next::Done),
        // closed in the middle; data has no place yet, and 0-RTT data is never allowed here
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Encodes the alert of a failed handshake into `go`, and what waits before it. Behind the alert rustls must not be asked
/// again: it would fail once more, and sends no second alert.
fn tell<D>(
    connection: &mut UnbufferedConnectionCommon<D>,
    process: impl for<'c, 'i> Fn(&'c mut UnbufferedConnectionCommon<D>, &'i mut [u8]) -> UnbufferedStatus<'c, 'i, D>,
    come: &mut [u8],
    go: &mut Vec<u8>,
) {
    loop {
        let begin = go.len();
        let Ok(state @ ConnectionState::EncodeTlsData(_)) = process(connection, come).state else { return };
        if step(state, go).is_err() {
            return;
        }
        match go.get(begin..) {
            Some(record) if !record::is_alert(record) => {}
            _ => return,
        }
    }
}

async fn read<S: AsyncRead + Unpin>(socket: &mut S, come: &mut Vec<u8>) -> io::Result<()> {
    if come.len() >= WAITING_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a TLS handshake is longer than any may be"));
    }
    come.reserve(READ);
    if socket.read_buf(come).await? == 0 {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "the peer closed the connection in the TLS handshake",
        ));
    }
    Ok(())
}

/// What was agreed on.
struct Agreed {
    alpn: Option<Vec<u8>>,
    limit: u64,
}

impl Agreed {
    fn of<D>(connection: &UnbufferedConnectionCommon<D>) -> Result<Self, HandshakeError> {
        match (connection.protocol_version(), connection.negotiated_cipher_suite()) {
            (Some(ProtocolVersion::TLSv1_3), Some(SupportedCipherSuite::Tls13(suite))) => {
                let alpn = connection.alpn_protocol().map(<[u8]>::to_vec);
                Ok(Self { alpn, limit: suite.common.confidentiality_limit })
            }
            _ => Err(HandshakeError::Older),
        }
    }

    fn secure<S>(
        self,
        socket: S,
        keys: &ExtractedSecrets,
        secrets: Box<dyn Secrets>,
        come: Vec<u8>,
    ) -> Result<Secure<S>, HandshakeError> {
        let made = Secure::new(socket, keys, self.limit, secrets, self.alpn, come);
        made.map_err(|error| io::Error::other(error).into())
    }
}

fn wrong(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl Secrets for KernelConnection<ClientConnectionData> {
    fn next_sent(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error> {
        self.update_tx_secret().map(|(_, secret)| secret)
    }

    fn next_received(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error> {
        self.update_rx_secret().map(|(_, secret)| secret)
    }

    fn ticket(&mut self, body: &[u8]) -> Result<(), rustls::Error> {
        self.handle_new_session_ticket(body)
    }
}

impl Secrets for KernelConnection<ServerConnectionData> {
    fn next_sent(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error> {
        self.update_tx_secret().map(|(_, secret)| secret)
    }

    fn next_received(&mut self) -> Result<ConnectionTrafficSecrets, rustls::Error> {
        self.update_rx_secret().map(|(_, secret)| secret)
    }

    fn ticket(&mut self, _body: &[u8]) -> Result<(), rustls::Error> {
        Err(rustls::Error::General("only a server gives tickets".into()))
    }
}
