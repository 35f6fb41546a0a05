//! One request to the collector, and what its answer means.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Response, redirect};
use url::Url;
use ztsa_net::tls::{self, Roots};

use super::protobuf;
use crate::config::Otlp;

/// How much of an answer is read.
const MOST: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Post {
    client: Client,
    endpoint: Url,
    /// The endpoint without its query, which may be a credential.
    shown: Url,
    headers: HeaderMap,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The collector has it, except for so many records.
    Taken { rejected: u64, message: String },
    /// Not now: to be sent again, after this time when it says so.
    Later { after: Option<Duration>, cause: String },
    /// In smaller parts.
    TooLarge,
    /// Never: to be left.
    Refused(String),
}

/// Says why the collector of `[audit.otlp]` cannot be sent anything.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// A file cannot be read or used.
    #[error("[audit.otlp]: {path} {cause}. Check the file, and that this user may read it.", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// The client cannot be made.
    #[error("[audit.otlp]: the client cannot be made: {0}")]
    Client(String),
}

impl Post {
    pub(super) fn new(settings: &Otlp) -> Result<Self, OtlpError> {
        let file = |path: &PathBuf, cause: String| OtlpError::File { path: path.clone(), cause };
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|cause| file(path, format!("cannot be read: {cause}")))
        };
        let mut roots = Roots::mozilla();
        if let Some(path) = &settings.ca_file {
            roots = roots.with_pem(read(path)?.as_bytes()).map_err(|cause| file(path, cause.to_string()))?;
        }
        let headers = match &settings.headers_file {
            None => HeaderMap::new(),
            Some(path) => headers(&read(path)?).map_err(|cause| file(path, cause))?,
        };
        let client = |cause: String| OtlpError::Client(cause);
        let tls = tls::client_config(&roots, &[b"h2", b"http/1.1"]).map_err(|cause| client(cause.to_string()))?;
        let builder = Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .redirect(redirect::Policy::none())
            .timeout(settings.timeout)
            .no_proxy()
            .user_agent(concat!("ztsa-gateway/", env!("CARGO_PKG_VERSION")));
        let client = builder.build().map_err(|cause| client(cause.to_string()))?;
        let (endpoint, mut shown) = (settings.endpoint.clone(), settings.endpoint.clone());
        shown.set_query(None);
        Ok(Self { client, endpoint, shown, headers })
    }

    /// Sends one request.
    ///
    /// # Cancel safety
    /// Dropping the future closes the request; the collector may have it all the same.
    pub(super) async fn send(&self, body: Vec<u8>) -> Answer {
        let request = self.client.post(self.endpoint.clone()).headers(self.headers.clone());
        let sent = request.header("content-type", "application/x-protobuf").body(body).send().await;
        match sent {
            Ok(response) => self.answer(response).await,
            Err(error) if error.is_timeout() => self.later(None, "did not answer in time"),
            Err(error) => {
                // the innermost cause is the one that says something
                let mut cause: &dyn std::error::Error = &error;
                while let Some(inner) = cause.source() {
                    cause = inner;
                }
                self.later(None, &format!("cannot be reached: {cause}"))
            }
        }
    }

    /// OTLP 1.x, "OTLP/HTTP Response". A credential or a path that is wrong is mended by people, so that waits too.
    async fn answer(&self, mut response: Response) -> Answer {
        let status = response.status().as_u16();
        let after = response.headers().get("retry-after").and_then(|value| retry_after(value.to_str().ok()?));
        let page =
            response.headers().get("content-type").is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
        match status {
            // a portal or a sign-in page answers everything with 200, and has taken nothing
            200..=299 if page => self.later(None, "answered with a web page: it is no collector"),
            200..=299 => {
                let mut body = Vec::new();
                while let Ok(Some(chunk)) = response.chunk().await {
                    if body.len() + chunk.len() > MOST {
                        break;
                    }
                    body.extend_from_slice(&chunk);
                }
                let (rejected, message) = protobuf::refused(&body).unwrap_or_default();
                Answer::Taken { rejected, message }
            }
            413 => Answer::TooLarge,
            400 | 415 | 422 => Answer::Refused(format!("{} answered with status {status}", self.shown)),
            status => self.later(after, &format!("answered with status {status}")),
        }
    }

    fn later(&self, after: Option<Duration>, what: &str) -> Answer {
        Answer::Later { after, cause: format!("{} {what}", self.shown) }
    }
}

/// Reads `Retry-After`: seconds, or a date.
fn retry_after(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(std::time::SystemTime::now()).unwrap_or_default())
}

/// Reads a file of headers. No message repeats a value.
fn headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (number, line) in text.lines().enumerate().map(|(number, line)| (number + 1, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = || format!("has no header in line {number}; write it as `name: value`");
        let (name, value) = line.split_once(':').ok_or_else(wrong)?;
        let name: HeaderName = name.trim().parse().map_err(|_| wrong())?;
        let mut value = HeaderValue::from_str(value.trim()).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_never_shown() {
        let read = headers("# for the collector\n\nx-api-key: s3cret\nAuthorization: Bearer abc\n").unwrap();
        assert_eq!((read.len(), read["x-api-key"].to_str().unwrap()), (2, "s3cret"));
        assert!(!format!("{read:?}").contains("s3cret"), "{read:?}");
        let wrong = headers("x: 1\nhush\n").unwrap_err();
        assert_eq!(wrong, "has no header in line 2; write it as `name: value`");
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        assert_eq!(retry_after("7"), Some(Duration::from_secs(7)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(retry_after("soon"), None);
    }
}
