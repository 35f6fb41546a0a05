//! What will end without the person, and when to say so.

use std::{fmt, time::Duration};

use ztsa_proto::{session::SessionInfo, time::UnixTime};

use super::{SignIn, Tokens};

/// How long before an end a person is told.
pub const NOTICE: Duration = Duration::from_secs(30 * 60);

/// Something that ends unless the person signs in again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The session at the gateway, and with it every tunnel.
    Session,
    /// The sign-in at the issuer: the session cannot be renewed after it.
    SignIn,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Session => "session",
            Self::SignIn => "sign-in",
        })
    }
}

/// An end that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expiry {
    /// What ends.
    pub what: Ending,
    /// When, by the clock of whoever ends it.
    pub at: UnixTime,
}

impl Expiry {
    /// Whether a person should be told at `now`.
    pub fn is_near(&self, now: UnixTime) -> bool {
        self.at <= now.plus(NOTICE)
    }
}

/// Lists the ends that are known, the first one first.
pub fn expiries(session: &SessionInfo, sign_in: Option<&SignIn>) -> Vec<Expiry> {
    let session = session.renew_before.map(|at| Expiry { what: Ending::Session, at });
    let sign_in = sign_in.and_then(SignIn::ends).map(|at| Expiry { what: Ending::SignIn, at });
    let mut all: Vec<Expiry> = session.into_iter().chain(sign_in).collect();
    all.sort_by_key(|expiry| expiry.at);
    all
}

impl Tokens {
    /// Lists what ends within half an hour.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn expiring(&self) -> Vec<Expiry> {
        let Some(session) = self.current().session.clone() else { return Vec::new() };
        let credentials = self.load_credentials().await.ok().flatten();
        let (sign_in, now) = (credentials.as_ref().map(SignIn::of), self.now());
        expiries(&session.info, sign_in.as_ref()).into_iter().filter(|expiry| expiry.is_near(now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_ends_first_comes_first_and_is_told_half_an_hour_before() {
        let session = |ends: Option<u64>| -> SessionInfo {
            serde_json::from_value(json!({
                "session": "s-1", "user": {"issuer": "https://idp", "subject": "alice"}, "expires_at": 300,
                "device": {"id": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "state": "unmanaged"},
                "renew_before": ends,
            }))
            .unwrap()
        };
        let sign_in = |renewable, until: Option<u64>| SignIn {
            issuer: "https://idp".to_owned(),
            expires_at: UnixTime(600),
            renewable,
            renewable_until: until.map(UnixTime),
            flow: None,
        };
        for (ends, sign_in, expected) in [
            (Some(9000), sign_in(true, Some(4000)), "sign-in 4000, session 9000"),
            (Some(3000), sign_in(true, Some(4000)), "session 3000, sign-in 4000"),
            (Some(3000), sign_in(true, None), "session 3000"),
            (None, sign_in(false, None), "sign-in 600"),
            (None, sign_in(true, None), ""),
        ] {
            let all = expiries(&session(ends), Some(&sign_in));
            let all: Vec<String> = all.iter().map(|expiry| format!("{} {}", expiry.what, expiry.at.0)).collect();
            assert_eq!(all.join(", "), expected);
        }
        let expiry = Expiry { what: Ending::Session, at: UnixTime(3000) };
        assert!(!expiry.is_near(UnixTime(1199)) && expiry.is_near(UnixTime(1200)) && expiry.is_near(UnixTime(4000)));
    }
}
