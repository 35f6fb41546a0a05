//! `ztsa logout`

use super::{Context, Done};
use crate::cli;
use crate::report::Failure;
use crate::settings::Source;
use crate::settings::remembered::{Remembered, profiles};

pub(crate) async fn run(args: cli::Logout, context: &Context) -> Result<Done, Failure> {
    if !args.all {
        return one(context).await;
    }
    let names = profiles(&context.settings.state_dir.value);
    for name in &names {
        let mut context = context.clone();
        context.settings.profile.value.clone_from(name);
        // Each profile has a gateway of its own; one that never finished a login has none to sign out of.
        let Some(login) = Remembered::read(&context.settings.profile_dir()?) else { continue };
        context.settings.set_gateway(&login.gateway);
        context.settings.roots =
            login.roots.map(|roots| crate::settings::Sourced { value: roots, source: Source::Login });
        one(&context).await?;
    }
    if names.is_empty() {
        context.printer.say("no profile is signed in");
    }
    Ok(Done::Ok)
}

async fn one(context: &Context) -> Result<Done, Failure> {
    let client = context.client().await?;
    let ended = client.logout().await?;
    let printer = &context.printer;
    let profile = &context.settings.profile.value;
    if printer.json() {
        printer.json_line(
            &serde_json::json!({ "event": "signed_out", "profile": profile, "was_signed_in": ended.was_signed_in,
            "gateway_told": ended.gateway.is_ok(), "issuer_told": ended.issuer.as_ref().is_ok_and(|told| *told) }),
        )?;
        return Ok(Done::Ok);
    }
    if !ended.was_signed_in {
        printer.say(&format!("nobody was signed in (profile {profile})"));
    } else if ended.gateway.is_ok() {
        printer.say(&format!("signed out (profile {profile})"));
    } else {
        printer.warn("signed out here, but the gateway could not be told; its session ends by itself within minutes");
    }
    Ok(Done::Ok)
}
