//! `ztsa profile`: which gateways and people this machine knows, and which one is meant.

use std::collections::BTreeSet;

use serde_json::json;
use ztsa_proto::time::UnixTime;

use super::{Context, Done, logout};
use crate::cli::{self, ProfileOrder};
use crate::report::Failure;
use crate::settings::remembered::{self, profiles};
use crate::settings::{Source, nearest};
use crate::ui::{Style, Table, span};

pub(crate) async fn run(args: cli::Profile, context: &Context) -> Result<Done, Failure> {
    match args.order {
        ProfileOrder::List => list(context).await,
        ProfileOrder::Use { name } => choose(&name, context),
        ProfileOrder::Remove { name } => remove(&name, context).await,
    }
}

/// What is known of one profile without asking anybody.
#[derive(Debug)]
struct Row {
    name: String,
    used: bool,
    gateway: Option<String>,
    person: Option<String>,
    issuer: Option<String>,
    ends: Option<UnixTime>,
    now: UnixTime,
}

async fn list(context: &Context) -> Result<Done, Failure> {
    let mut rows = Vec::new();
    for name in names(context) {
        rows.push(row(&name, context).await?);
    }
    let printer = &context.printer;
    if printer.json() {
        let profiles: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name, "used": row.used, "gateway": row.gateway, "signed_in": row.issuer.is_some(),
                    "person": row.person, "issuer": row.issuer, "ends_at": row.ends,
                })
            })
            .collect();
        printer.json_value(&profiles)?;
    } else if rows.is_empty() {
        printer.say("there is no profile yet\n  do:   ztsa login https://gw.example.com");
    } else {
        printer.data(&draw(&rows, printer.out_style()))?;
    }
    Ok(Done::Ok)
}

fn names(context: &Context) -> BTreeSet<String> {
    let kept = profiles(&context.settings.state_dir.value);
    kept.into_iter().chain(context.settings.profiles.iter().cloned()).collect()
}

async fn row(name: &str, context: &Context) -> Result<Row, Failure> {
    let used = context.settings.profile.value == name;
    let absent = Row {
        name: name.to_owned(),
        used,
        gateway: None,
        person: None,
        issuer: None,
        ends: None,
        now: UnixTime::default(),
    };
    let Some(settings) = context.settings.of_profile(name)? else { return Ok(absent) };
    let gateway = settings.gateway.as_ref().map(|gateway| gateway.value.clone());
    let client = Context { settings, ..context.clone() }.client().await?;
    let status = client.status().await?;
    let session = status.session.as_ref().map(|session| &session.info);
    let ends = session.map(|session| ztsa_core::token::expiries(session, status.sign_in.as_ref()));
    Ok(Row {
        gateway,
        person: session.map(super::status::person),
        issuer: status.sign_in.map(|sign_in| sign_in.issuer),
        ends: ends.and_then(|ends| ends.first().map(|expiry| expiry.at)),
        now: client.now(),
        ..absent
    })
}

fn draw(rows: &[Row], style: Style) -> String {
    let mut table = Table::new(&["", "PROFILE", "GATEWAY", "SIGNED IN", "ENDS"]);
    for row in rows {
        let signed_in = match (&row.person, &row.issuer) {
            (Some(person), Some(_)) => person.clone(),
            (None, Some(issuer)) => format!("at {issuer}"),
            (_, None) => "nobody".to_owned(),
        };
        let ends = match row.ends {
            Some(end) if end <= row.now => "ended".to_owned(),
            Some(end) => format!("in {}", span(end.since(row.now).as_secs())),
            None => "-".to_owned(),
        };
        table
            .row()
            .painted(if row.used { "*" } else { "" }, Style::good)
            .painted(row.name.clone(), Style::bold)
            .cell(row.gateway.clone().unwrap_or_else(|| "-".to_owned()))
            .cell(signed_in)
            .cell(ends);
    }
    table.draw(style)
}

fn choose(name: &str, context: &Context) -> Result<Done, Failure> {
    known(name, context)?;
    let settings = &context.settings;
    // what goes before this choice would make it a choice of nothing
    let goes_before = match &settings.profile.source {
        source @ (Source::Environment(_) | Source::File(_)) if settings.profile.value != name => Some(source),
        _ => None,
    };
    if let Some(source) = goes_before {
        return Err(Failure::Usage {
            message: format!("{source} names the profile `{}`, and that goes before", settings.profile.value),
            hint: format!("change it there, or name the profile each time: --profile {name}"),
        });
    }
    let state = &settings.state_dir.value;
    remembered::choose(state, (name != "default").then_some(name)).map_err(Failure::writing(state))?;
    context.printer.say(&format!("the profile {name} is used from now on; --profile names another one"));
    Ok(Done::Ok)
}

async fn remove(name: &str, context: &Context) -> Result<Done, Failure> {
    known(name, context)?;
    if let Some(settings) = context.settings.of_profile(name)? {
        logout::one(&Context { settings, ..context.clone() }).await?;
    }
    let state = &context.settings.state_dir.value;
    let dir = context.settings.dir_of(name)?;
    match std::fs::remove_dir_all(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(Failure::writing(&dir)(error)),
        _ => {}
    }
    if remembered::used(state).as_deref() == Some(name) {
        remembered::choose(state, None).map_err(Failure::writing(state))?;
    }
    context.printer.say(&format!("the profile {name} and its device key are gone from this machine"));
    if context.settings.profiles.contains(name) {
        context.printer.say("config.toml still describes it");
    }
    Ok(Done::Ok)
}

fn known(name: &str, context: &Context) -> Result<(), Failure> {
    let names = names(context);
    if names.contains(name) {
        return Ok(());
    }
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let hint = match nearest(name, &all) {
        Some(near) => format!("did you mean {near}?"),
        None if all.is_empty() => "ztsa login https://gw.example.com".to_owned(),
        None => format!("the profiles are: {}", all.join(", ")),
    };
    Err(Failure::Usage { message: format!("there is no profile `{name}`"), hint })
}
