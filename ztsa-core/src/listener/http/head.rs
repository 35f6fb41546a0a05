//! The head of an HTTP CONNECT request (RFC 9110 section 9.3.6, RFC 9112).

use ztsa_proto::name::{Destination, NameError};

/// The longest head that is read, in bytes.
pub(crate) const LONGEST: usize = 8 * 1024;
/// The most fields that a head may have.
const FIELDS: usize = 64;

/// A CONNECT request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Where the client wants to go.
    pub(crate) to: Destination,
    /// The `Proxy-Authorization` field.
    pub(crate) authorization: Option<String>,
    /// The `Accept` field.
    pub(crate) accept: Option<String>,
}

/// What is wrong with a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    /// Longer than [`LONGEST`], or more fields than are read.
    #[error("the head of the request is larger than 8 KiB or has more than {FIELDS} fields")]
    TooLarge,
    /// Not HTTP/1.
    #[error("this is not an HTTP/1 request: {0}")]
    Malformed(String),
    /// The destination is not `host:port`.
    #[error("the destination is not HOST:PORT: {0}")]
    Destination(#[from] NameError),
}

impl HeadError {
    /// The status that answers it.
    pub(crate) const fn status(&self) -> u16 {
        match self {
            Self::TooLarge => 431,
            Self::Malformed(_) | Self::Destination(_) => 400,
        }
    }
}

/// Tells whether what has arrived is, or may become, a CONNECT request.
pub(crate) fn is_connect(bytes: &[u8]) -> Option<bool> {
    const START: &[u8] = b"CONNECT ";
    if bytes.iter().zip(START).any(|(byte, wanted)| byte != wanted) {
        return Some(false);
    }
    (bytes.len() >= START.len()).then_some(true)
}

/// Reads a CONNECT head from the start of `bytes`: the head and its length, or `None` when it is not complete.
///
/// HTTP/1.0 without `Host` is accepted (that is what `nc -X connect` sends); `Host` is not looked at, because the
/// request's target says it all.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Head, usize)>, HeadError> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    let read = request.parse(bytes.get(..LONGEST).unwrap_or(bytes));
    let length = match read {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() >= LONGEST => return Err(HeadError::TooLarge),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
        Err(error) => return Err(HeadError::Malformed(error.to_string())),
    };
    let target = request.path.unwrap_or_default();
    // text that is not UTF-8 cannot be a password or a media type that we know
    let field = |name: &str| {
        let found = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok().map(str::to_owned)
    };
    let head = Head { to: target.parse()?, authorization: field("proxy-authorization"), accept: field("accept") };
    Ok(Some((head, length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn connect_heads_are_read() {
        let table: [(&str, &str); 6] = [
            ("CONNECT wiki:80 HTTP/1.0\r\n\r\n", "wiki:80"),
            ("CONNECT wiki:80 HTTP/1.1\r\nHost: wiki:80\r\n\r\n", "wiki:80"),
            ("CONNECT WIKI.ztsa.:443 HTTP/1.1\r\nHost: other\r\nUser-Agent: x\r\n\r\n", "wiki.ztsa:443"),
            ("CONNECT [::1]:22 HTTP/1.1\r\n\r\n", "[::1]:22"),
            ("CONNECT 127.0.0.1:22 HTTP/1.1\n\n", "127.0.0.1:22"),
            ("CONNECT db-prod:5432 HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "db-prod:5432"),
        ];
        for (text, to) in table {
            let early = format!("{text}early bytes");
            let (head, length) = parse(early.as_bytes()).unwrap().unwrap();
            assert_eq!((head.to.to_string().as_str(), length), (to, text.len()), "{text}");
            for cut in 0..text.len() - 1 {
                assert_eq!(parse(&text.as_bytes()[..cut]), Ok(None), "{text} cut at {cut}");
            }
        }
    }

    #[test]
    fn the_fields_that_matter_are_kept() {
        let text = b"CONNECT a:1 HTTP/1.1\r\nproxy-authorization: Basic eDp5\r\nACCEPT: text/html\r\nX: \xff\r\n\r\n";
        let (head, _) = parse(text).unwrap().unwrap();
        assert_eq!(head.authorization.as_deref(), Some("Basic eDp5"));
        assert_eq!(head.accept.as_deref(), Some("text/html"));
    }

    #[test]
    fn what_is_wrong_is_answered_with_its_status() {
        let fields = "x: y\r\n".repeat(FIELDS + 1);
        let table = [
            ("CONNECT wiki HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("CONNECT wiki: HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("CONNECT wiki:0 HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("CONNECT wiki:65536 HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("CONNECT :80 HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("CONNECT /wiki HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("CONNECT http://wiki:80/ HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("CONNECT ::1:80 HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("CONNECT wiki:80 HTTP/2.0\r\n\r\n".to_owned(), 400),
            ("CONNECT wiki:80\r\n\r\n".to_owned(), 400),
            ("CONNECT wiki:80 HTTP/1.1\r\nbad field\r\n\r\n".to_owned(), 400),
            (format!("CONNECT wiki:80 HTTP/1.1\r\n{fields}\r\n"), 431),
            (format!("CONNECT wiki:80 HTTP/1.1\r\nx: {}", "y".repeat(LONGEST)), 431),
            (format!("CONNECT {}", "y".repeat(LONGEST)), 431),
        ];
        for (text, status) in table {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.status(), status, "{}: {error}", text.get(..60).unwrap_or(&text));
        }
    }

    #[test]
    fn the_method_is_known_after_eight_bytes() {
        assert_eq!(is_connect(b""), None);
        assert_eq!(is_connect(b"CONNEC"), None);
        assert_eq!(is_connect(b"CONNECT a:1"), Some(true));
        assert_eq!(is_connect(b"CONNECTX"), Some(false));
        assert_eq!(is_connect(b"GET"), Some(false));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, text in "CONNECT [ -~]{0,40}(\r\n[ -~]{0,20}){0,4}\r\n\r\n") {
            let _ = parse(&bytes);
            let _ = is_connect(&bytes);
            let _ = parse(text.as_bytes());
        }
    }
}
