//! Connections of HTTP/1.1: requests, and classic CONNECT.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tower::ServiceExt;
use ztsa_net::task::Spawner;

use super::answer::Refused;
use super::api::From;
use super::{BODY_MAX, Peer, Server, classic};

/// How long a request's head may take, and then its body; an idle connection is closed after it too.
const HEAD: Duration = Duration::from_secs(15);

/// Bytes that are read of a body that is too large.
const READ_MAX: usize = 32 * BODY_MAX;
/// How long a body that is too large is read on.
const LINGER: Duration = Duration::from_secs(1);

pub(super) async fn serve<S>(server: &Server, stream: S, peer: Peer, spawner: &Spawner)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| answer(server.clone(), peer.clone(), request, spawner.clone()));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(
            usize::try_from(server.parts.engine.config().limits.header_bytes).unwrap_or(usize::MAX).max(16 * 1024),
        )
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = farewell(&peer, spawner) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(peer = %peer.address, %error, "a connection ended");
    }
}

/// Waits until the connection should take no more requests.
async fn farewell(peer: &Peer, spawner: &Spawner) {
    tokio::select! {
        () = spawner.ending() => {}
        () = peer.stranger.farewell() => {}
    }
}

async fn answer(
    server: Server,
    peer: Peer,
    mut request: Request<Incoming>,
    spawner: Spawner,
) -> Result<Response<Body>, Infallible> {
    if request.method() == Method::CONNECT {
        let response = classic::answer(Arc::clone(&server.parts), &peer, request, &spawner).await;
        return Ok(response.map(Body::from));
    }
    let stranger = peer.stranger.clone();
    request.extensions_mut().insert(From(peer));
    let (head, body) = request.into_parts();
    // gathered here, because a stranger who sends a byte a minute would hold the connection for ever
    let response = match tokio::time::timeout(HEAD, gather(body)).await {
        Ok(Some(body)) => {
            let request = Request::from_parts(head, Body::from(body));
            let (done, answered) = oneshot::channel();
            let router = server.router.clone();
            // to its end, whether or not somebody waits for it: who hangs up in the middle would leave an issuer's keys
            // half fetched, and the next one would begin again at once
            spawner.spawn(async move {
                let Ok(response) = router.oneshot(request).await;
                let _ = done.send(response);
            });
            let gone = || unread(&server, Refused::too_slow());
            answered.await.unwrap_or_else(|_| gone())
        }
        Ok(None) => unread(&server, Refused::too_large()),
        Err(_) => unread(&server, Refused::too_slow()),
    };
    if response.status().is_client_error() {
        stranger.turn_away();
    }
    Ok(response)
}

/// Reads a body of at most [`BODY_MAX`] bytes. Of a larger one it reads on for a while and keeps nothing: a client that
/// still writes when the connection closes loses the answer (RFC 9112 section 9.6).
async fn gather(mut body: Incoming) -> Option<Bytes> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if kept.len() + data.len() > BODY_MAX {
            // who never ends is answered all the same
            let _ = tokio::time::timeout(LINGER, discard(body, data.len())).await;
            return None;
        }
        kept.extend_from_slice(&data);
    }
    Some(kept.freeze())
}

/// Reads a body to its end, or to [`READ_MAX`].
async fn discard(mut body: Incoming, mut length: usize) {
    while let Some(Ok(frame)) = body.frame().await {
        length += frame.data_ref().map_or(0, Bytes::len);
        if length > READ_MAX {
            return;
        }
    }
}

/// Answers a request whose body was not read to its end: no other request can follow it.
fn unread(server: &Server, refused: Refused) -> Response<Body> {
    let mut response = refused.response(&server.parts).map(Body::from);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
