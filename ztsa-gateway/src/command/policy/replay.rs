//! `ztsa-gateway policy replay`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::ValueEnum;
use serde_json::{Value, json};
use ztsa_gateway::config::duration;
use ztsa_gateway::policy::replay::{Filter, Group, Replay, Report, Turn};
use ztsa_proto::name::AppName;
use ztsa_proto::text::printable;
use ztsa_proto::time::UnixTime;

use super::super::failure::Failure;
use super::super::output::{counted, line};

/// The exit code when decisions would turn.
const TURNED: u8 = 10;
/// So many names are listed; the rest is counted.
const NAMED: usize = 5;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// An audit log, rotated ones too; `-` reads stdin. May be given again.
    #[arg(long, value_name = "AUDIT", required = true, num_args = 1..)]
    against: Vec<PathBuf>,
    /// The directory of policies to try.
    #[arg(long, value_name = "DIR", required = true)]
    with: PathBuf,
    /// The configuration file with the apps [default: ./gateway.toml, else .ztsa-dev/gateway.toml].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Only decisions about this person: subject, name, e-mail address or ISSUER|SUBJECT.
    #[arg(long)]
    user: Option<String>,
    /// Only decisions about this app.
    #[arg(long)]
    app: Option<AppName>,
    /// Only decisions since then: a day such as 2026-11-01, or a span such as 7d.
    #[arg(long, value_name = "WHEN", value_parser = since)]
    since: Option<UnixTime>,
    /// Which turns make the exit code 10.
    #[arg(long, value_enum, default_value_t = FailOn::Any)]
    fail_on: FailOn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Any, another code of a refusal too
    Any,
    /// More is given than before
    Loosen,
    /// Less is given than before
    Tighten,
    /// None: the exit code says only whether it could be replayed
    Never,
}

fn since(text: &str) -> Result<UnixTime, String> {
    let date = || {
        let mut parts = text.splitn(3, '-').map(str::parse::<u16>);
        let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        UnixTime::from_date(year, month.try_into().ok()?, day.try_into().ok()?)
    };
    let span = || Some(UnixTime::from(SystemTime::now()).minus(duration::parse(text)?));
    date().or_else(span).ok_or_else(|| "give a day such as 2026-11-01, or a span such as 7d".to_owned())
}

pub(super) fn run(args: Args, json: bool) -> Result<(), Failure> {
    let place = super::Where { config: args.config, dir: Some(args.with) };
    let (config, policies) = super::load(&place)?;
    super::warn(&policies);
    args.app.iter().try_for_each(|app| super::known(app, &config))?;
    let mut replay = Replay::new(&policies, &config.apps, Filter { user: args.user, app: args.app, since: args.since });
    for file in &args.against {
        let unreadable = |error| Failure::new(format!("{}: {error}", file.display()));
        open(file, |reader| replay.file(reader)).map_err(unreadable)?;
    }
    let report = replay.finish();
    if json {
        line(&shown(&report, args.against.len()).to_string())?;
    } else {
        say(&report, args.against.len())?;
    }
    if report.is_void() {
        return Err(Failure::new("there is no decision to replay")
            .hint("name audit logs of a gateway with --against, each from its beginning"));
    }
    let fails = |group: &&Group| match args.fail_on {
        FailOn::Any => true,
        FailOn::Loosen => group.key.turn() == Turn::Loosen,
        FailOn::Tighten => group.key.turn() == Turn::Tighten,
        FailOn::Never => false,
    };
    match report.groups.iter().filter(fails).map(|group| group.count).sum::<u64>() {
        0 => Ok(()),
        turned => Err(Failure::new(format!("{} would turn", counted(turned, "decision", "decisions"))).exit(TURNED)),
    }
}

/// Reads a file, or stdin for `-`.
pub(super) fn open<T>(file: &Path, read: impl FnOnce(Box<dyn io::BufRead>) -> io::Result<T>) -> io::Result<T> {
    if file == Path::new("-") {
        return read(Box::new(io::stdin().lock()));
    }
    read(Box::new(BufReader::with_capacity(256 * 1024, File::open(file)?)))
}

fn say(report: &Report, files: usize) -> Result<(), Failure> {
    let files = counted(files, "file", "files");
    let over = report.span.map(|(first, last)| format!(", {} to {}", first.rfc3339(), last.rfc3339()));
    let decisions = counted(report.replayed, "decision", "decisions");
    line(&format!("{} of {decisions} would turn ({files}{})", report.turned(), over.unwrap_or_default()))?;
    for group in &report.groups {
        say_group(group)?;
    }
    line("")?;
    let row = |name: &str, text: String| line(&format!("{name:<14}{text}"));
    let others =
        if report.by_others == 0 { String::new() } else { format!(", {} by other policies", report.by_others) };
    row("unchanged", format!("{}{others}", report.unchanged))?;
    for (by, count) in &report.outside {
        row("not policy's", format!("{count} {}", outside(by.as_str())))?;
    }
    if report.no_app > 0 {
        row("no app", format!("{} asked for a name that is no app: no policy would turn that", report.no_app))?;
    }
    for (lost, count) in &report.lost {
        row("not replayed", format!("{count}: {}", lost.as_str()))?;
    }
    if report.left_out > 0 {
        row("left out", format!("{} by --user, --app or --since", report.left_out))?;
    }
    if report.questions > 0 {
        row("not decisions", format!("{} asked why", report.questions))?;
    }
    if report.foreign > 0 {
        row("other lines", format!("{} that no gateway of ztsa wrote or that cannot be read", report.foreign))?;
    }
    if report.altered > 0 {
        row(
            "altered",
            format!(
                "{} lines of claims or facts are not what their digest says: run `ztsa-gateway audit verify`",
                report.altered
            ),
        )?;
    }
    if report.torn > 0 {
        row("cut lines", format!("{} at the end of a file", report.torn))?;
    }
    for (policy, count) in &report.monitored {
        row("monitored", format!("{policy} would have applied to {count}"))?;
    }
    Ok(())
}

fn say_group(group: &Group) -> Result<(), Failure> {
    let key = &group.key;
    // what a file says is fit for a terminal only when it was made so
    let list = |policies: &[String]| {
        if policies.is_empty() { "no policy".to_owned() } else { some(policies.iter().map(|id| printable(id, 80))) }
    };
    let code =
        |code: &Option<String>| code.as_ref().map(|code| format!(" {}", printable(code, 80))).unwrap_or_default();
    line(&format!(
        "\n{} -> {}: {}, {}, {}",
        key.before.as_str(),
        key.after.as_str(),
        counted(group.count, "decision", "decisions"),
        counted(group.people.len(), "person", "people"),
        counted(group.apps.len(), "app", "apps"),
    ))?;
    line(&format!("  was     {}{} by {}", key.before.as_str(), code(&key.code_before), list(&key.policies_before)))?;
    line(&format!("  would   {}{} by {}", key.after.as_str(), code(&key.code_after), list(&key.policies_after)))?;
    line(&format!("  people  {}", some(group.people.values().map(|name| printable(name, 80)))))?;
    line(&format!("  apps    {}", some(group.apps.iter().map(|(app, count)| format!("{app} ({count})")))))?;
    line(&format!("  when    {} to {}", group.first.rfc3339(), group.last.rfc3339()))?;
    line(&format!("  one     {}", printable(&group.example, 80)))?;
    if !group.untold.is_empty() {
        let facts = some(group.untold.iter().cloned());
        line(&format!("  note    {facts} was not told then; devices are asked once a policy names it"))?;
    }
    Ok(())
}

/// Lists the first few and counts the rest.
fn some(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let shown: Vec<&str> = names.iter().take(NAMED).map(String::as_str).collect();
    let more = names.len().saturating_sub(NAMED);
    let tail = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{tail}", shown.join(", "))
}

fn outside(by: &str) -> &'static str {
    match by {
        "risk" => "refused by the thresholds of risk",
        "standing" => "refused for a revocation, a blocked device or a held issuer",
        _ => "refused by the gateway: a limit, an outage, a grant",
    }
}

fn shown(report: &Report, files: usize) -> Value {
    let groups = report.groups.iter().map(|group| {
        let key = &group.key;
        json!({
            "from": key.before.as_str(),
            "to": key.after.as_str(),
            "turn": match key.turn() { Turn::Loosen => "loosen", Turn::Tighten => "tighten", Turn::Reword => "reword" },
            "count": group.count,
            "code_before": key.code_before,
            "code_after": key.code_after,
            "policies_before": key.policies_before,
            "policies_after": key.policies_after,
            "people": group.people.iter().map(|(user, name)| json!({"user": user, "name": name})).collect::<Vec<_>>(),
            "apps": group.apps,
            "first": group.first,
            "last": group.last,
            "example": group.example,
            "untold": group.untold,
        })
    });
    let outside: BTreeMap<&str, u64> = report.outside.iter().map(|(by, count)| (by.as_str(), *count)).collect();
    let lost: BTreeMap<&str, u64> = report.lost.iter().map(|(lost, count)| (lost.code(), *count)).collect();
    json!({
        "files": files,
        "lines": report.lines,
        "foreign": report.foreign,
        "torn": report.torn,
        "altered": report.altered,
        "decisions": report.decisions,
        "left_out": report.left_out,
        "questions": report.questions,
        "replayed": report.replayed,
        "unchanged": report.unchanged,
        "by_other_policies": report.by_others,
        "not_policys": outside,
        "no_app": report.no_app,
        "not_replayable": lost,
        "monitored": report.monitored,
        "first": report.span.map(|(first, _)| first),
        "last": report.span.map(|(_, last)| last),
        "turned": report.turned(),
        "groups": groups.collect::<Vec<_>>(),
    })
}
