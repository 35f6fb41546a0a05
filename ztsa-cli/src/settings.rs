//! Which value holds: a flag, else the environment, else config.toml, else what login remembered, else the default.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use ztsa_core::config::{ClientCertificate, Config, ConfigError, StoreChoice, TpmChoice, Workload};
use ztsa_core::listener::listen::Listen;
use ztsa_proto::name::AppName;

use crate::cli;
use crate::env::{self, Environment};

mod again;
pub(crate) mod file;
pub(crate) mod job;
mod nearest;
pub(crate) mod remembered;

pub(crate) use again::Again;
use file::FileError;
pub(crate) use nearest::nearest;
use remembered::Remembered;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// An option of this command.
    Flag(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// The configuration file.
    File(PathBuf),
    /// What the last login in this profile was given.
    Login,
    /// What `ztsa profile use` chose.
    Chosen,
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Environment(name) => write!(f, "{name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Login => write!(f, "remembered from login"),
            Self::Chosen => write!(f, "ztsa profile use"),
            Self::Default => write!(f, "default"),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sourced<T> {
    /// The value that holds.
    pub(crate) value: T,
    /// Who said so.
    pub(crate) source: Source,
}

impl<T> Sourced<T> {
    fn new(value: T, source: Source) -> Self {
        Self { value, source }
    }
}

/// Extra root certificates: where they were read, and the PEM text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtraRoots {
    /// The file's path.
    pub(crate) path: PathBuf,
    /// Its contents.
    pub(crate) pem: Vec<u8>,
}

/// Everything that the command was told, resolved.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The profile's name.
    pub(crate) profile: Sourced<String>,
    /// The gateway, where one is known.
    pub(crate) gateway: Option<Sourced<String>>,
    /// Extra root certificates, where there are any.
    pub(crate) roots: Option<Sourced<ExtraRoots>>,
    /// Where credentials are kept.
    pub(crate) store: Sourced<StoreChoice>,
    /// Which TPM holds the device key.
    pub(crate) tpm: Sourced<TpmChoice>,
    /// The job's own token, in place of a sign-in.
    pub(crate) workload: Option<Sourced<Workload>>,
    /// The directory of config.toml.
    pub(crate) config_dir: Sourced<PathBuf>,
    /// The directory of credentials and profiles.
    pub(crate) state_dir: Sourced<PathBuf>,
    /// The address of `ztsa proxy`.
    pub(crate) proxy_listen: Option<Sourced<Listen>>,
    /// Local ports by app.
    pub(crate) forwards: BTreeMap<AppName, u16>,
    /// The client certificate to show to gateways that ask for one.
    pub(crate) certificate: Option<ClientCertificate>,
    /// The profiles that config.toml describes.
    pub(crate) profiles: BTreeSet<String>,
    /// When to use colour.
    pub(crate) color: cli::Color,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    /// The configuration file is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// A value is refused by the library.
    #[error("{source} (from {from})")]
    Value {
        /// Who gave it.
        from: Source,
        /// What is wrong.
        source: ConfigError,
    },
    /// The roots cannot be read.
    #[error("cannot read the certificates in {}: {source} (from {from})", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Who named it.
        from: Source,
        /// What happened.
        source: std::io::Error,
    },
    /// The roots are not PEM certificates.
    #[error("{} holds no usable certificate: {reason} (from {from})", path.display())]
    NotRoots {
        /// The file.
        path: PathBuf,
        /// Who named it.
        from: Source,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no home directory.
    #[error("there is no home directory to keep {what} in")]
    NoHome {
        /// What would be kept there.
        what: &'static str,
        /// The option that says where.
        flag: &'static str,
    },
    /// No gateway is known.
    #[error("no gateway is known for profile `{profile}`")]
    NoGateway {
        /// The profile.
        profile: String,
    },
    /// What login remembered cannot be read.
    #[error("what the last sign-in left in {} cannot be read", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl SettingsError {
    /// What to type next.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::File(error) => error.hint(),
            Self::Value { source, .. } => source.hint(),
            Self::Roots { from: Source::Login, .. } | Self::NotRoots { from: Source::Login, .. } => {
                "what the last sign-in left there is damaged: sign in again with ztsa login --ca-file FILE".to_owned()
            }
            Self::Roots { .. } | Self::NotRoots { .. } => {
                "name a PEM file that holds the gateway's root certificate: --ca-file FILE".to_owned()
            }
            Self::NoHome { flag, .. } => format!("say where: {flag} DIR"),
            // the profile that was named is completed where the hint is shown
            Self::NoGateway { .. } | Self::Damaged { .. } => "ztsa login https://gw.example.com".to_owned(),
        }
    }
}

impl Settings {
    /// Resolves all settings.
    ///
    /// # Errors
    /// A named file cannot be read, or a value is wrong; the error says which and who gave it.
    pub(crate) fn resolve(flags: &cli::Global, environment: &Environment) -> Result<Self, SettingsError> {
        let config_dir = directory(
            ("--config-dir", flags.config_dir.as_deref()),
            (env::CONFIG_DIR, environment),
            dirs::config_dir(),
            "config.toml",
        )?;
        let file = file::File::read(&config_dir.value.join("config.toml"))?;
        let from_file = || Source::File(file.path.clone());
        let state_dir = directory(
            ("--state-dir", flags.state_dir.as_deref()),
            (env::STATE_DIR, environment),
            dirs::state_dir().or_else(dirs::data_local_dir),
            "credentials",
        )?;

        let profile = text("--profile", flags.profile.as_ref(), env::PROFILE, environment)
            .or_else(|| Some(Sourced::new(file.profile.clone()?, from_file())))
            .or_else(|| Some(Sourced::new(remembered::used(&state_dir.value)?, Source::Chosen)))
            .unwrap_or_else(|| Sourced::new("default".to_owned(), Source::Default));
        let entry = file.profiles.get(&profile.value).cloned().unwrap_or_default();
        let remembered = Remembered::read(&profile_dir(&state_dir.value, &profile)?);

        let gateway = text("--gateway", flags.gateway.as_ref(), env::GATEWAY, environment)
            .or_else(|| Some(Sourced::new(entry.gateway?, from_file())))
            .or_else(|| Some(Sourced::new(remembered.as_ref()?.gateway.clone(), Source::Login)));
        let store = match (&flags.store, environment.text(env::STORE), entry.store) {
            (Some(store), _, _) => Sourced::new(choice(*store), Source::Flag("--store")),
            (None, Some(text), _) => parsed(text, Source::Environment(env::STORE.name))?,
            (None, None, Some(text)) => parsed(&text, from_file())?,
            (None, None, None) => Sourced::new(StoreChoice::Auto, Source::Default),
        };
        let tpm = match (environment.text(env::TPM), entry.tpm) {
            (Some(text), _) => parsed(text, Source::Environment(env::TPM.name))?,
            (None, Some(text)) => parsed(&text, from_file())?,
            (None, None) => Sourced::new(TpmChoice::Auto, Source::Default),
        };
        let roots = match (&flags.ca_file, environment.get(env::CA_FILE), entry.ca_file) {
            (Some(path), _, _) => Some(roots(path, Source::Flag("--ca-file"))?),
            (None, Some(path), _) => Some(roots(Path::new(path), Source::Environment(env::CA_FILE.name))?),
            (None, None, Some(path)) => Some(roots(&config_dir.value.join(path), from_file())?),
            // Roots remembered for one gateway are not trusted for another.
            (None, None, None) => remembered
                .filter(|login| gateway.as_ref().is_some_and(|known| same_gateway(&known.value, &login.gateway)))
                .and_then(|login| login.roots)
                .map(|roots| Sourced::new(roots, Source::Login)),
        };
        let workload = job::resolve(environment, &profile_dir(&state_dir.value, &profile)?)?;
        Ok(Self {
            profile,
            gateway,
            roots,
            store,
            certificate: entry.certificate.map(|chain| {
                let chain = config_dir.value.join(chain);
                let key = entry.certificate_key.map_or_else(|| chain.clone(), |key| config_dir.value.join(key));
                ClientCertificate { chain, key }
            }),
            tpm,
            workload,
            config_dir,
            state_dir,
            proxy_listen: entry.proxy_listen.map(|address| Sourced::new(address, from_file())),
            forwards: entry.forwards,
            profiles: file.profiles.keys().cloned().collect(),
            color: flags.color.or(file.color).unwrap_or_default(),
        })
    }

    /// Names the gateway, for `ztsa login GATEWAY`; roots that belong to another gateway are dropped.
    pub(crate) fn set_gateway(&mut self, gateway: &str) {
        let same = self.gateway.as_ref().is_some_and(|known| same_gateway(&known.value, gateway));
        if !same && self.roots.as_ref().is_some_and(|roots| roots.source == Source::Login) {
            self.roots = None;
        }
        self.gateway = Some(Sourced::new(gateway.to_owned(), Source::Flag("GATEWAY")));
    }

    /// Whether this is the gateway that holds.
    pub(crate) fn is_gateway(&self, gateway: &str) -> bool {
        self.gateway.as_ref().is_some_and(|known| same_gateway(&known.value, gateway))
    }

    /// The same settings for another profile that has been signed in to; `None` for one that has no gateway.
    ///
    /// # Errors
    /// The name cannot be a profile's.
    pub(crate) fn of_profile(&self, name: &str) -> Result<Option<Self>, SettingsError> {
        let mut other = self.clone();
        name.clone_into(&mut other.profile.value);
        let Some(login) = Remembered::read(&other.profile_dir()?) else { return Ok(None) };
        other.roots = login.roots.map(|roots| Sourced::new(roots, Source::Login));
        other.gateway = Some(Sourced::new(login.gateway, Source::Login));
        Ok(Some(other))
    }

    /// The library's configuration.
    ///
    /// # Errors
    /// No gateway is known, or a value is wrong.
    pub(crate) fn config(&self) -> Result<Config, SettingsError> {
        let Some(gateway) = &self.gateway else {
            return Err(match Remembered::damaged(&self.profile_dir()?) {
                Some(path) => SettingsError::Damaged { path },
                None => SettingsError::NoGateway { profile: self.profile.value.clone() },
            });
        };
        let mut config = Config::new(&gateway.value)
            .map_err(|source| SettingsError::Value { from: gateway.source.clone(), source })?;
        config.state = Some(self.state_dir.value.clone());
        config.store = self.store.value;
        config.certificate.clone_from(&self.certificate);
        config.tpm = self.tpm.value.clone();
        config.workload = self.workload.as_ref().map(|job| job.value.clone());
        config.profile.clone_from(&self.profile.value);
        if let Some(roots) = &self.roots {
            config.roots = config.roots.with_pem(&roots.value.pem).map_err(|error| SettingsError::NotRoots {
                path: roots.value.path.clone(),
                from: roots.source.clone(),
                reason: error.to_string(),
            })?;
        }
        Ok(config)
    }

    /// The directory of another profile's state.
    ///
    /// # Errors
    /// The name cannot be a directory's name.
    pub(crate) fn dir_of(&self, profile: &str) -> Result<PathBuf, SettingsError> {
        profile_dir(&self.state_dir.value, &Sourced::new(profile.to_owned(), Source::Flag("NAME")))
    }

    /// The directory of this profile's state.
    ///
    /// # Errors
    /// The profile's name cannot be a directory's name.
    pub(crate) fn profile_dir(&self) -> Result<PathBuf, SettingsError> {
        profile_dir(&self.state_dir.value, &self.profile)
    }
}

/// Whether two texts name the same gateway.
pub(crate) fn same_gateway(one: &str, other: &str) -> bool {
    match (Config::new(one), Config::new(other)) {
        (Ok(one), Ok(other)) => one.resource() == other.resource(),
        _ => one == other,
    }
}

fn profile_dir(state: &Path, profile: &Sourced<String>) -> Result<PathBuf, SettingsError> {
    let refuse = |source| SettingsError::Value { from: profile.source.clone(), source };
    let mut config = Config::new("https://localhost").map_err(refuse)?;
    config.state = Some(state.to_owned());
    config.profile.clone_from(&profile.value);
    let dir = config.profile_dir().map_err(refuse)?;
    Ok(dir.unwrap_or_else(|| state.to_owned()))
}

fn text(
    flag: &'static str,
    given: Option<&String>,
    variable: &env::Variable,
    environment: &Environment,
) -> Option<Sourced<String>> {
    given
        .map(|value| Sourced::new(value.clone(), Source::Flag(flag)))
        .or_else(|| Some(Sourced::new(environment.text(variable)?.to_owned(), Source::Environment(variable.name))))
}

fn directory(
    (flag, given): (&'static str, Option<&Path>),
    (variable, environment): (&env::Variable, &Environment),
    system: Option<PathBuf>,
    what: &'static str,
) -> Result<Sourced<PathBuf>, SettingsError> {
    if let Some(path) = given {
        return Ok(Sourced::new(path.to_owned(), Source::Flag(flag)));
    }
    if let Some(path) = environment.get(variable) {
        return Ok(Sourced::new(PathBuf::from(path), Source::Environment(variable.name)));
    }
    let path = system.ok_or(SettingsError::NoHome { what, flag })?;
    Ok(Sourced::new(path.join("ztsa"), Source::Default))
}

fn roots(path: &Path, from: Source) -> Result<Sourced<ExtraRoots>, SettingsError> {
    match std::fs::read(path) {
        Ok(pem) => Ok(Sourced::new(ExtraRoots { path: path.to_owned(), pem }, from)),
        Err(source) => Err(SettingsError::Roots { path: path.to_owned(), from, source }),
    }
}

fn parsed<T: std::str::FromStr<Err = ConfigError>>(text: &str, from: Source) -> Result<Sourced<T>, SettingsError> {
    match text.parse() {
        Ok(value) => Ok(Sourced::new(value, from)),
        Err(source) => Err(SettingsError::Value { from, source }),
    }
}

fn choice(store: cli::Store) -> StoreChoice {
    match store {
        cli::Store::Auto => StoreChoice::Auto,
        cli::Store::Keyring => StoreChoice::Keyring,
        cli::Store::File => StoreChoice::File,
        cli::Store::Memory => StoreChoice::Memory,
    }
}

#[cfg(test)]
mod tests;
