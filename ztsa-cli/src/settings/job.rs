//! Where a job's own token is: `ZTSA_WORKLOAD`, else what `ztsa login --workload` was told.

use std::path::Path;

use ztsa_core::config::{ConfigError, Workload, WorkloadName};
use ztsa_proto::secret::Secret;

use super::remembered::{create_private, replace};
use super::{SettingsError, Source, Sourced};
use crate::env::{self, Environment};

/// The file in the profile's directory that names the source; the token is not in it.
const FILE: &str = "workload";

/// Finds out whether this is a job's machine.
///
/// # Errors
/// What is named is no source, or its variable is not set.
pub(super) fn resolve(environment: &Environment, dir: &Path) -> Result<Option<Sourced<Workload>>, SettingsError> {
    if let Some(text) = environment.text(env::WORKLOAD) {
        return read(text, environment, Source::Environment(env::WORKLOAD.name)).map(Some);
    }
    match std::fs::read_to_string(dir.join(FILE)) {
        Ok(text) => read(text.trim(), environment, Source::Login).map(Some),
        Err(_) => Ok(None),
    }
}

/// Reads the name of a source, and takes from the environment what belongs to it.
///
/// # Errors
/// It is no source, or its variable is not set.
pub(crate) fn read(text: &str, environment: &Environment, from: Source) -> Result<Sourced<Workload>, SettingsError> {
    let wrong = |source| SettingsError::Value { from: from.clone(), source };
    let value = match text.parse().map_err(wrong)? {
        WorkloadName::File(path) => Workload::File(std::path::absolute(&path).unwrap_or(path)),
        WorkloadName::Variable(name) => match environment.named(&name) {
            Some(token) => Workload::Variable { name, token: Secret::new(token) },
            None => return Err(wrong(ConfigError::WorkloadVariable { name })),
        },
        WorkloadName::GitHub => {
            let of = |variable: &env::Variable| {
                let name = variable.name.to_owned();
                let value = environment.text(variable).map(str::to_owned);
                value.ok_or_else(|| wrong(ConfigError::WorkloadVariable { name }))
            };
            Workload::GitHub { url: of(env::ACTIONS_URL)?, token: Secret::new(of(env::ACTIONS_TOKEN)?) }
        }
    };
    Ok(Sourced { value, source: from })
}

/// Remembers the source in a profile's directory for the commands to come; `None` forgets it.
///
/// # Errors
/// The directory cannot be written.
pub(crate) fn remember(dir: &Path, workload: Option<&Workload>) -> std::io::Result<()> {
    match workload {
        Some(workload) => {
            create_private(dir)?;
            replace(&dir.join(FILE), workload.name().to_string().as_bytes())
        }
        None => match std::fs::remove_file(dir.join(FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}
