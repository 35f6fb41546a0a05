//! Our gateway, as its own program.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::binary::{command, ours};
use crate::folder::Folder;
use crate::process::{Outcome, Process, finish, free_port};
use crate::program::certificate::Authority;
use crate::program::oidc_provider::SECRET;

/// Lets everybody in group `dev` reach the apps of these tests.
const POLICY: &str = r#"
@id("interop-dev")
@reason("Developers may reach the apps of the interop tests.")
permit (principal in Group::"dev", action == Action::"connect", resource in Tag::"interop");
"#;

/// One app behind the gateway: name, kind, port on 127.0.0.1, and the real names that also mean it.
pub struct App<'a>(pub &'a str, pub &'a str, pub u16, pub &'a [&'a str]);

/// A running gateway.
pub struct Gateway {
    pub url: String,
    pub ca: PathBuf,
    admin: PathBuf,
    process: Process,
    folder: Folder,
}

impl Gateway {
    /// Starts `ztsa-gateway dev`: its own issuer signs alice in without a question.
    pub fn dev(apps: &[App]) -> Self {
        Self::dev_with(apps, "")
    }

    /// Starts `ztsa-gateway dev` with more configuration.
    pub fn dev_with(apps: &[App], more: &str) -> Self {
        let folder = Folder::new("gateway");
        let added = folder.write("added/apps.toml", &format!("{more}{}", tables(apps)));
        folder.write("added/policies/interop.cedar", POLICY);
        let mut gateway = command(ours("ztsa-gateway"));
        gateway.args(["dev", "--listen", "127.0.0.1:0", "--approve", "alice", "--json", "--add-config"]).arg(added);
        gateway.arg("--dir").arg(folder.join("dev")).env("HOME", folder.path());
        let mut process = Process::start("gateway", &folder, &mut gateway);
        let ready = process.line("\"ready\"");
        let ready: Value = serde_json::from_str(&ready).unwrap_or_else(|error| panic!("{ready}: {error}"));
        let text = |key: &str| ready[key].as_str().unwrap_or_else(|| panic!("no {key:?} in {ready}")).to_owned();
        let url = text("gateway");
        Self { url, ca: text("ca_file").into(), admin: text("admin").into(), process, folder }
    }

    /// Starts `ztsa-gateway run` behind somebody else's issuer.
    pub fn run(apps: &[App], authority: &Authority, issuer: &Issuer) -> Self {
        Self::run_with(apps, authority, issuer, "", "")
    }

    /// Starts `ztsa-gateway run` with further lines for the issuer's table and further policies.
    pub fn run_with(apps: &[App], authority: &Authority, issuer: &Issuer, lines: &str, policies: &str) -> Self {
        let folder = Folder::new("gateway");
        let port = issuer.port;
        let (cert, key) = authority.sign("gateway", "IP:127.0.0.1,DNS:gateway");
        folder.write("policies/interop.cedar", &format!("{POLICY}{policies}"));
        folder.write("introspection.secret", SECRET);
        let config = format!(
            "public_url = \"{}\"\nlisten = [\"127.0.0.1:{port}\"]\n\
             [tls]\ncert = \"{}\"\nkey = \"{}\"\n\
             [[issuer]]\nname = \"other\"\nissuer = \"{}\"\nclient_id = \"ztsa-cli\"\nscopes = {:?}\n{lines}\n\
             [policy]\ndir = \"policies\"\n[store]\nurl = \"sqlite:ztsa.db\"\n[audit]\nfile = \"audit.ndjson\"\n\
             [admin]\nsocket = \"admin.sock\"\n{}",
            issuer.audience,
            cert.display(),
            key.display(),
            issuer.url,
            issuer.scopes,
            tables(apps),
        );
        let config = folder.write("gateway.toml", &config);
        finish(command(ours("ztsa-gateway")).args(["check", "--config"]).arg(&config)).ok();
        let mut gateway = command(ours("ztsa-gateway"));
        gateway.args(["run", "--config"]).arg(config).env("HOME", folder.path());
        let mut process = Process::start("gateway", &folder, &mut gateway);
        process.listens(port);
        Self {
            url: issuer.audience.to_owned(),
            ca: authority.file(),
            admin: folder.join("admin.sock"),
            process,
            folder,
        }
    }

    /// Puts a policy in force.
    pub fn enforce(&self, name: &str, text: &str) {
        self.folder.write(&format!("dev/policies/{name}"), text);
        self.admin(&["policy", "reload"]).ok();
    }

    /// Runs one of the administrator's commands.
    pub fn admin(&self, arguments: &[&str]) -> Outcome {
        finish(command(ours("ztsa-gateway")).args(arguments).arg("--admin").arg(&self.admin))
    }

    /// The socket that the administrator's commands speak to.
    pub fn socket(&self) -> &Path {
        &self.admin
    }

    /// Gives the file of `ztsa-gateway dev` of this name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.join("dev").join(name)
    }

    /// Stops the gateway where it stands: it accepts connections and answers nothing.
    pub fn suspend(&self) {
        self.process.suspend();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// The lines of the audit log so far; the last may not be whole yet, and is left out then.
    pub fn audit(&self) -> String {
        let files = [self.folder.join("dev/audit.ndjson"), self.folder.join("audit.ndjson")];
        let mut text = files.iter().find_map(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        text.truncate(text.rfind('\n').map_or(0, |end| end + 1));
        text
    }
}

/// Somebody else's issuer, and the gateway's place in front of it.
pub struct Issuer<'a> {
    /// The issuer's identifier.
    pub url: &'a str,
    /// What the gateway is called: the audience of the issuer's tokens, and the URL that clients use.
    pub audience: &'a str,
    /// The port that the gateway itself listens on.
    pub port: u16,
    pub scopes: &'a [&'a str],
}

/// Chooses a gateway's URL on a free port before there is a gateway, because an issuer must know it.
pub fn future_url() -> (String, u16) {
    let port = free_port();
    (format!("https://127.0.0.1:{port}"), port)
}

fn tables(apps: &[App]) -> String {
    apps.iter().fold(String::new(), |mut text, App(name, kind, port, hosts)| {
        let _ = write!(
            text,
            "[[app]]\nname = \"{name}\"\nkind = \"{kind}\"\ntarget = \"127.0.0.1:{port}\"\nhosts = {hosts:?}\n\
             tags = [\"interop\"]\n"
        );
        text
    })
}
