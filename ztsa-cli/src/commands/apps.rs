//! `ztsa apps`

use ztsa_proto::app::{AccessState, AppInfo, AppList};

use super::{Context, Done};
use crate::cli;
use crate::report::Failure;
use crate::ui::{Style, Table};

pub(crate) async fn run(args: cli::Apps, context: &Context) -> Result<Done, Failure> {
    let client = context.signed_in().await?;
    let mut list = {
        let ask = async || {
            let _shown = context.printer.spinner("asking the gateway");
            Ok(client.apps().await?)
        };
        context.led(&client, ask).await?
    };
    let known = list.apps.len();
    if let Some(pattern) = &args.pattern {
        list.apps.retain(|app| matches(app, pattern));
    }
    if context.printer.json() {
        context.printer.json_value(&list)?;
        return Ok(Done::Ok);
    }
    if !list.apps.is_empty() {
        context.printer.data(&draw(&list, context.printer.out_style()))?;
    }
    match (list.apps.is_empty(), known) {
        (true, 0) => context.printer.say("there is no app that you may know of; ask your administrator for access"),
        (true, _) => context.printer.say("no app matches; `ztsa apps` lists all of them"),
        _ => {}
    }
    Ok(Done::Ok)
}

/// Whether an app's name, host or tag contains the pattern, in which `*` stands for any text.
fn matches(app: &AppInfo, pattern: &str) -> bool {
    let pattern = pattern.to_lowercase();
    let texts = std::iter::once(app.name.to_string()).chain(app.hosts.iter().map(ToString::to_string));
    texts.chain(app.tags.iter().cloned()).any(|text| contains(&text.to_lowercase(), &pattern))
}

fn contains(text: &str, pattern: &str) -> bool {
    let mut rest = text;
    pattern.split('*').all(|part| {
        rest.split_once(part).is_some_and(|(_, after)| {
            rest = after;
            true
        })
    })
}

fn draw(list: &AppList, style: Style) -> String {
    let mut table = Table::new(&["NAME", "KIND", "ADDRESS", "ACCESS"]);
    for app in &list.apps {
        let host = app.hosts.first().map_or_else(|| format!("{}.ztsa", app.name), ToString::to_string);
        let (access, paint): (String, fn(Style, &str) -> String) = match (&app.access.state, &app.access.problem) {
            (AccessState::Open, _) => ("open".to_owned(), Style::good),
            (AccessState::StepUp, _) => ("needs a stronger sign-in".to_owned(), Style::warn),
            (AccessState::Denied, Some(problem)) => (format!("denied: {problem}"), Style::bad),
            (AccessState::Denied, None) => ("denied".to_owned(), Style::bad),
        };
        table.row().painted(app.name.as_str(), Style::bold).cell(app.kind.as_str());
        table.cell(format!("{host}:{}", app.port)).painted(access, paint);
    }
    table.draw(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> AppInfo {
        serde_json::from_str(
            r#"{"name":"db-prod","kind":"postgresql","hosts":["db.prod.internal"],"port":5432,"tags":["Billing"],
                "access":{"state":"open"}}"#,
        )
        .unwrap()
    }

    #[test]
    fn a_pattern_finds_names_hosts_and_tags() {
        for (pattern, found) in [
            ("db", true),
            ("DB-", true),
            ("internal", true),
            ("bill", true),
            ("db*internal", true),
            ("*prod", true),
            ("wiki", false),
            ("prod*db.", false),
        ] {
            assert_eq!(matches(&app(), pattern), found, "{pattern}");
        }
    }
}
