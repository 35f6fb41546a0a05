//! What Prometheus scrapes: counts only, never a name.

mod text;

use std::convert::Infallible;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ztsa_net::accept::Listener;
use ztsa_net::task::Spawner;

use crate::engine::Engine;
use crate::measure::{Label as _, Measures};
use crate::stranger::{Strangers, Tally};
use text::{Kind, Text};

/// How long a request's head may take; an idle connection is closed after it too.
const HEAD: Duration = Duration::from_secs(15);

/// Writes down everything that is counted, as it is now.
pub fn scrape(engine: &Engine, strangers: &Strangers) -> String {
    let mut text = Text::default();
    live(&mut text, engine);
    decisions(&mut text, engine.measures());
    changes(&mut text, engine);
    others(&mut text, engine);
    audit(&mut text, engine);
    doors(&mut text, &strangers.tally());
    text.finish()
}

/// What is there now.
fn live(text: &mut Text, engine: &Engine) {
    let leases = engine.leases();
    let (grants, tickets) = engine.permissions();
    text.gauge("ztsa_tunnels", "Live tunnels.", leases.len());
    text.gauge("ztsa_tunnels_suspended", "Live tunnels that are paused.", leases.suspended());
    text.gauge("ztsa_sessions", "Sessions that have neither ended nor run out.", engine.list_sessions().len());
    text.gauge("ztsa_grants", "Grants that are good.", grants);
    text.gauge("ztsa_tickets", "Tickets that are good.", tickets);
    text.gauge("ztsa_policies", "Policies in force.", engine.policy_count());
    let up = usize::from(engine.store().healthy());
    text.gauge("ztsa_store_up", "1 when the store can be written; nothing new is granted at 0.", up);
}

/// What was asked and answered.
fn decisions(text: &mut Text, measures: &Measures) {
    text.family("ztsa_decisions_total", Kind::Counter, "Answers, by what was asked.");
    for (question, answer, count) in measures.decisions() {
        text.sample(&[("question", question.as_str()), ("answer", answer.as_str())], count);
    }
    let about = "Answers in which a policy could not be evaluated; one that is enforced denies then.";
    text.counter("ztsa_policy_errors_total", about, measures.policy_errors.read());
    text.family(
        "ztsa_evaluation_seconds",
        Kind::Histogram,
        "From a cause to when every live tunnel that it concerns has been judged again and told.",
    );
    text.histogram(&[], &measures.rounds.read());
    text.counter("ztsa_evaluated_tunnels_total", "Live tunnels that were judged again.", measures.judged.read());
    text.family(
        "ztsa_signal_to_last_byte_seconds",
        Kind::Histogram,
        "From when a cause reached the gateway to when the last byte of a tunnel that it ended or suspended had moved.",
    );
    for (why, outcome, read) in measures.to_last_byte() {
        text.histogram(&[("cause", why.as_str()), ("outcome", outcome.as_str())], &read);
    }
}

/// What changed for tunnels, sessions and risk.
fn changes(text: &mut Text, engine: &Engine) {
    let measures = engine.measures();
    text.counter("ztsa_tunnels_opened_total", "Tunnels that were opened.", measures.opened.read());
    text.counts("ztsa_tunnels_ended_total", "Tunnels that ended.", "how", &measures.ended);
    text.counter("ztsa_tunnel_suspensions_total", "Times that a tunnel was paused.", measures.suspensions.read());
    let about = "Times that a paused tunnel went on.";
    text.counter("ztsa_tunnel_restorations_total", about, measures.restorations.read());
    let (up, down) = engine.leases().traffic();
    let about = "Bytes through tunnels: up is from clients to apps.";
    text.family("ztsa_tunnel_bytes_total", Kind::Counter, about);
    text.sample(&[("direction", "up")], up);
    text.sample(&[("direction", "down")], down);
    text.counts("ztsa_exchanges_total", "Sign-ins and renewals of sessions.", "result", &measures.exchanges);
    let about = "Sessions that were ended before their time.";
    text.counter("ztsa_sessions_ended_total", about, measures.sessions_ended.read());
    text.counts("ztsa_risk_changes_total", "Changes of anybody's risk.", "cause", &measures.risk);
}

/// What others told and were told.
fn others(text: &mut Text, engine: &Engine) {
    let measures = engine.measures();
    let about = "Security event tokens of other systems.";
    text.counts("ztsa_signals_received_total", about, "result", &measures.received);
    let about = "Security event tokens for other systems.";
    text.counts("ztsa_signals_sent_total", about, "result", &measures.sent);
}

/// What was written down, and what waits for the disk or for a collector.
fn audit(text: &mut Text, engine: &Engine) {
    let state = engine.audit().state();
    let export = state.export.unwrap_or_default();
    let gauge = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    text.counter("ztsa_audit_lost_total", "Audit events lost since the start.", state.lost);
    let up = usize::from(state.outage.is_none());
    text.gauge("ztsa_audit_up", "1 when the disk takes the audit log; events wait in memory at 0.", up);
    text.gauge("ztsa_audit_queue", "Audit events that wait for the disk.", state.waiting);
    text.gauge(
        "ztsa_audit_unsent",
        "Lines of the audit log that the collector does not have yet.",
        gauge(export.waiting),
    );
    let about = "Requests to the collector that failed.";
    text.counter("ztsa_audit_export_failures_total", about, export.failures);
    let about = "Audit events that the collector refused.";
    text.counter("ztsa_audit_export_rejected_total", about, export.rejected);
    let about = "Audit events whose file was deleted before they were sent.";
    text.counter("ztsa_audit_not_sent_total", about, export.not_sent);
}

/// What connections cost on which nobody has authenticated.
fn doors(text: &mut Text, tally: &Tally) {
    let waiting = usize::try_from(tally.waiting).unwrap_or(usize::MAX);
    text.gauge("ztsa_unauthenticated", "Connections on which nobody has authenticated yet.", waiting);
    for (name, about, count) in [
        (
            "ztsa_handshakes_refused_total",
            "Connections not taken: their address had too many handshakes under way.",
            tally.handshakes_refused,
        ),
        (
            "ztsa_unauthenticated_crowded_out_total",
            "Connections cut to make room for newer ones before anybody authenticated on them.",
            tally.crowded_out,
        ),
        (
            "ztsa_unauthenticated_overdue_total",
            "Connections ended because nobody authenticated on them in time.",
            tally.overdue,
        ),
        (
            "ztsa_unauthenticated_refused_total",
            "Connections cut after too many refused requests before anybody authenticated on them.",
            tally.refused,
        ),
    ] {
        text.counter(name, about, count);
    }
}

/// Answers `GET /metrics` until the scope of `spawner` begins to end.
///
/// # Security
/// Whoever reaches the address may read the counts: listen on loopback or a network of your own.
///
/// # Cancel safety
/// Dropping the future stops accepting; connections that run belong to the scope.
pub async fn run(listener: Listener, scrape: impl Fn() -> String + Clone + Send + Sync + 'static, spawner: Spawner) {
    let mut ending = std::pin::pin!(spawner.ending());
    loop {
        let (stream, from) = tokio::select! {
            biased;
            () = &mut ending => return,
            accepted = listener.accept() => accepted,
        };
        let scrape = scrape.clone();
        spawner.spawn(async move {
            let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(answer(&request, &scrape))));
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

fn answer(request: &Request<Incoming>, scrape: &impl Fn() -> String) -> Response<String> {
    let is_ours = request.uri().path() == "/metrics" && matches!(*request.method(), Method::GET | Method::HEAD);
    let text = if is_ours { scrape() } else { "there is only GET /metrics here\n".to_owned() };
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
    use crate::engine::tests::World;

    #[tokio::test]
    async fn a_scrape_reads_the_counts_of_the_moment() {
        let scope = Scope::new();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addrs()[0];
        let world = World::new();
        let alice = world.session("alice", &["dev"], "laptop");
        let lease = world.open(&alice, "wiki").unwrap();
        lease.count_up(7);
        let (engine, strangers) = (world.engine.clone(), Strangers::new(world.engine.config().limits));
        scope.spawn(run(listener, move || scrape(&engine, &strangers), scope.spawner()));
        let ask = async |line: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("{line}\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        let scraped = ask("GET /metrics HTTP/1.1").await;
        assert!(scraped.starts_with("HTTP/1.1 200 OK\r\n"), "{scraped}");
        for line in [
            "# TYPE ztsa_sessions gauge",
            "ztsa_sessions 1",
            "ztsa_tunnels 1",
            "ztsa_tunnels_opened_total 1",
            "ztsa_decisions_total{question=\"connect\",answer=\"allow\"} 1",
            "ztsa_decisions_total{question=\"connect\",answer=\"deny\"} 0",
            "ztsa_tunnel_bytes_total{direction=\"up\"} 7",
            "ztsa_store_up 1",
        ] {
            assert!(scraped.contains(&format!("\n{line}\n")), "{line} in {scraped}");
        }
        assert!(!scraped.contains("alice") && !scraped.contains("wiki"), "{scraped}");
        drop(lease);
        let scraped = ask("GET /metrics HTTP/1.1").await;
        for line in ["ztsa_tunnels 0", "ztsa_tunnels_ended_total{how=\"client\"} 1"] {
            assert!(scraped.contains(&format!("\n{line}\n")), "{line} in {scraped}");
        }
        let kept = "\nztsa_tunnel_bytes_total{direction=\"up\"} 7\n";
        assert!(scraped.contains(kept), "a tunnel that is over has carried what it has: {scraped}");
        assert!(ask("GET / HTTP/1.1").await.starts_with("HTTP/1.1 404"));
        assert!(ask("POST /metrics HTTP/1.1").await.starts_with("HTTP/1.1 404"));
        assert!(scope.drain(Duration::from_secs(5)).await, "nothing is left running");
    }
}
