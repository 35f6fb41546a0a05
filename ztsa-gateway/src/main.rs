//! The `ztsa-gateway` command.

mod command;

use std::process::ExitCode;

fn main() -> ExitCode {
    ztsa_net::memory::keep_buffers();
    command::main()
}
