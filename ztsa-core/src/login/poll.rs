//! The poll of the device flow (RFC 8628 3.4 and 3.5) as a value: no clock, no socket.

use std::time::Duration;

use oauth2::DeviceCodeErrorResponseType as Code;
use ztsa_proto::time::UnixTime;

use super::{
    Flow, IssuerTokens, LoginError,
    answer::{Refusal, cut, is_cut, read_tokens},
};
use crate::http::{HttpError, Response};

/// What `slow_down` adds to the interval, for good (RFC 8628 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// The longest extra wait after an answer that was none.
const BACKOFF: Duration = Duration::from_secs(30);

/// Decides after each poll whether to wait or to stop.
#[derive(Debug)]
pub(super) struct Poll {
    interval: Duration,
    lifetime: Duration,
    troubles: u32,
    last: Option<HttpError>,
}

/// What a poll brought.
#[derive(Debug)]
pub(super) enum Outcome {
    Tokens(IssuerTokens),
    Refused(Refusal),
    /// No usable answer, but none that ends anything.
    Trouble(HttpError),
    /// The code may be used up.
    Lost(HttpError),
    /// No use in going on.
    Fatal(LoginError),
}

/// How long the code has been out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elapsed {
    /// By a clock that only goes forward, and stands still while the machine sleeps.
    pub(super) awake: Duration,
    /// By the wall clock, which goes on while the machine sleeps, and may be set.
    pub(super) wall: Duration,
}

/// What to do next.
#[derive(Debug)]
pub(super) enum Step {
    Wait(Duration),
    Done(IssuerTokens),
    Fail(LoginError),
}

impl Poll {
    pub(super) fn new(interval: Duration, lifetime: Duration) -> Self {
        Self { interval: interval.max(Duration::from_secs(1)), lifetime, troubles: 0, last: None }
    }

    /// The wait before the first poll.
    pub(super) fn first(&self) -> Duration {
        self.interval
    }

    /// Decides; `elapsed` is the time since the code was given.
    ///
    /// A machine that slept asks once more whatever its clocks say: the code may have been approved meanwhile. Then the
    /// issuer's word counts, and the wall clock only explains it, because it may have been set.
    pub(super) fn next(&mut self, elapsed: Elapsed, outcome: Outcome) -> Step {
        let slept = elapsed.wall >= self.lifetime && elapsed.awake < self.lifetime;
        let wait = match outcome {
            Outcome::Tokens(tokens) => return Step::Done(tokens),
            Outcome::Lost(error) => return Step::Fail(LoginError::AnswerLost(error)),
            Outcome::Fatal(error) => return Step::Fail(error),
            Outcome::Refused(refusal) => {
                let before = self.last.take();
                self.troubles = 0;
                match &refusal.code {
                    Code::AuthorizationPending => self.interval,
                    Code::SlowDown => {
                        self.interval = self.interval.saturating_add(SLOW_DOWN);
                        self.interval
                    }
                    _ => return Step::Fail(self.refused(&refusal, before, slept)),
                }
            }
            Outcome::Trouble(error) => {
                let asked = match &error {
                    HttpError::Unexpected(seen) => seen.retry_after,
                    _ => None,
                };
                self.troubles = self.troubles.saturating_add(1);
                if self.troubles == 2 {
                    tracing::warn!(%error, "the issuer does not answer as it should; still waiting");
                }
                self.last = Some(error);
                let backoff = Duration::from_secs(1 << self.troubles.min(5)).min(BACKOFF);
                self.interval.saturating_add(backoff).max(asked.unwrap_or_default())
            }
        };
        let over = slept && self.last.is_some();
        if over || elapsed.awake.saturating_add(wait) >= self.lifetime {
            return Step::Fail(self.expired(slept));
        }
        Step::Wait(wait)
    }

    fn expired(&mut self, slept: bool) -> LoginError {
        match self.last.take() {
            Some(error) if self.troubles > 1 && !slept => LoginError::Http(error),
            _ => LoginError::Expired { after: self.lifetime, slept },
        }
    }

    /// Names a refusal; `before` is the trouble that the poll before it had.
    fn refused(&self, refusal: &Refusal, before: Option<HttpError>, slept: bool) -> LoginError {
        let said = refusal.said();
        if refusal.is_policy(Flow::Device) {
            return LoginError::FlowRefused { flow: Flow::Device, said };
        }
        let after = self.lifetime;
        match (&refusal.code, before) {
            (Code::AccessDenied, _) => LoginError::Denied { said },
            (Code::ExpiredToken, _) => LoginError::Expired { after, slept },
            (code, _) if code.as_ref() == "invalid_grant" && slept => LoginError::Expired { after, slept },
            // A server in between failed after the issuer had given the tokens.
            (code, Some(error)) if code.as_ref() == "invalid_grant" => LoginError::AnswerLost(error),
            (code, None) if code.as_ref() == "invalid_grant" => LoginError::CodeOver { said },
            (other, _) => LoginError::Refused { code: other.as_ref().to_owned(), said },
        }
    }
}

/// Reads what a poll brought.
pub(super) fn judge(answer: Result<Response, HttpError>, now: UnixTime) -> Outcome {
    let response = match answer {
        Ok(response) => response,
        Err(error @ (HttpError::Unreachable { .. } | HttpError::Timeout { connected: false, .. })) => {
            return Outcome::Trouble(error);
        }
        Err(error) if error.may_have_arrived() => return Outcome::Lost(error),
        Err(error) => return Outcome::Fatal(LoginError::Http(error)),
    };
    if let Some(refusal) = Refusal::read(&response) {
        let overloaded = response.status.is_server_error() || response.status.as_u16() == 429;
        return match refusal.code {
            Code::Basic(_) if overloaded => Outcome::Trouble(HttpError::Unexpected(response.seen())),
            _ => Outcome::Refused(refusal),
        };
    }
    if !response.status.is_success() {
        let seen = response.seen();
        return if seen.is_temporary() {
            Outcome::Trouble(HttpError::Unexpected(seen))
        } else {
            Outcome::Fatal(LoginError::Http(HttpError::Unexpected(seen)))
        };
    }
    match read_tokens(&response.body, now) {
        Ok(tokens) => Outcome::Tokens(tokens),
        Err(reason) => {
            let seen = response.seen();
            if seen.is_portal() {
                return Outcome::Trouble(HttpError::Unexpected(seen));
            }
            if is_cut(&response.body) {
                return Outcome::Lost(cut(&response));
            }
            Outcome::Fatal(LoginError::Answer { reason: format!("{seen}; {reason}") })
        }
    }
}

#[cfg(test)]
mod tests;
