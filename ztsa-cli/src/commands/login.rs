//! `ztsa login`

use std::fmt::Write as _;

use serde_json::json;
use ztsa_core::config::StoreChoice;
use ztsa_core::login::{BrowserFlow, DeviceFlow, Login, Prompt};
use ztsa_core::token::{LoginOptions, SignInError};
use ztsa_proto::session::SessionInfo;

use super::{Context, Done};
use crate::cli;
use crate::report::Failure;
use crate::settings::remembered::Remembered;
use crate::ui::{Printer, qr, span};

mod open;

pub(crate) async fn run(args: cli::Login, mut context: Context) -> Result<Done, Failure> {
    if let Some(gateway) = &args.gateway {
        context.settings.set_gateway(gateway);
    }
    let client = context.client().await?;
    let printer = context.printer.clone();
    let opens = !args.no_open && !printer.json() && printer.attended() && open::has_display(&context.environment);
    let environment = context.environment.clone();
    let show = move |shown: &str, url: &str, event: serde_json::Value| {
        announce(&printer, shown, url, &event, args.qr);
        if opens && !open::open(url, &environment) {
            printer.say("no browser could be opened here; open the address yourself");
        }
    };
    let flow: Login<'_> = if args.browser || (opens && !args.device) {
        BrowserFlow::new(move |url| {
            let shown = format!(
                "Sign in with the browser on this machine, at:\n  {url}\n\
                 Waiting for it. Where no browser opens: Ctrl-C, then `ztsa login --device`."
            );
            show(&shown, url, json!({ "event": "sign_in", "flow": "browser", "url": url }));
        })
        .into()
    } else {
        DeviceFlow::new(move |prompt: Prompt| {
            let url = prompt.verification_uri_complete.as_ref().unwrap_or(&prompt.verification_uri);
            show(&instructions(&prompt), url, prompt_event(&prompt));
        })
        .into()
    };
    let options = LoginOptions { issuer: args.issuer, accept_issuer_change: args.accept_issuer_change };
    match client.login_with(flow, options).await {
        Ok(session) => {
            remember(&context)?;
            welcome(&context, &session.info)?;
            Ok(Done::Ok)
        }
        Err(error) => {
            // The issuer said yes and that is kept; only the gateway says no.
            if matches!(error, SignInError::Token(_)) {
                remember(&context)?;
            }
            Err(error.into())
        }
    }
}

fn announce(printer: &Printer, shown: &str, url: &str, event: &serde_json::Value, with_qr: bool) {
    if printer.json() {
        // Whoever reads the events has gone: the person can still read stderr.
        let _closed = printer.json_line(event);
    }
    printer.must_say(shown);
    if with_qr {
        match qr(url, printer.err_style()) {
            Some(code) => printer.must_say(&code),
            None => printer.warn("the address is too long for a QR code"),
        }
    }
}

fn instructions(prompt: &Prompt) -> String {
    let mut text = format!("Open in any browser, on this or another device:\n  {}\n", prompt.verification_uri);
    let _infallible = writeln!(text, "and enter the code:\n  {}", prompt.user_code);
    if let Some(complete) = prompt.verification_uri_complete.as_ref().filter(|url| **url != prompt.verification_uri) {
        let _infallible = writeln!(text, "or open, with the code in it:\n  {complete}");
    }
    let _infallible = write!(
        text,
        "The code holds for {}. Approve only a sign-in that you have started.",
        span(prompt.expires_in.as_secs())
    );
    text
}

fn prompt_event(prompt: &Prompt) -> serde_json::Value {
    json!({
        "event": "sign_in",
        "flow": "device",
        "verification_uri": prompt.verification_uri,
        "verification_uri_complete": prompt.verification_uri_complete,
        "user_code": prompt.user_code,
        "expires_in": prompt.expires_in.as_secs(),
    })
}

/// Keeps the gateway and its roots in the profile, so that later commands need no flag.
fn remember(context: &Context) -> Result<(), Failure> {
    let settings = &context.settings;
    let gateway = settings.config()?.resource();
    let dir = settings.profile_dir()?;
    let pem = settings.roots.as_ref().map(|roots| roots.value.pem.as_slice());
    Remembered::write(&dir, &gateway, pem).map_err(Failure::writing(&dir))
}

fn welcome(context: &Context, session: &SessionInfo) -> Result<(), Failure> {
    let printer = &context.printer;
    if printer.json() {
        printer.json_line(&json!({ "event": "signed_in", "session": session }))?;
        return Ok(());
    }
    let who = super::status::person(session);
    printer.say(&format!("{} signed in as {who}", printer.err_style().good("ok:")));
    let profile = &context.settings.profile.value;
    let flag = if profile == "default" { String::new() } else { format!(" --profile {profile}") };
    if context.settings.store.value == StoreChoice::Memory {
        printer.warn("with --store memory this sign-in is forgotten now; another store keeps it for the next command");
    } else {
        printer.say(&format!("  next: ztsa apps{flag}"));
    }
    Ok(())
}
