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
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use ztsa_net::clock::Clock;
use ztsa_proto::event::{Event, EventKind};
use ztsa_proto::posture::{FINGERPRINT, fingerprint};

use super::{Answer, Authenticated, Parts, Refused, refuse, with_nonce};

/// How often a silent stream says that it is alive.
const PING: Duration = Duration::from_secs(20);

/// Follows what happens to a session's tunnels, until the session ends or the client goes away.
pub(super) async fn follow(State(parts): State<Arc<Parts>>, Authenticated(session): Authenticated) -> Answer {
    let events = parts.engine.events(&session).map_err(|problem| refuse(&parts, Refused::new(problem)))?;
    let headers = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-store")];
    // asked once it listens: who asked for the metadata before a change hears of it here, whoever asks later by an event
    let wanted = [(FINGERPRINT, fingerprint(&parts.engine.posture_wanted()))];
    let mut response = (headers, wanted, body(events, parts.clock.clone())).into_response();
    with_nonce(&parts, &mut response);
    Ok(response)
}

fn body(events: Receiver<Event>, clock: Clock) -> Body {
    Body::from_stream(stream::unfold(Following { events, clock, greeted: false, missed: false, over: false }, next))
}

struct Following {
    events: Receiver<Event>,
    clock: Clock,
    greeted: bool,
    missed: bool,
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
    let text = match tokio::time::timeout(PING, following.event()).await {
        Ok(event) => {
            let event = event?;
            following.over = event.kind == EventKind::SessionEnded;
            Bytes::from(event.encode())
        }
        Err(_) => following.ping(),
    };
    Some((Ok(text), following))
}

impl Following {
    /// Gives the next event; `None` at the end of the session. What was missed cannot be told: then it gives what is left,
    /// and `None`, so that the client connects again and asks for the state anew.
    async fn event(&mut self) -> Option<Event> {
        loop {
            if self.missed {
                match self.events.try_recv() {
                    Err(TryRecvError::Lagged(_)) => {}
                    event => return event.ok(),
                }
            } else {
                match self.events.recv().await {
                    Err(RecvError::Lagged(_)) => self.missed = true,
                    event => return event.ok(),
                }
            }
        }
    }

    fn ping(&self) -> Bytes {
        let at = self.clock.now();
        Bytes::from(Event { id: 0, at, kind: EventKind::Ping, tunnel: None, app: None, problem: None }.encode())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use http::{Request, Response};
    use tokio::sync::broadcast;
    use ztsa_net::task::Scope;

    use super::*;
    use crate::serve::http2;

    fn event(id: u64) -> Event {
        let clock = Clock::system();
        Event { id, at: clock.now(), kind: EventKind::PostureWanted, tunnel: None, app: None, problem: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_missed_an_event_is_sent_back_for_the_state() {
        for (told, heard) in [(0, 0), (64, 64), (65, 64), (1000, 64)] {
            let (sender, events) = broadcast::channel(64);
            (0..told).for_each(|id| drop(sender.send(event(id))));
            let clock = Clock::system();
            let mut following = Following { events, clock, greeted: true, missed: false, over: false };
            for _ in 0..heard {
                let (text, rest) = next(following).await.unwrap();
                assert!(text.unwrap().starts_with(b"event: posture_wanted\n"));
                following = rest;
            }
            let more = next(following).await.map(|(text, _)| text.unwrap());
            if told > heard {
                assert_eq!(more, None, "the stream ends behind what is left");
            } else {
                assert!(more.unwrap().starts_with(b"event: ping\n"), "nothing was missed");
            }
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_owed_what_the_session_remembers_and_no_more() {
        let scope = Scope::new();
        let (near, far) = tokio::io::duplex(1 << 20);
        let mut client = h2::client::Builder::new();
        client.initial_window_size(0);
        let (mut server, (client, connection)) =
            tokio::try_join!(h2::server::handshake(far), client.handshake::<_, Bytes>(near)).unwrap();
        let mut connection = pin!(connection);
        let (sender, events) = broadcast::channel(64);
        let (response, _) =
            client.clone().send_request(Request::get("https://gw.example/").body(()).unwrap(), true).unwrap();
        let answered = async {
            let (_, respond) = server.accept().await.unwrap().unwrap();
            scope.spawn(http2::stream(Response::new(body(events, Clock::system())), respond));
            scope.spawn(async move { while server.accept().await.is_some() {} });
            let response = response.await.unwrap();
            for id in 0..10_000 {
                // without a listener any more there is nobody to tell
                let _ = sender.send(event(id));
                tokio::task::yield_now().await;
            }
            drop(sender);
            response
        };
        let response = tokio::select! {
            biased;
            ended = connection.as_mut() => panic!("{ended:?}"),
            response = answered => response,
        };
        connection.set_initial_window_size(1 << 24).unwrap();
        let mut body = response.into_body();
        let read = async {
            let mut read = Vec::new();
            while let Some(piece) = body.data().await {
                read.extend_from_slice(&piece.unwrap());
            }
            String::from_utf8(read).unwrap()
        };
        let read = tokio::select! {
            biased;
            ended = connection.as_mut() => panic!("{ended:?}"),
            read = read => read,
        };
        assert!(read.starts_with("event: ping\n"), "{read}");
        let told = read.matches("event: posture_wanted\n").count();
        assert!(told <= 64, "{told} events waited for a client that took nothing");
    }
}
