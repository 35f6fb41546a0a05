//! `ztsa login`

use serde_json::json;
use ztsa_core::client::Client;
use ztsa_core::config::StoreChoice;
use ztsa_core::login::{Demand, Flow};
use ztsa_core::token::SignIn;
use ztsa_proto::session::SessionInfo;
use ztsa_proto::time::UnixTime;

use super::sign_in::{self, SignedIn, Wish, sign_in};
use super::{Context, Done};
use crate::cli;
use crate::report::Failure;
use crate::settings::remembered::Wanted;
use crate::settings::{Source, job};
use crate::ui::span;

pub(crate) async fn run(args: cli::Login, mut context: Context) -> Result<Done, Failure> {
    let dir = context.settings.profile_dir()?;
    if let Some(workload) = &args.workload {
        let named = job::read(workload, &context.environment, Source::Flag("--workload"))?;
        context.settings.workload = Some(named);
    }
    if context.settings.workload.as_ref().is_some_and(|job| job.source != Source::Login) {
        return sign_job_in(&context).await;
    }
    // who signs in as a person is no job any more
    job::remember(&dir, None).map_err(Failure::writing(&dir))?;
    context.settings.workload = None;
    let client = context.client().await?;
    let mut demand =
        Demand { acr_values: args.acr, max_age: args.max_age.map(|age| age.as_secs()), fresh: args.extend };
    if demand.is_empty()
        && let Some(wanted) = Wanted::read(&dir, client.now())
    {
        context.printer.say(&format!("{} wants a stronger or fresher sign-in; asking for it", wanted.app));
        demand = wanted.demand();
    }
    let flow = if args.browser { Some(Flow::Browser) } else { args.device.then_some(Flow::Device) };
    let wish = Wish {
        flow,
        no_open: args.no_open,
        qr: args.qr,
        issuer: args.issuer,
        accept: args.accept_issuer,
        because: None,
        demand,
    };
    let session = match sign_in(&context, &client, wish).await? {
        SignedIn::Here(session) => session,
        SignedIn::Elsewhere(session) => {
            context.printer.say("signed in by the other process");
            session
        }
    };
    Wanted::forget(&dir);
    welcome(&context, &client, &session)?;
    let sign_in = client.status().await?.sign_in;
    if let Some(warning) = sign_in.and_then(|sign_in| not_renewable(&sign_in, client.now())) {
        context.printer.warn(&warning);
    }
    Ok(Done::Ok)
}

/// Exchanges the job's token for a session now, so that what is wrong with it shows, and remembers where it comes from.
async fn sign_job_in(context: &Context) -> Result<Done, Failure> {
    let client = context.client().await?;
    let session = client.session().await?;
    sign_in::remember(context, None)?;
    let dir = context.settings.profile_dir()?;
    let workload = context.settings.workload.as_ref().map(|job| &job.value);
    job::remember(&dir, workload).map_err(Failure::writing(&dir))?;
    welcome(context, &client, &session.info)?;
    Ok(Done::Ok)
}

/// Says that a sign-in ends by itself, because the issuer gave nothing to prolong it with.
fn not_renewable(sign_in: &SignIn, now: UnixTime) -> Option<String> {
    if sign_in.renewable {
        return None;
    }
    let end = span(sign_in.expires_at.since(now).as_secs());
    let other = match sign_in.flow? {
        Flow::Browser => "device",
        Flow::Device => "browser",
    };
    Some(format!(
        "the issuer gave no refresh token: this sign-in ends in {end} and cannot be renewed; `ztsa login --{other}` may do \
         better, or your administrator can allow refresh tokens (scope offline_access)"
    ))
}

fn welcome(context: &Context, client: &Client, session: &SessionInfo) -> Result<(), Failure> {
    let printer = &context.printer;
    if printer.json() {
        printer.json_line(&json!({ "event": "signed_in", "session": session }))?;
        return Ok(());
    }
    let who = super::status::person(session);
    let until = session.renew_before.map(|end| format!(", for {}", span(end.since(client.now()).as_secs())));
    printer.say(&format!("{} signed in as {who}{}", printer.err_style().good("ok:"), until.unwrap_or_default()));
    if context.settings.store.value == StoreChoice::Memory {
        printer.warn("with --store memory this sign-in is forgotten now; another store keeps it for the next command");
    } else {
        printer.say(&format!("  next: {}", printer.exact_after_login("ztsa apps")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_in_that_cannot_be_renewed_is_told_with_its_end_and_the_other_flow() {
        let mut sign_in = SignIn {
            issuer: "https://idp.example.com".to_owned(),
            expires_at: UnixTime(1_800),
            renewable: false,
            renewable_until: None,
            flow: Some(Flow::Browser),
        };
        let told = not_renewable(&sign_in, UnixTime(0)).unwrap();
        assert!(told.contains("ends in 30 min") && told.contains("`ztsa login --device`"), "{told}");
        sign_in.renewable = true;
        assert_eq!(not_renewable(&sign_in, UnixTime(0)), None);
    }
}
