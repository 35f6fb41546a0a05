//! OpenSSH and what runs over it, by ProxyCommand.

use std::fs;
use std::process::Command;

use crate::gateway::{App, Gateway};
use crate::home::Home;
use crate::process::finish;
use crate::program::sshd::Sshd;

/// The name that people type, and that the server's key is known by.
const HOST: &str = "build.ztsa";

/// A server, a gateway in front of it and a signed-in person whose ssh is configured.
struct Road {
    home: Home,
    config: String,
    _gateway: Gateway,
    sshd: Sshd,
}

fn road() -> Road {
    let sshd = Sshd::start();
    let gateway = Gateway::dev(&[App("build", "ssh", sshd.port, &[])]);
    let home = Home::signed_in(&gateway);
    let user = if rustix::process::geteuid().is_root() { "root".to_owned() } else { std::env::var("USER").unwrap() };
    let config = home.folder().write(
        "ssh_config",
        &format!(
            "Host *.ztsa\n  ProxyCommand ztsa stdio %h:22\n  User {user}\n  IdentityFile {}\n  IdentitiesOnly yes\n\
             \x20 UserKnownHostsFile {}\n  StrictHostKeyChecking yes\n  BatchMode yes\n",
            sshd.identity().display(),
            sshd.known_hosts(HOST).display(),
        ),
    );
    Road { home, config: config.display().to_string(), _gateway: gateway, sshd }
}

impl Road {
    /// One of OpenSSH's programs, or one that runs over them, with this road's configuration.
    fn over_ssh(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = self.home.command(program);
        command.env("GIT_SSH_COMMAND", format!("ssh -F {}", self.config));
        command.env("RSYNC_RSH", format!("ssh -F {}", self.config));
        if matches!(program, "ssh" | "scp" | "sftp") {
            command.args(["-F", &self.config]);
        }
        command.args(arguments);
        command
    }
}

/// Bytes of every value, in no order that a text mode would keep.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(count)
    .collect()
}

#[test]
fn ssh_runs_a_command_and_keeps_both_streams_and_the_exit_code() {
    let road = road();
    let outcome = finish(&mut road.over_ssh("ssh", &[HOST, "echo out; echo err >&2; exit 42"])).exits(42);
    assert_eq!(outcome.stdout, "out\n");
    assert!(outcome.stderr.contains("err"), "{outcome}");
}

#[test]
fn ssh_carries_a_large_stream_to_its_end() {
    let road = road();
    let counted = finish(&mut road.over_ssh("ssh", &[HOST, "head -c 33554432 /dev/zero"])).ok();
    assert_eq!(counted.len(), 33_554_432);
}

#[test]
fn scp_and_sftp_copy_both_ways() {
    let road = road();
    let folder = road.home.folder();
    let (there, back) = (folder.join("there.bin"), folder.join("back.bin"));
    let local = folder.join("local.bin");
    fs::write(&local, bytes(5_000_001)).unwrap();
    let remote = format!("{HOST}:{}", there.display());
    finish(&mut road.over_ssh("scp", &["-q", local.to_str().unwrap(), &remote])).ok();
    finish(&mut road.over_ssh("scp", &["-q", &remote, back.to_str().unwrap()])).ok();
    assert!(fs::read(&there).unwrap() == bytes(5_000_001), "the copy there differs");
    assert!(fs::read(&back).unwrap() == bytes(5_000_001), "the copy back differs");
}

#[test]
fn rsync_copies_a_tree_and_then_nothing() {
    let road = road();
    let folder = road.home.folder();
    for number in 0..40 {
        folder.write(&format!("tree/{}/{number}.txt", number % 4), &format!("{number}\n").repeat(number * 10));
    }
    let (from, to) =
        (format!("{}/", folder.join("tree").display()), format!("{HOST}:{}/", folder.join("copy").display()));
    let run = || finish(&mut road.over_ssh("rsync", &["-a", "--checksum", "--itemize-changes", &from, &to])).ok();
    assert_eq!(run().lines().filter(|line| line.starts_with("<f+")).count(), 40);
    assert_eq!(run(), "");
    finish(road.home.command("diff").args(["-r", "tree", "copy"])).ok();
}

#[test]
fn git_clones_and_pushes() {
    let road = road();
    let git = |arguments: &[&str]| {
        let mut git = road.over_ssh("git", &["-c", "user.name=alice", "-c", "user.email=alice@example.com"]);
        finish(git.args(arguments)).ok()
    };
    let folder = road.home.folder();
    git(&["init", "-q", "--bare", "-b", "main", "there.git"]);
    let url = format!("ssh://{HOST}{}", folder.join("there.git").display());
    git(&["clone", "-q", &url, "one"]);
    folder.write("one/file", "content\n");
    git(&["-C", "one", "add", "file"]);
    git(&["-C", "one", "commit", "-q", "-m", "Add a file"]);
    git(&["-C", "one", "push", "-q", "origin", "HEAD:main"]);
    git(&["clone", "-q", &url, "two"]);
    assert_eq!(fs::read_to_string(folder.join("two/file")).unwrap(), "content\n");
}

#[test]
fn ssh_to_an_app_that_is_not_there_says_so() {
    let road = road();
    let outcome = finish(&mut road.over_ssh("ssh", &["nothing.ztsa", "true"])).exits(255);
    assert!(outcome.stderr.contains("nothing"), "{outcome}");
}

#[test]
fn ssh_takes_what_ssh_config_prints_and_reaches_the_server_by_it() {
    let road = road();
    let printed = finish(&mut road.home.ztsa(&["ssh-config"])).ok();
    // what ssh finds first counts: whose key, and nothing else, is this test's
    let config = road.home.folder().write("made_config", &format!("{printed}\nHost *\nInclude {}\n", road.config));
    let known_hosts = road.sshd.known_hosts("build").display().to_string();
    let ssh = |arguments: &[&str]| {
        let mut ssh = road.home.command("ssh");
        ssh.arg("-F").arg(&config).args(["-o", &format!("UserKnownHostsFile {known_hosts}")]);
        finish(ssh.args(arguments)).ok()
    };
    let settings = ssh(&["-G", HOST]);
    for line in ["proxycommand ztsa stdio %h:%p", "hostkeyalias build", &format!("port {}", road.sshd.port)] {
        assert!(settings.lines().any(|setting| setting == line), "{line} is missing in\n{settings}");
    }
    assert!(!ssh(&["-G", "github.com"]).contains("proxycommand"), "another host goes through ztsa");
    assert_eq!(ssh(&[HOST, "echo through"]), "through\n");
}
