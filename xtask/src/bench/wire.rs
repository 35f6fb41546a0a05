//! What the load generator and the private app say to each other, over TCP, TLS or a tunnel alike.
//!
//! A connection begins with one byte that says what is wanted: [`DOWN`], [`UP`], [`ECHO`] or [`TRICKLE`].

use std::io::{self, BufReader, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, SideData, StreamOwned};

use crate::command::Failure;

/// The app sends as many bytes as the eight bytes behind this say, then its FIN.
pub(super) const DOWN: u8 = b'd';
/// The app reads to the FIN, then says in eight bytes how many came.
pub(super) const UP: u8 = b'u';
/// The app sends back what comes, this byte included.
pub(super) const ECHO: u8 = b'e';
/// The app sends a little every [`super::app::TRICKLE_PAUSE`] until the connection ends.
pub(super) const TRICKLE: u8 = b't';

/// Bytes read or written at a time.
pub(super) const BUFFER: usize = 64 * 1024;

/// A byte stream both ways, with a FIN for each.
pub(super) trait Duplex: Read + Write + Send {
    /// Sends the FIN; reading goes on.
    fn finish(&mut self) -> io::Result<()>;
}

impl Duplex for TcpStream {
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A socket that is read 64 KiB at a time, because rustls itself asks for 4 KiB.
pub(super) struct Wide(BufReader<TcpStream>);

impl Read for Wide {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        self.0.read(target)
    }
}

impl Write for Wide {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.get_mut().write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

impl<C, S> Duplex for StreamOwned<C, Wide>
where
    C: std::ops::DerefMut<Target = rustls::ConnectionCommon<S>> + Send,
    S: SideData,
{
    fn finish(&mut self) -> io::Result<()> {
        self.conn.send_close_notify();
        while self.conn.wants_write() {
            self.conn.write_tls(&mut self.sock)?;
        }
        Ok(())
    }
}

/// Writes `length` bytes.
pub(super) fn send(stream: &mut dyn Duplex, mut length: u64) -> io::Result<()> {
    let buffer = vec![0xa5; BUFFER];
    while length > 0 {
        let now = usize::try_from(length).unwrap_or(BUFFER).min(BUFFER);
        stream.write_all(buffer.get(..now).unwrap_or_default())?;
        length -= now as u64;
    }
    stream.flush()
}

/// Reads to the FIN and counts.
pub(super) fn receive(stream: &mut dyn Duplex) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(total),
            count => total += count as u64,
        }
    }
}

/// Reads an eight-byte number.
pub(super) fn number(stream: &mut dyn Duplex) -> io::Result<u64> {
    let mut bytes = [0; 8];
    stream.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

/// TLS 1.3 with AES-128-GCM by aws-lc-rs and nothing else, as the tunnel has it.
fn provider() -> Arc<CryptoProvider> {
    let suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites: suites, ..aws_lc_rs::default_provider() })
}

fn wrong(error: &dyn std::fmt::Display) -> Failure {
    Failure::Wrong(format!("TLS of the bare copy: {error}"))
}

/// The settings of the bare TLS server, and the certificate that clients must trust, as PEM.
pub(super) fn server() -> Result<(Arc<ServerConfig>, String), Failure> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(|error| wrong(&error))?;
    let key =
        PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).map_err(|error| wrong(&error))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key))
        .map_err(|error| wrong(&error))?;
    Ok((Arc::new(config), made.cert.pem()))
}

/// The settings of a bare TLS client that trusts `certificate` and makes a full handshake each time.
pub(super) fn client(certificate: &str) -> Result<Arc<ClientConfig>, Failure> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|error| wrong(&error))?;
    roots.add(certificate).map_err(|error| wrong(&error))?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| wrong(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

/// The client's end of a bare TLS connection; the handshake happens with the first bytes.
pub(super) fn connect(config: &Arc<ClientConfig>, socket: TcpStream) -> io::Result<Box<dyn Duplex>> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(connection, Wide(BufReader::with_capacity(BUFFER, socket)))))
}

/// The server's end of a bare TLS connection.
pub(super) fn accept(config: &Arc<ServerConfig>, socket: TcpStream) -> io::Result<Box<dyn Duplex>> {
    let connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    Ok(Box::new(StreamOwned::new(connection, Wide(BufReader::with_capacity(BUFFER, socket)))))
}
