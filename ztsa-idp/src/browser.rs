//! What the issuer remembers of a browser: its session, and the requests it is in the middle of.

use ztsa_proto::jws::random_id;
use ztsa_proto::time::UnixTime;

use crate::device::UserCode;
use crate::expiring::Expiring;
use crate::grant::Ask;
use crate::sign_in::{Authentication, Demand};

/// A browser's session.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// Stays the same when the cookie changes at sign-in.
    pub(crate) browser: String,
    /// What a form must carry, so that no other site can send it.
    pub(crate) csrf: String,
    pub(crate) sign_in: Option<Authentication>,
}

/// An authorization request (RFC 6749 section 4.1.1) whose client and redirect URI are good.
#[derive(Debug, Clone)]
pub(crate) struct AuthorizeAsk {
    pub(crate) ask: Ask,
    pub(crate) redirect: String,
    pub(crate) state: Option<String>,
    pub(crate) challenge: String,
}

/// Why a person is asked to sign in and consent.
#[derive(Debug, Clone)]
pub(crate) enum Purpose {
    Device(UserCode),
    Authorize(Box<AuthorizeAsk>),
}

/// A request that a browser is in the middle of.
#[derive(Debug, Clone)]
pub(crate) struct Interaction {
    pub(crate) browser: String,
    pub(crate) purpose: Purpose,
    pub(crate) demand: Demand,
    /// The name to fill in.
    pub(crate) hint: Option<String>,
    /// Whether the person signed in for this very request.
    pub(crate) signed_in: bool,
    /// Whether the person wants to be someone else.
    pub(crate) switch: bool,
}

/// The sessions, by the value of their cookie.
#[derive(Debug)]
pub(crate) struct Sessions(Expiring<Session>);

impl Sessions {
    pub(crate) fn new() -> Self {
        Self(Expiring::new(4096))
    }

    pub(crate) fn find(&self, cookie: Option<&str>, now: UnixTime) -> Option<&Session> {
        self.0.get(cookie?, now)
    }

    /// Starts a session of nobody and returns its cookie.
    pub(crate) fn start(&mut self, expires_at: UnixTime, now: UnixTime) -> (String, Session) {
        let session = Session { browser: random_id(), csrf: random_id(), sign_in: None };
        let cookie = random_id();
        self.0.insert(cookie.clone(), session.clone(), expires_at, now);
        (cookie, session)
    }

    /// Signs a person in, or out, under a new cookie: one that was planted before is worth nothing afterwards.
    pub(crate) fn replace(
        &mut self,
        cookie: &str,
        sign_in: Option<Authentication>,
        expires_at: UnixTime,
        now: UnixTime,
    ) -> Option<String> {
        let old = self.0.remove(cookie, now)?;
        let fresh = random_id();
        self.0.insert(fresh.clone(), Session { csrf: random_id(), sign_in, ..old }, expires_at, now);
        Some(fresh)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::User;
    use crate::sign_in::Acr;

    #[test]
    fn signing_in_changes_the_cookie_and_the_token_but_not_the_browser() {
        let mut sessions = Sessions::new();
        let (planted, before) = sessions.start(UnixTime(10), UnixTime(0));
        let alice = Authentication { user: User::new("alice", &[]), at: UnixTime(0), acr: Acr::Password };
        let cookie = sessions.replace(&planted, Some(alice), UnixTime(10), UnixTime(0)).unwrap();
        assert!(sessions.find(Some(&planted), UnixTime(1)).is_none());
        let after = sessions.find(Some(&cookie), UnixTime(1)).unwrap();
        assert_eq!(before.browser, after.browser);
        assert_ne!(before.csrf, after.csrf);
        assert!(sessions.find(Some(&cookie), UnixTime(10)).is_none());
        assert!(sessions.find(None, UnixTime(1)).is_none());
    }
}
