//! What login remembers in a profile, so that later commands need no flag: the gateway and its extra roots.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ExtraRoots;

mod wanted;

pub(crate) use wanted::Wanted;

const FILE: &str = "profile.json";
const ROOTS: &str = "ca.pem";
/// Beside the profiles: the name of the one to use.
const USED: &str = "profile";

/// What the last login was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// The gateway's URL.
    pub(crate) gateway: String,
    /// Extra root certificates, copied at login.
    pub(crate) roots: Option<ExtraRoots>,
    /// The name of the issuer that the person signed in at.
    pub(crate) issuer: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Written {
    gateway: String,
    ca_file: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
}

impl Remembered {
    /// Reads a profile's directory; what is absent or unreadable counts as nothing remembered.
    pub(crate) fn read(dir: &Path) -> Option<Self> {
        let written: Written = serde_json::from_slice(&std::fs::read(dir.join(FILE)).ok()?).ok()?;
        let path = dir.join(ROOTS);
        let roots = if written.ca_file { Some(ExtraRoots { pem: std::fs::read(&path).ok()?, path }) } else { None };
        Some(Self { gateway: written.gateway, roots, issuer: written.issuer })
    }

    /// The file of a profile's directory that is there and of no use: it, or the roots that it speaks of.
    pub(crate) fn damaged(dir: &Path) -> Option<PathBuf> {
        let path = dir.join(FILE);
        (Self::read(dir).is_none() && path.exists()).then_some(path)
    }

    /// Writes the values to a profile's directory, each file at once (a reader sees the old or the new one).
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(crate) fn write(dir: &Path, gateway: &str, pem: Option<&[u8]>, issuer: Option<&str>) -> std::io::Result<()> {
        create_private(dir)?;
        if let Some(pem) = pem {
            replace(&dir.join(ROOTS), pem)?;
        }
        let issuer = issuer.map(str::to_owned);
        let written = Written { gateway: gateway.to_owned(), ca_file: pem.is_some(), issuer };
        replace(&dir.join(FILE), &serde_json::to_vec_pretty(&written)?)?;
        if pem.is_none() {
            let _absent = std::fs::remove_file(dir.join(ROOTS));
        }
        Ok(())
    }
}

/// The profile that `ztsa profile use` chose.
pub(crate) fn used(state: &Path) -> Option<String> {
    let text = std::fs::read_to_string(state.join(USED)).ok()?;
    let name = text.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

/// Chooses a profile for the commands to come; `None` goes back to `default`.
///
/// # Errors
/// The state directory cannot be written.
pub(crate) fn choose(state: &Path, name: Option<&str>) -> std::io::Result<()> {
    create_private(state)?;
    match name {
        Some(name) => replace(&state.join(USED), name.as_bytes()),
        None => match std::fs::remove_file(state.join(USED)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// The names of all profiles that have state.
pub(crate) fn profiles(state: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(state.join("profiles")) else { return Vec::new() };
    let mut names: Vec<String> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort();
    names
}

#[cfg(unix)]
pub(super) fn create_private(dir: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
pub(super) fn create_private(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)
}

pub(super) fn replace(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    let temporary: PathBuf = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(contents).and_then(|()| file.sync_all()).inspect_err(|_| {
        let _gone = std::fs::remove_file(&temporary);
    })?;
    std::fs::rename(&temporary, path)
}
