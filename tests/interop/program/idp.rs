//! Our own development issuer, as a program of its own.

use serde_json::{Value, json};

use crate::binary::{command, ours};
use crate::folder::Folder;
use crate::process::Process;

/// A running issuer that knows alice (group dev), bob (group ops) and mallory (no group).
pub struct Idp {
    pub issuer: String,
    _process: Process,
    _folder: Folder,
}

impl Idp {
    /// Starts `ztsa-idp` with these further arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = Folder::new("idp");
        let mut idp = command(ours("ztsa-idp"));
        let mut process = Process::start("ztsa-idp", &folder, idp.arg("--json").args(arguments));
        let ready: Value = serde_json::from_str(&process.line("\"ready\"")).unwrap();
        Self { issuer: ready["issuer"].as_str().unwrap().to_owned(), _process: process, _folder: folder }
    }

    /// What a person does in a browser from this address on, until ztsa's own page comes.
    pub fn job(url: &str, user: &str) -> Value {
        json!({
            "url": url,
            "fill": {"#name": user, "#password": user, "#code": "000000"},
            "press": [{"text": "Continue"}, {"text": "Sign in"}, {"text": "Approve"}],
            "until": "Go back to the terminal",
        })
    }
}
