//! What Prometheus scrapes: counts only, never a name.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ztsa_net::accept::Listener;
use ztsa_net::task::Spawner;

use crate::engine::Engine;
use crate::stranger::{Strangers, Tally};

/// How long a request's head may take; an idle connection is closed after it too.
const HEAD: Duration = Duration::from_secs(15);

/// Holds what is counted, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Live tunnels.
    pub tunnels: u64,
    /// Sessions that have neither ended nor run out.
    pub sessions: u64,
    /// Policies in force.
    pub policies: u64,
    /// Audit events lost since the start.
    pub audit_lost: u64,
    /// Whether the store can be written.
    pub store_up: bool,
    /// What connections cost on which nobody has authenticated.
    pub strangers: Tally,
}

impl Counts {
    /// Counts now.
    pub fn of(engine: &Engine, strangers: &Strangers) -> Counts {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Counts {
            tunnels: number(engine.leases().len()),
            sessions: number(engine.list_sessions().len()),
            policies: number(engine.policy_count()),
            audit_lost: engine.audit().lost(),
            store_up: engine.store().healthy(),
            strangers: strangers.tally(),
        }
    }

    /// Writes the counts in Prometheus' text format, version 0.0.4.
    pub fn text(&self) -> String {
        let table = [
            ("ztsa_tunnels", "gauge", "Live tunnels.", self.tunnels),
            ("ztsa_sessions", "gauge", "Sessions that have neither ended nor run out.", self.sessions),
            ("ztsa_policies", "gauge", "Policies in force.", self.policies),
            ("ztsa_audit_lost_total", "counter", "Audit events lost since the start.", self.audit_lost),
            (
                "ztsa_store_up",
                "gauge",
                "1 when the store can be written; nothing new is granted at 0.",
                self.store_up.into(),
            ),
            (
                "ztsa_unauthenticated",
                "gauge",
                "Connections on which nobody has authenticated yet.",
                self.strangers.waiting,
            ),
            (
                "ztsa_handshakes_refused_total",
                "counter",
                "Connections not taken: their address had too many handshakes under way.",
                self.strangers.handshakes_refused,
            ),
            (
                "ztsa_unauthenticated_crowded_out_total",
                "counter",
                "Connections cut to make room for newer ones before anybody authenticated on them.",
                self.strangers.crowded_out,
            ),
            (
                "ztsa_unauthenticated_overdue_total",
                "counter",
                "Connections ended because nobody authenticated on them in time.",
                self.strangers.overdue,
            ),
            (
                "ztsa_unauthenticated_refused_total",
                "counter",
                "Connections cut after too many refused requests before anybody authenticated on them.",
                self.strangers.refused,
            ),
        ];
        let mut text = String::new();
        for (name, kind, help, value) in table {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }
}

/// Answers `GET /metrics` until the scope of `spawner` begins to end.
///
/// # Security
/// Whoever reaches the address may read the counts: listen on loopback or a network of your own.
///
/// # Cancel safety
/// Dropping the future stops accepting; connections that run belong to the scope.
pub async fn run(listener: Listener, count: impl Fn() -> Counts + Clone + Send + Sync + 'static, spawner: Spawner) {
    let mut ending = std::pin::pin!(spawner.ending());
    loop {
        let (stream, from) = tokio::select! {
            biased;
            () = &mut ending => return,
            accepted = listener.accept() => accepted,
        };
        let count = count.clone();
        spawner.spawn(async move {
            let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &count))));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD)
                .max_buf_size(16 * 1024)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%from, %error, "a scrape ended");
            }
        });
    }
}

fn answer(request: &Request<Incoming>, count: &impl Fn() -> Counts) -> Response<String> {
    let is_ours = request.uri().path() == "/metrics" && matches!(*request.method(), Method::GET | Method::HEAD);
    let text = if is_ours { count().text() } else { "there is only GET /metrics here\n".to_owned() };
    let mut response = Response::new(text);
    if !is_ours {
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use ztsa_net::task::Scope;

    use super::*;

    #[tokio::test]
    async fn a_scrape_reads_the_counts_of_the_moment() {
        let scope = Scope::new();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addrs()[0];
        let count = || Counts { tunnels: 3, audit_lost: 7, ..Counts::default() };
        scope.spawn(run(listener, count, scope.spawner()));
        let ask = async |line: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        let scraped = ask("GET /metrics HTTP/1.1").await;
        assert!(scraped.starts_with("HTTP/1.1 200 OK\r\n"), "{scraped}");
        for line in
            ["ztsa_tunnels 3\n", "ztsa_audit_lost_total 7\n", "ztsa_store_up 0\n", "# TYPE ztsa_sessions gauge\n"]
        {
            assert!(scraped.contains(line), "{scraped}");
        }
        assert!(ask("GET / HTTP/1.1").await.starts_with("HTTP/1.1 404"));
        assert!(ask("POST /metrics HTTP/1.1").await.starts_with("HTTP/1.1 404"));
        assert!(scope.drain(Duration::from_secs(5)).await, "nothing is left running");
    }
}
