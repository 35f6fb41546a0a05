//! Certificates made by OpenSSL, as an administrator would make them.

use std::fs;
use std::path::PathBuf;

use crate::binary::command;
use crate::folder::Folder;
use crate::process::finish;

/// A certification authority in a file, and what it has signed.
pub struct Authority {
    folder: Folder,
}

impl Authority {
    pub fn new() -> Self {
        let folder = Folder::new("authority");
        let (key, cert) = (folder.join("ca.key"), folder.join("ca.pem"));
        let mut openssl = command("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        openssl.args(["-subj", "/CN=ztsa interop CA", "-addext", "keyUsage=critical,keyCertSign"]);
        finish(openssl.arg("-keyout").arg(key).arg("-out").arg(cert)).ok();
        Self { folder }
    }

    /// The authority's own certificate, for those who trust it.
    pub fn file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Signs a certificate for these names (`DNS:..`, `IP:..`) and returns the files of certificate and key.
    pub fn sign(&self, name: &str, alternatives: &str) -> (PathBuf, PathBuf) {
        let (key, cert) = (self.folder.join(&format!("{name}.key")), self.folder.join(&format!("{name}.pem")));
        let mut openssl = command("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]);
        openssl.args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName={alternatives}")]);
        openssl.args(["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"]);
        openssl.arg("-CA").arg(self.file()).arg("-CAkey").arg(self.folder.join("ca.key"));
        finish(openssl.arg("-keyout").arg(&key).arg("-out").arg(&cert)).ok();
        (cert, key)
    }

    /// Signs as [`Authority::sign`] and returns one file with certificate and key, as HAProxy wants it.
    pub fn sign_bundle(&self, name: &str, alternatives: &str) -> PathBuf {
        let (cert, key) = self.sign(name, alternatives);
        let both = fs::read_to_string(cert).unwrap() + &fs::read_to_string(key).unwrap();
        self.folder.write(&format!("{name}.bundle.pem"), &both)
    }
}
