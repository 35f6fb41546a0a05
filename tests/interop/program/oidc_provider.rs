//! The certified `oidc-provider` of npm, with its own sign-in and consent pages.

use serde_json::{Value, json};

use super::node::node;
use super::page::{Browser, Form};
use crate::folder::Folder;
use crate::process::{Process, free_port};

/// The secret of the client `ztsa-gateway`, which may introspect.
pub const SECRET: &str = "introspection-secret";

/// The scopes that this issuer knows.
pub const SCOPES: [&str; 5] = ["openid", "profile", "email", "groups", "offline_access"];

/// A running issuer that knows alice (group dev) and bob (group ops); any password will do.
pub struct OidcProvider {
    pub issuer: String,
    process: Process,
    _folder: Folder,
}

impl OidcProvider {
    /// Starts an issuer whose access tokens are JWTs for this audience, bound to keys by proofs with nonces.
    pub fn start(audience: &str) -> Self {
        Self::with(audience, "nonce", "jwt")
    }

    /// Starts an issuer with DPoP `nonce`, `plain` or `none`, and access tokens that are `jwt` or `opaque`.
    pub fn with(audience: &str, dpop: &str, format: &str) -> Self {
        let folder = Folder::new("oidc-provider");
        let port = free_port();
        let mut node = node(&folder, "provider.mjs", include_str!("../oidc_provider/provider.mjs"));
        node.args([&port.to_string(), audience]).arg(json!({"dpop": dpop, "format": format}).to_string());
        let mut process = Process::start("oidc-provider", &folder, &mut node);
        process.line("ready");
        Self { issuer: format!("http://127.0.0.1:{port}"), process, _folder: folder }
    }

    /// Goes through the issuer's pages for a device code as a person would: confirms the code, signs in, consents.
    pub fn approve(&self, url: &str, user: &str) {
        let page = self.visit(url, user);
        assert!(page.contains("Sign-in Success"), "the issuer's last page was:\n{page}");
    }

    /// Goes through the issuer's pages as a person would whose browser runs no script, and returns the last page: the
    /// issuer's own, or that of the program that the browser was sent back to.
    pub fn visit(&self, url: &str, user: &str) -> String {
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
        page
    }

    /// What a person does in a browser from this address on, until ztsa's own page comes.
    pub fn job(url: &str, user: &str) -> Value {
        json!({
            "url": url,
            "fill": {"input[name=login]": user, "input[name=password]": "any"},
            "press": ["button[type=submit]", "input[type=submit]"],
            "until": "Go back to the terminal",
        })
    }

    /// What the issuer has logged: its grants and errors.
    pub fn log(&self) -> String {
        self.process.log()
    }
}
