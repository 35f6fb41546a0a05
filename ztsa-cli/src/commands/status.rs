//! `ztsa status`: who is signed in, the device, the risk, and where each setting comes from.

use std::fmt::Write as _;

use serde_json::{Value, json};
use ztsa_core::config::TpmChoice;
use ztsa_core::token::{SignIn, Status, expiries};
use ztsa_proto::posture::{Assurance, State};
use ztsa_proto::session::{SessionInfo, SignalInfo};
use ztsa_proto::time::UnixTime;

use super::watch::Watch;
use super::{Context, Done};
use crate::cli;
use crate::report::{Failure, LOGIN, Report};
use crate::settings::{Settings, Sourced};
use crate::ui::{Style, Table, span};

pub(crate) async fn run(args: cli::Status, context: &Context) -> Result<Done, Failure> {
    let printer = &context.printer;
    if context.settings.gateway.is_none() {
        return signed_out(context, None);
    }
    let client = context.client().await?;
    let known = client.status().await?;
    if known.sign_in.is_none() {
        return signed_out(context, Some(&known));
    }
    // What the gateway says now counts; what was known last is shown when it cannot be asked.
    let fresh = {
        let _shown = printer.spinner("asking the gateway");
        client.refresh().await
    };
    let (session, failure) = match (fresh.map_err(Failure::from), known.session.as_ref()) {
        (Ok(session), _) => (session, None),
        (Err(failure), _) if Report::of(&failure).exit == LOGIN => {
            signed_out(context, Some(&known))?;
            return Err(failure);
        }
        (Err(failure), Some(last)) => {
            printer.warn("the gateway does not answer; you are still signed in, and this is what was known last:");
            (last.info.clone(), Some(failure))
        }
        (Err(failure), None) => return Err(failure),
    };
    if printer.json() {
        let shown = json!({
            "signed_in": true,
            "session": session,
            "sign_in": known.sign_in.as_ref().map(sign_in_json),
            "store": known.store.to_string(),
            "store_reason": known.store_reason,
            "device_key": known.device_key.to_string(),
            "notes": known.notes,
            "clock_offset": known.clock_offset,
            "settings": settings_json(&context.settings),
        });
        // whoever watches reads lines: the events that follow are one each
        if args.watch { printer.json_line(&shown)? } else { printer.json_value(&shown)? }
    } else {
        let style = printer.out_style();
        printer.data(&draw_session(&session, &known, &context.settings.profile.value, client.now(), style))?;
        for note in &known.notes {
            printer.data(&format!("  {} {note}", style.warn("note:")))?;
        }
        for expiry in expiries(&session, known.sign_in.as_ref()).iter().filter(|expiry| expiry.is_near(client.now())) {
            let left = span(expiry.at.since(client.now()).as_secs());
            let exact = printer.exact("`ztsa login --extend`");
            printer
                .warn(&format!("the {} ends in {left}; {exact} prolongs it and leaves everything open", expiry.what));
        }
        if known.clock_offset != 0 {
            printer.warn(&clock(known.clock_offset));
        }
        printer.data(&format!("\n{}", draw_settings(&context.settings, style)))?;
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    if !args.watch {
        return Ok(Done::Ok);
    }
    let mut watch = Watch::new(printer, true).everywhere();
    let mut events = client.events();
    while let Some(event) = events.next().await {
        watch.tell(&event, client.now())?;
    }
    Ok(Done::Ok)
}

fn signed_out(context: &Context, known: Option<&Status>) -> Result<Done, Failure> {
    let printer = &context.printer;
    if printer.json() {
        let device = known.map(|known| known.device.to_string());
        let notes = known.map(|known| known.notes.clone()).unwrap_or_default();
        printer.json_value(&json!({
            "signed_in": false, "device": device, "notes": notes, "settings": settings_json(&context.settings),
        }))?;
    } else {
        let style = printer.out_style();
        printer.data("not signed in")?;
        for note in known.into_iter().flat_map(|known| &known.notes) {
            printer.data(&format!("  {} {note}", style.warn("note:")))?;
        }
        printer.data(&format!("\n{}", draw_settings(&context.settings, style)))?;
        let gateway = context.settings.gateway.as_ref().map_or(" https://gw.example.com", |_| "");
        printer.say(&format!("\nsign in with: ztsa login{gateway}"));
    }
    Ok(Done::Code(LOGIN))
}

fn clock(offset: i64) -> String {
    let (by, how) = (span(offset.unsigned_abs()), if offset > 0 { "slow" } else { "fast" });
    format!("this machine's clock is {by} {how}; ztsa allows for it, but set it right")
}

/// The settings with their sources, as rows.
fn settings_rows(settings: &Settings) -> Vec<(&'static str, String, String)> {
    fn row<T>(name: &'static str, value: &Sourced<T>, text: String) -> (&'static str, String, String) {
        (name, text, value.source.to_string())
    }
    let mut rows = vec![row("profile", &settings.profile, settings.profile.value.clone())];
    if let Some(gateway) = &settings.gateway {
        rows.push(row("gateway", gateway, gateway.value.clone()));
    }
    if let Some(roots) = &settings.roots {
        rows.push(row("ca-file", roots, roots.value.path.display().to_string()));
    }
    rows.push(row("store", &settings.store, format!("{:?}", settings.store.value).to_lowercase()));
    let tpm = match &settings.tpm.value {
        TpmChoice::Auto => "auto".to_owned(),
        TpmChoice::Off => "off".to_owned(),
        TpmChoice::At(place) => place.to_string(),
    };
    rows.push(row("tpm", &settings.tpm, tpm));
    if let Some(job) = &settings.workload {
        rows.push(row("workload", job, job.value.name().to_string()));
    }
    rows.push(row("config-dir", &settings.config_dir, settings.config_dir.value.display().to_string()));
    rows.push(row("state-dir", &settings.state_dir, settings.state_dir.value.display().to_string()));
    if let Some(listen) = &settings.proxy_listen {
        rows.push(row("proxy listen", listen, listen.value.to_string()));
    }
    rows
}

fn settings_json(settings: &Settings) -> Value {
    let rows = settings_rows(settings).into_iter();
    rows.map(|(name, value, source)| (name.replace([' ', '-'], "_"), json!({ "value": value, "source": source })))
        .collect()
}

fn draw_settings(settings: &Settings, style: Style) -> String {
    let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
    for (name, value, source) in settings_rows(settings) {
        table.row().cell(name).cell(value).painted(source, Style::dim);
    }
    table.draw(style)
}

/// Names a person: `Alice <alice@example.com>`, or the subject at the issuer.
pub(crate) fn person(session: &SessionInfo) -> String {
    let user = &session.user;
    match (&user.name, &user.email) {
        (Some(name), Some(email)) => format!("{name} <{email}>"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => user.subject.clone(),
    }
}

/// Describes one signal of risk.
pub(crate) fn signal(signal: &SignalInfo) -> String {
    let mut text = format!("{} {}", signal.score, signal.kind);
    if !signal.reason.is_empty() {
        let _infallible = write!(text, ": {}", signal.reason);
    }
    if !signal.source.is_empty() {
        let _infallible = write!(text, " (from {})", signal.source);
    }
    if let Some(seconds) = signal.half_life {
        let _infallible = write!(text, ", halving every {}", span(seconds));
    }
    if let Some(end) = signal.expires_at {
        let _infallible = write!(text, ", until {}", end.rfc3339());
    }
    text
}

fn draw_session(session: &SessionInfo, known: &Status, profile: &str, now: UnixTime, style: Style) -> String {
    let mut text = format!("signed in as {}", style.bold(&person(session)));
    let _infallible = write!(text, " ({} at {})", session.user.subject, session.user.issuer);
    let mut line = |name: &str, value: &str| {
        let _infallible = write!(text, "\n  {}  {value}", style.dim(&format!("{name:<8}")));
    };
    if !session.user.groups.is_empty() {
        line("groups", &session.user.groups.join(", "));
    }
    line("profile", profile);
    if let Some(sign_in) = &known.sign_in {
        line("sign-in", &sign_in_words(sign_in, now));
    }
    let mut lives = session.session.to_string();
    if let Some(end) = session.renew_before {
        let _infallible = write!(lives, ", {}", until(end, now));
    }
    line("session", &lives);
    line("device", &format!("{}, {}", session.device.id, session.device.state));
    line("key", &known.device_key.to_string());
    let reason = known.store_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    line("store", &format!("{}{reason}", known.store));
    let risk = &session.risk;
    line("risk", &format!("user {}, device {}, session {}", risk.user, risk.device, risk.session));
    for one in &risk.signals {
        line("", &signal(one));
    }
    if !session.posture.is_empty() {
        line("posture", &posture(session));
    }
    text
}

fn sign_in_words(sign_in: &SignIn, now: UnixTime) -> String {
    let mut text = sign_in.issuer.clone();
    if let Some(flow) = sign_in.flow {
        let _infallible = write!(text, ", by the {flow}");
    }
    match (sign_in.renewable, sign_in.ends()) {
        (_, Some(end)) => {
            let _infallible = write!(text, ", {}", until(end, now));
        }
        (true, None) => text.push_str(", prolonged as long as the issuer lets it"),
        (false, None) => {}
    }
    text
}

fn sign_in_json(sign_in: &SignIn) -> Value {
    json!({
        "issuer": sign_in.issuer,
        "flow": sign_in.flow,
        "renewable": sign_in.renewable,
        "ends_at": sign_in.ends(),
    })
}

fn until(end: UnixTime, now: UnixTime) -> String {
    if end <= now {
        return format!("ended at {}", end.rfc3339());
    }
    format!("for {} more (until {})", span(end.since(now).as_secs()), end.rfc3339())
}

fn posture(session: &SessionInfo) -> String {
    let passed = session.posture.iter().filter(|check| check.state == State::Pass).count();
    let apply = session.posture.iter().filter(|check| check.state != State::NotApplicable).count();
    let mut text = format!("{passed} of {apply} checks pass");
    let failed: Vec<String> = session
        .posture
        .iter()
        .filter(|check| !matches!(check.state, State::Pass | State::NotApplicable))
        .map(|check| match check.assurance {
            Assurance::ThirdParty => format!("{} is {}, says {}", check.id, check.state, check.source),
            _ => format!("{} is {}", check.id, check.state),
        })
        .collect();
    if !failed.is_empty() {
        let _infallible = write!(text, "; {} (see `ztsa posture`)", failed.join(", "));
    }
    text
}
