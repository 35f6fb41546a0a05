//! OpenSSH's server, with its own host key, configuration and authorised key.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::binary::command;
use crate::folder::Folder;
use crate::process::{Process, finish, free_port};

/// A running server that lets the test's own user in by [`Sshd::identity`].
pub struct Sshd {
    pub port: u16,
    folder: Folder,
    _process: Process,
}

impl Sshd {
    pub fn start() -> Self {
        let folder = Folder::new("sshd");
        for name in ["host_key", "user_key"] {
            let key = folder.join(name);
            finish(command("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(key)).ok();
        }
        fs::copy(folder.join("user_key.pub"), folder.join("authorized_keys")).unwrap();
        privilege_separation();
        let port = free_port();
        let config = folder.write(
            "sshd_config",
            &format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\n\
                 UsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nPrintMotd no\n\
                 Subsystem sftp internal-sftp\nLogLevel VERBOSE\n",
                folder.join("host_key").display(),
                folder.join("authorized_keys").display(),
            ),
        );
        let mut sshd = command("/usr/sbin/sshd");
        let mut process = Process::start("sshd", &folder, sshd.args(["-D", "-e", "-f"]).arg(config));
        process.listens(port);
        Self { port, folder, _process: process }
    }

    /// The private key that the server accepts.
    pub fn identity(&self) -> PathBuf {
        self.folder.join("user_key")
    }

    /// A known_hosts file that holds the server's key under this name, so that the name is verified end to end.
    pub fn known_hosts(&self, name: &str) -> PathBuf {
        let key = fs::read_to_string(self.folder.join("host_key.pub")).unwrap();
        self.folder.write("known_hosts", &format!("{name} {key}"))
    }
}

/// Makes the empty folder that sshd locks its children in, where Debian's service did not make it.
fn privilege_separation() {
    let folder = Path::new("/run/sshd");
    if rustix::process::geteuid().is_root() && !folder.is_dir() {
        // another test may be doing the same
        let _ = fs::create_dir(folder);
        let _ = fs::set_permissions(folder, fs::Permissions::from_mode(0o755));
    }
}
