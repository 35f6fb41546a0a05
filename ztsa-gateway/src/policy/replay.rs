//! Replay: what policies would have answered to the decisions of an audit log.
//!
//! Only what policy decided is decided again. What was refused for a revocation, a blocked device, a risk above the
//! thresholds or a limit of the gateway is counted apart: no policy would have turned it.

mod line;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead, Read as _};
use std::sync::Arc;

use ztsa_proto::name::{AppName, UserId};
use ztsa_proto::time::UnixTime;

use super::case::Expect;
use super::{Policies, Request, Verdict};
use crate::audit::By;
use crate::authn::Identity;
use crate::config::App;

pub use line::{About, Line, Log, Lost, Past};

/// The longest line that is read; a longer one is foreign.
const MAX_LINE: u64 = 1024 * 1024;

/// Says which decisions are wanted.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of this person: subject, name, e-mail address or `ISSUER|SUBJECT`.
    pub user: Option<String>,
    /// On this app.
    pub app: Option<AppName>,
    /// From this time on.
    pub since: Option<UnixTime>,
}

/// Decides again, decision by decision.
#[derive(Debug)]
pub struct Replay<'a> {
    policies: &'a Policies,
    apps: HashMap<&'a AppName, &'a App>,
    filter: Filter,
    log: Log,
    groups: HashMap<Key, Group>,
    report: Report,
}

/// Says what replay found.
#[derive(Debug, Default, PartialEq)]
pub struct Report {
    /// The lines read.
    pub lines: u64,
    /// The lines that no gateway of ztsa wrote, or that cannot be read.
    pub foreign: u64,
    /// The lines of claims or facts that are not what their digest says, and were left out.
    pub altered: u64,
    /// The files whose last line was cut.
    pub torn: u64,
    /// The decisions in the log, without those that the filter leaves out.
    pub decisions: u64,
    /// The decisions and questions that the filter leaves out.
    pub left_out: u64,
    /// The questions of `ztsa why`, which opened nothing.
    pub questions: u64,
    /// The decisions that were made again.
    pub replayed: u64,
    /// Those that came out as before.
    pub unchanged: u64,
    /// Those of them that other policies decided than before.
    pub by_others: u64,
    /// The decisions that were not policy's, by who made them.
    pub outside: BTreeMap<By, u64>,
    /// The refusals of a name that is no app: there was nothing to decide, and no policy would have turned them.
    pub no_app: u64,
    /// The decisions that cannot be made again, by the reason.
    pub lost: BTreeMap<Lost, u64>,
    /// How often each policy in monitor mode would have applied.
    pub monitored: BTreeMap<String, u64>,
    /// The time of the first and the last decision that was made again.
    pub span: Option<(UnixTime, UnixTime)>,
    /// The decisions that turn: those that loosen first, then by their number.
    pub groups: Vec<Group>,
}

/// Says what turns with a decision.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The answer of then.
    pub before: Expect,
    /// The answer of these policies.
    pub after: Expect,
    /// The code of the refusal of then.
    pub code_before: Option<String>,
    /// The code of theirs.
    pub code_after: Option<String>,
    /// The policies that decided then.
    pub policies_before: Vec<String>,
    /// Those that decide now.
    pub policies_after: Vec<String>,
}

/// Holds the decisions that turn alike.
#[derive(Debug, PartialEq)]
pub struct Group {
    /// What turns.
    pub key: Key,
    /// How many they are.
    pub count: u64,
    /// Whom they concern, with a name for people.
    pub people: BTreeMap<UserId, String>,
    /// The apps, and how many of each.
    pub apps: BTreeMap<AppName, u64>,
    /// The first.
    pub first: UnixTime,
    /// The last.
    pub last: UnixTime,
    /// The id of one of them.
    pub example: String,
    /// Facts that these policies name and that no device was asked for then: the answer may be another once they are told.
    pub untold: BTreeSet<String>,
}

/// Says in which direction a decision turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// More is given.
    Loosen,
    /// Less is given.
    Tighten,
    /// The same is given, with another code.
    Reword,
}

impl Key {
    /// Says in which direction it turns.
    pub fn turn(&self) -> Turn {
        match self.after.cmp(&self.before) {
            std::cmp::Ordering::Greater => Turn::Loosen,
            std::cmp::Ordering::Less => Turn::Tighten,
            std::cmp::Ordering::Equal => Turn::Reword,
        }
    }
}

impl Filter {
    fn takes(&self, is: impl FnOnce(&str) -> bool, app: Option<&AppName>, at: UnixTime) -> bool {
        let by_person = self.user.as_deref().is_none_or(is);
        let by_app = self.app.as_ref().is_none_or(|wanted| app == Some(wanted));
        by_person && by_app && self.since.is_none_or(|since| at >= since)
    }

    fn takes_past(&self, past: &Past) -> bool {
        self.takes(|wanted| is(&past.recalled.identity, wanted), Some(&past.app), past.recalled.now)
    }

    fn takes_about(&self, about: &About) -> bool {
        self.takes(|wanted| about.is_of(wanted), about.app.as_ref(), about.at)
    }
}

fn is(identity: &Identity, wanted: &str) -> bool {
    let known = [Some(&identity.user.subject), identity.name.as_ref(), identity.email.as_ref()];
    known.into_iter().flatten().any(|known| known == wanted) || identity.user.to_string() == wanted
}

impl<'a> Replay<'a> {
    /// Prepares to ask these policies about these apps.
    pub fn new(policies: &'a Policies, apps: &'a [Arc<App>], filter: Filter) -> Self {
        let apps = apps.iter().map(|app| (&app.name, &**app)).collect();
        Self { policies, apps, filter, log: Log::default(), groups: HashMap::new(), report: Report::default() }
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// It cannot be read. What its lines are is never an error.
    pub fn file(&mut self, mut file: impl BufRead) -> io::Result<()> {
        // each file says what its lines refer to: what an earlier one said is not kept
        self.log = Log::default();
        lines(&mut file, |line, torn| {
            self.report.lines += 1;
            let read = self.log.read(line, self.policies.catalogue());
            if torn && matches!(read, Line::Foreign) { self.report.torn += 1 } else { self.take(read) }
        })
    }

    fn take(&mut self, line: Line) {
        let taken = match &line {
            Line::Other => return,
            Line::Foreign => return self.report.foreign += 1,
            Line::Altered => return self.report.altered += 1,
            Line::Decision(past) | Line::Question(past) => self.filter.takes_past(past),
            Line::NoApp(about) | Line::Lost(_, about) => self.filter.takes_about(about),
        };
        if !taken {
            return self.report.left_out += 1;
        }
        let past = match line {
            Line::Question(_) => return self.report.questions += 1,
            Line::NoApp(about) | Line::Lost(_, about) if about.is_question => return self.report.questions += 1,
            Line::NoApp(_) => {
                self.report.decisions += 1;
                return self.report.no_app += 1;
            }
            Line::Lost(lost, _) => {
                self.report.decisions += 1;
                return *self.report.lost.entry(lost).or_default() += 1;
            }
            Line::Decision(past) => past,
            Line::Other | Line::Foreign | Line::Altered => return,
        };
        self.report.decisions += 1;
        if past.by != By::Policy {
            return *self.report.outside.entry(past.by).or_default() += 1;
        }
        match self.apps.get(&past.app) {
            Some(app) => self.decide(&past, app),
            None => *self.report.lost.entry(Lost::AppGone).or_default() += 1,
        }
    }

    fn decide(&mut self, past: &Past, app: &App) {
        let request = past.recalled.request(app);
        let decision = self.policies.decide(&request);
        let report = &mut self.report;
        report.replayed += 1;
        let at = request.now;
        let (first, last) = report.span.unwrap_or((at, at));
        report.span = Some((first.min(at), last.max(at)));
        for policy in decision.shadow.iter().chain(&self.policies.revealing(&request)) {
            *report.monitored.entry(policy.clone()).or_default() += 1;
        }
        let key = Key {
            before: past.answer,
            after: Expect::of(&decision.verdict),
            code_before: past.code.clone(),
            code_after: decision.problem().map(|problem| problem.code.clone()),
            policies_before: past.policies.clone(),
            policies_after: decision.policies,
        };
        if key.before == key.after && key.code_before == key.code_after {
            report.unchanged += 1;
            report.by_others += u64::from(key.policies_before != key.policies_after);
            return;
        }
        let untold = match decision.verdict {
            Verdict::Allow => BTreeSet::new(),
            Verdict::Deny(_) | Verdict::StepUp(_) => self.policies.untold(&request, &key.policies_after),
        };
        let group = self.groups.entry(key).or_insert_with_key(|key| Group::new(key.clone(), past, at));
        group.count += 1;
        group.first = group.first.min(at);
        group.last = group.last.max(at);
        group.untold.extend(untold);
        *group.apps.entry(past.app.clone()).or_default() += 1;
        let identity = &past.recalled.identity;
        if !group.people.contains_key(&identity.user) {
            group.people.insert(identity.user.clone(), known_as(identity));
        }
    }

    /// Gives what was found.
    pub fn finish(self) -> Report {
        let mut groups: Vec<Group> = self.groups.into_values().collect();
        groups.sort_by(|a, b| {
            let rank = |group: &Group| std::cmp::Reverse((group.key.turn() == Turn::Loosen, group.count));
            rank(a).cmp(&rank(b)).then_with(|| a.key.cmp(&b.key))
        });
        Report { groups, ..self.report }
    }
}

impl Group {
    fn new(key: Key, past: &Past, at: UnixTime) -> Self {
        let (people, apps, untold) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { key, count: 0, people, apps, first: at, last: at, example: past.id.clone(), untold }
    }
}

impl Report {
    /// Says whether nothing follows from it: no decision was made again, and that is not because none was policy's to make.
    pub fn is_void(&self) -> bool {
        let not_policys = !self.outside.is_empty() || self.no_app > 0;
        self.replayed == 0 && (!not_policys || !self.lost.is_empty())
    }

    /// Counts the decisions that turn.
    pub fn turned(&self) -> u64 {
        self.groups.iter().map(|group| group.count).sum()
    }
}

impl Policies {
    /// Names the facts that these policies of an app ask for and that were never told.
    fn untold(&self, request: &Request<'_>, ids: &[String]) -> BTreeSet<String> {
        let slice = self.slices.get(&request.app.name);
        let rules = slice.into_iter().flat_map(|slice| ids.iter().filter_map(|id| slice.rule(id)));
        let facts = rules.flat_map(|rule| &rule.facts).filter(|id| request.facts.fact(id).age.is_none());
        facts.cloned().collect()
    }
}

/// Finds one decision in a file by its id.
///
/// # Errors
/// The file cannot be read.
pub fn find(mut file: impl BufRead, id: &str, log: &mut Log, policies: &Policies) -> io::Result<Option<Line>> {
    let mut found = None;
    lines(&mut file, |line, _| {
        let read = log.read(line, policies.catalogue());
        let is = match &read {
            Line::Decision(past) | Line::Question(past) => past.id == id,
            Line::NoApp(about) | Line::Lost(_, about) => about.id == id,
            Line::Other | Line::Foreign | Line::Altered => false,
        };
        if is && found.is_none() {
            found = Some(read);
        }
    })?;
    Ok(found)
}

/// Goes through the lines of a file; says of each whether it is cut. Of a line that is too long only the beginning is kept.
fn lines(file: &mut impl BufRead, mut take: impl FnMut(&[u8], bool)) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        if !whole && line.len() as u64 >= MAX_LINE {
            file.skip_until(b'\n')?;
        }
        if !line.trim_ascii().is_empty() {
            take(&line, !whole && (line.len() as u64) < MAX_LINE);
        }
    }
}

fn known_as(identity: &Identity) -> String {
    identity.email.clone().or_else(|| identity.name.clone()).unwrap_or_else(|| identity.user.subject.clone())
}
