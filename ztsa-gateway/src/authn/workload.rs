//! Jobs: a JWT that a platform signed for one of them becomes its session (RFC 8693 with RFC 7523's checks).

use std::sync::Arc;

use serde_json::{Map, Value};
use ztsa_proto::name::{DeviceId, UserId};
use ztsa_proto::time::UnixTime;

use super::authority::{Authority, Source};
use super::error::TokenFault;
use super::form::ExchangeForm;
use super::jwt::{self, Jwt};
use super::login::{Login, Token, bound, subject_of};
use super::{Authn, AuthnError, AuthnSetupError, Identity, claim, issuer};
use crate::config::{Workload, WorkloadKeys};

/// Knows one platform: its keys, and the tables whose jobs it signs for.
#[derive(Debug)]
pub(super) struct Platform {
    authority: Authority,
    tables: Vec<Arc<Workload>>,
}

const JOB: &str = "job's token";

/// Puts tables of one issuer together, so that its keys are fetched once.
pub(super) fn platforms(tables: &[Arc<Workload>]) -> Result<Vec<Platform>, AuthnSetupError> {
    let mut platforms: Vec<Platform> = Vec::new();
    for table in tables {
        if let Some(known) = platforms.iter_mut().find(|known| known.authority.identifier == table.issuer) {
            known.tables.push(Arc::clone(table));
            continue;
        }
        let source = match &table.keys {
            WorkloadKeys::Discovery => Source::Discovery { keys_needed: true },
            WorkloadKeys::Url(url) => Source::Url(url.clone()),
            WorkloadKeys::File(path) => Source::File(path.clone()),
        };
        let fetch = issuer::client(&table.name, &table.issuer, table.allow_private, table.ca_file.as_ref())?;
        let authority = Authority::new(&table.name, &table.issuer, source, table.outage_grace, fetch);
        platforms.push(Platform { authority, tables: vec![Arc::clone(table)] });
    }
    Ok(platforms)
}

impl Authn {
    /// Proves a job's token.
    pub(super) async fn job(&self, form: &ExchangeForm, device: &DeviceId, now: UnixTime) -> Result<Login, AuthnError> {
        let malformed = |fault| AuthnError::Refused { issuer: "workload".to_owned(), what: JOB, fault };
        let token = Jwt::parse(form.subject_token.expose()).map_err(malformed)?;
        let issuer = token.issuer().ok_or_else(|| malformed(TokenFault::Claim("iss")))?;
        let trust = self.trust.load_full();
        let platform = trust.platforms.iter().find(|platform| platform.authority.identifier == issuer);
        let unknown = || AuthnError::UnknownIssuer(ztsa_proto::text::printable(issuer, 256));
        platform.ok_or_else(unknown)?.login(token, device, now).await
    }
}

impl Platform {
    /// Gives what knows its keys.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Says whether its tokens are of this issuer.
    pub(super) fn is_of(&self, issuer: &str) -> bool {
        self.authority.identifier == issuer
    }

    async fn login(&self, token: Jwt<'_>, device: &DeviceId, now: UnixTime) -> Result<Login, AuthnError> {
        self.authority.verify(&token, JOB, now).await?;
        let (fingerprint, refused) = (token.fingerprint(), |fault| self.authority.refused(JOB, fault));
        let claims = token.workload(&self.authority.identifier, now).map_err(refused)?;
        let table = self.table(&claims).map_err(refused)?;
        bound(&claims, device).map_err(refused)?;
        let subject = subject_of(&claims).ok_or_else(|| refused(TokenFault::Claim("sub")))?;
        let user = UserId::new(&self.authority.identifier, &subject).map_err(|_| refused(TokenFault::Claim("sub")))?;
        let issued = jwt::time(&claims, "iat").map_err(refused)?;
        let expires = jwt::time(&claims, "exp").map_err(refused)?.unwrap_or(now);
        Ok(Login {
            identity: Identity {
                user,
                name: Some(table.user.clone()),
                email: None,
                groups: table.groups.clone(),
                acr: None,
                amr: Vec::new(),
                // a platform signs each token for a job that runs now
                auth_time: issued,
                issuer: table.name.clone(),
            },
            // a platform gives a job the same token again while it is good
            issued: None,
            at: issued,
            says_groups: true,
            says_email: false,
            lifetime: Some(table.lifetime),
            token: Token {
                issuer: table.name.clone(),
                what: JOB,
                fingerprint,
                until: expires.plus(jwt::SKEW),
                devices: 1,
            },
        })
    }

    /// Finds the table that a token's audience and claims match: the first in the order of the file.
    ///
    /// # Security
    /// The token must be for this gateway alone: whoever else it is for could use it here.
    fn table(&self, claims: &Map<String, Value>) -> Result<&Arc<Workload>, TokenFault> {
        let audiences = jwt::audiences(claims);
        let mut nearest: Option<(usize, &str)> = None;
        for table in self.tables.iter().filter(|table| audiences == [table.audience.as_str()]) {
            let matches = |(path, wanted): &&(String, Vec<String>)| {
                claim::find(claims, path).is_some_and(|found| claim::is_one_of(found, wanted))
            };
            let Some((path, _)) = table.claims.iter().find(|claim| !matches(claim)) else { return Ok(table) };
            let matched = table.claims.iter().filter(matches).count();
            if nearest.is_none_or(|(most, _)| matched > most) {
                nearest = Some((matched, path));
            }
        }
        let Some((_, path)) = nearest else {
            let wanted = self.tables.first().map(|table| table.audience.clone()).unwrap_or_default();
            return Err(TokenFault::WorkloadAudience { found: jwt::listed(&audiences), wanted });
        };
        let found = claim::find(claims, path).map_or_else(|| "missing".to_owned(), Value::to_string);
        Err(TokenFault::Workload { claim: path.to_owned(), found: ztsa_proto::text::printable(&found, 128) })
    }
}
