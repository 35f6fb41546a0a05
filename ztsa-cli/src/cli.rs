//! The command line: clap's derive and nothing else.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ztsa_core::listener::listen::Listen;
use ztsa_proto::name::AppName;

mod account;

pub(crate) use account::{Login, Logout, Profile, ProfileOrder, Status};

const AFTER: &str = "\
Exit codes:
  0 ok · 1 internal error · 2 usage · 3 login needed · 4 denied by policy · 5 device posture
  6 gateway or app unreachable · 7 access ended while open · 8 step-up needed · 130 interrupted
  With `connect .. -- CMD`, the exit code is the command's own.

First steps:
  ztsa login https://gw.example.com
  ztsa apps
  ztsa connect db-prod -- psql

Every global option can also be set by environment (ZTSA_PROFILE, ZTSA_GATEWAY, ZTSA_CA_FILE,
ZTSA_STORE, ZTSA_CONFIG_DIR, ZTSA_STATE_DIR, ZTSA_LOG) and in config.toml; `ztsa status` says
which value comes from where.";

/// Gives you access to one private app at a time, without a VPN.
#[derive(Debug, Parser)]
#[command(name = "ztsa", version, after_help = AFTER, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The options that every command takes.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// The profile to use: one gateway and one sign-in each
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// The gateway's URL, instead of the profile's
    #[arg(long = "gateway", global = true, value_name = "URL", id = "global_gateway")]
    pub(crate) gateway: Option<String>,
    /// A PEM file with extra root certificates for the gateway
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Where credentials are kept: the key store where there is one (auto), a sealed file, or this process only
    #[arg(long, global = true, value_name = "STORE", value_enum)]
    pub(crate) store: Option<Store>,
    /// The directory of config.toml
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) config_dir: Option<PathBuf>,
    /// The directory of credentials and profiles
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,
    /// Print machine-readable JSON on stdout, errors as JSON on stderr
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more on stderr; twice for debugging
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Print only data and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// When to use colour [default: auto]
    #[arg(long, global = true, value_name = "WHEN", value_enum)]
    pub(crate) color: Option<Color>,
}

/// When output is coloured.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

// No help of their own: it would make every command's help twice as long.
/// Where credentials are kept: `Auto` is the key store where there is one, else a sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Store {
    Auto,
    Keyring,
    File,
    Memory,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in at a gateway
    Login(Login),
    /// Sign out and forget the credentials
    Logout(Logout),
    /// List, choose or remove profiles: one gateway and one sign-in each
    Profile(Profile),
    /// Show who is signed in, the device, the risk and where each setting comes from
    Status(Status),
    /// List the apps you may know of
    Apps(Apps),
    /// Open apps on local ports, or run a command against one
    Connect(Connect),
    /// Carry one app's bytes on stdin and stdout, for ssh's ProxyCommand
    Stdio(Stdio),
    /// Serve SOCKS5 and HTTP CONNECT on one local port
    Proxy(Proxy),
    /// Mint a short-lived credential for one app, for a client that cannot run ztsa
    Ticket(Ticket),
    /// Explain what policy says about an app, and what would change it
    Why(Why),
    /// Show what is collected about this device, why, and how to mend it
    Posture,
    /// Find the first broken hop between this machine and an app
    Doctor(Doctor),
    /// Print ssh configuration that reaches your ssh apps by name
    SshConfig(SshConfig),
    /// Print the completion script for a shell
    Completions(Completions),
    /// Write the manual pages to a directory
    Man(Man),
    /// Write the generated files of the source tree
    #[command(hide = true)]
    Generate(Generate),
}

/// `ztsa apps`
#[derive(Debug, Args)]
pub(crate) struct Apps {
    /// Show only apps whose name, host or tag contains this; * stands for any text
    #[arg(value_name = "PATTERN")]
    pub(crate) pattern: Option<String>,
}

const CONNECT: &str = "\
Examples:
  ztsa connect db-prod -- psql                       PGHOST, PGHOSTADDR and PGPORT are set
  ztsa connect wiki -- curl http://{addr}/           {host}, {port} and {addr} are filled in
  ztsa connect db-prod --listen 15432                stay in the foreground on a port of your own
  ztsa connect db-prod cache wiki                    several apps, each on its own port
  ztsa connect db-prod --print dsn                   the ready-made connection string on stdout

With CMD, ztsa ends with it and returns its exit code (128+n for a signal, 127 when there is no
such command). Without, it stays until Ctrl-C, and exits with 7 when access is
revoked; a connection that ends because of a risk leaves the port open for when it has passed.";

/// `ztsa connect`
#[derive(Debug, Args)]
#[command(after_help = CONNECT)]
pub(crate) struct Connect {
    /// The apps to open
    #[arg(value_name = "APP", required = true)]
    pub(crate) apps: Vec<AppName>,
    /// The local address; port 0 takes any free port [default: the app's own port on 127.0.0.1 and ::1]
    #[arg(long, value_name = "[ADDR:]PORT")]
    pub(crate) listen: Option<Listen>,
    /// Print how to reach the app on stdout: as export lines, JSON, connection string or URI
    #[arg(long, conflicts_with = "command", value_name = "FORM", value_enum)]
    pub(crate) print: Option<Form>,
    /// Why you need it; the audit log keeps it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Keep trying this long while the gateway or the app cannot be reached
    #[arg(long, value_name = "SECS", default_value_t = 0, hide_default_value = true)]
    pub(crate) wait: u64,
    /// The command to run against the app
    #[arg(value_name = "CMD", last = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}

/// The form in which `connect --print` says how to reach the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    Env,
    Json,
    Dsn,
    Uri,
}

const STDIO: &str = "\
In ~/.ssh/config:
  Host *.ztsa
    ProxyCommand ztsa stdio %h:%p

Nothing but the app's bytes is written to stdout; the reason of a refusal goes to stderr.";

/// `ztsa stdio`
#[derive(Debug, Args)]
#[command(after_help = STDIO)]
pub(crate) struct Stdio {
    /// The app, by its name or one of its hosts, with or without a port
    #[arg(value_name = "APP[:PORT]")]
    pub(crate) app: String,
    /// The port, where it is not part of the first argument
    #[arg(value_name = "PORT")]
    pub(crate) port: Option<u16>,
}

/// `ztsa proxy`
#[derive(Debug, Args)]
pub(crate) struct Proxy {
    /// The local address to listen on [default: 127.0.0.1:1080]
    #[arg(long, value_name = "[ADDR:]PORT")]
    pub(crate) listen: Option<Listen>,
    /// Print the URL of a proxy auto-configuration file for browsers
    #[arg(long)]
    pub(crate) pac: bool,
}

/// `ztsa ticket`
#[derive(Debug, Args)]
pub(crate) struct Ticket {
    /// The app that the ticket opens
    #[arg(value_name = "APP")]
    pub(crate) app: AppName,
    /// How long the ticket holds: 30s, 10m, 1h [default: the gateway's]
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub(crate) lifetime: Option<Duration>,
    /// How many tunnels it may open [default: any number]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: Option<u32>,
}

/// `ztsa why`
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The app in question
    #[arg(value_name = "APP")]
    pub(crate) app: AppName,
}

/// `ztsa doctor`
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// The app that should be reached; without one, the way to the gateway is looked at
    #[arg(value_name = "APP")]
    pub(crate) app: Option<AppName>,
}

/// `ztsa ssh-config`
#[derive(Debug, Args)]
pub(crate) struct SshConfig {
    /// Print it on stdout (the only thing this command does)
    #[arg(long)]
    pub(crate) print: bool,
}

/// `ztsa completions`
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// `ztsa man`
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The directory; it is created where it does not exist
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// `ztsa generate`: writes `completions/`, `man/` and the command reference under a directory.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// The root of the source tree
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

/// Reads a time like `90s`, `10m`, `1h` or `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let problem = || format!("{text:?} is not a time; write it like 30s, 10m or 1h30m");
    let mut seconds: u64 = 0;
    let mut digits = String::new();
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            digits.push(letter);
            continue;
        }
        let unit = match letter {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return Err(problem()),
        };
        let number: u64 = digits.parse().map_err(|_| problem())?;
        seconds = number.checked_mul(unit).and_then(|n| seconds.checked_add(n)).ok_or_else(problem)?;
        digits.clear();
    }
    if !digits.is_empty() || seconds == 0 {
        return Err(problem());
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use clap::CommandFactory;
    use proptest::prelude::*;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times() {
        for (text, seconds) in [
            ("30s", Some(30)),
            ("10m", Some(600)),
            ("1h30m", Some(5400)),
            ("", None),
            ("10", None),
            ("0s", None),
            ("m", None),
            ("1y", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(duration(text).ok().map(|d| d.as_secs()), seconds, "{text:?}");
        }
    }

    /// The commands in the guides, as a person would copy them.
    fn documented() -> Vec<(String, Vec<String>)> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut files = vec![root.join("README.md")];
        for dir in ["guides", "concepts", "reference"] {
            files.extend(std::fs::read_dir(root.join("docs").join(dir)).unwrap().map(|entry| entry.unwrap().path()));
        }
        let mut commands = Vec::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for line in text.lines().filter(|line| line.starts_with("$ ztsa ")) {
                let line = line.trim_start_matches("$ ");
                let line = line.split(" #").next().unwrap().split([';', '|', '&', '>']).next().unwrap();
                let words = line.split_whitespace().map(|word| word.trim_matches('"').to_owned()).collect();
                commands.push((format!("{}: {line}", file.display()), words));
            }
        }
        commands
    }

    #[test]
    fn every_documented_command_is_one() {
        let documented = documented();
        assert!(documented.len() > 20, "{}", documented.len());
        for (place, words) in documented {
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{place}\n{error}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_time_is_the_sum_of_its_parts(parts in proptest::collection::vec((0..1_000_000_u64, 0..4_usize), 1..6)) {
            let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
            let text = parts.iter().fold(String::new(), |text, (number, unit)| format!("{text}{number}{}", units[*unit].0));
            let sum: u64 = parts.iter().map(|(number, unit)| number * units[*unit].1).sum();
            prop_assert_eq!(duration(&text).ok(), Some(Duration::from_secs(sum)).filter(|time| !time.is_zero()), "{}", text);
        }

        #[test]
        fn any_text_is_a_time_or_is_told_how_to_write_one(text in "[0-9smhd ]{0,30}", other in any::<String>()) {
            for text in [text, other] {
                match duration(&text) {
                    Ok(time) => prop_assert!(!time.is_zero()),
                    Err(told) => prop_assert!(told.contains("1h30m"), "{}", told),
                }
            }
        }
    }
}
