//! Against Debian's swtpm, which speaks as a TPM 2.0 does.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Instant,
};

use aws_lc_rs::digest::{SHA256, digest};
use ztsa_proto::jwk::Jwk;

use super::*;
use crate::http::script::TempDir;

/// A software TPM, ended when it is dropped; with its own state, as another machine's.
pub(crate) struct SoftTpm {
    child: Child,
    socket: PathBuf,
    dir: TempDir,
}

impl SoftTpm {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new();
        let socket = dir.path().join("tpm.sock");
        let child = Self::spawn(&dir, &socket);
        Self { child, socket, dir }
    }

    fn spawn(dir: &TempDir, socket: &std::path::Path) -> Child {
        let state = dir.path().join("state");
        std::fs::create_dir_all(&state).unwrap();
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--server"])
            .arg(format!("type=unixio,path={}", socket.display()))
            .args(["--tpmstate", &format!("dir={}", state.display())])
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start swtpm: {error}; `cargo xtask test` installs it"));
        let deadline = Instant::now() + Duration::from_secs(20);
        // the file is there before it listens
        while std::os::unix::net::UnixStream::connect(socket).is_err() {
            assert!(Instant::now() < deadline, "swtpm does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        child
    }

    pub(crate) fn place(&self) -> TpmPlace {
        TpmPlace::Socket(self.socket.clone())
    }

    pub(crate) fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    pub(crate) fn tpm(&self) -> Tpm {
        Tpm::new(self.place())
    }

    /// Restarts it, as the machine does; `clear` forgets its seeds, as an owner who clears the TPM does.
    pub(crate) fn restart(&mut self, clear: bool) {
        self.stop();
        if clear {
            std::fs::remove_dir_all(self.dir.path().join("state")).unwrap();
        }
        self.child = Self::spawn(&self.dir, &self.socket);
    }

    pub(crate) fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Drop for SoftTpm {
    fn drop(&mut self) {
        self.stop();
    }
}

const LABEL: &Label = &[7; 32];

fn hash(message: &[u8]) -> [u8; 32] {
    digest(&SHA256, message).as_ref().try_into().unwrap()
}

fn verifies(point: &Point, message: &[u8], signature: &[u8; 64]) -> bool {
    Jwk::from_point(&[&[4][..], point].concat()).unwrap().verify(message, signature).is_ok()
}

#[test]
fn the_same_label_gives_the_same_key_after_a_restart_and_another_label_another() {
    let mut soft = SoftTpm::start();
    let key = soft.tpm().signing_key(LABEL).unwrap();
    let signature = soft.tpm().sign(LABEL, &key, &hash(b"message")).unwrap();
    assert!(verifies(&key, b"message", &signature) && !verifies(&key, b"other", &signature));
    let secret = soft.tpm().derive(LABEL, &[1; 32]).unwrap();
    assert_ne!(soft.tpm().signing_key(&[8; 32]).unwrap(), key);
    assert_ne!(soft.tpm().derive(&[8; 32], &[1; 32]).unwrap(), secret);
    assert_ne!(soft.tpm().derive(LABEL, &[2; 32]).unwrap(), secret);
    soft.restart(false);
    assert_eq!(soft.tpm().signing_key(LABEL).unwrap(), key);
    assert_eq!(soft.tpm().derive(LABEL, &[1; 32]).unwrap(), secret);
}

#[test]
fn another_machine_s_tpm_and_a_cleared_one_do_not_sign_for_the_key() {
    let (mut soft, other) = (SoftTpm::start(), SoftTpm::start());
    let key = soft.tpm().signing_key(LABEL).unwrap();
    let secret = soft.tpm().derive(LABEL, &[1; 32]).unwrap();
    let gone = |soft: &SoftTpm| TpmError::OtherKey { place: soft.place() };
    assert_eq!(other.tpm().sign(LABEL, &key, &[0; 32]), Err(gone(&other)));
    assert_ne!(other.tpm().derive(LABEL, &[1; 32]).unwrap(), secret);
    soft.restart(true);
    let error = soft.tpm().sign(LABEL, &key, &[0; 32]).unwrap_err();
    assert_eq!(error, gone(&soft));
    assert!(error.to_string().contains("cleared") && error.hint().contains("ztsa login"));
}

#[test]
fn many_programs_at_once_each_get_their_signature_and_leave_nothing_in_the_tpm() {
    let soft = SoftTpm::start();
    let key = soft.tpm().signing_key(LABEL).unwrap();
    thread::scope(|scope| {
        for number in 0..8u8 {
            let (tpm, key) = (soft.tpm(), &key);
            scope.spawn(move || {
                // swtpm has room for three keys: each that was left behind would be one too many
                for _ in 0..3 {
                    let signature = tpm.sign(LABEL, key, &hash(&[number])).unwrap();
                    assert!(verifies(key, &[number], &signature));
                    tpm.derive(LABEL, &[number; 32]).unwrap();
                }
            });
        }
    });
}

#[test]
fn what_is_no_tpm_is_told() {
    let dir = TempDir::new();
    let file = dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = |place: TpmPlace| Tpm::new(place).signing_key(LABEL).unwrap_err();
    let place = TpmPlace::Device(dir.path().join("nothing"));
    assert_eq!(error(place.clone()), TpmError::Absent { place });
    let place = TpmPlace::Device(file.clone());
    assert_eq!(error(place.clone()), TpmError::Garbled { place });
    assert!(std::fs::read(&file).unwrap().is_empty(), "nothing was written into the file");
    let place = TpmPlace::Device("/dev/null".into());
    assert_eq!(error(place.clone()), TpmError::Garbled { place });
}

/// Answers each command with the next of these codes, then passes it on.
struct Moody {
    codes: Vec<u32>,
    inner: Box<dyn Transport>,
}

impl Transport for Moody {
    fn transmit(&mut self, command: &[u8]) -> std::io::Result<Vec<u8>> {
        match self.codes.pop() {
            Some(code) => Ok([&[0x80, 1, 0, 0, 0, 10][..], &code.to_be_bytes()].concat()),
            None => self.inner.transmit(command),
        }
    }
}

#[test]
fn a_busy_tpm_is_asked_again_for_a_while_and_a_locked_one_is_not() {
    let soft = SoftTpm::start();
    let place = soft.place();
    let moody = |codes: &[u32]| {
        let mut link = Moody { codes: codes.to_vec(), inner: transport::open(&place).unwrap() };
        let answer = ask(&mut link, &place, &codec::create_hmac(LABEL));
        if let Ok(made) = &answer {
            ask(&mut link, &place, &codec::flush(Reader::new(made).u32().unwrap())).unwrap();
        }
        answer.map(drop)
    };
    moody(&[0x922, 0x908, 0x90a]).unwrap();
    assert_eq!(moody(&[0x922; 8]), Err(TpmError::Busy { place: place.clone() }));
    assert_eq!(moody(&[0x921]), Err(TpmError::Lockout { place: place.clone() }));
    assert_eq!(moody(&[0x9a2]), Err(TpmError::Owner { place: place.clone() }));
}
