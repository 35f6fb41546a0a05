//! Workload identity: the token that a platform signs for a job, fetched anew for each use.
//!
//! The token is a bearer credential until the gateway has exchanged it for a session that is bound to the device key. So
//! it is looked at before it is sent: one that is meant for somebody else never leaves this machine.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use ztsa_proto::{
    jws::sha256_base64url,
    metadata::{ResourceMetadata, WorkloadInfo},
    problem::Retry,
    secret::Secret,
    text::printable,
    time::UnixTime,
};

use crate::{
    config::{Workload, WorkloadName},
    http::{Http, HttpError, Request},
};

/// GitHub's issuer; an enterprise server has one of its own.
const GITHUB: &str = "https://token.actions.githubusercontent.com";
/// The largest token that is read, in bytes.
const LARGEST: u64 = 64 * 1024;
/// How far clocks may differ.
const LEEWAY: u64 = 60;

/// Why a job has no token that the gateway would take.
#[derive(Debug, thiserror::Error)]
pub enum WorkloadError {
    /// The file cannot be read.
    #[error("the job's token cannot be read from {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// What is there is no JWT.
    #[error("what {name} holds is not a JWT")]
    NotJwt {
        /// Where it was read.
        name: WorkloadName,
    },
    /// It has ended.
    #[error("the job's token from {name} has ended at {at}", at = at.rfc3339())]
    Expired {
        /// Where it was read.
        name: WorkloadName,
        /// When it ended.
        at: UnixTime,
    },
    /// It is for somebody else.
    #[error("the job's token from {name} is for the audience {found}, and this gateway wants {wanted}")]
    Audience {
        /// Where it was read.
        name: WorkloadName,
        /// Its audiences.
        found: String,
        /// The audience that the gateway wants.
        wanted: String,
    },
    /// The gateway does not take tokens of its issuer.
    #[error("the job's token from {name} is of {found}, and this gateway takes jobs of {wanted}")]
    Issuer {
        /// Where it was read.
        name: WorkloadName,
        /// Its issuer.
        found: String,
        /// The issuers whose jobs the gateway takes.
        wanted: String,
    },
    /// The gateway takes no jobs.
    #[error("this gateway takes no job's token")]
    NotOffered,
    /// The platform could not be asked.
    #[error("GitHub Actions could not be asked for the job's token: {0}")]
    Http(#[source] HttpError),
    /// The platform did not give one.
    #[error("GitHub Actions gave no token: {said}")]
    Refused {
        /// What it said.
        said: String,
    },
}

impl WorkloadError {
    /// Whether it may pass by itself.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Http(error) if error.is_temporary())
    }

    /// When to try again.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Http(error) => error.retry(),
            _ => Retry::Never,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Unreadable { path, .. } => format!(
                "mount a service account token there (projected volume, serviceAccountToken), or name another file than {}",
                path.display()
            ),
            Self::NotJwt { name } => {
                format!("name what holds the platform's OIDC token; `{name}` holds something else")
            }
            Self::Expired { name: WorkloadName::Variable(_), .. } => {
                "a variable cannot be renewed: let the platform write the token to a file, and name that".to_owned()
            }
            Self::Expired { .. } => "ask the platform for a new one, and check this machine's clock".to_owned(),
            Self::Audience { wanted, .. } => format!("ask the platform for a token with the audience {wanted}"),
            Self::Issuer { .. } | Self::NotOffered => {
                "ask the gateway's administrator for a [[workload]] table for these jobs".to_owned()
            }
            Self::Http(error) => error.hint(),
            Self::Refused { .. } => "give the workflow `permissions: id-token: write`".to_owned(),
        }
    }
}

/// Fetches a job's token and looks at it; the gateway's metadata says for whom it has to be. Blocks for a small file.
///
/// # Errors
/// See [`WorkloadError`].
pub(crate) async fn fetch(
    workload: &Workload,
    metadata: &ResourceMetadata,
    http: &Http,
    now: UnixTime,
) -> Result<Secret<String>, WorkloadError> {
    let offers = metadata.ztsa.workload.as_slice();
    let first = offers.first().ok_or(WorkloadError::NotOffered)?;
    let token = match workload {
        Workload::File(path) => read(path)?,
        Workload::Variable { token, .. } => Secret::new(token.expose().trim().to_owned()),
        Workload::GitHub { url, token } => {
            let offer = offers.iter().find(|offer| offer.issuer == GITHUB).unwrap_or(first);
            from_github(url, token, &offer.audience, http).await?
        }
    };
    check(&workload.name(), &token, offers, now)?;
    Ok(token)
}

/// Names the job, so that no job goes on with the session of another that ran on the same machine.
pub(crate) fn folder(workload: &Workload) -> String {
    let who = |token: &str| match claims(token) {
        Some(claims) => format!("{} {}", claims.iss, claims.sub),
        None => token.to_owned(),
    };
    let job = match workload {
        Workload::File(path) => read(path).map(|token| who(token.expose())).unwrap_or_default(),
        Workload::Variable { token, .. } => who(token.expose()),
        // each job has a request token of its own
        Workload::GitHub { url, token } => format!("{url} {}", token.expose()),
    };
    let digest = sha256_base64url(format!("{} {job}", workload.name()).as_bytes());
    format!("workload-{}", digest.get(..16).unwrap_or_default())
}

fn read(path: &Path) -> Result<Secret<String>, WorkloadError> {
    use std::io::Read as _;
    let mut text = zeroize::Zeroizing::new(String::new());
    let file = std::fs::File::open(path).and_then(|file| file.take(LARGEST).read_to_string(&mut text));
    file.map_err(|source| WorkloadError::Unreadable { path: path.to_owned(), source })?;
    Ok(Secret::new(text.trim().to_owned()))
}

#[derive(Deserialize)]
struct Answer {
    value: Secret<String>,
}

/// Asks GitHub Actions, as its documentation says: GET, the job's own bearer token, the audience in the query.
async fn from_github(
    url: &str,
    token: &Secret<String>,
    audience: &str,
    http: &Http,
) -> Result<Secret<String>, WorkloadError> {
    let encoded: String = url::form_urlencoded::byte_serialize(audience.as_bytes()).collect();
    let url = format!("{url}{}audience={encoded}", if url.contains('?') { '&' } else { '?' });
    let response = http.send(&Request::get(&url).with_token(token)).await.map_err(WorkloadError::Http)?;
    if matches!(response.status.as_u16(), 400..=428) {
        let said = format!("{} {}", response.status, printable(&String::from_utf8_lossy(&response.body), 200));
        return Err(WorkloadError::Refused { said: said.trim().to_owned() });
    }
    if !response.status.is_success() {
        return Err(WorkloadError::Http(HttpError::Unexpected(response.seen())));
    }
    Ok(response.json::<Answer>().map_err(WorkloadError::Http)?.value)
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    #[serde(default)]
    sub: String,
    #[serde(default)]
    aud: Audience,
    exp: Option<UnixTime>,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
    #[default]
    None,
}

fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (_, body, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else { return None };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(body).ok()?).ok()
}

/// Whether the gateway is whom the token is for. The gateway judges; this keeps a token of somebody else's from it.
fn check(
    name: &WorkloadName,
    token: &Secret<String>,
    offers: &[WorkloadInfo],
    now: UnixTime,
) -> Result<(), WorkloadError> {
    let name = name.clone();
    let Some(claims) = claims(token.expose()) else { return Err(WorkloadError::NotJwt { name }) };
    if let Some(at) = claims.exp.filter(|at| at.0.saturating_add(LEEWAY) <= now.0) {
        return Err(WorkloadError::Expired { name, at });
    }
    let wanted: Vec<&WorkloadInfo> = offers.iter().filter(|offer| offer.issuer == claims.iss).collect();
    if wanted.is_empty() {
        let mut issuers: Vec<&str> = offers.iter().map(|offer| offer.issuer.as_str()).collect();
        issuers.dedup();
        let (found, wanted) = (printable(&claims.iss, 200), issuers.join(", "));
        return Err(WorkloadError::Issuer { name, found, wanted });
    }
    let audiences = match claims.aud {
        Audience::One(one) => vec![one],
        Audience::Many(many) => many,
        Audience::None => Vec::new(),
    };
    if wanted.iter().any(|offer| audiences.contains(&offer.audience)) {
        return Ok(());
    }
    let found = if audiences.is_empty() { "nobody".to_owned() } else { printable(&audiences.join(", "), 200) };
    let wanted = wanted.iter().map(|offer| offer.audience.as_str()).collect::<Vec<_>>().join(" or ");
    Err(WorkloadError::Audience { name, found, wanted })
}

#[cfg(test)]
mod tests;
