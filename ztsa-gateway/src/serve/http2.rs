//! Connections of HTTP/2: tunnels and requests side by side.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use h2::ext::Protocol;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
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
use super::{BODY_MAX, Peer, Server, classic, extended};
use crate::stranger::REQUESTS_AT_ONCE;

/// How long a new connection has for HTTP/2's preface.
const PREFACE: Duration = Duration::from_secs(10);
/// How long a request's body may take.
const BODY: Duration = Duration::from_secs(30);
/// Bytes of bodies that one connection may have gathered at once: a stranger opens thousands of streams for nothing.
const BODIES_MAX: usize = 16 * BODY_MAX;

pub(super) async fn serve<S>(server_: &Server, stream: S, peer: Peer, spawner: &Spawner)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut settings = server();
    let address = peer.address;
    settings.max_header_list_size(server_.parts.engine.config().limits.header_bytes);
    let mut connection: Connection<S, Bytes> = match tokio::time::timeout(PREFACE, settings.handshake(stream)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(peer = %address, %error, "no HTTP/2"),
        Err(_) => return tracing::debug!(peer = %address, "no HTTP/2 preface in time"),
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
    let mut farewell = std::pin::pin!(peer.stranger.farewell());
    let room = Arc::new(Room::default());
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => dispatch(server_, &peer, request, respond, &room, spawner),
                Some(Err(error)) => return tracing::debug!(peer = %address, %error, "a connection ended"),
                None => return,
            },
            error = &mut alive => return tracing::debug!(peer = %address, %error, "a connection went silent"),
            () = &mut ending, if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
            () = &mut farewell, if !draining => {
                draining = true;
                connection.graceful_shutdown();
            }
        }
    }
}

fn dispatch(
    server: &Server,
    peer: &Peer,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    room: &Arc<Room>,
    spawner: &Spawner,
) {
    let parts = Arc::clone(&server.parts);
    if request.method() != Method::CONNECT {
        let (server, room, peer) = (server.clone(), Arc::clone(room), peer.clone());
        spawner.spawn(async move { Box::pin(plain(server, peer, request, respond, room)).await });
        return;
    }
    match request.extensions().get::<Protocol>().map(|protocol| protocol.as_str().to_owned()) {
        None => spawner.spawn(classic::serve(parts, peer.clone(), request, respond)),
        Some(protocol) if template::PROTOCOLS.contains(&protocol.as_str()) => {
            spawner.spawn(extended::serve(parts, peer.clone(), request, respond));
        }
        Some(protocol) => {
            let detail =
                format!("this gateway does not speak {protocol}; it speaks {}", template::PROTOCOLS.join(", "));
            let mut problem = problem::new("request.invalid").with_detail(detail);
            problem.status = 501;
            peer.stranger.turn_away();
            send(&mut respond, Refused::new(problem).response(&parts));
        }
    }
}

/// What one connection may have under way: a stranger opens thousands of streams for nothing.
struct Room {
    /// Bytes of bodies, once somebody is known.
    bodies: Semaphore,
    /// Bytes of bodies before.
    first_bodies: Semaphore,
    /// Requests before, until their answers were taken.
    first_requests: Semaphore,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            bodies: Semaphore::new(BODIES_MAX),
            first_bodies: Semaphore::new(BODY_MAX),
            first_requests: Semaphore::new(REQUESTS_AT_ONCE),
        }
    }
}

/// Answers a request that is no tunnel.
async fn plain(
    server: Server,
    peer: Peer,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    room: Arc<Room>,
) {
    let stranger = peer.stranger.clone();
    let refuse = |respond: &mut SendResponse<Bytes>, reason| {
        stranger.turn_away();
        respond.send_reset(reason);
    };
    let (bodies, place) = if stranger.is_known() {
        (&room.bodies, None)
    } else {
        match room.first_requests.try_acquire() {
            Ok(place) => (&room.first_bodies, Some(place)),
            Err(_) => return refuse(&mut respond, Reason::REFUSED_STREAM),
        }
    };
    let (head, mut body) = request.into_parts();
    let (body, taken) = match tokio::time::timeout(BODY, collect(&mut body, bodies)).await {
        Ok(Ok(gathered)) => gathered,
        Ok(Err(Unread::NoRoom)) => return refuse(&mut respond, Reason::ENHANCE_YOUR_CALM),
        Ok(Err(Unread::Broken)) => return refuse(&mut respond, Reason::CANCEL),
        // what is left unread is taken back by a RST_STREAM after the answer (RFC 9113 section 8.1)
        Ok(Err(Unread::TooLarge)) => {
            stranger.turn_away();
            return send(&mut respond, Refused::too_large().response(&server.parts));
        }
        Err(_) => {
            stranger.turn_away();
            return send(&mut respond, Refused::too_slow().response(&server.parts));
        }
    };
    let mut request = Request::from_parts(head, Body::from(body));
    request.extensions_mut().insert(From(peer));
    let Ok(response) = server.router.oneshot(request).await;
    drop(taken);
    if response.status().is_client_error() {
        stranger.turn_away();
    }
    stream(response, respond).await;
    // not before the answer was taken: a stranger who gives it no room would have thousands of them wait here
    drop(place);
}

/// Why a body was not read to its end.
enum Unread {
    /// It is larger than any request needs.
    TooLarge,
    /// Its connection has as much of bodies under way as it may have.
    NoRoom,
    /// The peer took it back, or went away.
    Broken,
}

/// Gathers a body, within the room that its connection has for all of them.
async fn collect<'a>(
    body: &mut RecvStream,
    room: &'a Semaphore,
) -> Result<(Bytes, Option<SemaphorePermit<'a>>), Unread> {
    let mut bytes = BytesMut::new();
    let mut taken: Option<SemaphorePermit<'_>> = None;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|_| Unread::Broken)?;
        let _ = body.flow_control().release_capacity(chunk.len());
        if bytes.len() + chunk.len() > BODY_MAX {
            return Err(Unread::TooLarge);
        }
        let more = u32::try_from(chunk.len()).ok().and_then(|length| room.try_acquire_many(length).ok());
        let more = more.ok_or(Unread::NoRoom)?;
        match &mut taken {
            Some(taken) => taken.merge(more),
            None => taken = Some(more),
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok((bytes.freeze(), taken))
}

/// Sends a response piece by piece, as its body (an event stream, for one) yields them.
///
/// The body is asked for the next piece when the client has given room for the last: of one who takes nothing, no more than
/// one piece waits here.
pub(super) async fn stream(response: Response<Body>, mut respond: SendResponse<Bytes>) {
    let (head, mut body) = response.into_parts();
    let Ok(mut send) = respond.send_response(dated(Response::from_parts(head, ())), false) else { return };
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = poll_fn(|context| send.poll_reset(context)) => return,
        };
        match frame {
            Some(Ok(frame)) => {
                let Ok(mut data) = frame.into_data() else { continue };
                while !data.is_empty() {
                    let Some(room) = room(&mut send, data.len()).await else { return };
                    if send.send_data(data.split_to(room), false).is_err() {
                        return;
                    }
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

/// Waits until the client takes bytes, and gives how many, `want` at most; `None` when it has gone away.
async fn room(send: &mut SendStream<Bytes>, want: usize) -> Option<usize> {
    send.reserve_capacity(want);
    poll_fn(|context| {
        if send.poll_reset(context).is_ready() {
            return Poll::Ready(None);
        }
        loop {
            let room = send.capacity().min(want);
            if room > 0 {
                return Poll::Ready(Some(room));
            }
            let Some(Ok(_)) = ready!(send.poll_capacity(context)) else { return Poll::Ready(None) };
        }
    })
    .await
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
