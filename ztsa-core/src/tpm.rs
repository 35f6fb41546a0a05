//! A TPM 2.0: a signing key that never leaves it, and a secret that nothing else can compute.
//!
//! Nothing is kept in the TPM: each key is derived from its owner seed by a template and a label of 32 random bytes
//! (`TPM2_CreatePrimary`, TPM 2.0 Library Part 3, 24.1), so the same label gives the same key for as long as the TPM is not
//! cleared, and no other TPM gives it. Six commands are spoken, by a small codec of our own: the TPM software stacks need C
//! libraries, and the rest of the TPM is not used.
//!
//! All calls block, a TPM takes tens of milliseconds, and one that hangs takes for ever: callers run them apart.

mod codec;
mod error;
mod transport;

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use zeroize::Zeroizing;

pub use self::error::TpmError;
use self::{codec::Reader, transport::Transport};
use crate::config::TpmPlace;

/// What separates the keys of two installations.
pub type Label = [u8; 32];
/// A P-256 public key: x and y.
pub type Point = [u8; 64];

/// The pauses before a TPM that is busy is asked again: 2 s in all.
const BUSY: [Duration; 7] = [
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(120),
    Duration::from_millis(300),
    Duration::from_millis(500),
    Duration::from_secs(1),
];

/// A TPM; cheap to clone, all clones share one connection.
#[derive(Clone)]
pub struct Tpm {
    place: TpmPlace,
    /// The signing key that was used last, still loaded: making it again takes longer than signing with it.
    loaded: Arc<Mutex<Option<Loaded>>>,
}

struct Loaded {
    link: Box<dyn Transport>,
    handle: u32,
    label: Label,
    point: Point,
}

impl fmt::Debug for Tpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tpm({})", self.place)
    }
}

impl Tpm {
    /// Names a TPM; it is not asked yet.
    pub fn new(place: TpmPlace) -> Self {
        Self { place, loaded: Arc::default() }
    }

    /// Where it is.
    pub fn place(&self) -> &TpmPlace {
        &self.place
    }

    /// Says whether this user may use it, without asking it anything.
    ///
    /// # Errors
    /// It is absent, or not for this user.
    pub fn usable(&self) -> Result<(), TpmError> {
        transport::open(&self.place).map(drop)
    }

    /// Makes the signing key of a label and shows its public part.
    ///
    /// # Errors
    /// See [`TpmError`].
    pub fn signing_key(&self, label: &Label) -> Result<Point, TpmError> {
        self.with_key(label, |loaded| Ok(loaded.point))
    }

    /// Signs a SHA-256 digest with the key of a label: ECDSA on P-256, r and s.
    ///
    /// # Errors
    /// [`TpmError::OtherKey`] when the label does not give the key that it gave, because the TPM was cleared or is another
    /// one; else see [`TpmError`].
    pub fn sign(&self, label: &Label, key: &Point, digest: &[u8; 32]) -> Result<[u8; 64], TpmError> {
        self.with_key(label, |loaded| {
            if loaded.point != *key {
                return Err(TpmError::OtherKey { place: self.place.clone() });
            }
            let answer = ask(&mut *loaded.link, &self.place, &codec::sign(loaded.handle, digest))?;
            codec::signature(&answer).ok_or_else(|| self.garbled())
        })
    }

    /// Computes 32 bytes from a label and an input that only this TPM can compute (`TPM2_HMAC`).
    ///
    /// # Errors
    /// See [`TpmError`].
    pub fn derive(&self, label: &Label, input: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, TpmError> {
        let mut link = transport::open(&self.place)?;
        let made = ask(&mut *link, &self.place, &codec::create_hmac(label))?;
        let handle = Reader::new(&made).u32().ok_or_else(|| self.garbled())?;
        let answer = ask(&mut *link, &self.place, &codec::hmac(handle, input)).map(Zeroizing::new);
        // A TPM without a resource manager has room for three keys.
        let flushed = ask(&mut *link, &self.place, &codec::flush(handle));
        let secret = codec::digest(&answer?).ok_or_else(|| self.garbled());
        flushed.and(secret)
    }

    /// Does something with a loaded key. A key that was loaded before may have gone, when the machine slept: it is loaded
    /// again once.
    fn with_key<T>(
        &self,
        label: &Label,
        mut work: impl FnMut(&mut Loaded) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let mut slot = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut loaded) = slot.take()
            && loaded.label == *label
            && let Ok(done) = work(&mut loaded)
        {
            *slot = Some(loaded);
            return Ok(done);
        }
        let mut loaded = self.load(label)?;
        let done = work(&mut loaded);
        match self.place {
            // The kernel keeps each process's keys apart, and takes them back when it ends.
            TpmPlace::Device(_) if done.is_ok() => *slot = Some(loaded),
            _ => {
                let _ = ask(&mut *loaded.link, &self.place, &codec::flush(loaded.handle));
            }
        }
        done
    }

    fn load(&self, label: &Label) -> Result<Loaded, TpmError> {
        let mut link = transport::open(&self.place)?;
        let answer = ask(&mut *link, &self.place, &codec::create_signing(label))?;
        let (handle, point) = codec::created(&answer).ok_or_else(|| self.garbled())?;
        Ok(Loaded { link, handle, label: *label, point })
    }

    fn garbled(&self) -> TpmError {
        TpmError::Garbled { place: self.place.clone() }
    }
}

/// Sends a command and gives the parameters of its answer; a TPM that is busy is asked again for two seconds.
fn ask(link: &mut dyn Transport, place: &TpmPlace, command: &[u8]) -> Result<Vec<u8>, TpmError> {
    for pause in BUSY.into_iter().map(Some).chain([None]) {
        let answer = link.transmit(command).map_err(|source| TpmError::from_io(place, &source))?;
        let (code, parameters) = codec::answer(&answer).ok_or_else(|| TpmError::Garbled { place: place.clone() })?;
        match (codec::is_busy(code), pause) {
            (false, _) if code == 0 => return Ok(parameters.to_vec()),
            (false, _) => return Err(TpmError::from_code(place, code)),
            (true, Some(pause)) => thread::sleep(pause),
            (true, None) => {}
        }
    }
    Err(TpmError::Busy { place: place.clone() })
}

#[cfg(test)]
pub(crate) mod tests;
