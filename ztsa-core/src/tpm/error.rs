//! Why a TPM did not do what was asked.

use std::io::{self, ErrorKind};

use crate::config::TpmPlace;

/// Why a TPM did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TpmError {
    /// There is none.
    #[error("there is no TPM at {place}")]
    Absent {
        /// Where it was looked for.
        place: TpmPlace,
    },
    /// This user may not use it.
    #[error("this user may not use the TPM at {place}")]
    Permission {
        /// Where it is.
        place: TpmPlace,
    },
    /// It answers that it is busy, or somebody else holds it.
    #[error("the TPM at {place} is busy")]
    Busy {
        /// Where it is.
        place: TpmPlace,
    },
    /// It is locked after failed authorizations of whatever program.
    #[error("the TPM at {place} is locked because of failed authorizations")]
    Lockout {
        /// Where it is.
        place: TpmPlace,
    },
    /// Its owner hierarchy has a password.
    #[error("the TPM at {place} has an owner password")]
    Owner {
        /// Where it is.
        place: TpmPlace,
    },
    /// The key is another than it was.
    #[error("the TPM at {place} was cleared, or it is another machine's: the key is gone")]
    OtherKey {
        /// Where it is.
        place: TpmPlace,
    },
    /// It cannot do this, or it is broken.
    #[error("the TPM at {place} refused (code 0x{code:03x})")]
    Refused {
        /// Where it is.
        place: TpmPlace,
        /// The response code (TPM 2.0 Library, Part 2, 6.6).
        code: u32,
    },
    /// What it answered is no answer of a TPM 2.0.
    #[error("what is at {place} does not answer as a TPM 2.0 does")]
    Garbled {
        /// Where it is.
        place: TpmPlace,
    },
    /// It could not be talked to.
    #[error("the TPM at {place} could not be talked to: {reason}")]
    Io {
        /// Where it is.
        place: TpmPlace,
        /// What happened.
        reason: String,
    },
    /// It did not answer in time.
    #[error("the TPM at {place} did not answer in time")]
    Silent {
        /// Where it is.
        place: TpmPlace,
    },
}

impl TpmError {
    pub(super) fn from_io(place: &TpmPlace, error: &io::Error) -> Self {
        let place = place.clone();
        // ENXIO and ENODEV: the device file is there and nothing behind it
        let nothing = matches!(error.raw_os_error(), Some(6 | 19));
        match error.kind() {
            ErrorKind::NotFound => Self::Absent { place },
            _ if nothing => Self::Absent { place },
            ErrorKind::PermissionDenied => Self::Permission { place },
            ErrorKind::ResourceBusy => Self::Busy { place },
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent { place },
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Self::Garbled { place },
            _ => Self::Io { place, reason: error.to_string() },
        }
    }

    pub(super) fn from_code(place: &TpmPlace, code: u32) -> Self {
        let place = place.clone();
        // Of a format-one code, the number is in seven bits; the rest says which parameter or session it was.
        let number = if code & 0x80 == 0 { code } else { code & 0xbf };
        match number {
            0x921 => Self::Lockout { place },
            // TPM_RC_AUTH_FAIL, TPM_RC_BAD_AUTH: only the owner hierarchy is asked with a password
            0x08e | 0x0a2 => Self::Owner { place },
            _ => Self::Refused { place, code },
        }
    }

    /// Whether it may pass by itself.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Busy { .. } | Self::Lockout { .. } | Self::Io { .. } | Self::Silent { .. })
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Permission { place: TpmPlace::Device(_) } => {
                "let this user use the TPM: `sudo usermod -aG tss $USER`, and log in to the machine again".to_owned()
            }
            Self::Absent { .. } | Self::Permission { .. } | Self::Garbled { .. } => {
                "set ZTSA_TPM to the TPM's device, or to off".to_owned()
            }
            Self::Busy { .. } | Self::Silent { .. } | Self::Io { .. } => "try again".to_owned(),
            Self::Lockout { .. } => "wait, or clear the lockout: `tpm2_dictionarylockout --clear-lockout`".to_owned(),
            Self::Owner { .. } | Self::Refused { .. } => "keep the key in a file: set ZTSA_TPM=off".to_owned(),
            Self::OtherKey { .. } => "sign in again, which makes a new device key: `ztsa login`".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_whatever_parameter_they_name() {
        let place = TpmPlace::system();
        for (code, expected) in [
            (0x921, TpmError::Lockout { place: place.clone() }),
            (0x9a2, TpmError::Owner { place: place.clone() }),
            (0x98e, TpmError::Owner { place: place.clone() }),
            (0x101, TpmError::Refused { place: place.clone(), code: 0x101 }),
            (0x2c4, TpmError::Refused { place: place.clone(), code: 0x2c4 }),
        ] {
            assert_eq!(TpmError::from_code(&place, code), expected, "{code:x}");
        }
    }

    #[test]
    fn what_stands_in_the_way_is_told_with_what_to_do() {
        let place = TpmPlace::system();
        let error = |kind: ErrorKind| TpmError::from_io(&place, &kind.into());
        assert!(error(ErrorKind::PermissionDenied).hint().contains("tss"));
        assert_eq!(error(ErrorKind::NotFound), TpmError::Absent { place: place.clone() });
        assert_eq!(
            TpmError::from_io(&place, &io::Error::from_raw_os_error(19)),
            TpmError::Absent { place: place.clone() }
        );
        assert!(error(ErrorKind::ResourceBusy).is_temporary() && !error(ErrorKind::NotFound).is_temporary());
    }
}
