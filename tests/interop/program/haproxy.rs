//! HAProxy, as a load balancer that ends TLS and speaks HTTP/2 on both sides.

use std::path::Path;

use super::certificate::Authority;
use crate::binary::command;
use crate::folder::Folder;
use crate::process::Process;

/// A running balancer.
pub struct HaProxy {
    process: Process,
    _folder: Folder,
}

impl HaProxy {
    /// Listens with TLS on one port and forwards, over TLS again, to a gateway on another.
    pub fn start(port: u16, gateway: u16, authority: &Authority) -> Self {
        let folder = Folder::new("haproxy");
        let bundle = authority.sign_bundle("haproxy", "IP:127.0.0.1");
        let config = folder.write("haproxy.cfg", &config(port, gateway, &bundle, &authority.file()));
        let mut process = Process::start("haproxy", &folder, command("haproxy").arg("-db").arg("-f").arg(config));
        process.listens(port);
        Self { process, _folder: folder }
    }

    /// The balancer's own log: one line for each ended request.
    pub fn log(&self) -> String {
        self.process.log()
    }
}

fn config(port: u16, gateway: u16, bundle: &Path, ca: &Path) -> String {
    format!(
        "global\n  log stdout format raw local0\n\
         defaults\n  mode http\n  log global\n  option httplog\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  timeout tunnel 1h\n\
         frontend tls\n  bind 127.0.0.1:{port} ssl crt {} alpn h2,http/1.1\n  default_backend gateway\n\
         backend gateway\n  server one 127.0.0.1:{gateway} ssl alpn h2 verify required ca-file {} verifyhost gateway\n",
        bundle.display(),
        ca.display(),
    )
}
