//! Delivery by push (RFC 8935): one token after the other, each until the receiver has taken it or refused it.

use std::time::Duration;

use http::Method;
use url::Url;
use ztsa_proto::secret::Secret;
use ztsa_proto::set::MEDIA_TYPE;
use ztsa_proto::set::delivery::{Fault, PUSH};
use ztsa_proto::set::stream::Status;
use ztsa_proto::text::printable;

use super::Entry;
use super::outbox::LONGEST;
use crate::audit::Outcome;
use crate::engine::Engine;
use crate::measure;
use crate::signals::web::{Reply, Sent};

/// The first and the longest pause after a receiver that does not answer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(300));
/// How often one token is answered with a refusal that names no fault, before it is given up: four minutes at least, so that
/// a hop in between that is broken for a moment costs nothing.
const STUBBORN: u32 = 10;
/// How often a stream that has nothing to deliver is looked at in any case.
const LOOK: Duration = Duration::from_secs(60);

/// Delivers what waits in a stream for as long as the stream is there.
///
/// # Cancel safety
/// Cancel-safe: what was not acknowledged waits.
pub(super) async fn deliver(entry: &Entry, engine: &Engine) {
    let (mut pause, mut told) = (PAUSES.0, false);
    let mut refusals = Refusals::default();
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
        let (why, odd) = match once(entry, &token.text).await {
            Answer::Taken => (None, false),
            Answer::Fault(Fault { err, description }) => (Some(format!("{err}: {description}")), false),
            Answer::Odd(cause) if refusals.are_enough(&token.jti) => (Some(cause), true),
            Answer::Odd(cause) | Answer::Nothing(cause) => {
                if !std::mem::replace(&mut told, true) {
                    let receiver = &entry.receiver.settings.name;
                    tracing::warn!(receiver, cause, "a receiver of signals cannot be told; they wait");
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
                continue;
            }
        };
        match why {
            Some(why) => refuse(entry, engine, &token.jti, &why),
            None => engine.measures().sent.add(measure::Sent::Delivered),
        }
        entry.outbox.done(&token.jti);
        // whoever gives odd answers to one token may give them to all: the next is tried as seldom
        if !odd {
            (pause, told) = (PAUSES.0, false);
        }
    }
}

/// Counts and records a token that its receiver does not take.
fn refuse(entry: &Entry, engine: &Engine, jti: &str, why: &str) {
    engine.measures().sent.add(measure::Sent::Refused);
    let receiver = &entry.receiver.settings.name;
    tracing::warn!(receiver, jti, why, "a receiver refused a signal");
    let message = format!("{receiver}: the signal {jti} was refused: {}", printable(why, 256));
    engine.told(Outcome::Failure, "signal.refused", None, message);
}

/// Says what a receiver makes of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Taken,
    /// It names the fault that it finds.
    Fault(Fault),
    /// It does not take this one, or something in between does not, and names no fault.
    Odd(String),
    /// Nothing can be said of this token.
    Nothing(String),
}

/// Counts the odd answers to the token that is pushed now.
#[derive(Debug, Default)]
struct Refusals {
    jti: String,
    count: u32,
}

impl Refusals {
    /// Counts one more; says whether the token is given up.
    fn are_enough(&mut self, jti: &str) -> bool {
        if self.jti != jti {
            *self = Self { jti: jti.to_owned(), count: 0 };
        }
        self.count += 1;
        self.count >= STUBBORN
    }
}

/// Pushes one token.
async fn once(entry: &Entry, token: &str) -> Answer {
    let delivery = entry.state().stream.delivery.clone();
    let Some(url) = delivery.endpoint_url.as_deref().and_then(|url| Url::parse(url).ok()) else {
        return Answer::Nothing("the stream names no endpoint".to_owned());
    };
    let authorization = delivery.authorization_header.map(Secret::new);
    let sent =
        Sent { authorization: authorization.as_ref(), body: Some((MEDIA_TYPE, token.as_bytes())), patience: None };
    match entry.receiver.web.send(Method::POST, &url, sent).await {
        Ok(reply) => judged(&url, &reply),
        Err(error) => Answer::Nothing(error.to_string()),
    }
}

/// Judges an answer (RFC 8935 section 2.4).
fn judged(url: &Url, reply: &Reply) -> Answer {
    let cause = format!("{url} answered with status {}", reply.status);
    match (reply.status, serde_json::from_slice::<Fault>(&reply.body)) {
        (200..=299, _) => Answer::Taken,
        (400, Ok(fault)) if matches!(fault.err.as_str(), "authentication_failed" | "access_denied") => {
            Answer::Nothing(cause)
        }
        (400, Ok(fault)) => Answer::Fault(fault),
        // it may be of something in between: only when it stays does it end a token
        (400 | 413 | 422, _) => Answer::Odd(cause),
        _ => Answer::Nothing(cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_answer_about_the_token_ends_it_and_one_that_names_no_fault_not_at_once() {
        let url = Url::parse("https://siem.example/").unwrap();
        let of = |status: u16, body: &str| {
            judged(&url, &Reply { status, body: body.as_bytes().to_vec().into(), cut: false })
        };
        let fault = |err: &str| format!("{{\"err\": \"{err}\", \"description\": \"no\"}}");
        assert_eq!(of(202, ""), Answer::Taken);
        assert!(matches!(of(400, &fault("invalid_request")), Answer::Fault(_)));
        for (status, body) in [(400, ""), (400, "<html>"), (413, ""), (422, "{}")] {
            assert!(matches!(of(status, body), Answer::Odd(_)), "{status} {body}");
        }
        for (status, body) in
            [(400, fault("authentication_failed")), (401, String::new()), (404, String::new()), (503, String::new())]
        {
            assert!(matches!(of(status, &body), Answer::Nothing(_)), "{status} {body}");
        }
        let mut refusals = Refusals::default();
        assert!((1..STUBBORN).all(|_| !refusals.are_enough("a")));
        assert!(!refusals.are_enough("b"), "another token");
        assert!((1..STUBBORN).all(|_| !refusals.are_enough("a")));
        assert!(refusals.are_enough("a"));
    }
}
