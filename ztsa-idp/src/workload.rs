//! The tokens that platforms give their jobs, in the shapes of GitHub Actions and of Kubernetes, for tests of a gateway
//! that takes them.

use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use serde_json::{Map, Value, json};
use ztsa_proto::jws::{random_id, sha256_base64url};
use ztsa_proto::time::UnixTime;

use crate::answer::Refusal;
use crate::issuer::Issuer;

/// A job, and the platform that it runs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workload {
    /// A job of GitHub Actions; its token is good for five minutes.
    GitHub {
        /// Owner and name, `octo-org/octo-repo`.
        repository: String,
        /// The branch or tag, `refs/heads/main`.
        reference: String,
        /// The deployment environment, where the job names one.
        environment: Option<String>,
    },
    /// A pod of Kubernetes with a projected service account token; it is good for an hour.
    Kubernetes {
        /// The namespace.
        namespace: String,
        /// The service account.
        service_account: String,
    },
}

impl Workload {
    fn lifetime(&self) -> Duration {
        match self {
            Self::GitHub { .. } => Duration::from_secs(300),
            Self::Kubernetes { .. } => Duration::from_secs(3600),
        }
    }

    /// The claims that the platform makes of the job, besides who issued the token, for whom and when.
    fn claims(&self) -> Value {
        match self {
            Self::GitHub { repository, reference, environment } => {
                let (owner, name) = repository.split_once('/').unwrap_or((repository, ""));
                let place =
                    environment.as_ref().map_or_else(|| format!("ref:{reference}"), |it| format!("environment:{it}"));
                let mut claims = json!({
                    "sub": format!("repo:{repository}:{place}"),
                    "repository": repository,
                    "repository_id": number(repository),
                    "repository_owner": owner,
                    "repository_owner_id": number(owner),
                    "repository_visibility": "private",
                    "ref": reference,
                    "ref_type": if reference.starts_with("refs/tags/") { "tag" } else { "branch" },
                    "sha": "0123456789abcdef0123456789abcdef01234567",
                    "workflow": "deploy",
                    "workflow_ref": format!("{repository}/.github/workflows/deploy.yml@{reference}"),
                    "job_workflow_ref": format!("{repository}/.github/workflows/deploy.yml@{reference}"),
                    "event_name": "push",
                    "actor": "octocat",
                    "actor_id": number("octocat"),
                    "run_id": number(name),
                    "run_number": "10",
                    "run_attempt": "1",
                    "runner_environment": "github-hosted",
                });
                if let (Some(environment), Some(claims)) = (environment, claims.as_object_mut()) {
                    claims.insert("environment".into(), environment.clone().into());
                }
                claims
            }
            Self::Kubernetes { namespace, service_account } => json!({
                "sub": format!("system:serviceaccount:{namespace}:{service_account}"),
                "kubernetes.io": {
                    "namespace": namespace,
                    "node": {"name": "node-1", "uid": uid("node-1")},
                    "pod": {"name": format!("{service_account}-0"), "uid": uid(&format!("{service_account}-0"))},
                    "serviceaccount": {"name": service_account, "uid": uid(service_account)},
                },
            }),
        }
    }
}

impl Issuer {
    /// Signs the token of a job.
    pub(crate) fn workload_token(&self, workload: &Workload, audience: &str) -> Result<String, Refusal> {
        let now = self.now();
        self.sign("JWT", &claims(workload, (&self.url, audience), random_id(), now))
    }

    /// What a job shows to be given its token, as `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
    pub(crate) fn request_token(&self) -> String {
        sha256_base64url(hmac::sign(&self.mac, b"workload").as_ref())
    }

    pub(crate) fn is_request_token(&self, given: &str) -> bool {
        constant_time::verify_slices_are_equal(self.request_token().as_bytes(), given.as_bytes()).is_ok()
    }
}

fn claims(workload: &Workload, (issuer, audience): (&str, &str), id: String, now: UnixTime) -> Map<String, Value> {
    let mut claims = workload.claims();
    let mut whole = claims.as_object_mut().map(std::mem::take).unwrap_or_default();
    let mut put = |name: &str, value: Value| whole.insert(name.to_owned(), value);
    put("iss", issuer.into());
    // Kubernetes always sends a list, GitHub always one text
    put("aud", if matches!(workload, Workload::Kubernetes { .. }) { json!([audience]) } else { audience.into() });
    put("iat", now.0.into());
    put("nbf", now.0.into());
    put("exp", now.plus(workload.lifetime()).0.into());
    put("jti", id.into());
    whole
}

/// A number as the platform writes them, in a text; the same name has the same one.
fn number(name: &str) -> String {
    name.bytes().fold(7_u64, |sum, byte| (sum * 31 + u64::from(byte)) % 1_000_000_007).to_string()
}

fn uid(name: &str) -> String {
    format!("00000000-0000-4000-8000-{:012}", number(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_platform_has_its_own_shape() {
        let github = Workload::GitHub {
            repository: "octo-org/octo-repo".into(),
            reference: "refs/heads/main".into(),
            environment: None,
        };
        let made = claims(&github, ("http://127.0.0.1:1", "https://gw.example"), "one".into(), UnixTime(1000));
        assert_eq!(made["sub"], "repo:octo-org/octo-repo:ref:refs/heads/main");
        assert_eq!((&made["aud"], &made["exp"]), (&json!("https://gw.example"), &json!(1300)));
        assert_eq!((&made["repository_owner"], &made["ref_type"]), (&json!("octo-org"), &json!("branch")));
        assert!(!made.contains_key("environment"));
        let to_production = Workload::GitHub {
            repository: "octo-org/octo-repo".into(),
            reference: "refs/tags/v1".into(),
            environment: Some("production".into()),
        };
        let made = claims(&to_production, ("http://127.0.0.1:1", "x"), "one".into(), UnixTime(1000));
        assert_eq!(made["sub"], "repo:octo-org/octo-repo:environment:production");
        assert_eq!((&made["environment"], &made["ref_type"]), (&json!("production"), &json!("tag")));
        let pod = Workload::Kubernetes { namespace: "billing".into(), service_account: "nightly".into() };
        let made = claims(&pod, ("http://127.0.0.1:1", "https://gw.example"), "one".into(), UnixTime(1000));
        assert_eq!(made["sub"], "system:serviceaccount:billing:nightly");
        assert_eq!((&made["aud"], &made["exp"]), (&json!(["https://gw.example"]), &json!(4600)));
        assert_eq!(made["kubernetes.io"]["serviceaccount"]["name"], "nightly");
    }
}
