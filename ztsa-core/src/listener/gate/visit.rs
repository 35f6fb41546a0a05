//! What the first bytes of a connection say of where it comes from; pure decisions.

use std::borrow::Cow;
use std::net::IpAddr;

use ztsa_proto::app::{AppInfo, Kind};
use ztsa_proto::name::{Destination, HostName};
use ztsa_proto::problem::{self, Problem};

use crate::listener::guard::{self, Intrusion, Provenance};

/// The longest head of a first request, in bytes.
pub(crate) const LONGEST: usize = 64 * 1024;

/// By which names an app may be asked for at a local port.
#[derive(Debug)]
pub(crate) struct Doors {
    names: Vec<HostName>,
    http: bool,
}

/// What becomes of what a program has said so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may still turn out to be a web page's request.
    More,
    /// It is no web page's request.
    Pass,
    /// A web page may have sent it.
    Refuse(Stranger),
}

/// Who is refused: why, and in which form the answer is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(crate) struct Stranger {
    why: Why,
    accept: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("the request names a host that is neither this machine nor the app")]
    Host,
    #[error("{}", Intrusion::Origin)]
    Origin,
    #[error("the head of the first request is larger than 64 KiB")]
    TooLarge,
    #[error("the head of the first request was not complete within a minute")]
    TooSlow,
}

impl Doors {
    /// Knows the names of the app at `to`; `app` is what the gateway says of it, where that is known.
    pub(crate) fn new(to: &Destination, app: Option<&AppInfo>) -> Self {
        let mut names = vec![to.host.clone()];
        let mut http = false;
        if let Some(app) = app {
            http = app.kind == Kind::Http;
            names.extend(app.hosts.iter().cloned());
            names.push(HostName::from(&app.name));
            names.extend(format!("{}.ztsa", app.name).parse::<HostName>());
        }
        Self { names, http }
    }

    /// Judges what a program has said first to a port at the address `by`.
    pub(super) fn judge(&self, said: &[u8], by: Option<IpAddr>) -> Verdict {
        let end = match opening(said, self.http) {
            Opening::Other => return Verdict::Pass,
            Opening::Partial => None,
            Opening::Request => end(said),
        };
        match end.and_then(|end| said.get(..end)) {
            Some(head) if head.len() <= LONGEST => {
                let head = Head::read(head);
                match self.admit(&head, by) {
                    Ok(()) => Verdict::Pass,
                    Err(why) => Verdict::Refuse(head.stranger(why)),
                }
            }
            None if said.len() < LONGEST => Verdict::More,
            _ => Verdict::Refuse(Head::read(said).stranger(Why::TooLarge)),
        }
    }

    /// A page cannot leave `Host` out or write it itself, nor `Origin` and `Sec-Fetch-*`: what has none of them was not
    /// sent by one.
    fn admit(&self, head: &Head<'_>, by: Option<IpAddr>) -> Result<(), Why> {
        if !head.hosts.iter().all(|host| self.is_own(host, by)) {
            return Err(Why::Host);
        }
        let host = head.hosts.first().map_or("", |host| host.as_ref());
        let from = Provenance {
            host: None,
            origin: head.origin.as_deref(),
            // a person who follows a link, or comes back from a sign-in page, sees where that leads
            fetch_site: head.fetch_site.as_deref().filter(|_| !head.is_visit()),
        };
        guard::page(from, host).map_err(|_| Why::Origin)
    }

    fn is_own(&self, authority: &str, by: Option<IpAddr>) -> bool {
        let Some(host) = guard::host_of(authority) else { return false };
        if guard::is_loopback(host) {
            return true;
        }
        // an address that the connection came in by is no name that could have been rebound
        host.parse::<HostName>().is_ok_and(|host| {
            self.names.contains(&host) || host.ip().is_some_and(|ip| by.is_some_and(|by| by.to_canonical() == ip))
        })
    }
}

impl Stranger {
    /// Did not finish its head.
    pub(super) fn slow(said: &[u8]) -> Self {
        Head::read(said).stranger(Why::TooSlow)
    }

    /// Gives the answer, and the media types that it is wanted in.
    pub(crate) fn problem(&self) -> (Problem, Option<&str>) {
        let (status, remedy) = match self.why {
            Why::Host => (
                403,
                "Ask for it as 127.0.0.1 or localhost, or by one of the app's own host names. A web page whose name was \
                 pointed at this machine gets no further.",
            ),
            Why::Origin => (
                403,
                "Open the app itself in the browser, by the address of this port. Pages of other sites and of other \
                 ports cannot use it.",
            ),
            Why::TooLarge => (431, "Delete the cookies of 127.0.0.1 and localhost, and use a shorter URL."),
            Why::TooSlow => (408, "Send the whole head of the request within a minute."),
        };
        let problem = Problem {
            status,
            title: "Not open to this request".to_owned(),
            ..problem::new("request.invalid").with_detail(format!("ztsa refused it: {self}.")).with_remedy(remedy)
        };
        (problem, self.accept.as_deref())
    }
}

/// How a connection begins.
enum Opening {
    /// Not as an HTTP/1 request to a server begins.
    Other,
    /// As one, so far.
    Partial,
    /// With the whole request line of one.
    Request,
}

/// Tells how a connection begins.
///
/// A browser asks a server for a path, and sends the method and at least the beginning of the path at once; `patient`
/// waits for them even from programs that do not. Requests to a proxy (`http://..`, CONNECT) are none that a page can
/// send here.
fn opening(said: &[u8], patient: bool) -> Opening {
    let early = if patient { Opening::Partial } else { Opening::Other };
    let method = said.iter().take_while(|byte| is_token(**byte)).count();
    match said.get(method..).unwrap_or_default() {
        _ if method == 0 => Opening::Other,
        [] | [b' '] => early,
        [b' ', rest @ ..] if rest.starts_with(b"/") => match rest.iter().position(|byte| *byte == b'\n') {
            None => Opening::Partial,
            Some(end) => {
                let line = rest.get(..end).unwrap_or_default().trim_ascii_end();
                let version = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
                if version.starts_with(b"HTTP/1.") { Opening::Request } else { Opening::Other }
            }
        },
        _ => Opening::Other,
    }
}

/// Finds the length of a head: up to and with its empty line.
fn end(said: &[u8]) -> Option<usize> {
    let mut length = 0;
    said.split_inclusive(|byte| *byte == b'\n').find_map(|line| {
        length += line.len();
        matches!(line, b"\n" | b"\r\n").then_some(length)
    })
}

/// What a head says of where it comes from.
#[derive(Debug, Default)]
struct Head<'a> {
    method: &'a [u8],
    hosts: Vec<Cow<'a, str>>,
    origin: Option<Cow<'a, str>>,
    fetch_site: Option<Cow<'a, str>>,
    fetch_mode: Option<Cow<'a, str>>,
    fetch_dest: Option<Cow<'a, str>>,
    accept: Option<Cow<'a, str>>,
}

impl<'a> Head<'a> {
    /// Reads the fields that matter, and minds no others: what is wrong with them is the app's to say.
    fn read(head: &'a [u8]) -> Self {
        let mut lines = head.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default();
        let mut read = Self { method: first.split(|byte| *byte == b' ').next().unwrap_or_default(), ..Self::default() };
        for line in lines {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = line.split_at(colon);
            // text that is not UTF-8 names no host and no site that we know
            let value = String::from_utf8_lossy(value.get(1..).unwrap_or_default().trim_ascii());
            match name.trim_ascii().to_ascii_lowercase().as_slice() {
                b"host" => read.hosts.push(value),
                b"origin" => read.origin = Some(value),
                b"sec-fetch-site" => read.fetch_site = Some(value),
                b"sec-fetch-mode" => read.fetch_mode = Some(value),
                b"sec-fetch-dest" => read.fetch_dest = Some(value),
                b"accept" => read.accept = Some(value),
                _ => {}
            }
        }
        read
    }

    /// Tells whether a person goes to a page, in a tab of its own.
    fn is_visit(&self) -> bool {
        matches!(self.method, b"GET" | b"HEAD")
            && self.fetch_mode.as_deref() == Some("navigate")
            && self.fetch_dest.as_deref() == Some("document")
    }

    fn stranger(&self, why: Why) -> Stranger {
        Stranger { why, accept: self.accept.as_deref().map(str::to_owned) }
    }
}

/// A byte of a method (RFC 9110 section 5.6.2).
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests;
