//! A person at a browser: does over HTTP what a browser does with the issuer's pages.
//!
//! A test facility, like [`crate::Faults`]: it lets tests and demonstrations sign in through the real pages. It runs no
//! script, since the pages have none.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use http::header::{CONNECTION, CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;
use ztsa_proto::secret::Secret;

/// A person with a name, a password and a browser that keeps cookies.
#[derive(Debug)]
pub struct Person {
    name: String,
    password: Secret<String>,
    code: Secret<String>,
    cookies: BTreeMap<String, String>,
}

/// A page that the browser shows, or an address that it was sent to and that is not the issuer's.
#[derive(Debug, Clone)]
pub struct Page {
    /// The status of the answer.
    pub status: StatusCode,
    /// The address of the page.
    pub url: Url,
    /// The HTML.
    pub body: String,
    /// The address outside of the issuer that the browser was sent to; the page is then not shown.
    pub redirect: Option<Url>,
}

/// Why a person gets no further.
#[derive(Debug, thiserror::Error)]
pub enum PersonError {
    /// The address is not one that a browser can open.
    #[error("{0} cannot be opened")]
    Address(String),
    /// The issuer cannot be reached, or broke off.
    #[error("the issuer does not answer")]
    Network(#[from] std::io::Error),
    /// The issuer does not speak HTTP.
    #[error("the issuer does not speak HTTP")]
    Http(#[from] hyper::Error),
    /// The page says something else than was expected.
    #[error("the page {url} says: {text}")]
    Unexpected {
        /// The address of the page.
        url: Url,
        /// The text of the page.
        text: String,
    },
}

const PATIENCE: Duration = Duration::from_secs(10);
const MAX_PAGE: usize = 1 << 20;
const MAX_REDIRECTS: usize = 8;

impl Person {
    /// Creates a person with a fresh browser; the one-time code is that of the built-in users.
    pub fn new(name: &str, password: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: Secret::new(password.to_owned()),
            code: Secret::new("000000".to_owned()),
            cookies: BTreeMap::new(),
        }
    }

    /// Opens an address (`verification_uri_complete` or an authorization request), signs in where asked, and approves.
    ///
    /// # Errors
    /// When a page says something else than was expected; the error holds its text.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the request undecided or decided.
    pub async fn approve(&mut self, address: &str) -> Result<Page, PersonError> {
        self.decide(address, "approve").await
    }

    /// Opens an address, signs in where asked, and denies.
    ///
    /// # Errors
    /// As [`Person::approve`].
    ///
    /// # Cancel safety
    /// As [`Person::approve`].
    pub async fn deny(&mut self, address: &str) -> Result<Page, PersonError> {
        self.decide(address, "deny").await
    }

    async fn decide(&mut self, address: &str, decision: &str) -> Result<Page, PersonError> {
        let page = self.arrive(address).await?;
        let page = if page.redirect.is_some() { page } else { self.submit(&page, &[("decision", decision)]).await? };
        let done = page.redirect.is_some() || page.status.is_success();
        if done { Ok(page) } else { Err(page.unexpected()) }
    }

    /// Opens an address and goes as far as the consent page, or to where the browser is sent without one.
    ///
    /// # Errors
    /// As [`Person::approve`].
    ///
    /// # Cancel safety
    /// Cancel-safe: nothing is decided yet.
    pub async fn arrive(&mut self, address: &str) -> Result<Page, PersonError> {
        let mut page = self.open(address).await?;
        if page.action() == Some("/device") {
            page = self.submit(&page, &[]).await?;
        }
        if page.action().is_some_and(|action| action.ends_with("/sign-in")) {
            let (name, password, code) = (self.name.clone(), self.password.clone(), self.code.clone());
            let fields = [("name", name.as_str()), ("password", password.expose()), ("code", code.expose())];
            page = self.submit(&page, &fields).await?;
        }
        let arrived = page.redirect.is_some() || page.action().is_some_and(|action| action.ends_with("/decision"));
        if arrived { Ok(page) } else { Err(page.unexpected()) }
    }

    /// Opens an address and follows redirects within the issuer.
    ///
    /// # Errors
    /// When the issuer does not answer.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn open(&mut self, address: &str) -> Result<Page, PersonError> {
        let url = Url::parse(address).map_err(|_| PersonError::Address(address.to_owned()))?;
        self.follow(Method::GET, url, String::new()).await
    }

    /// Sends the form of a page: what it has filled in, with `fields` put in or changed.
    ///
    /// # Errors
    /// When the page has no form or the issuer does not answer.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the form sent or unsent.
    pub async fn submit(&mut self, page: &Page, fields: &[(&str, &str)]) -> Result<Page, PersonError> {
        let target = page.action().and_then(|action| page.url.join(action).ok()).ok_or_else(|| page.unexpected())?;
        let mut filled = page.filled();
        filled.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(filled).finish();
        self.follow(Method::POST, target, body).await
    }

    async fn follow(&mut self, method: Method, url: Url, body: String) -> Result<Page, PersonError> {
        let start = url.origin();
        let (mut method, mut url, mut body) = (method, url, body);
        for _ in 0..MAX_REDIRECTS {
            let page = self.request(&method, &url, body).await?;
            match page.redirect {
                Some(ref next) if next.origin() == start => url = next.clone(),
                _ => return Ok(page),
            }
            (method, body) = (Method::GET, String::new());
        }
        Err(PersonError::Address(url.into()))
    }

    async fn request(&mut self, method: &Method, url: &Url, body: String) -> Result<Page, PersonError> {
        let late = || PersonError::Network(std::io::ErrorKind::TimedOut.into());
        let response = tokio::time::timeout(PATIENCE, self.exchange(method, url, body)).await.map_err(|_| late())??;
        let (head, body) = response.into_parts();
        for cookie in head.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()) {
            let pair = cookie.split(';').next().and_then(|pair| pair.split_once('='));
            self.cookies.extend(pair.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        let location = head.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let redirect = location.filter(|_| head.status.is_redirection()).and_then(|location| url.join(location).ok());
        Ok(Page { status: head.status, url: url.clone(), body, redirect })
    }

    async fn exchange(&self, method: &Method, url: &Url, body: String) -> Result<Response<String>, PersonError> {
        let address = || PersonError::Address(url.to_string());
        let socket = url.socket_addrs(|| None).ok().and_then(|found| found.first().copied()).ok_or_else(address)?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(TcpStream::connect(socket).await?)).await?;
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{query}", url.path()))
            .header(HOST, url.authority())
            .header(CONNECTION, "close")
            .header(COOKIE, cookies.join("; "))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Body::from(body))
            .map_err(|_| address())?;
        let exchange = async {
            let response: Response<Incoming> = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = to_bytes(Body::new(body), MAX_PAGE).await.map_err(std::io::Error::other)?;
            drop(sender);
            Ok(Response::from_parts(head, String::from_utf8_lossy(&body).into_owned()))
        };
        // the connection ends by itself, since it is asked to close
        let (response, _) = tokio::join!(exchange, connection);
        response
    }
}

impl Page {
    /// Returns where the form of the page goes to.
    pub fn action(&self) -> Option<&str> {
        attribute(self.body.split_once("<form")?.1, "action")
    }

    /// Returns the text of the page, without markup.
    pub fn text(&self) -> String {
        let main = self.body.split_once("<main>").map_or(self.body.as_str(), |(_, main)| main);
        let mut text = String::new();
        for part in main.split('<') {
            let shown = part.split_once('>').map_or(part, |(_, shown)| shown);
            if !shown.trim().is_empty() {
                text.push_str(if text.is_empty() { "" } else { " " });
                text.push_str(shown.trim());
            }
        }
        unescape(&text)
    }

    fn filled(&self) -> BTreeMap<String, String> {
        let inputs = self.body.split("<input").skip(1).filter_map(|input| input.split('>').next());
        let pair = |input| Some((attribute(input, "name")?.to_owned(), unescape(attribute(input, "value")?)));
        inputs.filter_map(pair).collect()
    }

    fn unexpected(&self) -> PersonError {
        PersonError::Unexpected { url: self.url.clone(), text: self.text() }
    }
}

fn attribute<'p>(tag: &'p str, name: &str) -> Option<&'p str> {
    let tag = tag.split('>').next()?;
    tag.split_once(&format!(" {name}=\""))?.1.split('"').next()
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&")
}
