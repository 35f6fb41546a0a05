//! Redis, in memory only.

use crate::binary::command;
use crate::folder::Folder;
use crate::process::{Process, free_port};

/// A running server.
pub struct Redis {
    pub port: u16,
    _process: Process,
    _folder: Folder,
}

impl Redis {
    pub fn start() -> Self {
        let folder = Folder::new("redis");
        let port = free_port();
        let mut redis = command("redis-server");
        redis.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
        let mut process = Process::start("redis-server", &folder, redis.arg(folder.path()));
        process.listens(port);
        Self { port, _process: process, _folder: folder }
    }
}
