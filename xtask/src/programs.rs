//! The real programs that the tests talk to: found, or installed, or named in the failure.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, Failure};
use crate::workspace::Workspace;

const CARGO_DENY: &str = "0.20.2";

/// A program of the tests and the Debian package that holds it.
struct Program {
    package: &'static str,
    found: Found,
}

/// How the presence of a program shows.
enum Found {
    /// It is in PATH.
    InPath(&'static str),
    /// It is in PATH or in one of Debian's folders of PostgreSQL servers.
    Postgres(&'static str),
    /// A file is there.
    File(&'static str),
    /// Debian's Python can import this module.
    Python(&'static str),
}

const PROGRAMS: &[Program] = &[
    Program { package: "postgresql", found: Found::Postgres("postgres") },
    Program { package: "postgresql", found: Found::Postgres("initdb") },
    Program { package: "postgresql", found: Found::Postgres("pgbench") },
    Program { package: "postgresql-client", found: Found::InPath("psql") },
    Program { package: "openssh-server", found: Found::File("/usr/sbin/sshd") },
    Program { package: "openssh-client", found: Found::InPath("ssh") },
    Program { package: "openssh-client", found: Found::InPath("scp") },
    Program { package: "rsync", found: Found::InPath("rsync") },
    Program { package: "git", found: Found::InPath("git") },
    Program { package: "curl", found: Found::InPath("curl") },
    Program { package: "netcat-openbsd", found: Found::InPath("nc.openbsd") },
    Program { package: "redis-server", found: Found::InPath("redis-server") },
    Program { package: "redis-tools", found: Found::InPath("redis-cli") },
    Program { package: "haproxy", found: Found::InPath("haproxy") },
    Program { package: "chromium", found: Found::InPath("chromium") },
    Program { package: "glewlwyd", found: Found::InPath("glewlwyd") },
    Program { package: "sqlite3", found: Found::InPath("sqlite3") },
    Program { package: "openssl", found: Found::InPath("openssl") },
    Program { package: "python3", found: Found::File("/usr/bin/python3") },
    Program { package: "python3-pip", found: Found::Python("pip") },
    Program { package: "python3-jsonschema", found: Found::Python("jsonschema") },
    Program { package: "jq", found: Found::InPath("jq") },
    Program { package: "python3-socks", found: Found::Python("socks") },
    Program { package: "swtpm", found: Found::InPath("swtpm") },
    Program { package: "dbus", found: Found::InPath("dbus-daemon") },
    Program { package: "gnome-keyring", found: Found::InPath("gnome-keyring-daemon") },
    Program { package: "util-linux", found: Found::InPath("setpriv") },
    Program { package: "nodejs", found: Found::InPath("node") },
    Program { package: "npm", found: Found::InPath("npm") },
];

/// Installs what is missing.
///
/// # Errors
/// What could not be installed, with what a person can do: no test is ever left out for want of a program.
pub(crate) fn ensure(workspace: &Workspace) -> Result<(), Failure> {
    install(&PROGRAMS.iter().map(|program| program.package).collect::<Vec<_>>())?;
    oidc_provider(workspace)?;
    audit_oracle(workspace)?;
    cargo_deny(workspace)
}

/// Installs those of these Debian packages whose programs are not here.
///
/// # Errors
/// What could not be installed, with what a person can do.
pub(crate) fn install(wanted: &[&str]) -> Result<(), Failure> {
    let missing = missing(wanted);
    if missing.is_empty() {
        println!("    all {} programs are installed", wanted.len());
        return Ok(());
    }
    println!("    installing by apt-get: {}", missing.join(" "));
    let by_hand = |why: &str| {
        Failure::Wrong(format!("{why}; install these Debian packages by hand and repeat: {}", missing.join(" ")))
    };
    if command::find("apt-get").is_none() {
        return Err(by_hand("this machine has no apt-get"));
    }
    let quiet = NoServices::begin()?;
    let installed = command::run(&mut apt(&["update", "-q"])).and_then(|()| {
        let mut install = apt(&["install", "-q", "-y", "--no-install-recommends"]);
        command::run(install.args(&missing))
    });
    drop(quiet);
    installed.map_err(|failure| by_hand(&failure.to_string()))?;
    match self::missing(wanted).as_slice() {
        [] => Ok(()),
        left => Err(Failure::Wrong(format!("installed, and yet not found: {}", left.join(" ")))),
    }
}

/// Names those of these Debian packages whose programs are not here.
pub(crate) fn missing(wanted: &[&str]) -> Vec<&'static str> {
    let asked = PROGRAMS.iter().filter(|program| wanted.contains(&program.package));
    let mut packages: Vec<_> =
        asked.filter(|program| !program.found.is_here()).map(|program| program.package).collect();
    packages.dedup();
    packages
}

/// Finds a program of the newest PostgreSQL server: Debian keeps them out of PATH.
pub(crate) fn postgres(name: &str) -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|v| v.path().join("bin").join(name)).filter(|path| path.is_file()).collect();
    found.sort();
    found.pop().or_else(|| command::find(name))
}

impl Found {
    fn is_here(&self) -> bool {
        match self {
            Self::InPath(name) => command::find(name).is_some(),
            Self::File(path) => Path::new(path).is_file(),
            Self::Python(module) => {
                command::succeeds(Command::new("/usr/bin/python3").args(["-c", &format!("import {module}")]))
            }
            Self::Postgres(name) => postgres(name).is_some(),
        }
    }
}

/// Returns `apt-get` with these arguments, through sudo where this is not root.
fn apt(arguments: &[&str]) -> Command {
    let mut command = if rustix::process::geteuid().is_root() {
        Command::new("apt-get")
    } else {
        let mut sudo = Command::new("sudo");
        sudo.args(["--preserve-env=DEBIAN_FRONTEND", "apt-get"]);
        sudo
    };
    command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
    command
}

/// Keeps Debian from starting the servers that it installs (`policy-rc.d` answers 101: not allowed), while it lives.
struct NoServices {
    ours: bool,
}

const POLICY: &str = "/usr/sbin/policy-rc.d";

impl NoServices {
    fn begin() -> Result<Self, Failure> {
        let path = Path::new(POLICY);
        if path.exists() {
            return Ok(Self { ours: false });
        }
        if rustix::process::geteuid().is_root() {
            fs::write(path, "#!/bin/sh\nexit 101\n").map_err(|source| Failure::file(path, source))?;
            command::run(Command::new("chmod").args(["755", POLICY]))?;
        } else {
            command::run(Command::new("sudo").args([
                "sh",
                "-c",
                &format!("printf '#!/bin/sh\\nexit 101\\n' >{POLICY} && chmod 755 {POLICY}"),
            ]))?;
        }
        Ok(Self { ours: true })
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if !self.ours {
            return;
        }
        let removed = if rustix::process::geteuid().is_root() {
            fs::remove_file(POLICY).is_ok()
        } else {
            command::succeeds(Command::new("sudo").args(["rm", POLICY]))
        };
        if !removed {
            eprintln!("    {POLICY} was made by this command and could not be removed; please remove it");
        }
    }
}

/// Installs the certified OpenID provider by npm, in the versions of the committed lock file.
fn oidc_provider(workspace: &Workspace) -> Result<(), Failure> {
    let source = workspace.root.join("tests/interop/oidc_provider");
    let folder = workspace.target.join("oidc_provider");
    fs::create_dir_all(&folder).map_err(|error| Failure::file(&folder, error))?;
    let stamp = folder.join("node_modules/.installed");
    let lock = source.join("package-lock.json");
    let wanted = fs::read(&lock).map_err(|error| Failure::file(&lock, error))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("    oidc-provider is installed");
        return Ok(());
    }
    println!("    installing oidc-provider and openid-client by npm");
    for name in ["package.json", "package-lock.json"] {
        fs::copy(source.join(name), folder.join(name)).map_err(|error| Failure::file(&source.join(name), error))?;
    }
    command::run(Command::new("npm").current_dir(&folder).args(["ci", "--no-audit", "--no-fund"]))
        .map_err(|failure| Failure::Wrong(format!("{failure}; run `npm ci` in {} and repeat", folder.display())))?;
    fs::write(&stamp, wanted).map_err(|error| Failure::file(&stamp, error))
}

/// Installs what judges the audit log, by pip, in the versions and with the hashes of the committed list.
fn audit_oracle(workspace: &Workspace) -> Result<(), Failure> {
    let list = workspace.root.join("tests/interop/audit_oracle/requirements.txt");
    let folder = workspace.target.join("audit_oracle");
    let stamp = folder.join(".installed");
    let wanted = fs::read(&list).map_err(|error| Failure::file(&list, error))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        println!("    the schema of OCSF and the messages of OpenTelemetry are installed");
        return Ok(());
    }
    println!("    installing the schema of OCSF and the messages of OpenTelemetry by pip");
    if folder.exists() {
        fs::remove_dir_all(&folder).map_err(|error| Failure::file(&folder, error))?;
    }
    let mut pip = Command::new("/usr/bin/python3");
    // one file for every machine: nothing that was compiled
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:"]);
    pip.args(["--implementation", "py", "--abi", "none", "--platform", "any", "--disable-pip-version-check"]);
    pip.args(["--root-user-action", "ignore", "--target"]);
    command::run(pip.arg(&folder).arg("-r").arg(&list))
        .map_err(|failure| Failure::Wrong(format!("{failure}; see that PyPI can be reached, and repeat")))?;
    fs::write(&stamp, wanted).map_err(|error| Failure::file(&stamp, error))
}

fn cargo_deny(workspace: &Workspace) -> Result<(), Failure> {
    let wanted = format!("cargo-deny {CARGO_DENY}");
    let installed = workspace.tools().join("bin/cargo-deny");
    for program in [installed.as_path(), Path::new("cargo-deny")] {
        if command::read(Command::new(program).arg("--version")).is_ok_and(|version| version.trim() == wanted) {
            println!("    {wanted} is installed");
            return Ok(());
        }
    }
    println!("    installing {wanted}");
    let root = workspace.tools();
    let build = root.join("build");
    command::run(
        workspace
            .cargo(&["install", "cargo-deny", "--locked", "--quiet", "--version", CARGO_DENY])
            .arg("--root")
            .arg(&root)
            .arg("--target-dir")
            .arg(&build),
    )
    .map_err(|failure| {
        Failure::Wrong(format!("{failure}; run `cargo install cargo-deny --locked --version {CARGO_DENY}` and repeat"))
    })?;
    // only the program is needed; its build is larger than the project's own
    if build.exists() { fs::remove_dir_all(&build).map_err(|error| Failure::file(&build, error)) } else { Ok(()) }
}
