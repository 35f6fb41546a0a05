//! Which TPM is used, if any.

use std::{fmt, path::PathBuf, str::FromStr};

use super::ConfigError;

/// Which TPM holds the device key and seals what is kept in files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum TpmChoice {
    /// The machine's own, where this user may use it.
    #[default]
    Auto,
    /// None.
    Off,
    /// This one.
    At(TpmPlace),
}

impl TpmChoice {
    /// The place of the TPM that is used where it can be.
    pub fn place(&self) -> Option<TpmPlace> {
        match self {
            Self::Auto => Some(TpmPlace::system()),
            Self::Off => None,
            Self::At(place) => Some(place.clone()),
        }
    }
}

impl FromStr for TpmChoice {
    type Err = ConfigError;

    /// Reads `auto`, `off`, the path of a device, or `swtpm:` and the path of a socket.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (path, socket) = text.strip_prefix("swtpm:").map_or((text, false), |path| (path, true));
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ if !path.starts_with('/') => Err(ConfigError::Tpm { given: text.to_owned() }),
            _ if socket => Ok(Self::At(TpmPlace::Socket(path.into()))),
            _ => Ok(Self::At(TpmPlace::Device(path.into()))),
        }
    }
}

/// Where a TPM is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TpmPlace {
    /// A device file of a kernel with a resource manager, such as `/dev/tpmrm0`.
    Device(PathBuf),
    /// A software TPM's Unix socket (`swtpm socket --server type=unixio`).
    Socket(PathBuf),
}

impl TpmPlace {
    /// Where Linux has the machine's TPM.
    pub fn system() -> Self {
        Self::Device("/dev/tpmrm0".into())
    }
}

impl fmt::Display for TpmPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(path) => write!(f, "{}", path.display()),
            Self::Socket(path) => write!(f, "swtpm:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_read() {
        let at = |place| Some(TpmChoice::At(place));
        for (text, expected) in [
            ("auto", Some(TpmChoice::Auto)),
            ("off", Some(TpmChoice::Off)),
            ("/dev/tpm0", at(TpmPlace::Device("/dev/tpm0".into()))),
            ("swtpm:/run/tpm.sock", at(TpmPlace::Socket("/run/tpm.sock".into()))),
            ("tpm0", None),
            ("swtpm:tpm0", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text}");
        }
    }
}
