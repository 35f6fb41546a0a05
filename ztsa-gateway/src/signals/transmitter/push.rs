//! Delivery by push (RFC 8935): one token after the other, each until the receiver has taken it or refused it.

use std::time::Duration;

use http::Method;
use url::Url;
use ztsa_proto::secret::Secret;
use ztsa_proto::set::MEDIA_TYPE;
use ztsa_proto::set::delivery::{Fault, PUSH};
use ztsa_proto::set::stream::Status;

use super::Entry;
use super::outbox::LONGEST;
use crate::engine::Engine;
use crate::measure;
use crate::signals::web::Sent;

/// The first and the longest pause after a receiver that does not answer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(300));
/// How often a stream that has nothing to deliver is looked at in any case.
const LOOK: Duration = Duration::from_secs(60);

/// Delivers what waits in a stream for as long as the stream is there.
///
/// # Cancel safety
/// Cancel-safe: what was not acknowledged waits.
pub(super) async fn deliver(entry: &Entry, engine: &Engine) {
    let (mut pause, mut told) = (PAUSES.0, false);
    loop {
        let woken = entry.wake.notified();
        tokio::pin!(woken);
        // before looking: what comes meanwhile wakes
        woken.as_mut().enable();
        let (gone, push) = {
            let state = entry.state();
            (state.gone, state.status == Status::Enabled && state.stream.delivery.method == PUSH)
        };
        if gone {
            return;
        }
        let next = if push { entry.outbox.first(1).0.into_iter().next() } else { None };
        let Some(token) = next else {
            let _ = tokio::time::timeout(LOOK, woken).await;
            continue;
        };
        if engine.now().since(token.at) > LONGEST {
            entry.outbox.done(&token.jti);
            engine.measures().sent.add(measure::Sent::Lost);
            continue;
        }
        match once(entry, &token.text).await {
            Ok(refused) => {
                engine.measures().sent.add(match refused {
                    Some(_) => measure::Sent::Refused,
                    None => measure::Sent::Delivered,
                });
                if let Some(Fault { err, description }) = refused {
                    let receiver = &entry.receiver.settings.name;
                    tracing::warn!(receiver, jti = token.jti, err, description, "a receiver refused a signal");
                }
                entry.outbox.done(&token.jti);
                (pause, told) = (PAUSES.0, false);
            }
            Err(cause) => {
                if !std::mem::replace(&mut told, true) {
                    let receiver = &entry.receiver.settings.name;
                    tracing::warn!(receiver, cause, "a receiver of signals cannot be told; they wait");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
        }
    }
}

/// Pushes one token; gives the fault that the receiver finds in it.
async fn once(entry: &Entry, token: &str) -> Result<Option<Fault>, String> {
    let delivery = entry.state().stream.delivery.clone();
    let url = delivery.endpoint_url.as_deref().ok_or("the stream names no endpoint")?;
    let url = Url::parse(url).map_err(|error| error.to_string())?;
    let authorization = delivery.authorization_header.map(Secret::new);
    let sent =
        Sent { authorization: authorization.as_ref(), body: Some((MEDIA_TYPE, token.as_bytes())), patience: None };
    let reply = entry.receiver.web.send(Method::POST, &url, sent).await.map_err(|error| error.to_string())?;
    match reply.status {
        200..=299 => Ok(None),
        // only a fault that is named ends a token: any other answer may be of something in between
        400 => match serde_json::from_slice::<Fault>(&reply.body) {
            Ok(fault) if !matches!(fault.err.as_str(), "authentication_failed" | "access_denied") => Ok(Some(fault)),
            _ => Err(format!("{url} answered with status 400")),
        },
        status => Err(format!("{url} answered with status {status}")),
    }
}
