//! SOCKS4 and SOCKS4a on the local port: what `socat` and older programs speak.

use std::net::Ipv4Addr;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use ztsa_proto::name::{Destination, HostName, NameError};

use super::intake::Intake;
use super::socks5::SocksError;

/// The first byte of a SOCKS4 conversation.
pub(crate) const FIRST_BYTE: u8 = 4;

/// The longest user name or host name that is read.
const LONGEST: usize = 255;
/// The fixed part of a request: version, command, port, address.
const FIXED: usize = 8;

/// A client that asked for a destination and waits for the answer.
#[derive(Debug)]
pub(crate) struct Asked<S> {
    intake: Intake<S>,
    /// Where it wants to go.
    pub(crate) to: Destination,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Asked<S> {
    /// Tells the client that it is connected, and returns the stream with the bytes that arrived early.
    pub(crate) async fn granted(mut self) -> Result<Intake<S>, SocksError> {
        answer(&mut self.intake, true).await?;
        Ok(self.intake)
    }

    /// Tells the client that it is not; SOCKS4 has one word for all reasons.
    pub(crate) async fn refused(mut self) -> Result<(), SocksError> {
        answer(&mut self.intake, false).await
    }
}

/// Reads a client's request. SOCKS4 has no password: a listener that wants one refuses it.
///
/// # Errors
/// [`SocksError`]; the client has been told.
pub(crate) async fn ask<S>(mut intake: Intake<S>, password: bool) -> Result<Asked<S>, SocksError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let read = loop {
        match parse(intake.buffered()) {
            Ok(Some(request)) => break Ok(request),
            Ok(None) => {
                if intake.more().await? == 0 {
                    return Err(SocksError::Broken("it was cut".to_owned()));
                }
            }
            Err(error) => break Err(error),
        }
    };
    let read = if password { Err(SocksError::Password) } else { read };
    match read {
        Ok((to, length)) => {
            intake.consume(length);
            Ok(Asked { intake, to })
        }
        Err(error) => {
            answer(&mut intake, false).await?;
            Err(error)
        }
    }
}

async fn answer<S: AsyncWrite + Unpin>(intake: &mut Intake<S>, granted: bool) -> Result<(), SocksError> {
    intake.write_all(&[0, if granted { 0x5A } else { 0x5B }, 0, 0, 0, 0, 0, 0]).await?;
    Ok(intake.flush().await?)
}

/// Reads a request from the start of `bytes`: the destination and the request's length, or `None` when it is not
/// complete.
fn parse(bytes: &[u8]) -> Result<Option<(Destination, usize)>, SocksError> {
    let Some((&[version, command, p1, p2, a, b, c, d], rest)) = bytes.split_first_chunk::<FIXED>() else {
        return Ok(None);
    };
    if version != FIRST_BYTE {
        return Err(SocksError::Broken(format!("version {version}")));
    }
    let Some(user) = text(rest)? else { return Ok(None) };
    let rest = user.rest;
    let address = Ipv4Addr::new(a, b, c, d);
    let named = [a, b, c] == [0, 0, 0] && d != 0;
    let (host, rest) = if named {
        let Some(Text { bytes: name, rest }) = text(rest)? else { return Ok(None) };
        let name = std::str::from_utf8(name).map_err(|_| SocksError::Broken("the name is not text".to_owned()))?;
        (name.parse(), rest)
    } else {
        (Ok::<HostName, NameError>(HostName::from(std::net::IpAddr::V4(address))), rest)
    };
    match command {
        1 => {}
        2 => return Err(SocksError::Command("BIND")),
        _ => return Err(SocksError::Command("an unknown command")),
    }
    let to = Destination::new(host?, u16::from_be_bytes([p1, p2]))?;
    Ok(Some((to, bytes.len() - rest.len())))
}

/// A text that ends with a zero byte, and what stands behind it.
struct Text<'a> {
    bytes: &'a [u8],
    rest: &'a [u8],
}

/// Reads a text that ends with a zero byte; `None` when the end has not arrived.
fn text(bytes: &[u8]) -> Result<Option<Text<'_>>, SocksError> {
    let end = bytes.iter().position(|byte| *byte == 0);
    if end.unwrap_or(bytes.len()) > LONGEST {
        return Err(SocksError::Broken("a text of more than 255 bytes".to_owned()));
    }
    Ok(end.and_then(|end| Some(Text { bytes: bytes.get(..end)?, rest: bytes.get(end + 1..)? })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    #[test]
    fn requests_are_read() {
        let table: [(&[u8], &str, usize); 4] = [
            (b"\x04\x01\x00\x50\x0A\x00\x00\x05\x00", "10.0.0.5:80", 9),
            (b"\x04\x01\x00\x16\x00\x00\x00\x01me\x00Wiki.\x00", "wiki:22", 17),
            (b"\x04\x01\x00\x16\x00\x00\x00\xFFanonymous\x00127.0.0.1\x00early", "127.0.0.1:22", 28),
            (b"\x04\x01\x00\x16\x00\x00\x00\x00\x00", "0.0.0.0:22", 9),
        ];
        for (bytes, to, length) in table {
            let (read, used) = parse(bytes).unwrap().unwrap();
            assert_eq!((read.to_string().as_str(), used), (to, length));
            for cut in 0..length {
                assert!(parse(&bytes[..cut]).unwrap().is_none(), "{to} cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let long = [b"\x04\x01\x00\x50\x0A\x00\x00\x05".as_slice(), &[b'a'; 300]].concat();
        let table: [&[u8]; 6] = [
            b"\x05\x01\x00\x50\x0A\x00\x00\x05\x00",
            b"\x04\x02\x00\x50\x0A\x00\x00\x05\x00",
            b"\x04\x01\x00\x00\x0A\x00\x00\x05\x00",
            b"\x04\x01\x00\x50\x00\x00\x00\x05\x00\x00",
            b"\x04\x01\x00\x50\x00\x00\x00\x05\x00not a name\x00",
            &long,
        ];
        for bytes in table {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn the_client_is_answered_and_its_early_bytes_are_kept() {
        let (mut client, server) = tokio::io::duplex(256);
        client.write_all(b"\x04\x01\x00\x16\x00\x00\x00\x01\x00echo\x00early").await.unwrap();
        let asked = ask(Intake::new(server), false).await.unwrap();
        assert_eq!(asked.to.to_string(), "echo:22");
        assert_eq!(asked.granted().await.unwrap().into_parts().1, "early");
        let mut reply = [0; 8];
        client.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply[..2], [0, 0x5A]);
    }

    #[tokio::test]
    async fn a_listener_with_a_password_refuses_socks4() {
        let (mut client, server) = tokio::io::duplex(256);
        client.write_all(b"\x04\x01\x00\x16\x00\x00\x00\x01\x00echo\x00").await.unwrap();
        assert!(matches!(ask(Intake::new(server), true).await, Err(SocksError::Password)));
        let mut reply = Vec::new();
        client.read_to_end(&mut reply).await.unwrap();
        assert_eq!(reply[..2], [0, 0x5B]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, rest in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"\x04\x01\x00\x50\x00\x00\x00\x01".as_slice(), &rest].concat());
        }
    }
}
