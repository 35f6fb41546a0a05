//! How long a look at this device takes: every check that needs no parameter.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use ztsa_proto::posture::KNOWN;

use super::process::Process;
use super::sample::Times;
use super::stack::{Folder, GatewayReady, USER, login, private};
use crate::command::Failure;

/// What was measured.
#[derive(Debug, Default)]
pub(super) struct Posture {
    /// The checks of each report.
    pub(super) checks: usize,
    /// `ztsa posture --json`, from its start to its end.
    pub(super) report: Times,
    /// `ztsa --version`, which looks at nothing.
    pub(super) nothing: Times,
}

/// Asks a device for everything that a gateway can ask without naming files or programs, `times` times, warm.
pub(super) fn measure(programs: &Path, times: usize) -> Result<Posture, Failure> {
    let folder = Folder::make()?;
    let wanted: Vec<&str> = KNOWN.iter().map(|known| known.id).collect();
    let added = folder.write("posture.toml", &format!("[posture]\ncollect = {}\n", json!(wanted)))?;
    let mut command = Command::new(programs.join("ztsa-gateway"));
    command.args(["dev", "--listen", "127.0.0.1:0", "--approve", USER, "--json", "--add-config"]).arg(added);
    command.arg("--dir").arg(folder.path().join("gateway"));
    let mut gateway = Process::start("gateway", folder.path(), &mut command)?;
    let said: GatewayReady = gateway.json()?;
    let environment = private(&folder, said.ca_file);
    login(programs, &folder, &environment, &said.gateway)?;
    let run = |arguments: &[&str]| -> Result<(Instant, Vec<u8>), Failure> {
        let mut command = super::stack::ztsa(programs, &environment, arguments);
        let begun = Instant::now();
        let output = command.stdin(Stdio::null()).output();
        let output =
            output.map_err(|source| Failure::Start { program: format!("ztsa {}", arguments.join(" ")), source })?;
        if output.status.success() {
            return Ok((begun, output.stdout));
        }
        Err(Failure::Wrong(format!("ztsa {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr))))
    };
    let mut seen = Posture::default();
    for turn in 0..=times {
        let (begun, report) = run(&["posture", "--json"])?;
        let took = begun.elapsed();
        let (idle, _) = run(&["--version"])?;
        // the first one warms what the system keeps in memory
        if turn > 0 {
            seen.report.add(took);
            seen.nothing.add(idle.elapsed());
        }
        let report: Value = serde_json::from_slice(&report).unwrap_or_default();
        seen.checks = report.pointer("/report/checks").and_then(Value::as_array).map_or(0, Vec::len);
        if seen.checks < wanted.len() {
            return Err(Failure::Wrong(format!("{} of {} checks were made", seen.checks, wanted.len())));
        }
    }
    Ok(seen)
}
