//! Connections of HTTP/2: tunnels and requests side by side.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use h2::ext::Protocol;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::header::DATE;
use http::{HeaderValue, Method, Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, SemaphorePermit};
use tower::ServiceExt;
use ztsa_net::http2::{keep_alive, server};
use ztsa_net::task::Spawner;
use ztsa_proto::{problem, template};

use super::answer::Refused;
use super::api::From;
use super::{BODY_MAX, Server, classic, extended};

/// How long a new connection has for HTTP/2's preface.
const PREFACE: Duration = Duration::from_secs(10);
/// How long a request's body may take.
const BODY: Duration = Duration::from_secs(30);
/// Bytes of bodies that one connection may have gathered at once: a stranger opens thousands of streams for nothing.
const BODIES_MAX: usize = 16 * BODY_MAX;

pub(super) async fn serve<S>(server_: &Server, stream: S, peer: IpAddr, spawner: &Spawner)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut settings = server();
    settings.max_header_list_size(server_.parts.config.limits.header_bytes);
    let mut connection: Connection<S, Bytes> = match tokio::time::timeout(PREFACE, settings.handshake(stream)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "no HTTP/2"),
        Err(_) => return tracing::debug!(%peer, "no HTTP/2 preface in time"),
    };
    let pings = connection.ping_pong();
    let mut alive = std::pin::pin!(async {
        match pings {
            Some(pings) => keep_alive(pings).await,
            None => std::future::pending().await,
        }
    });
    let mut ending = std::pin::pin!(spawner.ending());
    let mut draining = false;
    let room = Arc::new(Semaphore::new(BODIES_MAX));
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => dispatch(server_, peer, request, respond, &room, spawner),
                Some(Err(error)) => return tracing::debug!(%peer, %error, "a connection ended"),
                None => return,
            },
            error = &mut alive => return tracing::debug!(%peer, %error, "a connection went silent"),
            () = &mut ending, if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
        }
    }
}

fn dispatch(
    server: &Server,
    peer: IpAddr,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    room: &Arc<Semaphore>,
    spawner: &Spawner,
) {
    let parts = Arc::clone(&server.parts);
    if request.method() != Method::CONNECT {
        let (router, room) = (server.router.clone(), Arc::clone(room));
        spawner.spawn(async move { Box::pin(plain(router, peer, request, respond, room)).await });
        return;
    }
    match request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().to_owned()) {
        None => spawner.spawn(classic::serve(parts, peer, request, respond)),
        Some(protocol) if template::PROTOCOLS.contains(&protocol.as_str()) => {
            spawner.spawn(extended::serve(parts, peer, request, respond));
        }
        Some(protocol) => {
            let detail =
                format!("this gateway does not speak {protocol}; it speaks {}", template::PROTOCOLS.join(", "));
            let mut problem = problem::new("request.invalid").with_detail(detail);
            problem.status = 501;
            send(&mut respond, Refused::new(problem).response(&parts));
        }
    }
}

/// Answers a request that is no tunnel.
async fn plain(
    router: axum::Router,
    peer: IpAddr,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    room: Arc<Semaphore>,
) {
    let (head, body) = request.into_parts();
    let (body, taken) = match tokio::time::timeout(BODY, collect(body, &room)).await {
        Ok(Ok(gathered)) => gathered,
        Ok(Err(too_large)) => {
            let reason = if too_large { Reason::ENHANCE_YOUR_CALM } else { Reason::CANCEL };
            return respond.send_reset(reason);
        }
        Err(_) => return respond.send_reset(Reason::CANCEL),
    };
    let mut request = Request::from_parts(head, Body::from(body));
    request.extensions_mut().insert(From(peer));
    let Ok(response) = router.oneshot(request).await;
    drop(taken);
    stream(response, respond).await;
}

/// Gathers a body, within the room that its connection has for all of them. The error says whether it was too large.
async fn collect(mut body: RecvStream, room: &Semaphore) -> Result<(Bytes, Option<SemaphorePermit<'_>>), bool> {
    let mut bytes = BytesMut::new();
    let mut taken: Option<SemaphorePermit<'_>> = None;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|_| false)?;
        let _ = body.flow_control().release_capacity(chunk.len());
        if bytes.len() + chunk.len() > BODY_MAX {
            return Err(true);
        }
        let more = u32::try_from(chunk.len()).ok().and_then(|length| room.try_acquire_many(length).ok()).ok_or(true)?;
        match &mut taken {
            Some(taken) => taken.merge(more),
            None => taken = Some(more),
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes.freeze(), taken))
}

/// Sends a response piece by piece, as its body (an event stream, for one) yields them.
async fn stream(response: Response<Body>, mut respond: SendResponse<Bytes>) {
    let (head, mut body) = response.into_parts();
    let Ok(mut send) = respond.send_response(dated(Response::from_parts(head, ())), false) else { return };
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = std::future::poll_fn(|context| send.poll_reset(context)) => return,
        };
        match frame {
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if !data.is_empty() && send.send_data(data, false).is_err() {
                    return;
                }
            }
            Some(Err(_)) => return send.send_reset(Reason::INTERNAL_ERROR),
            None => {
                let _ = send.send_data(Bytes::new(), true);
                return;
            }
        }
    }
}

/// Adds the Date that an origin with a clock must send (RFC 9110 section 6.6.1): clients learn from it how far off
/// their own clock is.
pub(super) fn dated(mut response: Response<()>) -> Response<()> {
    if let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now())) {
        response.headers_mut().insert(DATE, date);
    }
    response
}

/// Sends a whole response. A client that has gone away is not told.
pub(super) fn send(respond: &mut SendResponse<Bytes>, response: Response<Bytes>) {
    let (head, body) = response.into_parts();
    if let Ok(mut stream) = respond.send_response(dated(Response::from_parts(head, ())), body.is_empty())
        && !body.is_empty()
    {
        let _ = stream.send_data(body, true);
    }
}
