//! The device key in a TPM 2.0 (Debian's swtpm), used by real processes.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, thread};

use crate::binary::command;
use crate::folder::Folder;
use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::{PATIENCE, Process, finish, until};
use crate::program::http_server::HttpServer;

/// A TPM of its own, as each machine has one; returns it with what `ZTSA_TPM` says of it.
fn tpm(folder: &Folder) -> (Process, String) {
    let socket = folder.join("tpm.sock");
    fs::create_dir_all(folder.join("tpm")).unwrap();
    let mut swtpm = command("swtpm");
    swtpm
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--server"])
        .arg(format!("type=unixio,path={}", socket.display()))
        .args(["--tpmstate", &format!("dir={}", folder.join("tpm").display())]);
    let process = Process::start("swtpm", folder, &mut swtpm);
    // the file is there before it listens
    until("swtpm to listen", PATIENCE, || UnixStream::connect(&socket).ok());
    (process, format!("swtpm:{}", socket.display()))
}

fn key(home: &Home, place: &str) -> String {
    let status = finish(home.ztsa(&["status", "--json"]).env("ZTSA_TPM", place)).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_else(|error| panic!("{error}: {status}"));
    status["device_key"].as_str().unwrap_or_default().to_owned()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let mut copy = Command::new("cp");
    assert!(copy.arg("-a").arg(from).arg(to).stdin(Stdio::null()).status().unwrap().success());
}

#[test]
fn processes_share_a_key_in_the_tpm_and_a_copy_of_everything_else_is_worth_nothing() {
    let server = HttpServer::start();
    let gateway = Gateway::dev(&[App("handbook", "http", server.port, &[])]);
    let (machine, other) = (Folder::new("machine"), Folder::new("other"));
    let ((_tpm, place), (_other_tpm, other_place)) = (tpm(&machine), tpm(&other));
    let home = Home::new(&gateway);
    let with = |mut command: Command| {
        command.env("ZTSA_TPM", &place);
        command
    };
    finish(with(home.ztsa(&["login", "--device", "--no-open"])).arg(&gateway.url)).ok();
    let kind = key(&home, &place);
    assert!(kind.contains("TPM"), "{kind}");

    // many processes sign at once, each for its own tunnel
    let many: Vec<_> = (0..8)
        .map(|_| {
            let mut connect = with(home.ztsa(&["connect", "handbook", "--", "curl", "--silent", "http://{addr}/"]));
            thread::spawn(move || finish(&mut connect).ok())
        })
        .collect();
    for one in many {
        assert!(!one.join().unwrap().is_empty());
    }

    // another machine: every file, another chip
    let thief = Home::new(&gateway);
    copy(&home.folder().join("state"), &thief.folder().join("state"));
    for place in [other_place.as_str(), "off"] {
        let stolen = finish(thief.ztsa(&["apps"]).env("ZTSA_TPM", place));
        assert_ne!(stolen.code, Some(0), "{stolen}");
        assert!(!stolen.stdout.contains("handbook") && stolen.stderr.contains("do:"), "{stolen}");
    }
    // and the owner goes on
    finish(&mut with(home.ztsa(&["apps"]))).ok();
}
