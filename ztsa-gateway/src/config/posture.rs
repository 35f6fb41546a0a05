//! `[posture]`: what is asked of devices besides what policies name, and the checks that have parameters.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use ztsa_proto::posture::{MOST_PROOFS, Paths, Product, Wanted, known};
use ztsa_proto::time::UnixTime;

use super::error::{ConfigError, Fault};

/// Says what is asked of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posture {
    /// The checks asked for whether or not a policy names them.
    ///
    /// # Defaults
    /// `os.version` and `os.kernel`.
    pub collect: Vec<String>,
    /// When operating systems get no more updates, by `ID VERSION` such as `debian 12`; added to what the gateway knows.
    pub eol: BTreeMap<String, UnixTime>,
    /// The checks that have a name and parameters: `file.NAME`, `process.NAME`, `ca.NAME`, `cert.NAME`.
    pub named: Vec<Wanted>,
    /// The PEM file with the authorities of each `cert.NAME`.
    pub authorities: BTreeMap<String, PathBuf>,
    /// The products that `edr` looks for; added to what the gateway knows.
    pub products: Vec<Product>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    collect: Option<Vec<String>>,
    #[serde(default)]
    eol: BTreeMap<String, toml::value::Datetime>,
    #[serde(default)]
    file: Vec<File>,
    #[serde(default)]
    process: Vec<Process>,
    #[serde(default)]
    ca: Vec<Ca>,
    #[serde(default)]
    certificate: Vec<Certificate>,
    #[serde(default)]
    edr: Vec<Edr>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    linux: Option<String>,
    macos: Option<String>,
    windows: Option<String>,
    #[serde(default)]
    hash: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Process {
    name: String,
    linux: Option<String>,
    macos: Option<String>,
    windows: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ca {
    name: String,
    sha256: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificate {
    name: String,
    ca_file: PathBuf,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Edr {
    name: String,
    processes: Vec<String>,
}

/// The most checks with parameters: with all others they have to fit a report of 64.
const MOST_NAMED: usize = 32;
const MOST_PRODUCTS: usize = 64;

impl Raw {
    /// Makes relative paths absolute.
    pub(super) fn resolve(&mut self, base: &Path) {
        self.certificate.iter_mut().for_each(|one| one.ca_file = base.join(&one.ca_file));
    }

    /// Takes over what a further file says.
    pub(super) fn merge(&mut self, extra: Self) {
        self.collect = extra.collect.or(self.collect.take());
        self.eol.extend(extra.eol);
        self.file.extend(extra.file);
        self.process.extend(extra.process);
        self.ca.extend(extra.ca);
        self.certificate.extend(extra.certificate);
        self.edr.extend(extra.edr);
    }
}

/// Turns what the files say into what is asked.
pub(super) fn check(raw: &Raw, file: &Path) -> Result<Posture, ConfigError> {
    let fault = |reason: String, remedy| Err(ConfigError::at(file, None, Fault::Rule { reason, remedy }));
    let mut named = Vec::new();
    named.extend(
        raw.file
            .iter()
            .map(|one| Wanted { hash: one.hash, ..at("file", &one.name, [&one.linux, &one.macos, &one.windows]) }),
    );
    named.extend(raw.process.iter().map(|one| at("process", &one.name, [&one.linux, &one.macos, &one.windows])));
    named.extend(
        raw.ca.iter().map(|one| Wanted { sha256: Some(one.sha256.clone()), ..at("ca", &one.name, [&None; 3]) }),
    );
    named.extend(raw.certificate.iter().map(|one| at("cert", &one.name, [&None; 3])));
    if raw.certificate.len() > MOST_PROOFS {
        return fault(
            "`posture`: more than 4 certificates".to_owned(),
            "A report holds four proofs at most: let one name have an authority file with several authorities.",
        );
    }
    let mut seen = HashSet::new();
    for wanted in &named {
        let (_, name) = wanted.id.split_once('.').unwrap_or_default();
        if !is_name(name) || !seen.insert(&wanted.id) {
            return fault(
                format!("`posture`: the name in {:?} is taken or not a name", wanted.id),
                "Use lower-case letters, digits and _, at most 32, beginning with a letter, each name once.",
            );
        }
        let paths = [&wanted.path.linux, &wanted.path.macos, &wanted.path.windows];
        let has_path = paths.iter().any(|path| path.is_some());
        if matches!(wanted.id.split_once('.'), Some(("file" | "process", _))) && !has_path {
            return fault(format!("`posture`: {} has no path", wanted.id), "Add linux = \"/path\", macos or windows.");
        }
        let climbs = |path: &String| !is_absolute(path) || path.split(['/', '\\']).any(|part| part == "..");
        if paths.into_iter().flatten().any(climbs) {
            return fault(
                format!("`posture`: a path of {} is not absolute", wanted.id),
                "Write the whole path, such as \"/etc/agent.conf\" or \"C:\\\\Agent\\\\agent.exe\".",
            );
        }
        if wanted.sha256.as_ref().is_some_and(|digest| digest.bytes().filter(u8::is_ascii_hexdigit).count() != 64) {
            return fault(
                format!("`posture`: the sha256 of {} is not one", wanted.id),
                "Write the certificate's SHA-256 thumbprint: `openssl x509 -noout -fingerprint -sha256 -in ca.pem`.",
            );
        }
    }
    let products: Vec<Product> =
        raw.edr.iter().map(|one| Product { name: one.name.clone(), processes: one.processes.clone() }).collect();
    if named.len() > MOST_NAMED || products.len() > MOST_PRODUCTS {
        return fault(
            "`posture`: more than 32 checks with names, or more than 64 products".to_owned(),
            "Ask for less: every device has to look at all of it.",
        );
    }
    let collect = raw.collect.clone().unwrap_or_else(|| vec!["os.version".to_owned(), "os.kernel".to_owned()]);
    let is_known = |id: &String| known().any(|known| known == id) || named.iter().any(|wanted| wanted.id == *id);
    if let Some(unknown) = collect.iter().find(|id| !is_known(id)) {
        return fault(
            format!("`posture.collect`: there is no check {unknown:?}"),
            "docs/reference/posture.md lists the checks; those with names are file.NAME, process.NAME, ca.NAME and cert.NAME.",
        );
    }
    let mut eol = BTreeMap::new();
    for (system, date) in &raw.eol {
        let Some(day) = date.date.and_then(|date| UnixTime::from_date(date.year, date.month, date.day)) else {
            return fault(
                format!("`posture.eol`: the date of {system:?} is none"),
                "Write it as 2028-06-30, without quotes.",
            );
        };
        eol.insert(system.clone(), day);
    }
    let authorities = raw.certificate.iter().map(|one| (format!("cert.{}", one.name), one.ca_file.clone())).collect();
    Ok(Posture { collect, eol, named, authorities, products })
}

fn at(family: &str, name: &str, [linux, macos, windows]: [&Option<String>; 3]) -> Wanted {
    let path = Paths { linux: linux.clone(), macos: macos.clone(), windows: windows.clone() };
    Wanted { id: format!("{family}.{name}"), path, ..Wanted::default() }
}

fn is_name(name: &str) -> bool {
    name.len() <= 32
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

fn is_absolute(path: &str) -> bool {
    path.len() <= 1_024 && (path.starts_with('/') || path.as_bytes().get(1..3) == Some(b":\\"))
}
