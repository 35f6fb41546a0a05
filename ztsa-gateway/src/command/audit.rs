//! `ztsa-gateway audit`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Subcommand;
use serde_json::{Value, json};
use ztsa_gateway::admin::request::Request;
use ztsa_gateway::audit::verify::{Against, Finding, Report, verify};
use ztsa_proto::jwk::Jwk;

use super::failure::Failure;
use super::output::{counted, line};
use super::socket;

/// How many findings people are shown.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
#[group(id = "audit-args")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check that files of the audit log are whole: nothing changed, missing, put in, moved or cut.
    Verify {
        /// Files of one log, in any order.
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// The gateway's public key, from `ztsa-gateway audit key`: checkpoints must be signed with it.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// A checkpoint that was kept elsewhere, in a file: the log must still hold what it vouches for.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The files must begin with the first line of the log.
        #[arg(long)]
        complete: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print the public key that checks the log's checkpoints, as a JWK.
    Key {
        #[command(flatten)]
        socket: socket::Args,
    },
}

pub(crate) fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Key { socket } => {
            let answer = socket.ask(&Request::AuditKey {})?;
            line(&answer.get("key").cloned().unwrap_or_default().to_string())
        }
        Command::Verify { files, key, checkpoint, complete, json } => {
            let key = key.map(|path| read(&path).and_then(|text| jwk(&text, &path))).transpose()?;
            let checkpoint = checkpoint.map(|path| read(&path)).transpose()?;
            let against = Against { key, checkpoint, complete };
            let began = Instant::now();
            let report = verify(&files, &against).map_err(|error| Failure::new(error.to_string()))?;
            if json {
                line(&object(&report, &against).to_string())?;
            } else {
                show(&report, &against, began.elapsed().as_secs_f64())?;
            }
            if report.is_whole() {
                return Ok(());
            }
            let wrong = counted(report.faults, "thing is", "things are");
            Err(Failure::new(format!("the log is not whole: {wrong} wrong"))
                .hint("compare it with a copy, or with what the collector was sent"))
        }
    }
}

fn show(report: &Report, against: &Against, seconds: f64) -> Result<(), Failure> {
    for finding in report.findings.iter().take(SHOWN) {
        line(&finding.to_string())?;
    }
    let more = report.faults.saturating_sub(u64::try_from(SHOWN).unwrap_or(u64::MAX));
    if more > 0 {
        line(&format!("and {more} more (--json shows a thousand)"))?;
    }
    let (files, lines) = (counted(report.files, "file", "files"), counted(report.lines, "line", "lines"));
    let range = match (report.first, report.last) {
        (Some(first), Some(last)) => format!(", sequence {first} to {last}"),
        _ => String::new(),
    };
    line(&format!("read      {files}, {lines}{range}, {} bytes in {seconds:.1} s", report.bytes))?;
    let checked = if against.key.is_some() { "signed" } else { "unchecked without --key" };
    let to = report.signed_to.map(|to| format!(", the last one vouches up to sequence {to}")).unwrap_or_default();
    line(&format!("signed    {} ({checked}){to}", counted(report.checkpoints, "checkpoint", "checkpoints")))?;
    // the last checkpoint's own line is vouched for by its signature
    if let (Some(to), Some(last)) = (report.signed_to, report.last)
        && last > to + 1
    {
        let from = to + 2;
        line(&format!("unsigned  sequence {from} to {last}: no checkpoint vouches for the end of the log yet"))?;
    }
    if report.losses > 0 {
        line(&format!("losses    {} by the log's own word", counted(report.losses, "is told", "are told")))?;
    }
    if report.is_whole() { line("whole     yes") } else { Ok(()) }
}

fn object(report: &Report, against: &Against) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "file": finding.file.display().to_string(),
            "line": finding.line,
            "sequence": finding.sequence,
            "code": finding.fault.code(),
            "message": finding.fault.to_string(),
        })
    };
    json!({
        "whole": report.is_whole(),
        "files": report.files,
        "lines": report.lines,
        "bytes": report.bytes,
        "first": report.first,
        "last": report.last,
        "checkpoints": report.checkpoints,
        "signatures_checked": against.key.is_some(),
        "signed_to": report.signed_to,
        "losses": report.losses,
        "faults": report.faults,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn read(path: &PathBuf) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|cause| Failure::new(format!("{} cannot be read: {cause}", path.display())))
}

fn jwk(text: &str, path: &std::path::Path) -> Result<Jwk, Failure> {
    serde_json::from_str(text).map_err(|cause| {
        Failure::new(format!("{} holds no key: {cause}", path.display()))
            .hint("write it with `ztsa-gateway audit key >FILE` where the gateway runs")
    })
}
