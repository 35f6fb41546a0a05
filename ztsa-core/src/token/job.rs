//! A job's session: its platform's token, fetched anew each time, in place of credentials.

use std::sync::Arc;

use ztsa_proto::session::JWT;

use super::{
    SessionToken, TokenError, Tokens,
    exchange::{self, ExchangeError, Subject},
};
use crate::{config::Workload, workload};

/// Fetches the job's token and exchanges it for a session, which is bound to the device key. The caller holds the lock.
pub(super) async fn begin(
    tokens: &Tokens,
    workload: &Workload,
    previous: Option<&SessionToken>,
) -> Result<Arc<SessionToken>, TokenError> {
    tokens.settle_key().await?;
    let (metadata, http) = (tokens.metadata().await?, tokens.http());
    let token = workload::fetch(workload, &metadata, http, tokens.now()).await?;
    let subject = Subject { token: &token, kind: JWT, id_token: None, bound: false };
    match exchange::exchange(tokens, &metadata, &subject, previous).await {
        Ok(session) => Ok(tokens.begun(session).await),
        // Nobody can sign in here: what the gateway says of the job's token is the answer.
        Err(ExchangeError::Stale(problem) | ExchangeError::Login(problem) | ExchangeError::Denied(problem)) => {
            Err(TokenError::Denied(problem))
        }
        Err(ExchangeError::Http(error)) => Err(TokenError::Gateway(error)),
        Err(ExchangeError::Sign(error)) => Err(error.into()),
    }
}
