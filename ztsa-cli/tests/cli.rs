//! The command as people and scripts meet it: exit code, stdout and stderr, in a home of its own.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has to fail")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A home directory with nothing in it.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ztsa-cli-{name}-{}", std::process::id()));
        let _fresh = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ztsa"));
        command.args(args).env_clear().env("HOME", &self.0).env("PATH", "/usr/bin:/bin").stdin(Stdio::null());
        command
    }

    fn run(&self, args: &[&str]) -> Outcome {
        Outcome::of(&self.command(args).output().unwrap(), &self.0)
    }

    fn write(&self, path: &str, contents: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, contents).unwrap();
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// What a run left behind, with the home's path taken out.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn of(output: &Output, home: &Path) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(home.to_str().unwrap(), "HOME");
        Self { exit: output.status.code().unwrap(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    #[track_caller]
    fn expect(&self, exit: i32, stdout: &str, stderr: &str) {
        let expected = Self { exit, stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        assert_eq!(*self, expected, "\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
    }
}

#[test]
fn a_first_try_says_how_to_begin() {
    let home = Home::new("first");
    for command in ["apps", "proxy", "logout", "login"] {
        home.run(&[command]).expect(
            3,
            "",
            "ztsa: no gateway is known for profile `default`\n  do:   ztsa login https://gw.example.com\n",
        );
    }
    home.run(&["connect", "db-prod", "--", "psql"]).expect(
        3,
        "",
        "ztsa: no gateway is known for profile `default`\n  do:   ztsa login https://gw.example.com\n",
    );
}

#[test]
fn status_says_that_nobody_is_signed_in_and_which_settings_hold() {
    let home = Home::new("status");
    let mut outcome = home.run(&["status"]);
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    outcome.stdout = outcome.stdout.lines().map(words).collect::<Vec<_>>().join("\n");
    outcome.expect(
        3,
        "not signed in\n\nSETTING VALUE FROM\nprofile default default\nstore auto default\ntpm auto default\n\
         config-dir HOME/.config/ztsa default\nstate-dir HOME/.local/state/ztsa default",
        "\nsign in with: ztsa login https://gw.example.com\n",
    );
    let outcome = home.run(&["status", "--json", "--gateway", "https://gw.example.com", "--store", "file"]);
    let status: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((outcome.exit, status["signed_in"].as_bool()), (3, Some(false)));
    assert_eq!(status["settings"]["gateway"]["source"], "--gateway");
}

#[test]
fn posture_is_shown_before_anything_is_sent() {
    let home = Home::new("posture");
    let outcome = home.run(&["posture"]);
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (0, ""));
    for said in ["os.version", "disk.root", "Nothing is sent: no gateway is known."] {
        assert!(outcome.stdout.contains(said), "{said} is missing in\n{}", outcome.stdout);
    }
}

#[test]
fn a_program_reading_stdout_meets_nothing_but_data() {
    let home = Home::new("stdio");
    let outcome = home.run(&["stdio", "bastion:22", "--gateway", "https://127.0.0.1:1", "--store", "file"]);
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (3, ""), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("ztsa login"), "{}", outcome.stderr);
    let outcome = home.run(&["stdio", "bad name"]);
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (2, ""));
    assert!(outcome.stderr.starts_with("ztsa: `bad name` is not an app: "), "{}", outcome.stderr);
}

#[test]
fn errors_are_json_on_request_and_stdout_stays_empty() {
    let home = Home::new("json");
    let outcome = home.run(&["apps", "--json"]);
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (3, ""));
    let error: serde_json::Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!(error["error"]["exit"], 3);
    assert_eq!(error["error"]["hint"], "ztsa login https://gw.example.com");
}

#[test]
fn mistakes_on_the_command_line_are_usage_errors() {
    let home = Home::new("usage");
    for (args, said) in [
        (&["connnect", "db"][..], "unrecognized subcommand 'connnect'"),
        (&["connect"], "<APP>..."),
        (&["connect", "Not An App"], "invalid value 'Not An App' for '<APP>...'"),
        (&["connect", "db", "--listen", "host:1"], "write PORT or ADDRESS:PORT"),
        (&["ticket", "db", "--for", "soon"], "is not a time; write it like 30s, 10m or 1h30m"),
        (&["ticket", "db", "--uses", "0"], "0 is not in 1"),
        (&["login", "--browser", "--device"], "cannot be used with"),
        (&["apps", "-q", "-v"], "cannot be used with"),
        (&["completions", "tcsh"], "invalid value 'tcsh'"),
    ] {
        let outcome = home.run(args);
        assert_eq!((outcome.exit, outcome.stdout.as_str()), (2, ""), "{args:?}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(said), "{args:?}: {}", outcome.stderr);
    }
}

#[test]
fn a_mistake_in_the_configuration_names_the_line_and_the_remedy() {
    let home = Home::new("config");
    home.write(".config/ztsa/config.toml", "[profiles.default]\ngatway = 'https://gw'\n");
    home.run(&["apps"]).expect(
        2,
        "",
        "ztsa: HOME/.config/ztsa/config.toml:2: unknown key `profiles.default.gatway`\n  do:   did you mean `gateway`?\n",
    );
    home.write(".config/ztsa/config.toml", "[profiles.default]\ngateway = 'ftp://gw'\n");
    home.run(&["apps"]).expect(
        2,
        "",
        "ztsa: `ftp://gw` is not a gateway's URL: it must begin with https://; give it as https://gw.example.com \
         (from HOME/.config/ztsa/config.toml)\n  do:   ztsa login https://gw.example.com\n",
    );
    // What is made from the command line alone still works.
    assert_eq!(home.run(&["completions", "bash"]).exit, 0);
}

#[test]
fn certificates_that_are_none_are_a_usage_error() {
    let home = Home::new("roots");
    home.write("empty.pem", "nothing");
    let file = home.0.join("empty.pem");
    let outcome = home.run(&["apps", "--gateway", "https://127.0.0.1:1", "--ca-file", file.to_str().unwrap()]);
    assert_eq!(outcome.exit, 2, "{}", outcome.stderr);
    assert!(outcome.stderr.starts_with("ztsa: HOME/empty.pem holds no usable certificate"), "{}", outcome.stderr);
}

#[test]
fn a_gateway_that_nobody_answers_for_is_unreachable() {
    let home = Home::new("unreachable");
    // Bound and never listening: it refuses, and nobody else gets its port.
    let nobody = tokio::net::TcpSocket::new_v4().unwrap();
    nobody.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let gateway = format!("https://{}", nobody.local_addr().unwrap());
    let outcome = home.run(&["login", &gateway, "--store", "file"]);
    assert_eq!((outcome.exit, outcome.stdout.as_str()), (6, ""), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("127.0.0.1") && outcome.stderr.contains("\n  do:   "), "{}", outcome.stderr);
}

#[test]
fn help_is_data_and_names_the_exit_codes() {
    let home = Home::new("help");
    let outcome = home.run(&["--help"]);
    assert_eq!((outcome.exit, outcome.stderr.as_str()), (0, ""));
    for said in ["connect", "stdio", "Exit codes:", "ZTSA_GATEWAY", "ztsa login https://gw.example.com"] {
        assert!(outcome.stdout.contains(said), "{said} is missing in\n{}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains("generate"), "{}", outcome.stdout);
    assert_eq!(home.run(&["--version"]).stdout, format!("ztsa {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_reader_that_stops_reading_is_no_error() {
    let home = Home::new("pipe");
    let mut child =
        home.command(&["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    Outcome::of(&output, &home.0).expect(0, "", "");
}

#[test]
fn the_generated_files_are_fresh() {
    let home = Home::new("generated");
    let fresh = home.0.join("tree");
    assert_eq!(home.run(&["generate", fresh.to_str().unwrap()]).exit, 0);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for dir in ["completions", "man", "docs/reference"] {
        files.extend(
            std::fs::read_dir(fresh.join(dir)).unwrap().map(|file| Path::new(dir).join(file.unwrap().file_name())),
        );
        if dir != "docs/reference" {
            files.extend(
                std::fs::read_dir(root.join(dir))
                    .into_iter()
                    .flatten()
                    .map(|file| Path::new(dir).join(file.unwrap().file_name())),
            );
        }
    }
    assert!(files.len() > 20, "{files:?}");
    for file in files {
        let (made, kept) = (std::fs::read(fresh.join(&file)).ok(), std::fs::read(root.join(&file)).ok());
        assert!(made == kept, "{} is stale: run `cargo xtask bless`", file.display());
    }
}
