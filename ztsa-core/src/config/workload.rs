//! Where a job gets the token from that its platform signs for it.

use std::{fmt, path::PathBuf};

use ztsa_proto::secret::Secret;

use super::ConfigError;

/// Names where a job's token is, without the token: what may be written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkloadName {
    /// A file, such as the projected token of a Kubernetes service account.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// GitHub Actions' own endpoint.
    GitHub,
}

impl fmt::Display for WorkloadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::GitHub => f.write_str("github"),
        }
    }
}

impl std::str::FromStr for WorkloadName {
    type Err = ConfigError;

    /// Reads `github`, `env:NAME`, or the path of a file.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("env:") {
            Some(name) if name.is_empty() || name.contains(['=', '\0']) => {
                Err(ConfigError::Workload { given: text.to_owned() })
            }
            Some(name) => Ok(Self::Variable(name.to_owned())),
            None if text == "github" => Ok(Self::GitHub),
            // Whoever pastes the token itself would find it in a process list.
            None if text.is_empty() || text.starts_with("eyJ") => {
                Err(ConfigError::Workload { given: text.chars().take(8).collect() })
            }
            None if is_scheme(text) => Err(ConfigError::Workload { given: text.to_owned() }),
            None => Ok(Self::File(text.into())),
        }
    }
}

/// Says whether a text begins like `vault:`, which no version reads yet; one letter is a drive of Windows.
fn is_scheme(text: &str) -> bool {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Where a job's token comes from. It is fetched anew for each use: platforms replace it often.
#[derive(Clone, Debug)]
pub enum Workload {
    /// From a file.
    File(PathBuf),
    /// From an environment variable.
    Variable {
        /// The variable's name, for messages.
        name: String,
        /// What it holds.
        token: Secret<String>,
    },
    /// From GitHub Actions.
    GitHub {
        /// `ACTIONS_ID_TOKEN_REQUEST_URL`.
        url: String,
        /// `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
        token: Secret<String>,
    },
}

impl Workload {
    /// Its name, without the token.
    pub fn name(&self) -> WorkloadName {
        match self {
            Self::File(path) => WorkloadName::File(path.clone()),
            Self::Variable { name, .. } => WorkloadName::Variable(name.clone()),
            Self::GitHub { .. } => WorkloadName::GitHub,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_and_a_token_is_none() {
        for text in ["github", "env:CI_JOB_JWT", "/var/run/secrets/tokens/ztsa", "token.jwt", "./a:b", "C:\\job.jwt"] {
            assert_eq!(text.parse::<WorkloadName>().unwrap().to_string(), text);
        }
        for text in ["", "env:", "env:A=B", "vault:jobs/deploy", "ENV:TOKEN"] {
            assert!(text.parse::<WorkloadName>().is_err(), "{text}");
        }
        let error = "eyJhbGciOiJFUzI1NiJ9.secret.secret".parse::<WorkloadName>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
