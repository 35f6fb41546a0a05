//! The exchange: an issuer's tokens and a proof become a session (RFC 8693).

use std::sync::Arc;
use std::time::Duration;

use ztsa_proto::dpop::Proof;
use ztsa_proto::name::{DeviceId, SessionId, UserId};
use ztsa_proto::posture::{self, Accepted};
use ztsa_proto::time::UnixTime;

use super::error::TokenFault;
use super::form::{ExchangeForm, SubjectKind};
use super::issuer::Asker;
use super::jwt::SKEW;
use super::login::{Login, Token};
use super::{ANY_TIME, Authn, AuthnError, Exchanged, Head, Identity, Session, cache};
use crate::store::{BindError, SessionRow, Subject, User};

/// Says why an exchange failed, and whom it is about as far as that was proved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct ExchangeFailure {
    /// Why.
    pub error: AuthnError,
    /// The person or job that the tokens, or the session to be renewed, are of.
    pub user: Option<UserId>,
    /// The device whose key signed the proof.
    pub device: Option<DeviceId>,
    /// The session of this device that was to be renewed.
    pub session: Option<SessionId>,
    /// What tells the proof from every other one of the device.
    pub proof: Option<String>,
}

impl From<AuthnError> for Box<ExchangeFailure> {
    fn from(error: AuthnError) -> Self {
        Self::new(ExchangeFailure { error, user: None, device: None, session: None, proof: None })
    }
}

impl Authn {
    /// Proves an issuer's tokens and a device's key, and begins or renews a session. The caller judges it and mints its token.
    ///
    /// # Errors
    /// [`AuthnError`], for [`AuthnError::oauth`].
    ///
    /// # Cancel safety
    /// Cancel-safe: a session is kept only at the end.
    ///
    /// # Security
    /// A proof is used up only by tokens that are good: a stranger makes keys and proofs for nothing, and could fill
    /// the memory of used ones so that nobody signs in or renews.
    pub async fn exchange(
        &self,
        form: ExchangeForm,
        head: &Head<'_>,
        now: UnixTime,
    ) -> Result<Exchanged, Box<ExchangeFailure>> {
        let mut failure = Box::<ExchangeFailure>::from(AuthnError::Missing);
        match self.exchanged(form, head, now, &mut failure).await {
            Ok(exchanged) => Ok(exchanged),
            Err(error) => {
                failure.error = error;
                Err(failure)
            }
        }
    }

    /// The exchange; who it is about is noted in `known` as it is proved.
    async fn exchanged(
        &self,
        form: ExchangeForm,
        head: &Head<'_>,
        now: UnixTime,
        known: &mut ExchangeFailure,
    ) -> Result<Exchanged, AuthnError> {
        let Proof { device, jti, .. } = self.proof(head, None, now)?;
        known.device = Some(device.clone());
        known.proof = Some(jti.clone());
        if self.store.is_blocked(&device) {
            return Err(AuthnError::DeviceBlocked { device });
        }
        if let Some(cause) = self.store.outage() {
            return Err(AuthnError::Unavailable(cause));
        }
        let row = form.session.as_ref().and_then(|id| self.store.session(id)).filter(|row| row.device == device);
        // the key of the session was proved: whose it is, is known
        known.session = row.as_ref().map(|row| row.id.clone());
        known.user = row.as_ref().map(|row| row.user.clone());
        let (login, row) = match form.kind {
            SubjectKind::Workload => {
                let login = self.job(&form, &device, now).await?;
                let row = row.filter(|row| row.user == login.identity.user);
                (login, row)
            }
            SubjectKind::Access => self.person(&form, row, &device, now).await?,
        };
        known.user = Some(login.identity.user.clone());
        self.still_trusted(&login.identity.user)?;
        self.newcomers.first(&login.identity.user, &device, &jti, now)?;
        if !row.as_ref().is_some_and(|row| self.is_live(row, now)) {
            self.outlives_sign_outs(&login, &device, now)?;
        }
        self.bind(&login.token, &device, now)?;
        let posture = match form.posture.as_deref().map(|jws| self.report(jws, &login.identity.user, &device, now)) {
            // a session does not end for want of room for its report: another will come
            None | Some(Err(AuthnError::Crowded | AuthnError::Often { .. })) => None,
            Some(report) => Some(report?),
        };
        let (session, renewed) = self.session(login, row, form.session.as_ref(), &device, now)?;
        self.store.describe_device(&device, form.device_name, None);
        Ok(Exchanged { session, renewed, posture })
    }

    async fn person(
        &self,
        form: &ExchangeForm,
        row: Option<SessionRow>,
        device: &DeviceId,
        now: UnixTime,
    ) -> Result<(Login, Option<SessionRow>), AuthnError> {
        let issuer = self.issuer_of(form, row.as_ref().map(|row| row.user.issuer.as_str()))?;
        let renewing =
            row.as_ref().is_some_and(|row| self.is_live(row, now) && row.user.issuer == issuer.config.issuer);
        let asker = Asker { device, known: self.store.device(device).is_some(), renewing };
        let login = issuer.login(form, asker, now).await?;
        let row = row.filter(|row| row.user == login.identity.user);
        if renewing && row.is_none() {
            // the tokens were read leniently for a session that turns out to be somebody else's
            issuer.login(form, Asker { renewing: false, ..asker }, now).await?;
        }
        Ok((login, row))
    }

    /// Refuses an issuer that a configuration did away with while it was being asked.
    fn still_trusted(&self, user: &UserId) -> Result<(), AuthnError> {
        let trust = self.trust.load();
        let issuer = trust.issuers.iter().any(|issuer| issuer.config.issuer == user.issuer);
        let platform = trust.platforms.iter().any(|platform| platform.is_of(&user.issuer));
        if issuer || platform { Ok(()) } else { Err(AuthnError::UnknownIssuer(user.issuer.clone())) }
    }

    /// Takes a token from a device, unless it was taken from too many others.
    fn bind(&self, token: &Token, device: &DeviceId, now: UnixTime) -> Result<(), AuthnError> {
        let text = cache::text(&token.fingerprint);
        self.store.bind_token(&text, device, token.devices, token.until, now).map_err(|error| match error {
            BindError::Shared => {
                AuthnError::Refused { issuer: token.issuer.clone(), what: token.what, fault: TokenFault::Shared }
            }
            BindError::Full => AuthnError::Crowded,
        })
    }

    fn session(
        &self,
        login: Login,
        row: Option<SessionRow>,
        asked: Option<&SessionId>,
        device: &DeviceId,
        now: UnixTime,
    ) -> Result<(Arc<Session>, bool), AuthnError> {
        let id = row.as_ref().map_or_else(SessionId::random, |row| row.id.clone());
        // read before anything is judged: what is revoked meanwhile must not be dated away below
        let cutoff = self.store.cutoff_of(&login.identity.user, device, &id);
        let row = self.renewable(&login, row, asked, now)?;
        let login_at = match &row {
            // without `auth_time` the tokens of a refresh look like those of a sign-in
            Some(row) => row.login_at.max(login.identity.auth_time.unwrap_or_default().min(now)),
            None => self.login_stands(&login, device, now)?,
        };
        if row.is_none() {
            let often = |wait| AuthnError::Often { what: "sessions", wait };
            self.beginnings.admit(device.clone(), now).map_err(often)?;
        }
        let renewed = row.is_some();
        let login_lifetime = login.lifetime;
        let earlier = row.as_ref().and_then(|row| serde_json::from_str::<Identity>(&row.identity).ok());
        let identity = merged(login.identity, login.says_groups, login.says_email, earlier);
        let row = SessionRow {
            id: row.as_ref().map_or_else(SessionId::random, |row| row.id.clone()),
            user: identity.user.clone(),
            device: device.clone(),
            started_at: row.as_ref().map_or(now, |row| row.started_at),
            login_at,
            ends_at: self.ends_at(row.as_ref(), login_at, login_lifetime, now),
            identity: serde_json::to_string(&identity).unwrap_or_default().into(),
        };
        self.store.record_user(User {
            id: identity.user.clone(),
            name: identity.name.clone(),
            email: identity.email.clone(),
        });
        self.store.upsert_seen(&identity.user, device, now);
        // times have whole seconds: a token that follows a revocation within its second is dated after it
        let issued_at = cutoff.map_or(now, |cutoff| now.max(after(cutoff)));
        let session = Session {
            id: row.id.clone(),
            identity: Arc::new(identity),
            device: device.clone(),
            started_at: row.started_at,
            issued_at,
            expires_at: now.plus(self.rules().token_lifetime).min(row.ends_at),
        };
        self.store.keep_session(row);
        Ok((Arc::new(session), renewed))
    }

    /// When a session can no longer be renewed: a fresh sign-in begins its time anew, a mere renewal does not.
    fn ends_at(
        &self,
        row: Option<&SessionRow>,
        login_at: UnixTime,
        lifetime: Option<Duration>,
        now: UnixTime,
    ) -> UnixTime {
        let anew = now.plus(lifetime.map_or(self.rules().lifetime, |lifetime| lifetime.min(self.rules().lifetime)));
        match row {
            // a job's platform signs a token whenever it is asked: that is no reason to go on for ever
            Some(row) if lifetime.is_some() || login_at <= row.login_at => row.ends_at,
            Some(row) => row.ends_at.max(anew),
            None => anew,
        }
    }

    /// Says whether the session that a client asks to renew can be; a sign-in since it ended begins another.
    fn renewable(
        &self,
        login: &Login,
        row: Option<SessionRow>,
        asked: Option<&SessionId>,
        now: UnixTime,
    ) -> Result<Option<SessionRow>, AuthnError> {
        // only `auth_time` tells a new sign-in from a refresh
        let again = |since: UnixTime| login.identity.auth_time.is_some_and(|at| at > since);
        let Some(row) = row else {
            // never this id again, even where the session itself is no longer known
            return match asked.and_then(|id| self.store.cutoff(&Subject::Session(id.clone()))) {
                Some(cutoff) if !again(cutoff) => {
                    let reason = asked.and_then(|id| self.store.reason(&Subject::Session(id.clone())));
                    Err(AuthnError::Revoked { since: now.since(cutoff), reason })
                }
                _ => Ok(None),
            };
        };
        // what was revoked before this session began did not end it
        let own = self.store.cutoff(&Subject::Session(row.id.clone()));
        let cutoff = self.store.cutoff_of(&row.user, &row.device, &row.id).filter(|cutoff| row.login_at <= *cutoff);
        match own.or(cutoff) {
            _ if self.is_live(&row, now) => Ok(Some(row)),
            // whether it is new enough is judged as for any new session
            _ if again(row.login_at) => Ok(None),
            Some(cutoff) => {
                let reason = self.store.reason_of(&row.user, &row.device, &row.id);
                Err(AuthnError::Revoked { since: now.since(cutoff), reason })
            }
            None => Err(AuthnError::Over),
        }
    }

    /// Says whether a session can be renewed: it has neither run out nor been revoked.
    fn is_live(&self, row: &SessionRow, now: UnixTime) -> bool {
        let cutoff = self.store.cutoff_of(&row.user, &row.device, &row.id);
        row.ends_at > now && cutoff.is_none_or(|cutoff| row.login_at > cutoff)
    }

    /// Refuses a sign-in from before a revocation of the person, the device, or an earlier session of theirs; gives its time.
    ///
    /// # Security
    /// The time of a sign-in is `auth_time`. Where the issuer gives none it is the oldest issue time of the tokens shown, which a
    /// refresh moves; so once an issuer has given one for a person, tokens without it do not pass a revocation.
    fn login_stands(&self, login: &Login, device: &DeviceId, now: UnixTime) -> Result<UnixTime, AuthnError> {
        let at = login.at.unwrap_or(now);
        let user = &login.identity.user;
        let subjects = [
            Subject::User(user.clone()),
            Subject::Device(device.clone()),
            Subject::Login(user.clone(), device.clone()),
        ];
        let cut = subjects.iter().filter_map(|subject| Some((self.store.cutoff(subject)?, subject)));
        let Some((cutoff, subject)) = cut.max_by_key(|(cutoff, _)| *cutoff) else {
            return Ok(at);
        };
        // times have whole seconds: a sign-in in the very second of the revocation is new if nobody used it before
        let used = || self.store.sessions_of(user).iter().any(|row| row.login_at == at);
        if at < cutoff || (at == cutoff && used()) {
            return Err(AuthnError::Revoked { since: now.since(cutoff), reason: self.store.reason(subject) });
        }
        if login.identity.auth_time.is_none() && self.gave_auth_time(user) {
            let issuer = login.identity.issuer.clone();
            return Err(AuthnError::Refused { issuer, what: "sign-in", fault: TokenFault::NoLoginTime });
        }
        Ok(at.max(after(cutoff)))
    }

    /// Refuses a person's token that was there when they signed out: a copy of it begins nothing.
    ///
    /// # Security
    /// What was used before is known by itself and compared whole. What was not is given 60 s, since the issuer's clock may be
    /// behind and a new sign-in must not wait. A token without `iat` is left to its issuer, who is asked about it each time.
    fn outlives_sign_outs(&self, login: &Login, device: &DeviceId, now: UnixTime) -> Result<(), AuthnError> {
        let Some(issued) = login.issued else { return Ok(()) };
        let out = |device: &DeviceId| {
            let subject = Subject::SignOut(login.identity.user.clone(), device.clone());
            self.store.cutoff(&subject)
        };
        let used = self.store.devices_of_token(&cache::text(&login.token.fingerprint), now);
        let used = used.iter().filter_map(out).find(|out| issued <= *out);
        match used.or_else(|| out(device).filter(|out| issued.plus(SKEW) < *out)) {
            Some(out) => Err(AuthnError::Revoked { since: now.since(out), reason: Some("signed out".to_owned()) }),
            None => Ok(()),
        }
    }

    fn gave_auth_time(&self, user: &UserId) -> bool {
        self.store
            .sessions_of(user)
            .iter()
            .any(|row| serde_json::from_str::<Identity>(&row.identity).is_ok_and(|known| known.auth_time.is_some()))
    }

    /// Checks a signed posture report: the same key as the proof, now, once.
    ///
    /// A nonce of ours proves the time; without one the device's clock has to be right.
    pub(super) fn report(
        &self,
        jws: &str,
        user: &UserId,
        device: &DeviceId,
        now: UnixTime,
    ) -> Result<Accepted, AuthnError> {
        let check = |skew| posture::check(jws, &posture::Expected { audience: &self.resource, device, now, skew });
        let accepted = match check(ANY_TIME)? {
            accepted if accepted.nonce.is_some() => accepted,
            _ => check(SKEW)?,
        };
        if !accepted.nonce.as_deref().is_none_or(|nonce| self.nonces.is_ours(nonce, now)) {
            return Err(AuthnError::PostureNonce);
        }
        let often = |wait| AuthnError::Often { what: "posture reports", wait };
        self.told.admit(device.clone(), now).map_err(often)?;
        match self.reports.first(user, device, &accepted.jti, now) {
            Err(AuthnError::Replay { .. }) => Err(AuthnError::PostureNonce),
            other => other.map(|()| accepted),
        }
    }
}

/// The first second that a revocation does not reach.
fn after(cutoff: UnixTime) -> UnixTime {
    UnixTime(cutoff.0.saturating_add(1))
}

/// Keeps of an earlier identity what the new tokens do not say: a renewal mostly brings the access token alone.
fn merged(new: Identity, says_groups: bool, says_email: bool, earlier: Option<Identity>) -> Identity {
    let Some(earlier) = earlier else { return new };
    // how and when the person signed in belong together: either all of it is new, or none
    let (acr, amr, auth_time) = if new.auth_time.is_some() || new.acr.is_some() || !new.amr.is_empty() {
        (new.acr, new.amr, new.auth_time.or(earlier.auth_time))
    } else {
        (earlier.acr, earlier.amr, earlier.auth_time)
    };
    Identity {
        user: new.user,
        name: new.name.or(earlier.name),
        email: if says_email { new.email } else { earlier.email },
        groups: if says_groups { new.groups } else { earlier.groups },
        acr,
        amr,
        auth_time,
        issuer: new.issuer,
    }
}
