//! Decides by Cedar policy who may open which app: default deny, validated at load, one compiled slice per app.
//!
//! Policies are `*.cedar` files. Their annotations carry what people need:
//!
//! | annotation | on | says |
//! |---|---|---|
//! | `@id("..")` | any | the name in answers and in the audit log; without it the file's name and the policy's number |
//! | `@reason("..")` | any | why, in words for the person who is refused |
//! | `@remedy("..")` | `forbid` | what they can do about it |
//! | `@code("..")` | `forbid` | the stable code of the refusal; without it `posture.*` when a check that it names does not pass, else `policy.forbidden` |
//! | `@step_up("..")` | `forbid` | signing in again with these `acr_values` lifts the refusal (RFC 9470) |
//! | `@max_age("5m")` | `forbid` | signing in again more recently than this lifts the refusal |
//! | `@on_change("suspend")` | any | what happens to a live tunnel: `suspend` or `terminate` |
//! | `@mode("monitor")` | any | logged, not enforced |
//! | `@strict` | `permit` | what it permits does not go on while the gateway cannot write its store for longer than `max_staleness` |

mod annotation;
pub mod case;
mod change;
mod decide;
mod depth;
mod explain;
mod input;
mod mention;
mod outside;
pub mod replay;
pub mod schema;
mod slice;
mod source;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ztsa_proto::name::{AppName, DeviceId};
use ztsa_proto::problem::Problem;
use ztsa_proto::time::UnixTime;

use crate::authn::Identity;
use crate::config::App;
use crate::posture::{Catalogue, Facts};
use crate::risk::Scores;

pub use annotation::OnChange;
pub use change::{Change, View};
pub use decide::unknown;
pub use explain::{Explanation, Missing, Monitored, Rule};
pub use input::{DeviceSheet, Recalled};
pub(crate) use slice::nothing;
pub use source::{Mistake, PolicyError, Source, fingerprint};

/// What is said of a set without any policy.
pub const NONE: &str = "there is no policy, so every app is denied to everybody";

/// Holds a validated set of policies, compiled into one slice per app.
#[derive(Debug)]
pub struct Policies {
    slices: HashMap<AppName, slice::Slice>,
    /// What concerns an app that is not there.
    nothing: slice::Slice,
    vocabulary: schema::Vocabulary,
    authorizer: cedar_policy::Authorizer,
    rules: usize,
    warnings: Vec<Mistake>,
}

/// Asks whether one person on one device may open one app now.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who, as the issuer says.
    pub identity: &'a Identity,
    /// The device's key.
    pub device: &'a DeviceId,
    /// `unmanaged`, `approved` or `blocked`.
    pub device_state: &'a str,
    /// What is known of the device, every known check included.
    pub facts: &'a Facts,
    /// The scores of the user, the device and the session.
    pub scores: &'a Scores,
    /// Where the request comes from.
    pub peer: IpAddr,
    /// The ISO 3166 code of the country that this is in; empty when it is not known.
    pub country: &'a str,
    /// The app asked for.
    pub app: &'a App,
    /// When.
    pub now: UnixTime,
}

/// Answers a [`Request`].
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The answer itself.
    pub verdict: Verdict,
    /// The ids of the policies that decided, sorted.
    pub policies: Vec<String>,
    /// The ids of policies in monitor mode that would have applied, sorted.
    pub shadow: Vec<String>,
    /// The ids of policies that could not be evaluated, those in monitor mode too, sorted.
    pub failed: Vec<String>,
    /// Whether a policy that allows is `@strict`.
    pub strict: bool,
    /// What the deciding policies want done to a live tunnel when they no longer let it be; `None` when none of them says.
    pub on_change: Option<OnChange>,
}

/// Says yes, no, or not yet.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The app may be opened.
    Allow,
    /// The app may not be opened, for this reason.
    Deny(Arc<Problem>),
    /// The app may be opened after a stronger or fresher sign-in.
    StepUp(Arc<Problem>),
}

impl Policies {
    /// Reads, validates and compiles every `*.cedar` file of `dir`.
    ///
    /// # Errors
    /// The directory cannot be read, or a file has mistakes: each with file, line, column, cause and a hint.
    pub fn load(dir: &Path, apps: &[Arc<App>], catalogue: &Arc<Catalogue>) -> Result<Self, PolicyError> {
        Self::compile(&source::read(dir)?, apps, catalogue)
    }

    /// Reads the policies as [`Policies::load`] does, all of them as they were at one moment, with the [`fingerprint`] of the
    /// files then (0 when there is none).
    ///
    /// # Errors
    /// As for [`Policies::load`], and [`PolicyError::Moving`] for files that changed each time while they were read.
    pub fn load_settled(dir: &Path, apps: &[Arc<App>], catalogue: &Arc<Catalogue>) -> (u64, Result<Self, PolicyError>) {
        source::settled(dir, |dir| Self::load(dir, apps, catalogue))
    }

    /// Validates and compiles policies that are already in memory.
    ///
    /// # Errors
    /// As for [`Policies::load`].
    pub fn compile(sources: &[Source], apps: &[Arc<App>], catalogue: &Arc<Catalogue>) -> Result<Self, PolicyError> {
        let vocabulary = schema::Vocabulary::new(catalogue).map_err(PolicyError::Schema)?;
        let (rules, warnings) = source::parse(sources, &vocabulary, apps)?;
        let mut slices = HashMap::with_capacity(apps.len());
        for app in apps {
            slices.insert(app.name.clone(), slice::Slice::of(app, &rules, &vocabulary)?);
        }
        let nothing = slice::Slice::of(&nothing()?, &rules, &vocabulary)?;
        Ok(Self {
            slices,
            nothing,
            vocabulary,
            authorizer: cedar_policy::Authorizer::new(),
            rules: rules.len(),
            warnings,
        })
    }

    /// Counts the policies.
    pub fn len(&self) -> usize {
        self.rules
    }

    /// Lists the posture checks that policies name, monitored ones too.
    pub fn facts(&self) -> BTreeSet<&str> {
        self.slices.values().flat_map(|slice| &slice.rules).flat_map(|rule| &rule.facts).map(String::as_str).collect()
    }

    /// Lists the posture checks that the policies of an app name.
    pub fn facts_of(&self, app: &AppName) -> BTreeSet<&str> {
        let rules = self.slices.get(app).into_iter().flat_map(|slice| &slice.rules);
        rules.flat_map(|rule| &rule.facts).map(String::as_str).collect()
    }

    /// Lists what can be known of a device, as these policies see it.
    pub fn catalogue(&self) -> &Catalogue {
        &self.vocabulary.catalogue
    }

    /// Says whether there is no policy at all, so that everything is denied.
    pub fn is_empty(&self) -> bool {
        self.rules == 0
    }

    /// Lists what is not wrong but probably not meant: a policy that can never apply, an app that does not exist.
    pub fn warnings(&self) -> &[Mistake] {
        &self.warnings
    }

    /// Counts the policies that are evaluated for `app`.
    pub fn slice_len(&self, app: &AppName) -> usize {
        self.slices.get(app).map_or(0, slice::Slice::len)
    }
}

/// Counts the steps that answers take, for the tests that hold two of them equal, and lets a test do at a step what another
/// thread could do at that moment.
#[cfg(test)]
pub(crate) mod step {
    use std::cell::RefCell;

    type Deed = Box<dyn FnOnce()>;

    thread_local! {
        static STEPS: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
        static DEED: RefCell<Option<(&'static str, Deed)>> = const { RefCell::new(None) };
    }

    pub(crate) fn note(step: &'static str) {
        STEPS.with_borrow_mut(|steps| steps.push(step));
        if let Some((_, deed)) = DEED.with_borrow_mut(|deed| deed.take_if(|(at, _)| *at == step)) {
            deed();
        }
    }

    /// Does something the next time that this thread takes a step, once.
    pub(crate) fn at(step: &'static str, deed: impl FnOnce() + 'static) {
        DEED.set(Some((step, Box::new(deed))));
    }

    /// Gives the steps of this thread since it was asked last.
    pub(crate) fn taken() -> Vec<&'static str> {
        STEPS.take()
    }
}

#[cfg(test)]
mod tests;
