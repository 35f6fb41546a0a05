//! Tunnels by classic CONNECT (RFC 9110 section 9.3.6, RFC 9113 section 8.5), for other people's clients: with a ticket.

use std::future::poll_fn;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{PROXY_AUTHENTICATE, PROXY_AUTHORIZATION};
use http::request::Parts as Head;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use ztsa_net::accept::reset_on_close;
use ztsa_net::splice::splice;
use ztsa_net::task::Spawner;
use ztsa_net::tunnel::{Framing, TunnelRecv, TunnelSend};
use ztsa_proto::name::Destination;
use ztsa_proto::problem;
use ztsa_proto::secret::Secret;

use super::answer::Refused;
use super::{Metered, Parts, Peer, ending, extended};
use crate::config::App;
use crate::lease::{End, Lease};

/// Serves one tunnel on HTTP/2.
pub(super) async fn serve(
    parts: Arc<Parts>,
    peer: Peer,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (head, body) = request.into_parts();
    let admitted = tokio::select! {
        biased;
        admitted = Box::pin(admit(&parts, &peer, &head)) => admitted,
        _ = poll_fn(|context| respond.poll_reset(context)) => return,
    };
    drop(head);
    match admitted {
        Ok((lease, app)) => {
            drop(parts);
            if let Ok(send) = respond.send_response(Response::new(()), false) {
                extended::carry(
                    lease,
                    app,
                    TunnelSend::new(send, Framing::Plain),
                    TunnelRecv::new(body, Framing::Plain),
                )
                .await;
            }
        }
        Err(refused) => super::http2::send(&mut respond, refused.response(&parts)),
    }
}

/// Answers one CONNECT on HTTP/1.1; the tunnel then runs by itself.
pub(super) async fn answer(
    parts: Arc<Parts>,
    peer: &Peer,
    mut request: Request<Incoming>,
    spawner: &Spawner,
) -> Response<Bytes> {
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, _) = request.into_parts();
    match Box::pin(admit(&parts, peer, &head)).await {
        Ok((lease, app)) => {
            spawner.spawn(async move {
                match upgrade.await {
                    Ok(upgraded) => carry(lease, app, TokioIo::new(upgraded)).await,
                    Err(error) => tracing::debug!(%error, "the client went away before its tunnel opened"),
                }
            });
            Response::new(Bytes::new())
        }
        Err(refused) => {
            let mut response = refused.response(&parts);
            // what follows a refused CONNECT may be the tunnel's bytes, never another request
            response.headers_mut().insert(http::header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
    }
}

async fn carry(lease: Lease, mut app: TcpStream, mut client: TokioIo<hyper::upgrade::Upgraded>) {
    let end = splice(&mut app, &mut client, lease.access(), &Metered(&lease)).await;
    match ending(&end) {
        Some(End::Completed) => lease.finish(End::Completed),
        Some(end) => {
            lease.finish(end);
            reset_on_close(&app);
        }
        None => reset_on_close(&app),
    }
    tracing::debug!(tunnel = %lease.id().0, %end, "tunnel ended");
}

/// Checks the ticket, decides and dials.
async fn admit(parts: &Parts, peer: &Peer, head: &Head) -> Result<(Lease, TcpStream), Refused> {
    let (lease, app) = decide(parts, peer, head).inspect_err(|_| peer.stranger.turn_away())?;
    peer.stranger.recognise();
    let stream = extended::dial(&parts.engine, &lease, &app).await;
    let stream = stream.map_err(|problem| Refused::decided(parts, problem))?;
    Ok((lease, stream))
}

fn decide(parts: &Parts, peer: &Peer, head: &Head) -> Result<(Lease, Arc<App>), Refused> {
    if !parts.engine.config().classic_connect {
        let detail = "classic CONNECT is off at this gateway (classic_connect in its configuration)";
        return Err(Refused::new(problem::new("request.invalid").with_detail(detail)));
    }
    let to: Destination =
        head.uri.authority().and_then(|authority| authority.as_str().parse().ok()).ok_or_else(|| {
            Refused::new(problem::new("request.invalid").with_detail("CONNECT takes a host and a port"))
        })?;
    let Some(ticket) = head.headers.get(PROXY_AUTHORIZATION).and_then(ticket) else {
        return Err(challenge(Refused::new(problem::new("ticket.invalid").with_detail("no ticket was given"))));
    };
    let opened = parts.engine.open_ticket(ticket.expose(), &to, peer.address);
    opened.map_err(|problem| challenge(Refused::new(problem)))
}

/// Reads a ticket: a bearer token, or the password of any user (which is what most clients can send).
fn ticket(value: &HeaderValue) -> Option<Secret<String>> {
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Secret::new(rest.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest).ok()?).ok()?;
    let (_, password) = decoded.split_once(':')?;
    Some(Secret::new(password.to_owned()))
}

fn challenge(mut refused: Refused) -> Refused {
    if refused.problem.status == 407 {
        let value = HeaderValue::from_static(r#"Basic realm="ztsa ticket", Bearer"#);
        refused.headers.push((PROXY_AUTHENTICATE, value));
    }
    refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_a_bearer_or_any_users_password() {
        let read = |text: &str| ticket(&HeaderValue::try_from(text).unwrap()).map(|secret| secret.expose().clone());
        assert_eq!(read("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(read("bearer  abc").as_deref(), Some("abc"));
        let basic = format!("Basic {}", STANDARD.encode("anyone:a:b"));
        assert_eq!(read(&basic).as_deref(), Some("a:b"));
        for text in ["DPoP abc", "Bearer", "Basic !!!", "Basic YWJj", ""] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
