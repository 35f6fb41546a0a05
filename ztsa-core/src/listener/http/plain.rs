//! Plain HTTP requests on the local port: forwarded to apps that speak HTTP, answered by the port itself when they are
//! meant for it.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use ztsa_net::task::Spawner;
use ztsa_proto::app::{AppList, Kind};
use ztsa_proto::name::{Destination, HostName};
use ztsa_proto::problem::{self, Problem};

use super::reply::{NAME, Reply};
use super::{HANDSHAKE, authorized};
use crate::listener::desk::Desk;
use crate::listener::dial::{self, Dial, Opened, PATIENCE};
use crate::listener::event::{Open, Way};
use crate::listener::guard::{self, Provenance};
use crate::listener::intake::Intake;
use crate::listener::local::Local;
use crate::listener::pac;
use crate::listener::told::Told;
use crate::tunnel::Early;

/// An answer: what the port says itself, or what the app sends.
type Answer = Response<Either<Full<Bytes>, Relayed>>;

/// Fields that mean this hop only (RFC 9110 section 7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Serves requests on one connection until it ends; `early` is what has been read of it.
pub(super) async fn serve<D: Dial>(desk: Arc<Desk<D>>, mut local: Local, early: Bytes, spawner: Spawner) {
    let mut ending = std::pin::pin!(spawner.ending());
    let service = service_fn(|request| {
        let (desk, spawner) = (Arc::clone(&desk), spawner.clone());
        async move { Ok::<_, Infallible>(desk.answer(request, spawner).await) }
    });
    let served = {
        let intake = TokioIo::new(Intake::with(&mut local.stream, &early));
        drop(early);
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            // a client may end its side with its last request and still wait for the answer
            .half_close(true)
            .header_read_timeout(HANDSHAKE)
            .max_buf_size(64 * 1024)
            .serve_connection(intake, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            served = connection.as_mut() => served,
            () = ending.as_mut() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    // an answer that was cut must not look complete, even where only the close would have ended it
    if served.is_ok() {
        local.complete();
    }
}

impl<D: Dial> Desk<D> {
    async fn answer(&self, request: Request<Incoming>, spawner: Spawner) -> Answer {
        let accept = text(request.headers(), &header::ACCEPT).map(str::to_owned);
        let head_only = request.method() == Method::HEAD;
        let answered = if request.uri().authority().is_some() {
            self.forward(request, spawner).await
        } else {
            Err(self.own(&request).await)
        };
        match answered {
            Ok(answer) => answer,
            Err(Refusal::Reply(reply)) => local_answer(reply, head_only),
            Err(Refusal::Problem(problem)) => local_answer(Reply::problem(&problem, accept.as_deref()), head_only),
        }
    }

    /// Forwards a request in absolute form to its app.
    async fn forward(&self, request: Request<Incoming>, spawner: Spawner) -> Result<Answer, Refusal> {
        let authorization = text(request.headers(), &header::PROXY_AUTHORIZATION);
        if !authorized(authorization, self.password.as_ref()) {
            return Err(Refusal::Reply(Reply::password()));
        }
        let to = destination(&request)?;
        if let Ok(apps) = self.dial.apps().await {
            speaks_http(&apps, &to.host)?;
        }
        let tunnel = match dial::open(&self.dial, &to, Way::Http, PATIENCE, &mut Early::none()).await {
            Ok(tunnel) => tunnel,
            Err(problem) => {
                self.reporter.refused(&to, Way::Http, problem.clone());
                return Err(Refusal::Problem(problem));
            }
        };
        let open = Arc::new(self.reporter.opened(to, Way::Http, tunnel.id()));
        let stream = TokioIo::new(Told::new(tunnel.into_stream(), Arc::clone(&open)));
        let broken = |error: &hyper::Error| {
            let problem = open.broke("app.unreachable", format!("the app did not answer in HTTP: {error}"));
            Refusal::Problem(problem)
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(stream).await.map_err(|error| broken(&error))?;
        spawner.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP exchange with an app broke off");
            }
        });
        let answer = sender.send_request(outgoing(request)).await.map_err(|error| broken(&error))?;
        Ok(incoming(answer, open))
    }

    /// Answers a request for the port itself.
    async fn own(&self, request: &Request<Incoming>) -> Refusal {
        let headers = request.headers();
        let from = Provenance {
            host: text(headers, &header::HOST),
            origin: text(headers, &header::ORIGIN),
            fetch_site: text(headers, &HeaderName::from_static("sec-fetch-site")),
        };
        let accept = text(headers, &header::ACCEPT);
        if let Err(intrusion) = guard::provenance(from) {
            return about_port(403, intrusion.to_string(), None);
        }
        if request.uri().path() != "/proxy.pac" {
            let detail = format!(
                "This is the local proxy of ztsa, not a web site. Set {0} as HTTP or SOCKS5 proxy, or use \
                 http://{0}/proxy.pac as automatic proxy configuration.",
                self.address
            );
            return about_port(404, detail, accept);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return about_port(405, "The proxy configuration can only be read.".to_owned(), None);
        }
        let apps = self.dial.apps().await.ok();
        let script = pac::script(apps.as_deref(), self.address, self.password.is_some());
        Refusal::Reply(Reply {
            status: 200,
            fields: vec![
                ("content-type", pac::MEDIA_TYPE.to_owned()),
                ("cache-control", "no-store".to_owned()),
                // the list of private hosts is nothing that a page may load as a script
                ("x-content-type-options", "nosniff".to_owned()),
                ("cross-origin-resource-policy", "same-origin".to_owned()),
            ],
            body: script.into_bytes(),
        })
    }
}

/// What the port answers itself.
enum Refusal {
    Problem(Arc<Problem>),
    Reply(Reply),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self::Problem(Arc::new(problem))
    }
}

/// The body of an app's answer; the connection counts as open until it ends.
pub(super) struct Relayed {
    body: Incoming,
    open: Arc<Open>,
}

impl hyper::body::Body for Relayed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, hyper::Error>>> {
        let polled = std::pin::Pin::new(&mut self.body).poll_frame(context);
        if let std::task::Poll::Ready(Some(Err(error))) = &polled {
            self.open.broke("network.lost", format!("the app's answer broke off: {error}"));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

fn destination(request: &Request<Incoming>) -> Result<Destination, Refusal> {
    let invalid = |detail: String| Refusal::from(problem::new("request.invalid").with_detail(detail));
    if request.method() == Method::CONNECT {
        return Err(invalid("CONNECT must be the first request of its connection; open a new one".to_owned()));
    }
    let uri = request.uri();
    if uri.scheme_str() != Some("http") {
        return Err(invalid("only http:// URLs are fetched here; https:// goes through CONNECT".to_owned()));
    }
    let host: HostName =
        uri.host().unwrap_or_default().parse().map_err(|error| invalid(format!("the URL's host: {error}")))?;
    Destination::new(host, uri.port_u16().unwrap_or(80)).map_err(|error| invalid(error.to_string()))
}

/// Refuses an app that is known and does not speak plain HTTP; an unknown one is the gateway's to refuse.
fn speaks_http(apps: &AppList, host: &HostName) -> Result<(), Refusal> {
    let Some(app) = pac::app_of(apps, host) else { return Ok(()) };
    if matches!(app.kind, Kind::Http) {
        return Ok(());
    }
    let problem = Problem {
        status: 405,
        title: "The app does not speak plain HTTP".to_owned(),
        ..problem::new("request.invalid")
            .with_detail(format!("The app {} speaks {}.", app.name, app.kind))
            .with_remedy("Reach it through CONNECT or SOCKS5 on this port.")
    };
    Err(problem.into())
}

/// Answers a request that was meant for the port itself and is not served.
fn about_port(status: u16, detail: String, accept: Option<&str>) -> Refusal {
    let problem = Problem {
        status,
        title: "The local proxy of ztsa".to_owned(),
        ..problem::new("request.invalid").with_detail(detail).with_remedy("Open the app by its name through the proxy.")
    };
    Refusal::Reply(Reply::problem(&problem, accept))
}

/// Writes a request as its app wants it: in origin form, for one exchange, without what meant this hop.
fn outgoing(request: Request<Incoming>) -> Request<Incoming> {
    let (mut head, body) = request.into_parts();
    let host = head.uri.authority().map(|authority| authority.as_str().to_owned());
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    // `OPTIONS http://host` means `OPTIONS *` (RFC 9112 section 3.2.4)
    let path =
        if head.method == Method::OPTIONS && !head.uri.to_string().ends_with('/') && path == "/" { "*" } else { path };
    head.uri = path.parse().unwrap_or_else(|_| Uri::from_static("/"));
    head.version = Version::HTTP_11;
    clean(&mut head.headers);
    // the body is asked for when the app takes it: the port has answered 100 (Continue) itself
    head.headers.remove(header::EXPECT);
    // RFC 9112 section 3.2.2: the target's host, whatever the client wrote
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(without_user(&host)).ok()) {
        head.headers.insert(header::HOST, host);
    }
    head.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    via(&mut head.headers);
    Request::from_parts(head, body)
}

fn incoming(answer: Response<Incoming>, open: Arc<Open>) -> Answer {
    let (mut head, body) = answer.into_parts();
    head.version = Version::HTTP_11;
    clean(&mut head.headers);
    via(&mut head.headers);
    Response::from_parts(head, Either::Right(Relayed { body, open }))
}

/// Removes the fields that mean one hop only.
fn clean(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // what frames or addresses the message cannot be taken away by its sender's word
        .filter(|name| !matches!(*name, header::CONTENT_LENGTH | header::HOST))
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn via(headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::from_str(&format!("1.1 {NAME}")) {
        headers.append(header::VIA, value);
    }
}

fn without_user(authority: &str) -> &str {
    authority.rsplit_once('@').map_or(authority, |(_, host)| host)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn local_answer(reply: Reply, head_only: bool) -> Answer {
    let body = Full::new(Bytes::from(if head_only { Vec::new() } else { reply.body }));
    let mut answer = Response::new(Either::Left(body));
    *answer.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::FORBIDDEN);
    for (name, value) in reply.fields {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    answer
}
