//! What an unexpected answer looked like: a captive portal, a limit, a broken server.

use std::{fmt, time::Duration};

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER},
};
use ztsa_proto::text::printable;

/// An answer as a person would describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The host that was asked.
    pub host: String,
    /// The HTTP status.
    pub status: u16,
    /// What came back.
    pub kind: SeenKind,
    /// How long the server asked to wait.
    pub retry_after: Option<Duration>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenKind {
    /// JSON.
    Json,
    /// JSON of another shape than this request's answer.
    OtherJson {
        /// What did not fit.
        reason: String,
    },
    /// A web page.
    Html {
        /// Its title, without control characters, at most 80 characters.
        title: Option<String>,
    },
    /// A redirect to elsewhere.
    Redirect {
        /// Where to, without query.
        to: String,
    },
    /// An empty body.
    Empty,
    /// Something else.
    Other,
}

impl Seen {
    /// Whether this can only be the page of a captive portal or of a filtering proxy: servers of ours send no pages.
    pub fn is_portal(&self) -> bool {
        let page = matches!(self.kind, SeenKind::Html { .. } | SeenKind::Redirect { .. });
        page && (self.status < 400 || self.status == 511)
    }

    /// Whether the same request may succeed later.
    pub fn is_temporary(&self) -> bool {
        self.status == 429 || self.status >= 500 || self.status == 408 || self.is_portal()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, status, .. } = self;
        match &self.kind {
            _ if *status == 429 => write!(f, "{host} answered 429: too many requests")?,
            SeenKind::Html { title } if self.is_portal() => {
                write!(f, "a web page came back instead of {host}'s answer")?;
                if let Some(title) = title {
                    write!(f, " (\"{title}\")")?;
                }
                write!(f, ": this network wants a sign-in in the browser, or a proxy filters it")?;
            }
            SeenKind::Redirect { to } => write!(f, "{host} redirected to {to}, which is not followed")?,
            SeenKind::Html { title: Some(title) } => {
                write!(f, "{host} answered {status} with a web page (\"{title}\")")?;
            }
            SeenKind::Html { title: None } => write!(f, "{host} answered {status} with a web page")?,
            SeenKind::Empty => write!(f, "{host} answered {status} with an empty body")?,
            SeenKind::OtherJson { reason } => write!(f, "{host} answered {status} with unexpected JSON: {reason}")?,
            SeenKind::Json | SeenKind::Other => write!(f, "{host} answered {status}")?,
        }
        match self.retry_after {
            Some(wait) => write!(f, "; try again in {} s", wait.as_secs()),
            None => Ok(()),
        }
    }
}

/// Describes an answer.
pub(super) fn classify(host: &str, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Seen {
    let field = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let media = field(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let start = body.trim_ascii_start();
    let kind = if status.is_redirection() && field(LOCATION).is_some() {
        let to = field(LOCATION).unwrap_or_default();
        SeenKind::Redirect { to: printable(to.split(['?', '#']).next().unwrap_or(to), 200) }
    } else if start.is_empty() {
        SeenKind::Empty
    } else if serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok() {
        SeenKind::Json
    } else if media.starts_with("text/html") || start.first() == Some(&b'<') {
        SeenKind::Html { title: title(body) }
    } else {
        SeenKind::Other
    };
    let retry_after = field(RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    Seen {
        host: host.to_owned(),
        status: status.as_u16(),
        kind,
        retry_after: retry_after.filter(|wait| wait.as_secs() <= 86_400),
    }
}

fn title(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body.get(..body.len().min(8192)).unwrap_or_default());
    let lower = text.to_ascii_lowercase();
    let from = lower.find("<title")?;
    let from = from + lower.get(from..)?.find('>')? + 1;
    let to = from + lower.get(from..)?.find("</title")?;
    let title = printable(text.get(from..to)?, 80);
    (!title.is_empty()).then_some(title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reqwest::header::HeaderValue;

    fn seen(status: u16, media: &'static str, body: &str) -> Seen {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        if status == 302 {
            headers.insert(LOCATION, HeaderValue::from_static("http://portal.hotel/login?token=x"));
        }
        if status == 429 {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("7"));
        }
        classify("idp.example.com", StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn each_answer_is_named() {
        for (answer, said, portal, temporary) in [
            (
                seen(200, "text/html", "<html><title>Hotel\u{1b}[31m WiFi</title>"),
                "web page came back instead of idp.example.com's answer (\"Hotel WiFi\")",
                true,
                true,
            ),
            (seen(302, "text/plain", ""), "redirected to http://portal.hotel/login, which", true, true),
            (seen(502, "text/html", "<h1>Bad Gateway</h1>"), "answered 502 with a web page", false, true),
            (seen(511, "text/html", "<title>Sign in</title>"), "wants a sign-in in the browser", true, true),
            (
                seen(400, "text/html", "<title>Blocked</title>"),
                "answered 400 with a web page (\"Blocked\")",
                false,
                false,
            ),
            (seen(429, "application/json", "{}"), "too many requests; try again in 7 s", false, true),
            (seen(503, "application/json", ""), "503 with an empty body", false, true),
            (seen(200, "application/json", "{\"a\":1}"), "answered 200", false, false),
            (seen(200, "text/plain", "hello"), "answered 200", false, false),
        ] {
            assert!(answer.to_string().contains(said), "{answer}");
            assert_eq!(answer.is_portal(), portal, "{answer}");
            assert_eq!(answer.is_temporary(), temporary, "{answer}");
        }
    }

    proptest! {
        #[test]
        fn any_body_is_described(body in proptest::collection::vec(any::<u8>(), 0..200), status in 100u16..600) {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
            let seen = classify("h", StatusCode::from_u16(status).unwrap(), &headers, &body);
            prop_assert!(!seen.to_string().chars().any(char::is_control));
        }
    }
}
