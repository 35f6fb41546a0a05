//! Tunnels by extended CONNECT (`connect-tcp`), with the session token and a proof for each.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::request::Parts as Head;
use http::{HeaderValue, Request, Response};
use tokio::net::TcpStream;
use ztsa_net::accept::reset_on_close;
use ztsa_net::relay::{Authority, relay};
use ztsa_net::tunnel::{Framing, TunnelRecv, TunnelSend};
use ztsa_proto::app::Kind;
use ztsa_proto::name::GrantId;
use ztsa_proto::{capsule, problem, template};

use super::answer::Refused;
use super::{Metered, Parts, Peer, ending};
use crate::audit::Activity;
use crate::authn::{self, AuthnError};
use crate::config::App;
use crate::dial;
use crate::lease::{End, Lease};

/// Serves one tunnel from its request to its end.
pub(super) async fn serve(parts: Arc<Parts>, peer: Peer, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let (head, body) = request.into_parts();
    // the opening is boxed: a tunnel that lives for days does not keep its space
    if let Some((lease, app, send)) = Box::pin(open(&parts, peer, head, respond)).await {
        drop(parts);
        carry(lease, app, TunnelSend::new(send, Framing::Capsules), TunnelRecv::new(body, Framing::Capsules)).await;
    }
}

/// Carries bytes between an app and a tunnel for as long as the lease lasts.
pub(super) async fn carry(lease: Lease, mut app: TcpStream, send: TunnelSend, recv: TunnelRecv) {
    let end = {
        let (mut reader, mut writer) = app.split();
        let access = Authority::Own(lease.access());
        relay(&mut reader, &mut writer, send, recv, access, &Metered(&lease)).await
    };
    if let Some(end) = ending(&end) {
        lease.finish(end.clone());
        if end != End::Completed {
            reset_on_close(&app);
        }
    } else {
        reset_on_close(&app);
    }
    tracing::debug!(tunnel = %lease.id().0, %end, "tunnel ended");
}

async fn open(
    parts: &Parts,
    peer: Peer,
    head: Head,
    mut respond: SendResponse<Bytes>,
) -> Option<(Lease, TcpStream, h2::SendStream<Bytes>)> {
    let admitted = tokio::select! {
        biased;
        admitted = admit(parts, &peer, &head) => admitted,
        // the client has gone away while the app was being dialled
        _ = poll_fn(|context| respond.poll_reset(context)) => return None,
    };
    match admitted {
        Ok((lease, app)) => match respond.send_response(super::http2::dated(opened(parts, &lease)), false) {
            Ok(send) => Some((lease, app, send)),
            Err(error) => {
                tracing::debug!(%error, "the client went away before its tunnel opened");
                None
            }
        },
        Err(refused) => {
            super::http2::send(&mut respond, refused.response(parts));
            None
        }
    }
}

/// Authenticates, decides and dials.
async fn admit(parts: &Parts, peer: &Peer, head: &Head) -> Result<(Lease, TcpStream), Refused> {
    let path = head.uri.path();
    let asked = authn::Head { method: "CONNECT", url_path: path, headers: &head.headers };
    let now = parts.clock.now();
    let session = parts.authn.check(&asked, now).map_err(|error| {
        // whoever is asked for a nonce has shown a token and its key
        if !matches!(error, AuthnError::UseNonce) {
            peer.stranger.turn_away();
        }
        Refused::unauthenticated(parts, &error)
    })?;
    peer.stranger.recognise();
    let peer = peer.address;
    let to = template::parse(path).ok_or_else(|| {
        let detail = format!("the path of a tunnel is {}{{host}}/{{port}}/", template::PREFIX);
        Refused::new(problem::new("request.invalid").with_detail(detail))
    })?;
    // before the app is looked for: a malformed grant must not tell an app that is hidden from one that is not there
    let grant = grant(head)?;
    let app = parts
        .engine
        .find(&to.host, to.port)
        .map_err(|_| Refused::new(parts.engine.not_found(Activity::Connect, &session, peer, &to.to_string())))?;
    let lease =
        parts.engine.open(&session, &app, peer, grant.as_ref()).map_err(|problem| Refused::decided(parts, problem))?;
    let stream = dial(parts, &lease, &app).await?;
    Ok((lease, stream))
}

/// Dials an app that a lease was given for.
pub(super) async fn dial(parts: &Parts, lease: &Lease, app: &App) -> Result<TcpStream, Refused> {
    if app.kind == Kind::Udp {
        let detail = format!("{} is a UDP app; this gateway carries TCP", app.name);
        return Err(Refused::new(problem::new("request.invalid").with_detail(detail)));
    }
    let opened = dial::open(app).await.map_err(|error| {
        tracing::warn!(app = %app.name, %error, "an app cannot be reached");
        let problem = Arc::new(error.problem(app));
        lease.finish(End::Unreachable(Arc::clone(&problem)));
        Refused::new(problem)
    });
    if let Ok(stream) = &opened {
        let address = stream.peer_addr().ok().map(|address| address.ip());
        parts.engine.opened(lease, address);
        if let Some(address) = address {
            parts.engine.dialled(lease.tunnel(), address);
        }
    }
    opened
}

fn grant(head: &Head) -> Result<Option<GrantId>, Refused> {
    let Some(value) = head.headers.get("ztsa-grant") else { return Ok(None) };
    let grant = value.to_str().ok().and_then(|text| text.parse().ok());
    grant.map(Some).ok_or_else(|| Refused::new(problem::new("grant.unknown")))
}

fn opened(parts: &Parts, lease: &Lease) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert("capsule-protocol", HeaderValue::from_static("?1"));
    headers.insert(capsule::HEADER, HeaderValue::from_static(capsule::VERSION));
    headers.insert("ztsa-tunnel", lease.id().0.into());
    if let Ok(nonce) = HeaderValue::try_from(parts.authn.nonce(parts.clock.now())) {
        headers.insert("dpop-nonce", nonce);
    }
    response
}
