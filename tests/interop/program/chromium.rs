//! Chromium without a screen, driven as a person would: real key strokes and clicks, by its own DevTools protocol.

use serde_json::Value;

use super::node::node;
use crate::binary::command;
use crate::folder::Folder;
use crate::process::{Process, finish};

/// A running browser that keeps its cookies.
pub struct Chromium {
    devtools: String,
    _process: Process,
    folder: Folder,
}

impl Chromium {
    pub fn start() -> Self {
        let folder = Folder::new("chromium");
        let mut chromium = command("chromium");
        chromium.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]);
        chromium.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        chromium.args(["--no-default-browser-check", "--remote-debugging-port=0"]).env("HOME", folder.path());
        chromium.arg(format!("--user-data-dir={}", folder.join("profile").display()));
        let mut process = Process::start("chromium", &folder, chromium.arg("about:blank"));
        let line = process.line("DevTools listening on ");
        let devtools = line.split_whitespace().last().unwrap().to_owned();
        Self { devtools, _process: process, folder }
    }

    /// Does a job that `person.mjs` describes, and returns what the person saw.
    pub fn go(&self, job: &Value) -> Value {
        let script = include_str!("../oidc_provider/person.mjs");
        let mut node = node(&self.folder, "person.mjs", script);
        let report = finish(node.arg(&self.devtools).arg(job.to_string())).ok();
        serde_json::from_str(&report).unwrap_or_else(|error| panic!("{report}: {error}"))
    }
}
