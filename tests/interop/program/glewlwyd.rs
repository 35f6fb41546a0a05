//! Debian's `glewlwyd`, set up by its own administrator's interface.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::page::Browser;
use crate::binary::command;
use crate::folder::Folder;
use crate::process::{Process, finish, free_port};

const SCHEMA: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
const PASSWORD: &str = "correct horse battery staple";

/// A running issuer that knows alice (group dev).
pub struct Glewlwyd {
    pub issuer: String,
    /// The one port that browsers may be sent back to.
    pub redirect_port: u16,
    base: String,
    _process: Process,
    folder: Folder,
}

impl Glewlwyd {
    /// Starts an issuer whose access tokens are for this audience.
    pub fn start(audience: &str) -> Self {
        let folder = Folder::new("glewlwyd");
        let database = folder.join("database");
        let schema = fs::read_to_string(SCHEMA).unwrap_or_else(|error| panic!("{SCHEMA}: {error}; install glewlwyd"));
        // people have groups, which Debian's first configuration does not know
        let groups = r#""data-format":{"groups":{"multiple":true,"read":true,"write":true},"picture""#;
        let script = folder.write("schema.sql", &schema.replacen(r#""data-format":{"picture""#, groups, 1));
        finish(command("sqlite3").arg(&database).arg(format!(".read {}", script.display()))).ok();
        let port = free_port();
        let config = folder.write("glewlwyd.conf", &config(port, &database));
        let mut server = command("glewlwyd");
        let mut process =
            Process::start("glewlwyd", &folder, server.arg(format!("--config-file={}", config.display())));
        process.listens(port);
        let redirect_port = free_port();
        let base = format!("http://127.0.0.1:{port}/api");
        let issuer = format!("{base}/oidc");
        let administrator = Browser::new();
        post(&administrator, &format!("{base}/auth/"), &json!({"username": "admin", "password": "password"}));
        post(&administrator, &format!("{base}/mod/plugin/"), &plugin(&folder, &issuer, audience));
        post(&administrator, &format!("{base}/user/"), &alice());
        post(
            &administrator,
            &format!("{base}/client/"),
            &client(&format!("http://127.0.0.1:{redirect_port}/callback")),
        );
        Self { issuer, redirect_port, base, _process: process, folder }
    }

    /// Does what the issuer's pages do when alice signs in, allows the client and confirms the code.
    pub fn approve(&self, url: &str) {
        let answer = self.visit(url, &["--write-out", "%{url_effective}"]);
        assert!(answer.contains("prompt=deviceComplete"), "the issuer ended at {answer}");
    }

    /// Does what the issuer's pages do when alice signs in and allows the client, and returns the last page: the issuer's
    /// own, or that of the program that the browser was sent back to.
    pub fn visit(&self, url: &str, arguments: &[&str]) -> String {
        let alice = Browser::new();
        alice.open(url, &[]);
        post(&alice, &format!("{}/auth/", self.base), &json!({"username": "alice", "password": PASSWORD}));
        let grant = format!("{}/auth/grant/ztsa-cli", self.base);
        send(&alice, "PUT", &grant, &json!({"scope": "openid"}));
        alice.open(&format!("{url}&g_continue"), arguments)
    }

    /// How many refresh tokens the issuer has given out: one for each grant, as each is good for one use.
    pub fn refresh_tokens(&self) -> usize {
        let mut sqlite = command("sqlite3");
        // Glewlwyd may be writing just now
        sqlite
            .args(["-cmd", ".timeout 10000"])
            .arg(self.folder.join("database"))
            .arg("select count(*) from gpo_refresh_token");
        finish(&mut sqlite).ok().trim().parse().unwrap()
    }
}

fn post(browser: &Browser, url: &str, body: &Value) {
    send(browser, "POST", url, body);
}

fn send(browser: &Browser, method: &str, url: &str, body: &Value) {
    let body = body.to_string();
    browser.open(url, &["--request", method, "--header", "content-type: application/json", "--data-binary", &body]);
}

fn alice() -> Value {
    json!({"username": "alice", "password": PASSWORD, "name": "Alice", "email": "alice@example.com", "groups": ["dev"],
        "scope": ["openid", "g_profile"], "enabled": true})
}

fn client(redirect: &str) -> Value {
    json!({"client_id": "ztsa-cli", "client_name": "ztsa", "confidential": false, "enabled": true,
        "authorization_type": ["device_authorization", "refresh_token", "code"],
        "redirect_uri": [redirect], "token_endpoint_auth_method": ["none"], "scope": []})
}

fn plugin(folder: &Folder, issuer: &str, audience: &str) -> Value {
    let (key, public) = (folder.join("key.pem"), folder.join("public.pem"));
    let mut openssl = command("openssl");
    openssl.args(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]);
    finish(openssl.arg(&key)).ok();
    finish(command("openssl").args(["pkey", "-pubout", "-in"]).arg(&key).arg("-out").arg(&public)).ok();
    json!({"module": "oidc", "name": "oidc", "display_name": "OpenID", "enabled": true, "parameters": {
        "iss": issuer, "jwt-type": "ecdsa", "jwt-key-size": "256", "jwks-show": true,
        "key": fs::read_to_string(key).unwrap(), "cert": fs::read_to_string(public).unwrap(),
        "access-token-duration": 63, "code-duration": 600, "refresh-token-duration": 3600,
        "refresh-token-rolling": true, "refresh-token-one-use": "always", "allow-non-oidc": true,
        "auth-type-client-enabled": false, "auth-type-code-enabled": true, "auth-type-token-enabled": false,
        "auth-type-implicit-enabled": false, "auth-type-id-token-enabled": true, "auth-type-password-enabled": false,
        "auth-type-refresh-enabled": true, "auth-type-device-enabled": true, "device-authorization-expiration": 300,
        "device-authorization-interval": 1, "oauth-dpop-allowed": true, "oauth-dpop-iat-duration": 60,
        "name-claim": "mandatory", "email-claim": "mandatory", "subject-type": "public", "pkce-allowed": true,
        "claims": [{"name": "groups", "user-property": "groups", "type": "string", "mandatory": true, "scope": []}],
        "resource-allowed": true, "resource-scope": {"openid": [audience]}, "resource-client-property": "resource",
        "allowed-scope": ["openid"]}})
}

fn config(port: u16, database: &Path) -> String {
    format!(
        "port={port}\nbind_address=\"127.0.0.1\"\nexternal_url=\"http://127.0.0.1:{port}/\"\nlogin_url=\"login.html\"\n\
         api_prefix=\"api\"\nstatic_files_path=\"/usr/share/glewlwyd/webapp\"\nlog_mode=\"console\"\nlog_level=\"WARNING\"\n\
         cookie_domain=\"127.0.0.1\"\ncookie_secure=0\ncookie_same_site=\"empty\"\nsession_expiration=3600\nsession_key=\"S\"\n\
         admin_session_authentication=\"cookie\"\nprofile_session_authentication=\"cookie\"\nlogin_api_enabled=true\n\
         max_post_size=1677724\nadmin_scope=\"g_admin\"\nprofile_scope=\"g_profile\"\nhash_algorithm=\"SHA512\"\n\
         user_module_path=\"/usr/lib/glewlwyd/user\"\nclient_module_path=\"/usr/lib/glewlwyd/client\"\n\
         user_auth_scheme_module_path=\"/usr/lib/glewlwyd/scheme\"\nplugin_module_path=\"/usr/lib/glewlwyd/plugin\"\n\
         use_secure_connection=false\nsecure_connection_key_file=\"none\"\nsecure_connection_pem_file=\"none\"\n\
         secure_connection_ca_file=\"none\"\ndatabase = {{ type=\"sqlite3\" path=\"{}\" }};\n",
        database.display(),
    )
}
