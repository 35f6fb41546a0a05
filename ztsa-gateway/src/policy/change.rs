//! What would change an answer: found by deciding again with one thing otherwise at a time, never by reading policies.
//!
//! Where no single thing is enough, several are tried together and those left out that are not needed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ztsa_proto::posture::{State, describe};
use ztsa_proto::time::UnixTime;
use ztsa_proto::why::{self, Condition, ConditionKind};

use super::annotation::Annotated;
use super::case::Expect;
use super::input::Recalled;
use super::slice::{Slice, could_be};
use super::{Decision, Policies, Request};
use crate::posture::Fact;
use crate::risk::{Counted, score};

/// At most this many things are tried by themselves.
const MOST: usize = 96;
/// At most this many changes are told.
const TOLD: usize = 32;
/// How far ahead it is looked, and in which steps: each half hour of a day, then each two hours of a week.
const STEPS: [(u64, u64); 2] = [(1_800, 48), (7_200, 72)];

/// Tells of one way in which an answer would be another.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The other answer.
    pub answer: Expect,
    /// What would have to be otherwise.
    pub when: Vec<Condition>,
    /// When it comes by itself.
    pub at: Option<UnixTime>,
}

impl Change {
    /// Writes it as it travels.
    pub fn told(self) -> why::Change {
        let decision = match self.answer {
            Expect::Deny => why::Decision::Deny,
            Expect::StepUp => why::Decision::StepUp,
            Expect::Allow => why::Decision::Allow,
        };
        why::Change { decision, when: self.when, at: self.at }
    }
}

/// Says who reads it, and what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// Whether groups are tried and named: to a person they would tell how others are organised.
    pub groups: bool,
    /// Whether the signals behind the scores are all there, so that they can fade as time passes.
    pub signals: bool,
}

/// One thing otherwise.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    State(String, State),
    Lower(String),
    SignIn(Option<String>),
    Score(usize, u8),
    Signals,
    Device(&'static str),
    Group(String),
}

/// The scores, by the names of their subjects.
const SCORES: [&str; 3] = ["user", "device", "session"];

struct Search<'a> {
    scene: Recalled,
    request: &'a Request<'a>,
    slice: &'a Slice,
    view: View,
    before: Expect,
    /// Those whose remedies are for this person.
    heard: Vec<&'a Annotated>,
    answer: &'a dyn Fn(&Request<'_>) -> Decision,
}

impl Policies {
    /// Finds what would change the answer that `answer` gives to `request`.
    ///
    /// `answer` is asked at most a few hundred times. There is nothing to tell about an app that the person may not know of, but
    /// to those who may read of groups.
    pub fn changes(&self, request: &Request<'_>, view: View, answer: &dyn Fn(&Request<'_>) -> Decision) -> Vec<Change> {
        if !view.groups && !self.is_visible(request) {
            return Vec::new();
        }
        let Some(slice) = self.slices.get(&request.app.name) else { return Vec::new() };
        let first = answer(request);
        let before = Expect::of(&first.verdict);
        let heard = self.heard(slice, &first, request, view);
        let search = Search { scene: Recalled::of(request), request, slice, view, before, heard, answer };
        let mut changes = search.single();
        if before != Expect::Allow && changes.iter().all(|change| change.answer != Expect::Allow) {
            changes.extend(search.together());
        }
        changes.extend(search.by_itself());
        // what gives most first; then the order in which they were tried
        changes.sort_by_key(|change| std::cmp::Reverse(change.answer));
        changes.truncate(TOLD);
        changes
    }

    /// Finds the policies whose remedies are told: those that decided. Where none did, an administrator reads those of every
    /// policy that could be about the person.
    fn heard<'s>(&self, slice: &'s Slice, first: &Decision, request: &Request<'_>, view: View) -> Vec<&'s Annotated> {
        let user = self.vocabulary.user(request.identity);
        let about = |rule: &Annotated| could_be(&rule.principal(), &user, request.identity, &self.vocabulary);
        let undecided = first.policies.is_empty() && view.groups;
        let heard = |rule: &&Annotated| first.policies.contains(&rule.id) || undecided && !rule.monitor && about(rule);
        slice.rules.iter().filter(heard).collect()
    }
}

impl Search<'_> {
    fn ask(&self, scene: &Recalled) -> Expect {
        Expect::of(&(self.answer)(&scene.request(self.request.app)).verdict)
    }

    fn turned(&self, answer: Expect) -> bool {
        if self.before == Expect::Allow { answer < self.before } else { answer > self.before }
    }

    fn single(&self) -> Vec<Change> {
        let mut changes: Vec<Change> = Vec::new();
        let mut passed: BTreeSet<String> = BTreeSet::new();
        for step in self.steps().into_iter().take(MOST) {
            if matches!(&step, Step::Lower(id) if passed.contains(id)) {
                continue;
            }
            let answer = self.ask(&self.with(&[&step]));
            if !self.turned(answer) {
                continue;
            }
            if let Step::State(id, _) = &step {
                passed.insert(id.clone());
            }
            let step = self.least(&step, &[], answer);
            // a stronger sign-in is not needed where a fresh one does
            let covered = matches!(step, Step::SignIn(Some(_)))
                && changes.iter().any(|known| {
                    known.answer == answer
                        && known.when.iter().any(|one| one.kind == ConditionKind::SignIn && one.then.is_none())
                });
            if !covered {
                changes.push(Change { answer, when: vec![self.tell(&step)], at: None });
            }
        }
        changes
    }

    /// Lists what is worth trying.
    fn steps(&self) -> Vec<Step> {
        let enforced = || self.slice.rules.iter().filter(|rule| !rule.monitor);
        let facts: BTreeSet<&String> = enforced().flat_map(|rule| &rule.facts).collect();
        let state = |id: &str| self.scene.facts.fact(id).state;
        let scores = self.scores();
        let mut steps = Vec::new();
        if self.before == Expect::Allow {
            let passing = facts.iter().filter(|id| state(id) == State::Pass);
            steps.extend(passing.map(|id| Step::State((*id).clone(), State::Fail)));
            steps.extend((0..SCORES.len()).map(|which| Step::Score(which, 100)));
            if self.scene.device_state == "approved" {
                steps.push(Step::Device("unmanaged"));
            }
            return steps;
        }
        let failing = facts.iter().filter(|id| state(id) != State::Pass);
        steps.extend(failing.map(|id| Step::State((*id).clone(), State::Pass)));
        steps.extend(facts.iter().map(|id| Step::Lower((*id).clone())));
        steps.push(Step::SignIn(None));
        let mut classes: Vec<&String> = enforced().flat_map(|rule| &rule.mentions.acr).collect();
        let asked = enforced().filter_map(|rule| rule.step_up.as_ref()?.acr_values.as_ref());
        let asked: Vec<String> = asked.flat_map(|values| values.split_whitespace()).map(str::to_owned).collect();
        classes.extend(&asked);
        classes.sort();
        classes.dedup();
        let current = self.scene.identity.acr.clone();
        steps.extend(
            classes
                .into_iter()
                .filter(|class| Some(*class) != current.as_ref())
                .map(|class| Step::SignIn(Some(class.clone()))),
        );
        steps
            .extend((0..SCORES.len()).filter(|which| scores.get(*which) > Some(&0)).map(|which| Step::Score(which, 0)));
        if self.scene.scores.kinds().next().is_some() {
            steps.push(Step::Signals);
        }
        if self.scene.device_state != "approved" {
            steps.push(Step::Device("approved"));
        }
        if self.view.groups {
            let groups: BTreeSet<&String> = enforced().flat_map(|rule| &rule.mentions.groups).collect();
            let other = groups.into_iter().filter(|group| !self.scene.identity.groups.contains(group));
            steps.extend(other.map(|group| Step::Group(group.clone())));
        }
        steps
    }

    /// Tries everything that can be mended at once, and leaves out what is not needed.
    fn together(&self) -> Option<Change> {
        let (groups, steps): (Vec<Step>, Vec<Step>) =
            self.steps().into_iter().partition(|step| matches!(step, Step::Group(_)));
        let (sign_ins, steps): (Vec<Step>, Vec<Step>) =
            steps.into_iter().partition(|step| matches!(step, Step::SignIn(_)));
        // a group may be what keeps somebody out: none, each by itself, all of them
        let one_by_one = groups.chunks(1).filter(|_| groups.len() > 1);
        let all = (!groups.is_empty()).then_some(groups.as_slice());
        let groups = std::iter::once(<&[Step]>::default()).chain(one_by_one).chain(all);
        let ways = groups.flat_map(|groups| sign_ins.iter().map(move |sign_in| (groups, sign_in)));
        let ways: Vec<(&[Step], &Step)> = ways.take(MOST).collect();
        let (groups, sign_in, answer) = ways
            .into_iter()
            .map(|(groups, sign_in)| {
                let all: Vec<&Step> = steps.iter().chain(groups).chain([sign_in]).collect();
                (groups, sign_in, self.ask(&self.with(&all)))
            })
            // the first of those that give most
            .rev()
            .max_by_key(|(.., answer)| *answer)?;
        if !self.turned(answer) {
            return None;
        }
        // in this order what asks most of people is left out first
        let asked = groups.iter().chain([sign_in]).chain(steps.iter().rev());
        let mut kept: Vec<Step> = asked.take(MOST).cloned().collect();
        let mut at = 0;
        while at < kept.len() {
            let without: Vec<&Step> =
                kept.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, step)| step).collect();
            if self.ask(&self.with(&without)) >= answer { drop(kept.remove(at)) } else { at += 1 }
        }
        kept.reverse();
        for at in 0..kept.len() {
            let others: Vec<&Step> =
                kept.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, step)| step).collect();
            let least = kept.get(at).map(|step| self.least(step, &others, answer));
            kept.get_mut(at).zip(least).into_iter().for_each(|(step, least)| *step = least);
        }
        (kept.len() > 1).then(|| Change { answer, when: kept.iter().map(|step| self.tell(step)).collect(), at: None })
    }

    /// Looks ahead: what the time, the age of the sign-in and the fading of signals change when nothing else does.
    fn by_itself(&self) -> Option<Change> {
        let timely = self.slice.rules.iter().any(|rule| !rule.monitor && rule.mentions.time);
        let fades = |counted: &Counted| counted.signal.half_life.is_some() || counted.signal.expires_at.is_some();
        let fading = self.view.signals && self.scene.scores.signals.iter().any(fades);
        if !timely && !fading {
            return None;
        }
        let mut seen = self.scene.now;
        for (step, times) in STEPS {
            for _ in 0..times {
                let next = seen.plus(Duration::from_secs(step));
                if self.ask(&self.later(next)) != self.before {
                    let at = self.bisect(seen, next);
                    let answer = self.ask(&self.later(at));
                    let fresh = Recalled { now: self.scene.now, ..self.later(at) };
                    // the same scores now: is it the risk alone?
                    let kind = if self.ask(&fresh) == answer { ConditionKind::Signals } else { ConditionKind::Time };
                    let when = Condition { kind, about: String::new(), now: None, then: None, remedy: None };
                    return Some(Change { answer, when: vec![when], at: Some(at) });
                }
                seen = next;
            }
        }
        None
    }

    /// Finds to the minute when the answer changes.
    fn bisect(&self, mut before: UnixTime, mut after: UnixTime) -> UnixTime {
        while after.since(before) > Duration::from_secs(60) {
            let middle = before.plus(after.since(before) / 2);
            if self.ask(&self.later(middle)) == self.before { before = middle } else { after = middle }
        }
        after
    }

    /// The same later on: the device keeps saying what it says, the sign-in grows old, signals fade.
    fn later(&self, now: UnixTime) -> Recalled {
        let mut scene = self.scene.clone();
        if self.view.signals {
            scene.scores = score(scene.scores.signals.iter().map(|counted| &counted.signal), now);
        }
        // the facts keep their ages, and so does the report
        let received = scene.facts.age(scene.now).map(|age| now.minus(age));
        scene.facts = scene.facts.received_at(received);
        scene.now = now;
        scene
    }

    /// Finds the score that is just enough beside the others.
    fn least(&self, step: &Step, others: &[&Step], answer: Expect) -> Step {
        let &Step::Score(which, far) = step else { return step.clone() };
        let now = self.scores().get(which).copied().unwrap_or_default();
        // `enough` turns the answer, `short` does not
        let (mut enough, mut short) = (far, now);
        while enough.abs_diff(short) > 1 {
            let middle = enough.midpoint(short);
            let score = Step::Score(which, middle);
            let all: Vec<&Step> = others.iter().copied().chain([&score]).collect();
            let turns = self.ask(&self.with(&all)) == answer;
            if turns { enough = middle } else { short = middle }
        }
        Step::Score(which, enough)
    }

    fn scores(&self) -> [u8; 3] {
        [self.scene.scores.user, self.scene.scores.device, self.scene.scores.session]
    }

    fn with(&self, steps: &[&Step]) -> Recalled {
        let mut scene = self.scene.clone();
        for step in steps {
            match step {
                Step::State(id, state) => {
                    let known = scene.facts.fact(id).clone();
                    let fact = Fact { state: *state, reason: None, age: Some(Duration::ZERO), ..known };
                    scene.facts = scene.facts.with(id, fact);
                }
                Step::Lower(id) => {
                    let value = Some("0".to_owned());
                    let known = scene.facts.fact(id).clone();
                    let fact = Fact { state: State::Pass, reason: None, age: Some(Duration::ZERO), value, ..known };
                    scene.facts = scene.facts.with(id, fact);
                }
                Step::SignIn(class) => {
                    let identity = Arc::make_mut(&mut scene.identity);
                    identity.auth_time = Some(scene.now);
                    if class.is_some() {
                        identity.acr.clone_from(class);
                    }
                }
                Step::Score(which, score) => {
                    let scores = &mut scene.scores;
                    let fields = [&mut scores.user, &mut scores.device, &mut scores.session];
                    fields.into_iter().nth(*which).into_iter().for_each(|field| *field = *score);
                }
                Step::Signals => scene.scores = crate::risk::Scores::default(),
                Step::Device(state) => (*state).clone_into(&mut scene.device_state),
                Step::Group(group) => Arc::make_mut(&mut scene.identity).groups.push(group.clone()),
            }
        }
        scene
    }

    fn tell(&self, step: &Step) -> Condition {
        let fact = |id: &str| self.scene.facts.fact(id);
        let remedy = |id: &str| {
            let mut own = self.heard.iter().filter(|rule| rule.facts.iter().any(|fact| fact == id));
            let own = own.find_map(|rule| rule.remedy.clone());
            own.or_else(|| describe(id).map(|known| known.remedy.to_owned()))
        };
        let (kind, about, now, then, remedy) = match step {
            Step::State(id, state) => {
                let remedy = (*state == State::Pass).then(|| remedy(id)).flatten();
                (ConditionKind::Posture, id.as_str(), Some(fact(id).state.to_string()), Some(state.to_string()), remedy)
            }
            Step::Lower(id) => (ConditionKind::PostureValue, id.as_str(), fact(id).value.clone(), None, remedy(id)),
            Step::SignIn(class) => (ConditionKind::SignIn, "", self.scene.identity.acr.clone(), class.clone(), None),
            Step::Score(which, score) => {
                let now = self.scores().get(*which).map(ToString::to_string);
                (
                    ConditionKind::Risk,
                    SCORES.get(*which).copied().unwrap_or_default(),
                    now,
                    Some(score.to_string()),
                    None,
                )
            }
            Step::Signals => (ConditionKind::Signals, "", None, None, None),
            Step::Device(state) => {
                (ConditionKind::Device, "", Some(self.scene.device_state.clone()), Some((*state).to_owned()), None)
            }
            Step::Group(group) => (ConditionKind::Group, "", None, Some(group.clone()), None),
        };
        Condition { kind, about: about.to_owned(), now, then, remedy }
    }
}
