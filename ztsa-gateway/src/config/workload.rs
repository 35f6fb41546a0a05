//! `[[workload]]`: whose jobs may sign in with the token that their platform gives them, and as whom.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::duration::Span;
use super::error::{ConfigError, Fault};
use super::file::Place;
use super::issuer::{Issuer, OUTAGE_GRACE, is_word, secure};
use super::rule::unique;

/// Says whose jobs may sign in with the JWT that their platform gives them, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// The short name used in policies, logs and messages.
    pub name: String,
    /// The platform's issuer identifier, compared byte for byte with `iss`.
    pub issuer: String,
    /// The one audience that the JWT must have.
    ///
    /// # Defaults
    /// The gateway's `public_url`.
    pub audience: String,
    /// The claims that must match, each with the values that it may have; at least one.
    pub claims: Vec<(String, Vec<String>)>,
    /// The name that people see.
    ///
    /// # Defaults
    /// The table's `name`.
    pub user: String,
    /// The groups that the job is in.
    ///
    /// # Defaults
    /// None.
    pub groups: Vec<String>,
    /// How long a session lasts, however often it is renewed.
    ///
    /// # Defaults
    /// 1 h; 30 s to 24 h, and never longer than `[session] lifetime`.
    pub lifetime: Duration,
    /// Where the platform's keys are.
    ///
    /// # Defaults
    /// Where its discovery document says.
    pub keys: WorkloadKeys,
    /// Extra roots, PEM, for a platform behind a private CA.
    pub ca_file: Option<PathBuf>,
    /// Whether the platform may be at a private address, as a cluster of one's own is.
    ///
    /// # Defaults
    /// `false`; a platform that is configured on loopback may be there.
    pub allow_private: bool,
    /// How long known keys are used while the platform cannot be asked.
    ///
    /// # Defaults
    /// 1 h; 1 min to 24 h.
    pub outage_grace: Duration,
}

/// Says where the keys of a platform are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadKeys {
    /// In the set that its discovery document names.
    Discovery,
    /// In this set.
    Url(Url),
    /// In a file, for a cluster that the gateway cannot ask; read again when it changes.
    File(PathBuf),
}

/// One table, as it stands in the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) name: Spanned<String>,
    issuer: String,
    audience: Option<String>,
    #[serde(rename = "match")]
    claims: BTreeMap<String, OneOrMore>,
    user: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    lifetime: Option<Span<30, 86_400>>,
    jwks_uri: Option<String>,
    pub(super) jwks_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    #[serde(default)]
    allow_private: bool,
    outage_grace: Option<Span<60, 86_400>>,
    #[serde(skip)]
    pub(super) place: Place,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a text, or a list of texts of which one must be the claim's value")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Platforms that sign for everybody: a table must name a claim that one customer alone can have.
const SHARED: [(&str, &[&str]); 6] = [
    (
        "https://token.actions.githubusercontent.com",
        &[
            "repository_id",
            "repository_owner_id",
            "repository",
            "repository_owner",
            "job_workflow_ref",
            "enterprise_id",
            "sub",
        ],
    ),
    ("https://gitlab.com", &["project_id", "namespace_id", "project_path", "namespace_path", "sub"]),
    ("https://agent.buildkite.com", &["organization_id", "pipeline_id", "organization_slug", "sub"]),
    ("https://app.terraform.io", &["terraform_organization_id", "terraform_workspace_id", "sub"]),
    ("https://accounts.google.com", &["sub", "azp", "email"]),
    ("https://vstoken.actions.githubusercontent.com", &["repository_id", "repository_owner_id", "sub"]),
];

/// Audiences that tokens have without being asked: whoever else takes them could use them here.
const FOREIGN: [&str; 6] = [
    "https://github.com/",
    "https://kubernetes.default.svc",
    "kubernetes",
    "sts.amazonaws.com",
    "api://AzureADTokenExchange",
    "https://iam.googleapis.com/",
];

/// Claims that say nothing of whose job it is: they are checked anyway, or differ each time.
const EMPTY: [&str; 6] = ["iss", "aud", "exp", "iat", "nbf", "jti"];

/// Checks the tables.
pub(super) fn check(raw: &[Raw], issuers: &[Arc<Issuer>], resource: &str) -> Result<Vec<Arc<Workload>>, ConfigError> {
    let mut names: HashMap<&str, &Place> = HashMap::new();
    let mut workloads: Vec<Arc<Workload>> = Vec::with_capacity(raw.len());
    for table in raw {
        let name = table.name.get_ref();
        unique(&mut names, name, &table.place, "the workload")?;
        let workload = one(table, resource)?;
        if issuers.iter().any(|issuer| issuer.name == *name) {
            return Err(table.wrong("is also the name of an issuer: policies could not tell them apart", "Rename one."));
        }
        let other = workloads.iter().find(|other| other.issuer == workload.issuer);
        let reach = |workload: &Workload| {
            let Workload { keys, ca_file, allow_private, outage_grace, .. } = workload;
            (keys.clone(), ca_file.clone(), *allow_private, *outage_grace)
        };
        if other.is_some_and(|other| reach(other) != reach(&workload)) {
            return Err(table.wrong(
                &format!("has other keys for {} than a table before it", workload.issuer),
                "Give all tables of one issuer the same jwks_uri, jwks_file, ca_file, allow_private and outage_grace.",
            ));
        }
        workloads.push(Arc::new(workload));
    }
    Ok(workloads)
}

fn one(table: &Raw, resource: &str) -> Result<Workload, ConfigError> {
    let name = table.name.get_ref().clone();
    if !is_word(&name) {
        return Err(table.wrong("is not a short word", "Use letters, digits and dashes, such as name = \"deploy\"."));
    }
    let keys = keys(table)?;
    secure(&table.issuer)
        .map_err(|(reason, remedy)| table.wrong(&format!("has an issuer that cannot be: {reason}"), remedy))?;
    let audience = table.audience.clone().unwrap_or_else(|| resource.to_owned());
    let foreign = |known: &str| audience == known || (known.ends_with('/') && audience.starts_with(known));
    if audience.is_empty() || FOREIGN.iter().any(|known| foreign(known)) {
        return Err(table.wrong(
            &format!("has the audience {audience:?}, which tokens for others have too"),
            "Leave `audience` out: jobs then ask for the gateway's own URL.",
        ));
    }
    let claims = claims(table)?;
    if table.groups.iter().any(String::is_empty) {
        return Err(table.wrong("has a group without a name", "Remove it from `groups`."));
    }
    Ok(Workload {
        issuer: table.issuer.clone(),
        audience,
        claims,
        user: table.user.clone().filter(|user| !user.is_empty()).unwrap_or_else(|| name.clone()),
        groups: table.groups.clone(),
        lifetime: table.lifetime.map_or(Duration::from_secs(3600), |span| span.0),
        keys,
        ca_file: table.ca_file.clone(),
        allow_private: table.allow_private,
        outage_grace: table.outage_grace.map_or(OUTAGE_GRACE, |span| span.0),
        name,
    })
}

fn keys(table: &Raw) -> Result<WorkloadKeys, ConfigError> {
    match (&table.jwks_uri, &table.jwks_file) {
        (None, None) => Ok(WorkloadKeys::Discovery),
        (None, Some(file)) => Ok(WorkloadKeys::File(file.clone())),
        (Some(text), None) => {
            let url = Url::parse(text).ok().filter(|_| secure(text).is_ok());
            let url = url.ok_or_else(|| {
                table.wrong(
                    &format!("has a jwks_uri that is not an https URL: {text:?}"),
                    "Use https; http is taken on loopback only.",
                )
            })?;
            Ok(WorkloadKeys::Url(url))
        }
        (Some(_), Some(_)) => Err(table.wrong("has both jwks_uri and jwks_file", "Keep one of them.")),
    }
}

/// Refuses a table that lets in whoever the platform signs for.
fn claims(table: &Raw) -> Result<Vec<(String, Vec<String>)>, ConfigError> {
    let mut claims = Vec::with_capacity(table.claims.len());
    for (claim, wanted) in &table.claims {
        let values = match wanted {
            OneOrMore::One(value) => vec![value.clone()],
            OneOrMore::More(values) => values.clone(),
        };
        if EMPTY.contains(&claim.as_str()) {
            return Err(table.wrong(
                &format!("matches `{claim}`, which says nothing of whose job it is"),
                "Match what identifies the job, such as repository_id or sub.",
            ));
        }
        if claim.is_empty() || values.is_empty() || values.iter().any(String::is_empty) {
            return Err(
                table.wrong(&format!("matches {claim:?} with nothing"), "Name the values that the claim must have.")
            );
        }
        claims.push((claim.clone(), values));
    }
    if claims.is_empty() {
        return Err(table.wrong(
            &format!("would let in every job that {} signs for", table.issuer),
            "Add match = { .. } with at least one claim that identifies yours, such as repository_id or sub.",
        ));
    }
    let shared = SHARED.iter().find(|(issuer, _)| *issuer == table.issuer);
    if let Some((issuer, _)) = shared.filter(|(_, own)| !claims.iter().any(|(claim, _)| own.contains(&claim.as_str())))
    {
        return Err(table.wrong(
            &format!("would let in jobs of everybody: {issuer} signs for all its customers"),
            "Match one claim that only your jobs have: the id of your repository, project or organisation, or sub.",
        ));
    }
    Ok(claims)
}

impl Raw {
    fn wrong(&self, what: &str, remedy: &'static str) -> ConfigError {
        let reason = format!("workload `{}` {what}", self.name.get_ref());
        ConfigError::at(&self.place.file, Some(self.place.line), Fault::Rule { reason, remedy })
    }
}
