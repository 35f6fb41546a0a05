//! A witness between `ztsa` and its gateway who judges every proof by a library that others wrote.

use super::certificate::Authority;
use super::node::node;
use crate::folder::Folder;
use crate::process::Process;

/// A running witness.
pub struct Witness {
    process: Process,
    _folder: Folder,
}

impl Witness {
    /// Listens with TLS on one port and forwards to a gateway on another.
    pub fn start(port: u16, gateway: u16, authority: &Authority) -> Self {
        let folder = Folder::new("witness");
        let (cert, key) = authority.sign("witness", "IP:127.0.0.1");
        let mut node = node(&folder, "witness.mjs", include_str!("../oidc_provider/witness.mjs"));
        node.args([&port.to_string(), &format!("https://127.0.0.1:{gateway}")]).arg(cert).arg(key);
        let mut process = Process::start("witness", &folder, node.env("NODE_EXTRA_CA_CERTS", authority.file()));
        process.line("ready");
        Self { process, _folder: folder }
    }

    /// One line for each request so far: method, path and verdict.
    pub fn verdicts(&self) -> Vec<String> {
        self.process.log().lines().filter(|line| *line != "ready").map(str::to_owned).collect()
    }
}
