//! The shape of `[signals]`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use toml::Spanned;
use url::Url;
use ztsa_proto::set::event::Kind;

use super::super::duration::Span;
use super::super::file::Place;
use super::{Actions, Delivery, SubjectForm, WhenStale};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Signals {
    #[serde(default, rename = "transmitter", alias = "ssf")]
    pub(super) transmitters: Vec<Transmitter>,
    #[serde(default, rename = "receiver")]
    pub(super) receivers: Vec<Receiver>,
    #[serde(default)]
    pub(super) actions: Actions,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Transmitter {
    pub(super) name: Spanned<String>,
    pub(super) issuer: String,
    pub(super) audiences: Option<Vec<String>>,
    pub(super) push_token_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) push_unauthenticated: bool,
    pub(super) api_token_file: Option<PathBuf>,
    pub(super) delivery: Option<Delivery>,
    pub(super) poll_url: Option<Url>,
    pub(super) jwks_uri: Option<Url>,
    pub(super) keys_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    #[serde(default)]
    pub(super) private: bool,
    #[serde(default)]
    pub(super) relaxed_typ: bool,
    pub(super) people: Option<Vec<String>>,
    #[serde(default)]
    pub(super) aliases: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) email_domains: Vec<String>,
    pub(super) tenant: Option<String>,
    pub(super) verify_every: Option<Span<10, 86_400>>,
    pub(super) stale_after: Option<Span<20, 604_800>>,
    pub(super) when_stale: Option<WhenStale>,
    #[serde(default)]
    pub(super) actions: Actions,
    #[serde(skip)]
    pub(super) place: Place,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Receiver {
    pub(super) name: Spanned<String>,
    pub(super) audience: String,
    pub(super) token_file: Option<PathBuf>,
    pub(super) push_url: Option<Url>,
    pub(super) push_token_file: Option<PathBuf>,
    pub(super) events: Option<Vec<EventName>>,
    pub(super) subject: Option<SubjectForm>,
    #[serde(default)]
    pub(super) private: bool,
    pub(super) ca_file: Option<PathBuf>,
    #[serde(skip)]
    pub(super) place: Place,
}

/// The short name of an event; another word is an error with the words that are known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EventName(pub(super) Kind);

impl<'de> Deserialize<'de> for EventName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let unknown = |known| D::Error::custom(format_args!("there is no event `{name}`; the events are {known}"));
        name.parse().map(Self).map_err(unknown)
    }
}

impl Signals {
    pub(in crate::config) fn resolve(&mut self, place: impl Fn(usize) -> Place, resolve: impl Fn(&mut PathBuf)) {
        for one in &mut self.transmitters {
            one.place = place(one.name.span().start);
            let files = [&mut one.push_token_file, &mut one.api_token_file, &mut one.keys_file, &mut one.ca_file];
            files.into_iter().flatten().for_each(&resolve);
        }
        for one in &mut self.receivers {
            one.place = place(one.name.span().start);
            let files = [&mut one.token_file, &mut one.push_token_file, &mut one.ca_file];
            files.into_iter().flatten().for_each(&resolve);
        }
    }

    pub(in crate::config) fn merge(&mut self, extra: Self) {
        self.transmitters.extend(extra.transmitters);
        self.receivers.extend(extra.receivers);
        self.actions = std::mem::take(&mut self.actions).with(&extra.actions);
    }
}
