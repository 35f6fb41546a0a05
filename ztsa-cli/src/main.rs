//! The `ztsa` command.
//!
//! Modules, each naming only those above it: `env` (the environment), `cli` (clap), `settings` (which value holds), `ui`
//! (what people see), `interrupt` (Ctrl-C and its kin), `report` (errors in words, with hints and exit codes),
//! `commands` (one file each), `run`.

use std::process::ExitCode;

mod env;

mod cli;

mod settings;

mod ui;

mod interrupt;

mod report;

mod commands;

mod run;

fn main() -> ExitCode {
    ztsa_net::memory::keep_buffers();
    run::run()
}
