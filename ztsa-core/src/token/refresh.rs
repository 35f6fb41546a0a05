//! A fresh access token from the issuer (RFC 6749 6), with rotation: the new refresh token is on disk before the new
//! access token is used, because the old one is worth nothing any more (RFC 9700 4.14).

use std::time::Duration;

use ztsa_proto::jws::Signer;

use super::{LoginReason, TokenError, Tokens, record::Credentials};
use crate::{
    http::{Body, HttpError, Request},
    login::{Refusal, read_tokens},
    store::Record,
};

/// An access token this close to its end is refreshed before it is used.
const NEAR: Duration = Duration::from_secs(60);

/// Refreshes when the access token is about to end; says whether it did. The caller holds the lock.
pub(super) async fn when_due(tokens: &Tokens, credentials: Credentials) -> Result<(Credentials, bool), TokenError> {
    let time = tokens.http().now(&credentials.token_endpoint);
    if time.plus(NEAR) < credentials.expires_at {
        return Ok((credentials, false));
    }
    let good = time < credentials.expires_at;
    if credentials.refresh_token.is_none() {
        return if good { Ok((credentials, true)) } else { Err(LoginReason::Expired.into()) };
    }
    match now(tokens, credentials.clone()).await {
        Ok(fresh) => Ok((fresh, true)),
        Err(error) if good && error.is_temporary() => Ok((credentials, true)),
        Err(error) => Err(error),
    }
}

/// Refreshes. The caller holds the lock.
pub(super) async fn now(tokens: &Tokens, mut credentials: Credentials) -> Result<Credentials, TokenError> {
    let Some(refresh_token) = credentials.refresh_token.clone() else { return Err(LoginReason::Expired.into()) };
    let mut fields = vec![
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token.expose().as_str()),
        ("client_id", credentials.client_id.as_str()),
    ];
    if let Some(resource) = &credentials.resource {
        fields.push(("resource", resource));
    }
    // Room for what comes is taken before the old token is used up for it.
    let room = tokens.inner.store.room(Record::Credentials, credentials.write().len()).await?;
    let key = tokens.key();
    let mut request = Request::post(&credentials.token_endpoint, Body::Form(&fields));
    request.signer = credentials.dpop.then_some(&*key as &dyn Signer);
    let response = tokens.http().send(&request).await.map_err(TokenError::Issuer)?;
    tokens.inner.cache.remember_issuer(tokens.http(), &credentials.token_endpoint);
    if let Some(refusal) = Refusal::read(&response) {
        let seen = response.seen();
        if seen.is_temporary() {
            return Err(TokenError::Issuer(HttpError::Unexpected(seen)));
        }
        return match refusal.code.as_ref() {
            "invalid_grant" => ended(tokens, credentials, refusal.said()).await,
            _ => Err(TokenError::IssuerRefused { said: refusal.said() }),
        };
    }
    let unexpected = || TokenError::Issuer(HttpError::Unexpected(response.seen()));
    if !response.status.is_success() {
        return Err(unexpected());
    }
    let time = tokens.http().now(&credentials.token_endpoint);
    let fresh = read_tokens(&response.body, time).map_err(|_| unexpected())?;
    credentials.replace(fresh);
    if let Err(error) = tokens.inner.store.save_into(room, Record::Credentials, &credentials.write()).await {
        // The old refresh token is used up: going on with the new one in memory loses less than stopping.
        tracing::error!(%error, "the prolonged sign-in could not be saved yet; until it is, it ends with this process");
    }
    Ok(credentials)
}

/// The refresh token is worth nothing. Somebody without our lock may have used it, so the store is looked at once more;
/// else the token is dropped, so that it is never sent again.
async fn ended(tokens: &Tokens, mut credentials: Credentials, said: String) -> Result<Credentials, TokenError> {
    if let Some(stored) = tokens.load_credentials().await?
        && stored.refresh_token != credentials.refresh_token
        && tokens.http().now(&stored.token_endpoint) < stored.expires_at
    {
        return Ok(stored);
    }
    credentials.refresh_token = None;
    tokens.inner.store.save(Record::Credentials, &credentials.write()).await?;
    Err(LoginReason::Ended { said }.into())
}
