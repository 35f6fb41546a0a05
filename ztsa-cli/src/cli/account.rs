//! The commands about a person's sign-in.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::duration;

const LOGIN: &str = "\
Where a browser can be opened on this machine, it signs in there; in an SSH session, in WSL, in a
container and without a display, by a code that is typed in on any device. The address and the
code are always printed first.

Who is signed in keeps the session and everything that is open, and gets a new end for it.
After a command was refused for want of a stronger or fresher sign-in, login asks for that.";

/// `ztsa login`
#[derive(Debug, Args)]
#[command(after_help = LOGIN)]
pub(crate) struct Login {
    /// The gateway, for instance https://gw.example.com [default: the profile's]
    #[arg(value_name = "GATEWAY")]
    pub(crate) gateway: Option<String>,
    /// Sign in with a browser on this machine
    #[arg(long, conflicts_with = "device")]
    pub(crate) browser: bool,
    /// Sign in with a code on any other device
    #[arg(long)]
    pub(crate) device: bool,
    /// Sign a job in with its platform's token: github, env:NAME, or the path of a file
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["browser", "device", "issuer"])]
    pub(crate) workload: Option<String>,
    /// Print the URL, but do not open it
    #[arg(long)]
    pub(crate) no_open: bool,
    /// Show the URL as a QR code too
    #[arg(long)]
    pub(crate) qr: bool,
    /// The issuer to sign in at, where the gateway names several
    #[arg(long, value_name = "NAME")]
    pub(crate) issuer: Option<String>,
    /// Accept this issuer, though its sign-in is not as it was at the first login
    #[arg(long, value_name = "URL")]
    pub(crate) accept_issuer: Option<String>,
    /// Sign in anew even where the issuer still knows you, so that everything lasts longer
    #[arg(long)]
    pub(crate) extend: bool,
    /// The strength of sign-in to ask for: values of acr, the best first
    #[arg(long, value_name = "VALUES")]
    pub(crate) acr: Option<String>,
    /// How long ago the sign-in may have been at most: 30s, 10m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "extend")]
    pub(crate) max_age: Option<Duration>,
}

/// `ztsa logout`
#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// Sign out of every profile
    #[arg(long)]
    pub(crate) all: bool,
}

/// `ztsa status`
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Stay and print what changes
    #[arg(long)]
    pub(crate) watch: bool,
}

/// `ztsa profile`
#[derive(Debug, Args)]
pub(crate) struct Profile {
    #[command(subcommand)]
    pub(crate) order: ProfileOrder,
}

/// What to do with profiles.
#[derive(Debug, Subcommand)]
pub(crate) enum ProfileOrder {
    /// List the profiles, who is signed in where, and which one is used
    List,
    /// Use this profile from now on, where nothing else names one
    Use {
        /// The profile's name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Sign out of a profile and remove all that is kept of it, its device key too
    Remove {
        /// The profile's name
        #[arg(value_name = "NAME")]
        name: String,
    },
}
