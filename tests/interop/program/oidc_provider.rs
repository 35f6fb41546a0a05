//! The certified `oidc-provider` of npm, with its own sign-in and consent pages.

use super::node::node;
use super::page::{Browser, Form};
use crate::folder::Folder;
use crate::process::{Process, free_port};

/// A running issuer that knows alice (group dev) and bob (group ops); any password will do.
pub struct OidcProvider {
    pub issuer: String,
    process: Process,
    _folder: Folder,
}

impl OidcProvider {
    /// Starts an issuer whose access tokens are for this audience.
    pub fn start(audience: &str) -> Self {
        let folder = Folder::new("oidc-provider");
        let port = free_port();
        let mut node = node(&folder, "provider.mjs", include_str!("../oidc_provider/provider.mjs"));
        let mut process = Process::start("oidc-provider", &folder, node.args([&port.to_string(), audience]));
        process.line("ready");
        Self { issuer: format!("http://127.0.0.1:{port}"), process, _folder: folder }
    }

    /// Goes through the issuer's pages as a person would: confirms the code, signs in, consents.
    pub fn approve(&self, url: &str, user: &str) {
        let browser = Browser::new();
        let mut page = browser.open(url, &[]);
        for _ in 0..6 {
            let Some(mut form) = Form::of(&page) else { break };
            form.fill("login", user);
            form.fill("password", "any");
            let fields: Vec<String> = form
                .fields
                .iter()
                .filter(|(name, _)| name != "abort")
                .flat_map(|(name, value)| ["--data-urlencode".to_owned(), format!("{name}={value}")])
                .collect();
            let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
            page = browser.open(&form.action, &fields);
        }
        assert!(page.contains("Sign-in Success"), "the issuer's last page was:\n{page}");
    }

    /// What the issuer has logged: its grants and errors.
    pub fn log(&self) -> String {
        self.process.log()
    }
}
