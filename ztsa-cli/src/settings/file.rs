//! The configuration file: `config.toml`. Unknown keys are errors that name the nearest known one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use ztsa_core::listener::listen::Listen;
use ztsa_proto::name::AppName;

use super::nearest::nearest;
use crate::cli;

/// The keys at the top of the file.
const TOP: &[&str] = &["color", "profile", "profiles"];
/// The keys of one profile.
const PROFILE: &[&str] =
    &["ca_file", "certificate", "certificate_key", "forwards", "gateway", "proxy_listen", "store", "tpm"];
/// A configuration file is small; more is a mistake.
const MAX_BYTES: u64 = 1 << 20;

/// What the file says.
#[derive(Debug, Default, Clone)]
pub(crate) struct File {
    /// Where it was read.
    pub(crate) path: PathBuf,
    /// The profile to use where nobody names one.
    pub(crate) profile: Option<String>,
    /// When to use colour.
    pub(crate) color: Option<cli::Color>,
    /// The profiles by name.
    pub(crate) profiles: BTreeMap<String, Profile>,
}

/// One profile in the file.
#[derive(Debug, Default, Clone)]
pub(crate) struct Profile {
    /// The gateway's URL.
    pub(crate) gateway: Option<String>,
    /// A PEM file, relative to the configuration file's directory.
    pub(crate) ca_file: Option<PathBuf>,
    /// The client certificate to show, a PEM file relative to the configuration file's directory.
    pub(crate) certificate: Option<PathBuf>,
    /// Its private key, likewise.
    pub(crate) certificate_key: Option<PathBuf>,
    /// Where credentials are kept.
    pub(crate) store: Option<String>,
    /// Which TPM holds the device key.
    pub(crate) tpm: Option<String>,
    /// The address of `ztsa proxy`.
    pub(crate) proxy_listen: Option<Listen>,
    /// Local ports by app.
    pub(crate) forwards: BTreeMap<AppName, u16>,
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// It is too large to be a configuration.
    #[error("{} is larger than 1 MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is not TOML.
    #[error("{}:{line}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// A key is not known.
    #[error("{}:{line}: unknown key `{key}`", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key as written, with the table it is in.
        key: String,
        /// The known key that is nearest.
        nearest: Option<&'static str>,
        /// All keys known there.
        known: &'static [&'static str],
    },
    /// A value is wrong.
    #[error("{}:{line}: `{key}` must be {wanted}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key with the table it is in.
        key: String,
        /// What it must be.
        wanted: &'static str,
    },
}

impl FileError {
    /// What to do next.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::Unreadable { path, .. } | Self::TooLarge { path } => {
                format!("mend or remove {}, or name another directory with --config-dir", path.display())
            }
            Self::Syntax { path, line, .. } | Self::Value { path, line, .. } => {
                format!("edit line {line} of {}", path.display())
            }
            Self::UnknownKey { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
            Self::UnknownKey { known, .. } => format!("the keys known here are: {}", known.join(", ")),
        }
    }
}

impl File {
    /// Reads the file; one that does not exist says nothing.
    ///
    /// # Errors
    /// It exists, but cannot be read or is wrong.
    pub(crate) fn read(path: &Path) -> Result<Self, FileError> {
        let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
        match std::fs::metadata(path) {
            Ok(meta) if meta.len() > MAX_BYTES => return Err(FileError::TooLarge { path: path.to_owned() }),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), ..Self::default() });
            }
            Err(error) => return Err(unreadable(error)),
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(path, &text)
    }

    /// Reads the text of a file that would stand at `path`.
    ///
    /// # Errors
    /// The text is wrong; the error names the line.
    pub(crate) fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let reader = Reader { path, text };
        let top = DeTable::parse(text).map_err(|error| FileError::Syntax {
            path: path.to_owned(),
            line: reader.line(error.span().map_or(0, |span| span.start)),
            reason: error.message().to_owned(),
        })?;
        let mut file = Self { path: path.to_owned(), ..Self::default() };
        for (key, value) in top.get_ref() {
            match key.get_ref().as_ref() {
                "profile" => file.profile = Some(reader.text("profile", value)?),
                "color" => file.color = Some(reader.color(value)?),
                "profiles" => file.profiles = reader.profiles(value)?,
                other => return Err(reader.unknown(other, other, key.span().start, TOP)),
            }
        }
        Ok(file)
    }
}

type Value<'i> = Spanned<DeValue<'i>>;

/// Reads values and knows how to say where they stand.
struct Reader<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Reader<'_> {
    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
    }

    fn unknown(&self, word: &str, key: &str, offset: usize, known: &'static [&'static str]) -> FileError {
        FileError::UnknownKey {
            path: self.path.to_owned(),
            line: self.line(offset),
            key: key.to_owned(),
            nearest: nearest(word, known),
            known,
        }
    }

    fn wrong(&self, key: &str, value: &Value<'_>, wanted: &'static str) -> FileError {
        FileError::Value {
            path: self.path.to_owned(),
            line: self.line(value.span().start),
            key: key.to_owned(),
            wanted,
        }
    }

    fn text(&self, key: &str, value: &Value<'_>) -> Result<String, FileError> {
        value.get_ref().as_str().map(str::to_owned).ok_or_else(|| self.wrong(key, value, "a text in quotes"))
    }

    fn table<'v, 'i>(&self, key: &str, value: &'v Value<'i>) -> Result<&'v DeTable<'i>, FileError> {
        value.get_ref().as_table().ok_or_else(|| self.wrong(key, value, "a table"))
    }

    fn color(&self, value: &Value<'_>) -> Result<cli::Color, FileError> {
        cli::Color::from_str(&self.text("color", value)?, false)
            .map_err(|_| self.wrong("color", value, "\"auto\", \"always\" or \"never\""))
    }

    fn profiles(&self, value: &Value<'_>) -> Result<BTreeMap<String, Profile>, FileError> {
        let mut profiles = BTreeMap::new();
        for (name, value) in self.table("profiles", value)? {
            let name = name.get_ref().to_string();
            let profile = self.profile(&format!("profiles.{name}"), value)?;
            profiles.insert(name, profile);
        }
        Ok(profiles)
    }

    fn profile(&self, at: &str, value: &Value<'_>) -> Result<Profile, FileError> {
        let mut profile = Profile::default();
        for (key, value) in self.table(at, value)? {
            let word = key.get_ref().as_ref();
            let full = format!("{at}.{word}");
            match word {
                "gateway" => profile.gateway = Some(self.text(&full, value)?),
                "ca_file" => profile.ca_file = Some(PathBuf::from(self.text(&full, value)?)),
                "certificate" => profile.certificate = Some(PathBuf::from(self.text(&full, value)?)),
                "certificate_key" => profile.certificate_key = Some(PathBuf::from(self.text(&full, value)?)),
                "store" => profile.store = Some(self.text(&full, value)?),
                "tpm" => profile.tpm = Some(self.text(&full, value)?),
                "proxy_listen" => {
                    let address = self.text(&full, value)?.parse();
                    let wanted = "a port, or an IP address and a port, like \"127.0.0.1:1080\"";
                    profile.proxy_listen = Some(address.map_err(|_| self.wrong(&full, value, wanted))?);
                }
                "forwards" => profile.forwards = self.forwards(&full, value)?,
                _ => return Err(self.unknown(word, &full, key.span().start, PROFILE)),
            }
        }
        Ok(profile)
    }

    fn forwards(&self, at: &str, value: &Value<'_>) -> Result<BTreeMap<AppName, u16>, FileError> {
        let mut forwards = BTreeMap::new();
        for (key, value) in self.table(at, value)? {
            let full = format!("{at}.{}", key.get_ref());
            let app = key.get_ref().parse().map_err(|_| self.wrong(&full, value, "under an app's name"))?;
            let port = value.get_ref().as_integer().and_then(|number| number.as_str().parse::<u16>().ok());
            let port =
                port.filter(|port| *port != 0).ok_or_else(|| self.wrong(&full, value, "a port from 1 to 65535"))?;
            forwards.insert(app, port);
        }
        Ok(forwards)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<File, FileError> {
        File::parse(Path::new("config.toml"), text)
    }

    #[test]
    fn a_whole_file() {
        let file = parse(
            "profile = 'work'\ncolor = 'never'\n[profiles.work]\ngateway = 'https://gw'\nca_file = 'ca.pem'\n\
             store = 'file'\nproxy_listen = '127.0.0.1:1081'\n[profiles.work.forwards]\ndb-prod = 15432\n",
        )
        .unwrap();
        assert_eq!(file.profile.as_deref(), Some("work"));
        assert_eq!(file.color, Some(cli::Color::Never));
        let work = &file.profiles["work"];
        assert_eq!(work.gateway.as_deref(), Some("https://gw"));
        assert_eq!(
            work.forwards.iter().next().map(|(app, port)| (app.to_string(), *port)),
            Some(("db-prod".into(), 15432))
        );
    }

    #[test]
    fn mistakes_name_the_line_and_the_remedy() {
        for (text, message, hint) in [
            (
                "\ngatway = 'x'",
                "config.toml:2: unknown key `gatway`",
                "the keys known here are: color, profile, profiles",
            ),
            ("[profiles.a]\ngatway = 'x'", "config.toml:2: unknown key `profiles.a.gatway`", "did you mean `gateway`?"),
            (
                "color = 'blue'",
                "config.toml:1: `color` must be \"auto\", \"always\" or \"never\"",
                "edit line 1 of config.toml",
            ),
            ("profile = 3", "config.toml:1: `profile` must be a text in quotes", "edit line 1 of config.toml"),
            (
                "[profiles.a.forwards]\ndb = 0",
                "config.toml:2: `profiles.a.forwards.db` must be a port from 1 to 65535",
                "edit line 2 of config.toml",
            ),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.hint().as_str()), (message, hint), "{text}");
        }
        assert!(parse("a = [").unwrap_err().to_string().starts_with("config.toml:1: "));
    }
}
