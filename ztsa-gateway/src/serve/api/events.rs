//! The stream of events of one session (server-sent events).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use ztsa_proto::event::{Event, EventKind};

use super::{Authenticated, Parts, with_nonce};

/// How often a silent stream says that it is alive.
const PING: Duration = Duration::from_secs(20);

/// Follows what happens to a session's tunnels, until the session ends or the client goes away.
pub(super) async fn follow(
    State(parts): State<Arc<Parts>>,
    Authenticated(session): Authenticated,
) -> axum::response::Response {
    let events = parts.engine.events(&session);
    let following = Following { events, parts: Arc::clone(&parts), greeted: false, over: false };
    let body = Body::from_stream(stream::unfold(following, next));
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    let mut response = (headers, body).into_response();
    with_nonce(&parts, &mut response);
    response
}

struct Following {
    events: Receiver<Event>,
    parts: Arc<Parts>,
    greeted: bool,
    over: bool,
}

async fn next(mut following: Following) -> Option<(Result<Bytes, Infallible>, Following)> {
    if following.over {
        return None;
    }
    if !following.greeted {
        // the client learns at once that it is being told
        following.greeted = true;
        let ping = following.ping();
        return Some((Ok(ping), following));
    }
    let text = match tokio::time::timeout(PING, following.events.recv()).await {
        Ok(Ok(event)) => {
            following.over = event.kind == EventKind::SessionEnded;
            Bytes::from(event.encode())
        }
        // events that were missed cannot be told: the client asks for the state anew
        Err(_) | Ok(Err(RecvError::Lagged(_))) => following.ping(),
        Ok(Err(RecvError::Closed)) => return None,
    };
    Some((Ok(text), following))
}

impl Following {
    fn ping(&self) -> Bytes {
        let at = self.parts.clock.now();
        Bytes::from(Event { id: 0, at, kind: EventKind::Ping, tunnel: None, app: None, problem: None }.encode())
    }
}
