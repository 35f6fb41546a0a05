//! Why somebody is not who they say, or cannot be known now; as a problem, as an OAuth error, and as a challenge.

mod fault;
mod issuer;

use std::time::Duration;

use ztsa_proto::dpop::DpopError;
use ztsa_proto::name::{DeviceId, SessionId};
use ztsa_proto::posture::PostureError;
use ztsa_proto::problem::{self, Problem, Retry};

pub use fault::TokenFault;
pub use issuer::IssuerError;

/// Says why a request or an exchange was not authenticated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthnError {
    /// The request has no token.
    #[error("the request has no session token")]
    Missing,
    /// The token came another way than `Authorization: DPoP`.
    #[error("the token came as {0}: a session token is bound to a device and goes in Authorization: DPoP, once")]
    Scheme(&'static str),
    /// The token is not one of this gateway's, or was changed.
    #[error("the session token is not one of this gateway: {0}")]
    Token(&'static str),
    /// The session token ran out: renew it.
    #[error("the session token has run out")]
    Expired,
    /// The proof is missing or wrong.
    #[error("{0}")]
    Proof(#[from] DpopError),
    /// The proof lacks a nonce of this gateway: try again with the one sent along.
    #[error("the proof must hold the nonce that this gateway just gave")]
    UseNonce,
    /// The proof was used before.
    #[error("the proof was used before: each request needs its own")]
    Replay {
        /// The device whose key signed it.
        device: DeviceId,
        /// The session whose token came with it, where there was one.
        session: Option<SessionId>,
        /// What tells it from every other proof of the device (`jti`).
        proof: String,
    },
    /// More proofs came than can be remembered.
    #[error("more requests came than this gateway can check for replays")]
    Crowded,
    /// A device does what makes the gateway remember or write more often than it may.
    #[error("this device sends new {what} more often than this gateway takes: wait {} s", wait.as_secs())]
    Often {
        /// What: `sessions` or `posture reports`.
        what: &'static str,
        /// How long.
        wait: Duration,
    },
    /// The session, or everything of the person or device until now, was revoked.
    #[error("access was revoked {} ago{}: sign in again", text(*.since), reason.as_ref().map(|why| format!(" ({why})")).unwrap_or_default())]
    Revoked {
        /// How long ago.
        since: Duration,
        /// Why, in the administrator's words.
        reason: Option<String>,
    },
    /// The session has lasted as long as it may, or was signed out.
    #[error("the session has ended: sign in again")]
    Over,
    /// An administrator blocked the device.
    #[error("this device is blocked")]
    DeviceBlocked {
        /// The device.
        device: DeviceId,
    },
    /// The form of an exchange is wrong.
    #[error("the request is not a token exchange that this gateway takes: {0}")]
    Form(String),
    /// The token is of an issuer that the configuration does not name.
    #[error("this gateway does not know the issuer {0}")]
    UnknownIssuer(String),
    /// The issuer's token is refused.
    #[error("the {what} of issuer `{issuer}` is refused: {fault}")]
    Refused {
        /// The issuer's name in the configuration.
        issuer: String,
        /// `access token` or `ID token`.
        what: &'static str,
        /// Why.
        fault: TokenFault,
    },
    /// The issuer cannot be asked now.
    #[error("issuer `{issuer}` cannot be asked now: {cause}")]
    Issuer {
        /// The issuer's name in the configuration.
        issuer: String,
        /// What happened.
        cause: IssuerError,
    },
    /// The posture report is not this device's, not for this gateway, old, or malformed.
    #[error("{0}")]
    Posture(#[from] PostureError),
    /// The posture report has a nonce that is not this gateway's or has run out, or was used before.
    #[error("the posture report was used before, or holds a nonce that this gateway did not just give: make a new one")]
    PostureNonce,
    /// The gateway cannot keep what it must keep.
    #[error("the gateway cannot take sign-ins now: {0}")]
    Unavailable(String),
}

/// Holds an answer of the token endpoint (RFC 6749 section 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuthFault {
    /// The HTTP status.
    pub status: u16,
    /// The `error` member.
    pub error: &'static str,
    /// The `error_description` member.
    pub description: String,
}

impl AuthnError {
    /// The refusal as a problem document.
    pub fn problem(&self) -> Problem {
        let mut problem = problem::new(self.code()).with_detail(self.to_string());
        match self {
            AuthnError::Often { wait, .. } => {
                problem.status = 429;
                problem
                    .with_remedy(
                        "Wait and try again. If no program here begins sessions all the time, sign out: ztsa logout.",
                    )
                    .with_retry(Retry::After { seconds: Some(wait.as_secs()) })
            }
            AuthnError::Revoked { since, .. } => problem.with_step_up(None, Some(since.as_secs())),
            AuthnError::Crowded => problem.with_retry(Retry::After { seconds: Some(30) }),
            AuthnError::Unavailable(_) | AuthnError::Issuer { .. } => {
                problem.with_retry(Retry::After { seconds: Some(5) })
            }
            AuthnError::UnknownIssuer(_) => {
                problem.with_remedy("Sign in at an issuer that the gateway names: ztsa login.")
            }
            AuthnError::Refused { fault, .. } if !fault.login_helps() => problem
                .with_remedy("Tell the administrator: the issuer's tokens and the gateway's configuration do not fit."),
            _ => problem,
        }
    }

    /// Names the session whose token came with a proof that was used before.
    pub(super) fn of(mut self, id: &SessionId) -> Self {
        if let AuthnError::Replay { session, .. } = &mut self {
            *session = Some(id.clone());
        }
        self
    }

    /// The refusal as the token endpoint says it.
    pub fn oauth(&self) -> OAuthFault {
        let (status, error) = match self {
            AuthnError::UseNonce | AuthnError::PostureNonce => (400, "use_dpop_nonce"),
            AuthnError::Proof(_) | AuthnError::Replay { .. } => (400, "invalid_dpop_proof"),
            AuthnError::Form(_) | AuthnError::Missing | AuthnError::Scheme(_) | AuthnError::Posture(_) => {
                (400, "invalid_request")
            }
            AuthnError::UnknownIssuer(_) | AuthnError::Refused { .. } => (400, "invalid_grant"),
            AuthnError::Token(_) | AuthnError::Expired | AuthnError::Revoked { .. } | AuthnError::Over => {
                (401, "invalid_grant")
            }
            AuthnError::DeviceBlocked { .. } => (403, "access_denied"),
            AuthnError::Often { .. } => (429, "temporarily_unavailable"),
            AuthnError::Issuer { .. } | AuthnError::Unavailable(_) | AuthnError::Crowded => {
                (503, "temporarily_unavailable")
            }
        };
        OAuthFault { status, error, description: self.to_string() }
    }

    /// The `error` of a `WWW-Authenticate: DPoP` challenge (RFC 6750 section 3.1, RFC 9449 section 7.1); empty when there was no token.
    pub(super) fn challenge(&self) -> &'static str {
        match self {
            AuthnError::Missing => "",
            AuthnError::UseNonce => "use_dpop_nonce",
            AuthnError::Proof(_) | AuthnError::Replay { .. } => "invalid_dpop_proof",
            AuthnError::Form(_) => "invalid_request",
            _ => "invalid_token",
        }
    }

    fn code(&self) -> &'static str {
        match self {
            AuthnError::Expired | AuthnError::Refused { fault: TokenFault::Expired(_) | TokenFault::Inactive, .. } => {
                "auth.expired"
            }
            AuthnError::Missing
            | AuthnError::Scheme(_)
            | AuthnError::Token(_)
            | AuthnError::UnknownIssuer(_)
            | AuthnError::Refused { .. } => "auth.required",
            AuthnError::Proof(_) | AuthnError::UseNonce | AuthnError::Replay { .. } => "auth.proof",
            AuthnError::Crowded | AuthnError::Often { .. } => "gateway.limit",
            AuthnError::Revoked { .. } => "session.revoked",
            AuthnError::Over => "session.expired",
            AuthnError::DeviceBlocked { .. } => "device.blocked",
            AuthnError::Form(_) => "request.invalid",
            AuthnError::Issuer { .. } => "auth.issuer",
            AuthnError::Posture(_) | AuthnError::PostureNonce => "posture.report",
            AuthnError::Unavailable(_) => "gateway.unavailable",
        }
    }
}

/// Keeps what may stand between the quotes of a header's parameter (RFC 9110 section 5.6.4, printable ASCII without quote and backslash).
pub(super) fn quotable(text: &str) -> String {
    let plain = |c: char| if (c.is_ascii_graphic() || c == ' ') && c != '\\' { c } else { '?' };
    text.chars().map(|c| if c == '"' { '\'' } else { plain(c) }).take(512).collect()
}

/// A duration in its largest whole unit.
fn text(span: Duration) -> String {
    match span.as_secs() {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_code_a_sentence_and_something_to_do() {
        let refused = |fault| AuthnError::Refused { issuer: "corp".to_owned(), what: "access token", fault };
        let device: DeviceId = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".parse().unwrap();
        let away = IssuerError::Status { url: "https://idp.example".to_owned(), status: 503 };
        for (error, code, oauth, status) in [
            (AuthnError::Missing, "auth.required", "invalid_request", 400),
            (AuthnError::Scheme("Bearer"), "auth.required", "invalid_request", 400),
            (AuthnError::Token("it is not a JWT"), "auth.required", "invalid_grant", 401),
            (AuthnError::Expired, "auth.expired", "invalid_grant", 401),
            (AuthnError::Proof(DpopError::Missing), "auth.proof", "invalid_dpop_proof", 400),
            (AuthnError::UseNonce, "auth.proof", "use_dpop_nonce", 400),
            (
                AuthnError::Replay { device: device.clone(), session: None, proof: String::new() },
                "auth.proof",
                "invalid_dpop_proof",
                400,
            ),
            (AuthnError::Crowded, "gateway.limit", "temporarily_unavailable", 503),
            (
                AuthnError::Often { what: "sessions", wait: Duration::from_secs(6) },
                "gateway.limit",
                "temporarily_unavailable",
                429,
            ),
            (AuthnError::Revoked { since: Duration::ZERO, reason: None }, "session.revoked", "invalid_grant", 401),
            (AuthnError::Over, "session.expired", "invalid_grant", 401),
            (AuthnError::DeviceBlocked { device: device.clone() }, "device.blocked", "access_denied", 403),
            (AuthnError::Form("x".to_owned()), "request.invalid", "invalid_request", 400),
            (AuthnError::UnknownIssuer("x".to_owned()), "auth.required", "invalid_grant", 400),
            (refused(TokenFault::Signature), "auth.required", "invalid_grant", 400),
            (refused(TokenFault::Expired(Duration::ZERO)), "auth.expired", "invalid_grant", 400),
            (
                AuthnError::Issuer { issuer: "corp".to_owned(), cause: away },
                "auth.issuer",
                "temporarily_unavailable",
                503,
            ),
            (AuthnError::Posture(PostureError::Typ), "posture.report", "invalid_request", 400),
            (AuthnError::PostureNonce, "posture.report", "use_dpop_nonce", 400),
            (AuthnError::Unavailable("x".to_owned()), "gateway.unavailable", "temporarily_unavailable", 503),
        ] {
            let problem = error.problem();
            assert_eq!(problem.code, code);
            assert!(!problem.detail.is_empty() && problem.remedy.is_some(), "{error:?}");
            assert_eq!((error.oauth().error, error.oauth().status), (oauth, status), "{error:?}");
        }
        let mismatch = refused(TokenFault::Audience { found: "x".to_owned() }).problem();
        assert!(mismatch.remedy.unwrap().contains("administrator"), "a new sign-in would not help");
    }

    #[test]
    fn quoted_text_ends_where_it_should() {
        assert_eq!(quotable("a \"b\" \\ \r\n é"), "a 'b' ? ?? ?");
    }

    #[test]
    fn a_span_reads_in_one_unit() {
        for (seconds, written) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 days")] {
            assert_eq!(text(Duration::from_secs(seconds)), written);
        }
    }
}
