//! A file that the gateway names, and digests of what is on this device.

use std::io::Read as _;

use aws_lc_rs::digest::{Context, SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ztsa_proto::posture::{Reason, Wanted};

use super::{
    Finding, Sys,
    sys::{open, reason},
};

/// The largest file that is read for its digest, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Whether a file is there, and its SHA-256 where that is asked for.
pub(super) fn look(wanted: &Wanted, sys: &Sys) -> Finding {
    let Some(path) = wanted.path.on(std::env::consts::OS) else {
        return Finding::not_applicable("no path for this system", "");
    };
    if !is_plain(path) {
        return Finding::error(Reason::Parse, "");
    }
    let source = path.to_owned();
    let seen = match std::fs::metadata(sys.path(path)) {
        Ok(seen) => seen,
        Err(error) if reason(&error) == Reason::Absent => return Finding::fail("not there", source),
        Err(error) => return Finding::unknown(reason(&error), source),
    };
    if !wanted.hash {
        return Finding::pass("there", source);
    }
    if !seen.is_file() || seen.len() > LARGEST {
        return Finding::unknown(Reason::Unsupported, source);
    }
    match hash(sys, path) {
        Ok(digest) => Finding::pass(digest, source),
        Err(reason) => Finding::unknown(reason, source),
    }
}

/// Whether a path is absolute and does not climb.
fn is_plain(path: &str) -> bool {
    let windows = path.as_bytes().get(1..3) == Some(b":\\");
    (path.starts_with('/') || windows) && path.len() <= 1_024 && !path.split(['/', '\\']).any(|part| part == "..")
}

fn hash(sys: &Sys, path: &str) -> Result<String, Reason> {
    let mut file = open(&sys.path(path))?.take(LARGEST);
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer).map_err(|error| reason(&error))? {
            0 => return Ok(hex(context.finish().as_ref())),
            count => context.update(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// The SHA-256 thumbprints of the certificates in a PEM text; what does not read as one is left out.
pub(super) fn thumbprints(pem: &str) -> impl Iterator<Item = String> {
    pem.split("-----BEGIN CERTIFICATE-----").skip(1).filter_map(|part| {
        let (body, _) = part.split_once("-----END CERTIFICATE-----")?;
        let body: String = body.split_whitespace().collect();
        Some(hex(digest(&SHA256, &STANDARD.decode(body).ok()?).as_ref()))
    })
}

/// Compares two digests in hexadecimal digits, with or without colons, in any case.
pub(super) fn same_digest(one: &str, other: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars().filter(char::is_ascii_hexdigit).map(|digit| digit.to_ascii_lowercase()).collect()
    };
    plain(one).len() == 64 && plain(one) == plain(other)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ztsa_proto::posture::{Paths, State};

    use crate::http::script::TempDir;

    fn wanted(path: &str, hash: bool) -> Wanted {
        let on = Some(path.to_owned());
        let path = Paths { linux: on.clone(), macos: on.clone(), windows: on };
        Wanted { hash, path, ..Wanted::from("file.agent") }
    }

    #[test]
    fn a_file_is_there_or_not_and_its_digest_is_told_when_asked_for() {
        let dir = TempDir::new();
        let sys = Sys::at(dir.path(), 1000, &[]);
        std::fs::write(dir.path().join("agent.conf"), "abc").unwrap();
        assert_eq!(look(&wanted("/agent.conf", false), &sys).value.unwrap(), "there");
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(look(&wanted("/agent.conf", true), &sys).value.unwrap(), digest);
        assert_eq!(look(&wanted("/other.conf", true), &sys).state, State::Fail);
        assert_eq!(look(&wanted("/", true), &sys).reason, Some(Reason::Unsupported), "a directory has no digest");
        for path in ["agent.conf", "/../agent.conf", ""] {
            assert_eq!(look(&wanted(path, false), &sys).state, State::Error, "{path}");
        }
        assert_eq!(look(&Wanted::from("file.agent"), &sys).state, State::NotApplicable);
    }

    #[test]
    fn thumbprints_are_of_the_certificates_bytes() {
        let pem = "text\n-----BEGIN CERTIFICATE-----\nYW\nJj\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        let prints: Vec<String> = thumbprints(pem).collect();
        assert_eq!(prints.len(), 1);
        assert!(same_digest(
            &prints[0],
            "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"
        ));
        assert!(!same_digest("", "") && !same_digest(&prints[0], "ba78"));
    }

    proptest! {
        #[test]
        fn no_bundle_is_too_much(text in "\\PC{0,200}") {
            let _ = (thumbprints(&text).count(), same_digest(&text, &text), is_plain(&text));
            let pem = format!("-----BEGIN CERTIFICATE-----{text}-----END CERTIFICATE-----");
            let _ = thumbprints(&pem).count();
        }
    }
}
