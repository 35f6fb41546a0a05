//! Python's HTTP server over a folder of known files.

use crate::binary::command;
use crate::folder::Folder;
use crate::process::{Process, free_port};

/// What `/index.html` holds.
pub const PAGE: &str = "<!doctype html><title>wiki</title><p>the private wiki</p>\n";

/// A running server.
pub struct HttpServer {
    pub port: u16,
    _process: Process,
    _folder: Folder,
}

impl HttpServer {
    pub fn start() -> Self {
        let folder = Folder::new("http");
        folder.write("site/index.html", PAGE);
        let port = free_port();
        let mut python = command("/usr/bin/python3");
        python.args(["-u", "-m", "http.server", &port.to_string(), "--bind", "127.0.0.1", "--directory"]);
        let mut process = Process::start("http.server", &folder, python.arg(folder.join("site")));
        process.listens(port);
        Self { port, _process: process, _folder: folder }
    }

    /// What the server has logged: one line for each request.
    pub fn requests(&self) -> String {
        self._process.log()
    }
}
