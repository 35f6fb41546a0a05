//! `[signals]`: whose signals are listened to (`[[signals.transmitter]]`), what they do, and who is told ours
//! (`[[signals.receiver]]`).

mod action;
pub(super) mod raw;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;
use ztsa_proto::set::event::Kind;

use super::error::{ConfigError, Fault};
use super::file::Place;
use super::issuer::secure;
use super::rule::unique;
use super::{Issuer, is_loopback};

pub use action::{Action, Actions};

/// Says whose signals are listened to, and who is told ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// The systems that tell us; at most 32.
    pub transmitters: Vec<Arc<Transmitter>>,
    /// The systems that we tell; at most 32.
    pub receivers: Vec<Arc<Receiver>>,
}

/// Describes one system that tells of people, devices and sessions (Shared Signals Framework 1.0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmitter {
    /// The short name in logs, in reasons, and in the path that it pushes to.
    pub name: String,
    /// The `iss` of its tokens, compared byte for byte.
    pub issuer: String,
    /// The `aud` that its tokens must have, one of them.
    ///
    /// # Defaults
    /// The gateway's `public_url` alone.
    pub audiences: Vec<String>,
    /// The file with the bearer credential that it pushes with; without one nothing is taken by push.
    pub push_token_file: Option<PathBuf>,
    /// Whether what is pushed is taken on its signature alone, from a transmitter that shows no credential (Google).
    ///
    /// # Defaults
    /// `false`.
    pub push_unauthenticated: bool,
    /// The file with the bearer credential for its stream management and for polls.
    pub api_token_file: Option<PathBuf>,
    /// How its stream delivers.
    ///
    /// # Defaults
    /// Push with a `push_token_file`, else poll.
    pub delivery: Delivery,
    /// Where to poll, for a stream that was made by hand.
    pub poll_url: Option<Url>,
    /// Where its keys are.
    ///
    /// # Defaults
    /// What its discovery document says.
    pub jwks_uri: Option<Url>,
    /// A file with its keys, a JSON Web Key Set: then nothing is fetched.
    pub keys_file: Option<PathBuf>,
    /// Extra roots, PEM, for a transmitter behind a private CA.
    pub ca_file: Option<PathBuf>,
    /// Whether its endpoints may be at addresses that are not public.
    ///
    /// # Defaults
    /// `false`.
    pub private: bool,
    /// Whether tokens without `typ: secevent+jwt` are taken (Google).
    ///
    /// # Defaults
    /// `false`.
    pub relaxed_typ: bool,
    /// The identifiers of the issuers of whose people it may speak.
    ///
    /// # Defaults
    /// The issuer that has the transmitter's own identifier.
    pub people: Vec<String>,
    /// What it calls an issuer in subjects, and the issuer's identifier here.
    pub aliases: BTreeMap<String, String>,
    /// The e-mail domains that it speaks for; an address of another domain means nobody.
    pub email_domains: Vec<String>,
    /// The tenant that we are there; a subject of another one means nobody.
    pub tenant: Option<String>,
    /// How often a heartbeat is asked for.
    ///
    /// # Defaults
    /// 5 min; 10 s to 1 d.
    pub verify_every: Duration,
    /// After how long without a sign of life it counts as silent.
    ///
    /// # Defaults
    /// Four times `verify_every`; at least twice.
    pub stale_after: Duration,
    /// What its silence does.
    ///
    /// # Defaults
    /// A warning.
    pub when_stale: WhenStale,
    /// What its events do.
    pub actions: Actions,
}

/// Says how a stream delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Delivery {
    /// The transmitter sends (RFC 8935).
    Push,
    /// We ask (RFC 8936).
    Poll,
}

/// Says what the silence of a transmitter does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenStale {
    /// It is said in the log.
    #[default]
    Warn,
    /// Nothing new opens for the people it speaks of.
    Refuse,
    /// Their live tunnels are suspended too.
    Suspend,
}

/// Describes one system that is told ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// The short name in logs.
    pub name: String,
    /// The `aud` of the tokens for it.
    pub audience: String,
    /// The file with the bearer credential that it manages its streams and polls with.
    pub token_file: Option<PathBuf>,
    /// Where its tokens are pushed to without its asking.
    pub push_url: Option<Url>,
    /// The file with the bearer credential for `push_url`.
    pub push_token_file: Option<PathBuf>,
    /// What it may be told.
    ///
    /// # Defaults
    /// All that this gateway tells.
    pub events: Vec<Kind>,
    /// How people are named to it.
    ///
    /// # Defaults
    /// `complex`.
    pub subject: SubjectForm,
    /// Whether it may be at an address that is not public.
    ///
    /// # Defaults
    /// `false`.
    pub private: bool,
    /// Extra roots, PEM, for a receiver behind a private CA.
    pub ca_file: Option<PathBuf>,
}

/// Says how people are named to a receiver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectForm {
    /// Person, device and session.
    #[default]
    Complex,
    /// The person's issuer and subject alone.
    IssSub,
    /// The person's e-mail address alone; events about people without one are not told.
    Email,
}

/// What this gateway tells.
pub const TOLD: [Kind; 4] =
    [Kind::SessionEstablished, Kind::SessionRevoked, Kind::DeviceComplianceChange, Kind::RiskLevelChange];

const MOST: usize = 32;

pub(super) fn check(raw: &raw::Signals, issuers: &[Arc<Issuer>], resource: &str) -> Result<Signals, ConfigError> {
    let mut names: HashMap<&str, &Place> = HashMap::new();
    let mut signals = Signals::default();
    for transmitter in &raw.transmitters {
        unique(&mut names, transmitter.name.get_ref().as_str(), &transmitter.place, "the transmitter")?;
        let checked = one_transmitter(transmitter, &raw.actions, issuers, resource);
        signals.transmitters.push(Arc::new(checked.map_err(|fault| transmitter.place.error(fault))?));
    }
    let mut names: HashMap<&str, &Place> = HashMap::new();
    for receiver in &raw.receivers {
        unique(&mut names, receiver.name.get_ref().as_str(), &receiver.place, "the receiver")?;
        let checked = one_receiver(receiver).map_err(|fault| receiver.place.error(fault))?;
        signals.receivers.push(Arc::new(checked));
    }
    let last = raw.transmitters.get(MOST).map(|one| &one.place).or(raw.receivers.get(MOST).map(|one| &one.place));
    match last {
        Some(place) => Err(place.error(rule(format!("there are more than {MOST} of them"), "Leave some out."))),
        None => Ok(signals),
    }
}

fn rule(reason: String, remedy: &'static str) -> Fault {
    Fault::Rule { reason, remedy }
}

impl Place {
    fn error(&self, fault: Fault) -> ConfigError {
        ConfigError::at(&self.file, Some(self.line), fault)
    }
}

fn one_transmitter(
    raw: &raw::Transmitter,
    actions: &Actions,
    issuers: &[Arc<Issuer>],
    resource: &str,
) -> Result<Transmitter, Fault> {
    let name = raw.name.get_ref();
    let wrong = |what: &str, remedy| rule(format!("transmitter `{name}`: {what}"), remedy);
    word(name).map_err(|()| wrong("the name is not a short word", WORD))?;
    secure(&raw.issuer).map_err(|(reason, remedy)| wrong(&reason, remedy))?;
    let urls = [&raw.poll_url, &raw.jwks_uri].into_iter().flatten();
    for url in urls.chain(Url::parse(&raw.issuer).ok().iter()) {
        reachable(url, raw.private).map_err(|(reason, remedy)| wrong(&reason, remedy))?;
    }
    let pushes = raw.push_token_file.is_some() || raw.push_unauthenticated;
    if raw.push_token_file.is_some() && raw.push_unauthenticated {
        return Err(wrong(
            "push_unauthenticated = true makes push_token_file worthless",
            "Leave one of them out: the credential is better.",
        ));
    }
    if !pushes && raw.api_token_file.is_none() {
        return Err(wrong(
            "it has no credential: nothing could come from it",
            "Add push_token_file for what it pushes, or api_token_file for its stream management and polls.",
        ));
    }
    let delivery = raw.delivery.unwrap_or(if pushes { Delivery::Push } else { Delivery::Poll });
    match delivery {
        Delivery::Push if !pushes => {
            return Err(wrong("delivery = \"push\" needs a credential to push with", "Add push_token_file."));
        }
        Delivery::Poll if raw.api_token_file.is_none() => {
            return Err(wrong("delivery = \"poll\" needs a credential to poll with", "Add api_token_file."));
        }
        _ => {}
    }
    let named = |word: &String| {
        let issuer = issuers.iter().find(|issuer| issuer.name == *word).map(|issuer| issuer.issuer.clone());
        issuer.ok_or_else(|| {
            wrong(&format!("there is no issuer `{word}`"), "Name one of the [[issuer]] tables by its name.")
        })
    };
    let own = |issuer: &&Arc<Issuer>| same_issuer(&issuer.issuer, &raw.issuer);
    let people: Vec<String> = match &raw.people {
        Some(names) => names.iter().map(named).collect::<Result<_, _>>()?,
        None => issuers.iter().filter(own).map(|issuer| issuer.issuer.clone()).collect(),
    };
    if people.is_empty() {
        return Err(wrong(
            "no issuer here has its identifier, so it could speak of nobody",
            "Name the issuers of whose people it may speak: people = [\"corp\"].",
        ));
    }
    let aliases = raw.aliases.iter().map(|(theirs, ours)| Ok((theirs.clone(), named(ours)?)));
    let verify_every = raw.verify_every.map_or(Duration::from_secs(300), |span| span.0);
    let stale_after = raw.stale_after.map_or(verify_every * 4, |span| span.0);
    if stale_after < verify_every * 2 {
        return Err(wrong(
            "one late heartbeat would make it silent: stale_after is less than twice verify_every",
            "Make stale_after longer, or verify_every (5 min unless you say otherwise) shorter.",
        ));
    }
    Ok(Transmitter {
        name: name.clone(),
        issuer: raw.issuer.clone(),
        audiences: raw.audiences.clone().unwrap_or_else(|| vec![resource.to_owned()]),
        push_token_file: raw.push_token_file.clone(),
        push_unauthenticated: raw.push_unauthenticated,
        api_token_file: raw.api_token_file.clone(),
        delivery,
        poll_url: raw.poll_url.clone(),
        jwks_uri: raw.jwks_uri.clone(),
        keys_file: raw.keys_file.clone(),
        ca_file: raw.ca_file.clone(),
        private: raw.private,
        relaxed_typ: raw.relaxed_typ,
        people,
        aliases: aliases.collect::<Result<_, Fault>>()?,
        email_domains: raw.email_domains.iter().map(|domain| domain.to_ascii_lowercase()).collect(),
        tenant: raw.tenant.clone(),
        verify_every,
        stale_after,
        when_stale: raw.when_stale.unwrap_or_default(),
        actions: actions.clone().with(&raw.actions),
    })
}

fn one_receiver(raw: &raw::Receiver) -> Result<Receiver, Fault> {
    let name = raw.name.get_ref();
    let wrong = |what: &str, remedy| rule(format!("receiver `{name}`: {what}"), remedy);
    word(name).map_err(|()| wrong("the name is not a short word", WORD))?;
    if raw.audience.is_empty() {
        return Err(wrong("`audience` is empty", "Give the identifier that it looks for in `aud`."));
    }
    match (&raw.token_file, &raw.push_url, &raw.push_token_file) {
        (None, None, _) => {
            return Err(wrong(
                "it can neither ask for a stream nor is anything pushed to it",
                "Add token_file, the credential that it asks with, or push_url.",
            ));
        }
        (_, None, Some(_)) => return Err(wrong("push_token_file without push_url", "Add push_url.")),
        _ => {}
    }
    if let Some(url) = &raw.push_url {
        reachable(url, raw.private).map_err(|(reason, remedy)| wrong(&reason, remedy))?;
    }
    let events =
        raw.events.as_ref().map_or_else(|| TOLD.to_vec(), |events| events.iter().map(|e| e.0.clone()).collect());
    if let Some(other) = events.iter().find(|kind| !TOLD.contains(kind)) {
        let told =
            "This gateway tells session-established, session-revoked, device-compliance-change and risk-level-change.";
        return Err(wrong(&format!("the event {other} is not told by this gateway"), told));
    }
    Ok(Receiver {
        name: name.clone(),
        audience: raw.audience.clone(),
        token_file: raw.token_file.clone(),
        push_url: raw.push_url.clone(),
        push_token_file: raw.push_token_file.clone(),
        events,
        subject: raw.subject.unwrap_or_default(),
        private: raw.private,
        ca_file: raw.ca_file.clone(),
    })
}

/// Says whether two issuers are the same but for a slash at the end, which one standard writes and another does not.
pub(crate) fn same_issuer(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn word(name: &str) -> Result<(), ()> {
    let fits = (1..=63).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits { Ok(()) } else { Err(()) }
}

fn reachable(url: &Url, private: bool) -> Result<(), (String, &'static str)> {
    match url.scheme() {
        "https" if url.host().is_some() => Ok(()),
        "http" if is_loopback(url) && private => Ok(()),
        "http" if is_loopback(url) => {
            Err((format!("{url} is not public"), "Set private = true when an address of your own network is meant."))
        }
        _ => Err((format!("{url} is not an https URL"), "Use https; http is taken on loopback only.")),
    }
}

const WORD: &str = "Use letters a to z, digits and dashes, such as name = \"okta\".";

#[cfg(test)]
mod tests;
