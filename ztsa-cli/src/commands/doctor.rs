//! `ztsa doctor`: every hop from this machine to an app, in order, up to the first that is broken.

use std::time::Instant;

use serde::Serialize;
use tokio::io::AsyncWriteExt as _;
use ztsa_core::client::Client;
use ztsa_core::token::{LoginReason, Status, TokenError};
use ztsa_proto::name::AppName;

use super::{Context, Done};
use crate::cli;
use crate::report::{Failure, Report};
use crate::ui::{Style, Table, span};

/// The hops, in the order in which they depend on one another; those after `SESSION` are an app's own.
const HOPS: [&str; 9] =
    ["settings", "credentials", "gateway", "tunnels", "sign-in", "issuer", "session", "policy", "app"];
const SESSION: usize = 7;

/// What became of one hop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Hop {
    #[serde(rename = "hop")]
    name: &'static str,
    state: State,
    detail: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Broken,
    Untried,
}

/// Walks the hops; the first failure is kept, and nothing after it is tried.
#[derive(Debug)]
struct Walk<'a> {
    context: &'a Context,
    hops: Vec<Hop>,
}

impl Walk<'_> {
    /// Tries the next hop.
    async fn hop<T>(&mut self, work: impl Future<Output = Result<(T, String), Failure>>) -> Result<T, Failure> {
        let Some(hop) = HOPS.get(self.hops.len()).copied() else { return work.await.map(|(value, _)| value) };
        let tried = {
            let _shown = self.context.printer.spinner(hop);
            work.await
        };
        let (state, detail) = match &tried {
            Ok((_, detail)) => (State::Ok, detail.clone()),
            Err(failure) => (State::Broken, Report::of(failure).message),
        };
        self.hops.push(Hop { name: hop, state, detail });
        tried.map(|(value, _)| value)
    }
}

pub(crate) async fn run(args: cli::Doctor, context: &Context) -> Result<Done, Failure> {
    let mut walk = Walk { context, hops: Vec::new() };
    let failure = match Box::pin(look(&mut walk, args.app.as_ref())).await {
        // what a person's interrupt or a closed pipe ends is no finding
        Err(failure) if walk.hops.iter().all(|hop| hop.state == State::Ok) => return Err(failure),
        Err(failure) => Some(failure),
        Ok(()) => None,
    };
    let last = if args.app.is_some() { HOPS.len() } else { SESSION };
    let untried = HOPS.iter().take(last).skip(walk.hops.len());
    let untried = untried.map(|&name| Hop { name, state: State::Untried, detail: "not tried".to_owned() });
    let hops: Vec<Hop> = walk.hops.iter().cloned().chain(untried).collect();
    let sentence = sentence(&hops, args.app.as_ref());
    let printer = &context.printer;
    if printer.json() {
        let broken = hops.iter().find(|hop| hop.state == State::Broken).map(|hop| hop.name);
        let remedy = failure.as_ref().and_then(|failure| Report::of(failure).hint).map(|hint| printer.exact(&hint));
        printer.json_value(
            &serde_json::json!({ "hops": hops, "broken": broken, "sentence": sentence, "remedy": remedy }),
        )?;
    } else {
        printer.data(&format!("{}\n\n{sentence}", draw(&hops, printer.out_style())))?;
    }
    failure.map_or(Ok(Done::Ok), Err)
}

/// Goes from hop to hop.
async fn look(walk: &mut Walk<'_>, app: Option<&AppName>) -> Result<(), Failure> {
    let context = walk.context;
    let settings = &context.settings;
    let gateway = walk
        .hop(async {
            let gateway = settings.config()?.resource();
            let from = settings.gateway.as_ref().map(|gateway| gateway.source.to_string()).unwrap_or_default();
            Ok((gateway.clone(), format!("profile {}, gateway {gateway} ({from})", settings.profile.value)))
        })
        .await?;
    let (client, known) = walk.hop(credentials(context)).await?;
    let offer = walk
        .hop(async {
            let offer = client.offer().await.map_err(ztsa_core::token::SignInError::from)?;
            let clock = client.status().await?.clock_offset.unsigned_abs();
            let clock = if clock == 0 { String::new() } else { format!("; the clocks are {} apart", span(clock)) };
            Ok((offer, format!("{gateway} answers{clock}")))
        })
        .await?;
    walk.hop(async {
        client.warm().await?;
        Ok(((), "the network lets HTTP/2 and its tunnels through".to_owned()))
    })
    .await?;
    let issuer = walk.hop(async { signed_in(context, &known) }).await?;
    walk.hop(async {
        let Some(issuer) = issuer else { return Ok(((), "a job's platform; asked at each renewal".to_owned())) };
        client.choose(&offer, Some(&issuer)).await.map_err(ztsa_core::token::SignInError::from)?;
        Ok(((), format!("{issuer} answers")))
    })
    .await?;
    walk.hop(async {
        let session = client.refresh().await?;
        let left = session.renew_before.map(|end| format!(", for {}", span(end.since(client.now()).as_secs())));
        Ok(((), format!("{}{}", super::status::person(&session), left.unwrap_or_default())))
    })
    .await?;
    let Some(app) = app else { return Ok(()) };
    walk.hop(async {
        let answer = client.why(app).await.map_err(|error| Failure::about(app.as_str(), error))?;
        match answer.problem {
            None => Ok(((), format!("{app} is allowed"))),
            Some(problem) => Err(Failure::Denied { app: app.to_string(), problem: Box::new(problem) }),
        }
    })
    .await?;
    walk.hop(async {
        let began = Instant::now();
        let mut opened = client.connect(app.as_str()).await.map_err(|error| Failure::about(app.as_str(), error))?;
        let took = began.elapsed().as_millis();
        // an orderly end, as far as the app goes along
        let _ended = opened.shutdown().await;
        Ok(((), format!("{app} took a connection after {took} ms")))
    })
    .await
}

async fn credentials(context: &Context) -> Result<((Client, Status), String), Failure> {
    let client = context.client().await?;
    let known = client.status().await?;
    let reason = known.store_reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    let detail = format!("kept in {}{reason}; device key: {}", known.store, known.device_key);
    Ok(((client, known), detail))
}

/// Says at which issuer the person signed in; `None` for a job, which has nobody's sign-in.
fn signed_in(context: &Context, known: &Status) -> Result<(Option<String>, String), Failure> {
    match (&known.sign_in, &context.settings.workload) {
        (Some(sign_in), _) => Ok((Some(sign_in.issuer.clone()), format!("at {}", sign_in.issuer))),
        (None, Some(job)) => Ok((None, format!("a job by {}", job.value.name()))),
        (None, None) => Err(TokenError::LoginRequired(LoginReason::Never).into()),
    }
}

fn sentence(hops: &[Hop], app: Option<&AppName>) -> String {
    match hops.iter().find(|hop| hop.state == State::Broken) {
        Some(hop) => format!("The first broken hop is the {}: {}.", hop.name, hop.detail.trim_end_matches('.')),
        None => match app {
            Some(app) => format!("Every hop from here to {app} works."),
            None => "Every hop from here to the gateway works; `ztsa doctor APP` looks at an app too.".to_owned(),
        },
    }
}

fn draw(hops: &[Hop], style: Style) -> String {
    let mut table = Table::new(&["HOP", "", "WHAT WAS SEEN"]);
    for hop in hops {
        let (word, paint): (_, fn(Style, &str) -> String) = match hop.state {
            State::Ok => ("ok", Style::good),
            State::Broken => ("BROKEN", Style::bad),
            State::Untried => ("-", Style::dim),
        };
        table.row().cell(hop.name).painted(word, paint).cell(hop.detail.clone());
    }
    table.draw(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_the_first_broken_hop() {
        let hop = |name, state| Hop { name, state, detail: "it is so.".to_owned() };
        let hops = [hop("settings", State::Ok), hop("gateway", State::Broken), hop("session", State::Untried)];
        assert_eq!(sentence(&hops, None), "The first broken hop is the gateway: it is so.");
        let app: AppName = "wiki".parse().unwrap();
        assert_eq!(sentence(&hops[..1], Some(&app)), "Every hop from here to wiki works.");
    }
}
