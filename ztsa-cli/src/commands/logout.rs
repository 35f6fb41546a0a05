//! `ztsa logout`

use serde_json::json;
use ztsa_core::token::Logout;

use super::{Context, Done};
use crate::cli;
use crate::report::{Failure, Report};
use crate::settings::job;
use crate::settings::remembered::profiles;

pub(crate) async fn run(args: cli::Logout, context: &Context) -> Result<Done, Failure> {
    if !args.all {
        return one(context).await;
    }
    let names = profiles(&context.settings.state_dir.value);
    let mut worst = None;
    for name in &names {
        // Each profile has a gateway of its own; one that never finished a login has none to sign out of.
        let Some(settings) = context.settings.of_profile(name)? else { continue };
        if let Err(failure) = one(&Context { settings, ..context.clone() }).await {
            // the others are signed out all the same
            let report = Report::of(&failure);
            context.printer.warn(&format!("profile {name}:"));
            report.show(&context.printer);
            worst.get_or_insert(report.exit);
        }
    }
    if names.is_empty() {
        context.printer.say("no profile is signed in");
    }
    Ok(worst.map_or(Done::Ok, Done::Code))
}

/// Signs out of one profile; what cannot be reached is told, and does not keep anybody signed in.
pub(crate) async fn one(context: &Context) -> Result<Done, Failure> {
    let client = context.client().await?;
    let ended = {
        let _shown = context.printer.spinner("signing out");
        client.logout().await?
    };
    let dir = context.settings.profile_dir()?;
    job::remember(&dir, None).map_err(Failure::writing(&dir))?;
    let printer = &context.printer;
    let profile = &context.settings.profile.value;
    let untold = untold(&ended, &client.config().resource());
    if printer.json() {
        printer.json_line(&json!({
            "event": "signed_out", "profile": profile, "was_signed_in": ended.was_signed_in,
            "gateway_told": ended.gateway.is_ok(), "issuer_told": ended.issuer.as_ref().is_ok_and(|told| *told),
            "not_told": untold,
        }))?;
    } else if !ended.was_signed_in {
        printer.say(&format!("nobody was signed in (profile {profile})"));
    } else if untold.is_empty() {
        printer.say(&format!("signed out (profile {profile})"));
    } else {
        printer.warn(&format!("signed out on this machine (profile {profile}), but not everybody could be told:"));
        for line in untold {
            printer.say(&format!("  {line}"));
        }
    }
    Ok(Done::Ok)
}

/// Who does not know of the sign-out, and what that means.
fn untold(ended: &Logout, gateway: &str) -> Vec<String> {
    let mut lines = Vec::new();
    if let Err(error) = &ended.gateway {
        lines.push(format!("the gateway {gateway}: {error}. Its session ends by itself within minutes."));
    }
    let issuer = ended.issuer_url.as_deref().unwrap_or("unknown");
    match &ended.issuer {
        Err(error) => lines.push(format!(
            "the issuer {issuer}: {error}. If this machine is lost or not yours, end its sign-ins on the issuer's own page."
        )),
        Ok(false) if ended.was_signed_in => lines.push(format!(
            "the issuer {issuer}: it has no way to take a sign-in back. What it gave was removed here and ends by itself."
        )),
        Ok(_) => {}
    }
    lines
}
