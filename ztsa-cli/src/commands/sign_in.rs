//! The sign-in itself, for `ztsa login` and for every command that leads a person there.

use std::fmt::Write as _;
use std::io::BufRead as _;

use serde_json::json;
use ztsa_core::client::Client;
use ztsa_core::login::{BrowserFlow, Demand, DeviceFlow, Flow, Login, Prompt};
use ztsa_core::token::{Choice, Offer, SignInError};
use ztsa_proto::session::SessionInfo;

use super::Context;
use crate::report::Failure;
use crate::settings::remembered::Remembered;
use crate::ui::{Printer, qr, span};

mod open;
mod way;

use way::Facts;

/// What is wished of a sign-in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// The flow that the person asked for.
    pub(crate) flow: Option<Flow>,
    /// The URL is not to be opened.
    pub(crate) no_open: bool,
    /// The URL is to be shown as a QR code.
    pub(crate) qr: bool,
    /// The issuer that the person asked for.
    pub(crate) issuer: Option<String>,
    /// The issuer whose change the person has accepted.
    pub(crate) accept: Option<String>,
    /// Why a command asks for it.
    pub(crate) because: Option<String>,
    /// How strong and fresh it has to be.
    pub(crate) demand: Demand,
}

/// How a sign-in came about.
#[derive(Debug)]
pub(crate) enum SignedIn {
    /// The person signed in here.
    Here(Box<SessionInfo>),
    /// Another process led the person there; what it got is used.
    Elsewhere(Box<SessionInfo>),
}

/// Leads the person through a sign-in, one process at a time.
pub(crate) async fn sign_in(context: &Context, client: &Client, wish: Wish) -> Result<SignedIn, Failure> {
    let printer = &context.printer;
    let mut waited = false;
    let before = client.status().await?.session.map(|session| session.token.clone());
    let _turn = client
        .turn(|holder| {
            waited = true;
            printer.must_say(&format!("another ztsa ({holder}) is waiting for this sign-in; this one waits for it"));
        })
        .await?;
    if waited {
        client.look_again().await;
        match client.session().await {
            Ok(session) if before.as_ref() != Some(&session.token) => {
                return Ok(SignedIn::Elsewhere(Box::new(session.info.clone())));
            }
            _ => {}
        }
    }
    if let Some(because) = &wish.because {
        printer.say(because);
    }
    let offer = client.offer().await.map_err(SignInError::from)?;
    let issuer = issuer(context, &offer, wish.issuer.as_deref()).await?;
    let mut choice = client.choose(&offer, issuer.as_deref()).await.map_err(SignInError::from)?;
    confirm(context, &mut choice, wish.accept.as_deref()).await?;
    choice.check().map_err(SignInError::from)?;
    let name = choice.issuer().info.name.clone();
    match client.login_at(flow(context, &choice, wish), &choice).await {
        Ok(session) => {
            remember(context, Some(&name))?;
            Ok(SignedIn::Here(Box::new(session.info.clone())))
        }
        Err(error) => {
            // The issuer said yes and that is kept; only the gateway says no.
            if matches!(error, SignInError::Token(_)) {
                remember(context, Some(&name))?;
            }
            Err(error.into())
        }
    }
}

fn flow(context: &Context, choice: &Choice, wish: Wish) -> Login<'static> {
    let (printer, environment) = (context.printer.clone(), context.environment.clone());
    let issuer = choice.issuer();
    let facts = Facts {
        asked: wish.flow,
        attended: printer.present(),
        piped: context.piped,
        browser_offered: issuer.info.browser_flow && issuer.metadata.authorization_endpoint.is_some(),
        device_offered: issuer.info.device_flow && issuer.metadata.device_authorization_endpoint.is_some(),
        ..Facts::of(&environment)
    };
    let (flow, why) = way::choose(facts);
    let exact = printer.exact("`ztsa login --device`");
    match flow {
        Flow::Browser => {
            let opens = !wish.no_open && !facts.piped && facts.display && !facts.ssh && printer.present();
            BrowserFlow::new(move |url| {
                let shown = format!(
                    "Sign in with the browser on this machine, at:\n  {url}\n\
                     Waiting for it. Where no browser opens: Ctrl-C, then {exact}."
                );
                announce(&printer, &shown, url, &json!({ "event": "sign_in", "flow": "browser", "url": url }), wish.qr);
                if opens && !open::open(url, &environment) {
                    printer.say("no browser could be opened here; open the address yourself");
                }
            })
            .demand(wish.demand)
            .into()
        }
        Flow::Device => {
            if let Some(why) = why.filter(|_| printer.present()) {
                printer.say(&printer.err_style().dim(&format!("signing in by a code, because {why}")));
            }
            DeviceFlow::new(move |prompt: Prompt| {
                let url = prompt.verification_uri_complete.as_ref().unwrap_or(&prompt.verification_uri);
                announce(&printer, &instructions(&prompt), url, &prompt_event(&prompt), wish.qr);
            })
            .demand(wish.demand)
            .into()
        }
    }
}

/// The issuer to sign in at: the one asked for, the one of the last time, the only one, or the person's choice.
async fn issuer(context: &Context, offer: &Offer, asked: Option<&str>) -> Result<Option<String>, Failure> {
    if let Some(asked) = asked {
        return Ok(Some(asked.to_owned()));
    }
    let names: Vec<&str> = offer.issuers().iter().map(|info| info.name.as_str()).collect();
    let last = Remembered::read(&context.settings.profile_dir()?)
        .filter(|login| context.settings.is_gateway(&login.gateway))
        .and_then(|login| login.issuer);
    if let Some(last) = last.filter(|last| names.contains(&last.as_str())) {
        return Ok(Some(last));
    }
    if names.len() < 2 {
        return Ok(None);
    }
    let all = names.join(", ");
    if !context.printer.attended() {
        return Err(Failure::Usage {
            message: format!("this gateway signs people in at several issuers: {all}"),
            hint: format!("choose one: `ztsa login --issuer {}`", names.first().unwrap_or(&"NAME")),
        });
    }
    let mut question = "Where do you want to sign in?".to_owned();
    for (number, info) in offer.issuers().iter().enumerate() {
        let _infallible = write!(question, "\n  {}) {}  {}", number + 1, info.name, info.issuer);
    }
    let answer = ask(context, &format!("{question}\nnumber or name: ")).await?;
    match picked(&answer, &names) {
        Some(name) => Ok(Some(name.to_owned())),
        None => Err(Failure::Usage {
            message: format!("`{answer}` is none of them: {all}"),
            hint: "run `ztsa login` again, or choose with --issuer NAME".to_owned(),
        }),
    }
}

/// What a person meant by a number or a name.
fn picked<'n>(answer: &str, names: &[&'n str]) -> Option<&'n str> {
    let numbered = answer.parse::<usize>().ok().and_then(|number| names.get(number.checked_sub(1)?).copied());
    names.iter().copied().find(|name| *name == answer).or(numbered)
}

/// Shows what has changed about the sign-in, and goes on only when a person has said that it is right.
async fn confirm(context: &Context, choice: &mut Choice, accepted: Option<&str>) -> Result<(), Failure> {
    let issuer = choice.issuer().info.issuer.clone();
    if choice.changes().is_empty() {
        return Ok(());
    }
    if accepted == Some(issuer.as_str()) {
        choice.accept();
        return Ok(());
    }
    if !context.printer.attended() {
        return Ok(());
    }
    let style = context.printer.err_style();
    let mut question = format!(
        "{} the sign-in of this gateway is not as it was at your first login.\n\
         Whoever controls that page gets your password. Ask the gateway's administrator whether it is right.",
        style.warn("warning:")
    );
    for change in choice.changes() {
        let what = format!("{}:", change.what);
        let _infallible =
            write!(question, "\n  {what:<14} {}\n  {:>14} {}", change.before, "now:", style.bold(&change.now));
    }
    if ask(context, &format!("{question}\nSign in there? Type yes or no: ")).await?.eq_ignore_ascii_case("yes") {
        choice.accept();
    }
    Ok(())
}

/// Asks the person at the terminal a question, and gives the line that was typed.
async fn ask(context: &Context, question: &str) -> Result<String, Failure> {
    context.printer.question(question);
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line.trim().to_owned())
    });
    let failed = |source| Failure::Io { what: "read the answer".to_owned(), source };
    read.await.map_err(|error| failed(std::io::Error::other(error)))?.map_err(failed)
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

/// Keeps the gateway, its roots and the issuer in the profile, so that later commands need no flag.
pub(super) fn remember(context: &Context, issuer: Option<&str>) -> Result<(), Failure> {
    let settings = &context.settings;
    let gateway = settings.config()?.resource();
    let dir = settings.profile_dir()?;
    let pem = settings.roots.as_ref().map(|roots| roots.value.pem.as_slice());
    Remembered::write(&dir, &gateway, pem, issuer).map_err(Failure::writing(&dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_picked_by_number_or_name() {
        let names = ["corp", "partner", "1"];
        for (answer, expected) in [
            ("2", Some("partner")),
            ("corp", Some("corp")),
            ("1", Some("1")),
            ("0", None),
            ("4", None),
            ("-1", None),
            ("", None),
            ("Corp", None),
        ] {
            assert_eq!(picked(answer, &names), expected, "{answer}");
        }
    }
}
