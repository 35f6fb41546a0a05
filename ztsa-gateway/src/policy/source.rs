//! Policy files: read, parsed, validated, and every mistake named with its place.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cedar_policy::{PolicyId, PolicySet, ValidationMode, Validator};
use miette::Diagnostic;

use super::annotation::{Annotated, distance};
use super::depth;
use super::schema::Vocabulary;
use super::slice::connects;
use crate::config::App;

/// Holds the text of one policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it comes from, for messages.
    pub file: PathBuf,
    /// The policies in Cedar's own syntax.
    pub text: String,
}

/// Names one mistake and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub cause: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Mistake {
    fn place(&self) -> (&Path, usize, usize) {
        (&self.file, self.line, self.column)
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file.display(), self.line, self.column, self.cause)?;
        self.hint.iter().try_for_each(|hint| write!(f, " (hint: {hint})"))
    }
}

/// Says why a set of policies is not usable; the set that ran before stays.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The directory or a file cannot be read.
    #[error("cannot read the policies in {}: {source}", .path.display())]
    Read {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is too large, or there are too many.
    #[error("{}: {what}", .path.display())]
    TooLarge {
        /// The file or the directory.
        path: PathBuf,
        /// What is too large.
        what: &'static str,
    },
    /// The files changed each time while they were read.
    #[error("{}: the policies changed while they were read, each of several times", .path.display())]
    Moving {
        /// The directory.
        path: PathBuf,
    },
    /// Mistakes by the checks that are asked for now, while `[posture]` names others for after a restart.
    #[error("{0}\n[posture] has changed too, and holds after a restart only: what these policies name may be in it")]
    Early(Box<PolicyError>),
    /// One or more mistakes, in the order of the files and their lines.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Mistakes(Vec<Mistake>),
    /// The built-in vocabulary cannot be used: a defect of this program.
    #[error("the built-in schema: {0}")]
    Schema(String),
}

impl PolicyError {
    /// Lists the mistakes in the files, if that is what is wrong.
    pub fn mistakes(&self) -> &[Mistake] {
        match self {
            Self::Mistakes(mistakes) => mistakes,
            Self::Early(error) => error.mistakes(),
            _ => &[],
        }
    }

    /// Says that `[posture]` has changed and does not hold yet, when that can be what is wrong.
    #[must_use]
    pub fn before_restart(self) -> Self {
        let names_posture = |mistake: &Mistake| mistake.cause.contains("posture");
        if self.mistakes().iter().any(names_posture) { Self::Early(Box::new(self)) } else { self }
    }
}

const MAX_FILE: u64 = 4 * 1024 * 1024;
const MAX_FILES: usize = 1_000;
/// How often files that change while they are read are read again.
const TRIES: usize = 3;

/// Reads every `*.cedar` file of `dir`, in the order of their names.
pub(super) fn read(dir: &Path) -> Result<Vec<Source>, PolicyError> {
    let mut files = list(dir)?;
    files.sort();
    if files.len() > MAX_FILES {
        return Err(PolicyError::TooLarge { path: dir.to_owned(), what: "more than 1,000 policy files" });
    }
    let (mut sources, mut mistakes) = (Vec::with_capacity(files.len()), Vec::new());
    for file in files {
        match read_file(file) {
            Ok(source) => sources.push(source),
            Err(PolicyError::Mistakes(found)) => mistakes.extend(found),
            Err(error) => return Err(error),
        }
    }
    if mistakes.is_empty() { Ok(sources) } else { Err(PolicyError::Mistakes(mistakes)) }
}

fn read_file(file: PathBuf) -> Result<Source, PolicyError> {
    let fail = |source| PolicyError::Read { path: file.clone(), source };
    if std::fs::metadata(&file).map_err(fail)?.len() > MAX_FILE {
        return Err(PolicyError::TooLarge { path: file, what: "a policy file is larger than 4 MiB" });
    }
    let bytes = std::fs::read(&file).map_err(fail)?;
    let text = String::from_utf8(bytes).map_err(|error| PolicyError::Mistakes(vec![no_text(&file, &error)]))?;
    Ok(Source { file, text })
}

/// Names the first byte that is no text.
fn no_text(file: &Path, error: &std::string::FromUtf8Error) -> Mistake {
    let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
    let good = Source { file: file.to_owned(), text: String::from_utf8_lossy(good).into_owned() };
    let hint = "save it as UTF-8".to_owned();
    good.mistake(good.text.len(), "this is not UTF-8".to_owned(), Some(hint))
}

fn list(dir: &Path) -> Result<Vec<PathBuf>, PolicyError> {
    let fail = |source| PolicyError::Read { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "cedar") {
            files.push(path);
        }
    }
    Ok(files)
}

/// What else changes with a file: who may read it, and which file it is.
#[cfg(unix)]
fn state(seen: &std::fs::Metadata) -> (u64, u32, i64, i64) {
    use std::os::unix::fs::MetadataExt as _;
    (seen.ino(), seen.mode(), seen.ctime(), seen.ctime_nsec())
}

#[cfg(not(unix))]
fn state(seen: &std::fs::Metadata) -> bool {
    seen.permissions().readonly()
}

/// Sums up the names, sizes and times of the policy files, to notice that one changed.
///
/// # Errors
/// The directory cannot be read.
pub fn fingerprint(dir: &Path) -> Result<u64, PolicyError> {
    let mut files = list(dir)?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        let seen = std::fs::metadata(&file).ok();
        let seen = seen.as_ref();
        (seen.map(std::fs::Metadata::len), seen.and_then(|seen| seen.modified().ok())).hash(&mut hasher);
        seen.map(state).hash(&mut hasher);
        file.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

/// Reads a directory as it is at one moment: what changed while it was read is read again, a few times.
///
/// Gives the fingerprint of what was read too; 0 when there is none.
pub(super) fn settled<T>(
    dir: &Path,
    mut read: impl FnMut(&Path) -> Result<T, PolicyError>,
) -> (u64, Result<T, PolicyError>) {
    let mut seen = match fingerprint(dir) {
        Ok(seen) => seen,
        Err(error) => return (0, Err(error)),
    };
    for _ in 0..TRIES {
        let found = read(dir);
        let after = fingerprint(dir).unwrap_or_default();
        if after == seen {
            return (seen, found);
        }
        seen = after;
    }
    // not what was read: whoever looks again finds it changed
    (0, Err(PolicyError::Moving { path: dir.to_owned() }))
}

/// Parses and validates all files; gives the policies and what is probably not meant.
pub(super) fn parse(
    sources: &[Source],
    vocabulary: &Vocabulary,
    apps: &[Arc<App>],
) -> Result<(Vec<Annotated>, Vec<Mistake>), PolicyError> {
    let mut reading = Reading::default();
    let validator = Validator::new(vocabulary.schema.clone());
    for source in sources {
        reading.file(source, &validator, vocabulary, apps);
    }
    if reading.mistakes.is_empty() {
        Ok((reading.rules, reading.warnings))
    } else {
        let mut mistakes = reading.mistakes;
        mistakes.sort_by(|a, b| a.place().cmp(&b.place()));
        // what is wrong for each action is wrong once
        mistakes.dedup_by(|later, first| later.place() == first.place());
        Err(PolicyError::Mistakes(mistakes))
    }
}

#[derive(Default)]
struct Reading {
    rules: Vec<Annotated>,
    places: HashMap<String, Mistake>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
}

impl Reading {
    fn file(&mut self, source: &Source, validator: &Validator, vocabulary: &Vocabulary, apps: &[Arc<App>]) {
        if let Some((at, excess)) = depth::excess(&source.text) {
            let hint = "write it as several policies, or with sets (`in [..]`, `contains`)".to_owned();
            return self.mistakes.push(source.mistake(at, excess.to_string(), Some(hint)));
        }
        let set: PolicySet = match source.text.parse() {
            Ok(set) => set,
            Err(errors) => {
                let errors: cedar_policy::ParseErrors = errors;
                return self.mistakes.extend(errors.iter().map(|error| source.diagnosed(error)));
            }
        };
        if let Some(template) = set.templates().next() {
            let at = source.offset_of(template.id());
            let cause = "a template cannot be used here".to_owned();
            return self.mistakes.push(source.mistake(
                at,
                cause,
                Some("write it out without ?principal or ?resource".into()),
            ));
        }
        let result = validator.validate(&set, ValidationMode::Strict);
        self.mistakes.extend(result.validation_errors().map(|error| source.diagnosed(error)));
        self.warnings.extend(result.validation_warnings().map(|warning| source.diagnosed(warning)));
        let mut policies: Vec<_> = set.policies().collect();
        policies.sort_by_key(|policy| source.offset_of(policy.id()));
        for (number, policy) in policies.into_iter().enumerate() {
            let stem = source.file.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
            self.policy(source, policy, vocabulary, &format!("{stem}#{}", number + 1));
            self.unknown_apps(source, policy, vocabulary, apps);
            if !connects(&policy.action_constraint(), vocabulary) {
                let cause = "this policy never applies: nothing but connecting is asked for".to_owned();
                let hint = "use action == Action::\"connect\"; the other actions are reserved".to_owned();
                let at = source.find(source.offset_of(policy.id()), "Action::");
                self.warnings.push(source.mistake(at, cause, Some(hint)));
            }
        }
    }

    fn policy(&mut self, source: &Source, policy: &cedar_policy::Policy, vocabulary: &Vocabulary, fallback: &str) {
        let at = source.offset_of(policy.id());
        let rule = match Annotated::read(policy, fallback, vocabulary) {
            Ok(rule) => rule,
            Err(wrong) => {
                let at = source.find(at, &format!("@{}", wrong.name));
                return self.mistakes.push(source.mistake(at, wrong.cause, Some(wrong.hint)));
            }
        };
        let here = source.mistake(source.find(at, "@id"), String::new(), None);
        if let Some(first) = self.places.get(&rule.id) {
            let cause = format!("the policy id {:?} is taken", rule.id);
            let hint = format!("it is also at {}:{}; every id names one policy", first.file.display(), first.line);
            return self.mistakes.push(Mistake { cause, hint: Some(hint), ..here });
        }
        self.places.insert(rule.id.clone(), here);
        self.rules.push(rule);
    }

    /// An app or tag that the configuration does not have is probably a slip of the pen, and a forbid on it forbids nothing.
    fn unknown_apps(
        &mut self,
        source: &Source,
        policy: &cedar_policy::Policy,
        vocabulary: &Vocabulary,
        apps: &[Arc<App>],
    ) {
        let at = source.offset_of(policy.id());
        for literal in policy.entity_literals() {
            let id = literal.id().unescaped().to_owned();
            let names: Vec<String> = if literal.type_name() == vocabulary.app_type() {
                apps.iter().map(|app| app.name.to_string()).collect()
            } else if literal.type_name() == vocabulary.tag_type() {
                apps.iter().flat_map(|app| app.tags.iter().cloned()).collect()
            } else {
                continue;
            };
            if names.contains(&id) {
                continue;
            }
            let near = names.iter().min_by_key(|name| distance(name, &id)).filter(|name| distance(name, &id) <= 3);
            let hint = near.map(|near| format!("did you mean {near:?}?"));
            let cause = format!("no app of the configuration matches {literal}");
            self.warnings.push(source.mistake(source.find(at, &format!("{id:?}")), cause, hint));
        }
    }
}

impl Source {
    fn diagnosed(&self, error: &dyn Diagnostic) -> Mistake {
        let label = error.labels().and_then(|mut labels| labels.next());
        let offset = label.as_ref().map_or(0, miette::LabeledSpan::offset);
        let text = error.to_string();
        // "for policy `policy0`, the cause": the place says which policy it is
        let cause = text
            .strip_prefix("for policy `")
            .and_then(|rest| rest.split_once("`, "))
            .map_or(&*text, |(_, cause)| cause);
        let said = label.as_ref().and_then(miette::LabeledSpan::label).filter(|said| !cause.contains(said));
        let cause = said.map_or_else(|| cause.to_owned(), |said| format!("{cause}: {said}"));
        self.mistake(offset, cause, error.help().map(|help| help.to_string()))
    }

    fn mistake(&self, offset: usize, cause: String, hint: Option<String>) -> Mistake {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Mistake { file: self.file.clone(), line, column, cause, hint }
    }

    /// Finds where a policy starts. Cedar numbers them in the order of the text: `policy0`, `policy1`.
    fn offset_of(&self, id: &PolicyId) -> usize {
        let number = id.to_string().strip_prefix("policy").and_then(|number| number.parse().ok());
        number.and_then(|number: usize| self.statements().nth(number)).unwrap_or_default()
    }

    fn find(&self, from: usize, what: &str) -> usize {
        let here = self.text.get(from..).and_then(|text| text.find(what));
        here.map_or(from, |at| from + at)
    }

    /// Gives the offset of each statement: what stands between semicolons outside strings and comments.
    fn statements(&self) -> impl Iterator<Item = usize> {
        let mut bytes = self.text.bytes().enumerate().peekable();
        let mut start = None;
        std::iter::from_fn(move || {
            while let Some((at, byte)) = bytes.next() {
                match byte {
                    b'/' if bytes.peek().is_some_and(|(_, next)| *next == b'/') => {
                        bytes.by_ref().find(|(_, byte)| matches!(byte, b'\n' | b'\r'));
                    }
                    b';' => return start.take(),
                    b'"' => {
                        start.get_or_insert(at);
                        while let Some((_, byte)) = bytes.next() {
                            match byte {
                                b'\\' => drop(bytes.next()),
                                b'"' => break,
                                _ => {}
                            }
                        }
                    }
                    byte if byte.is_ascii_whitespace() => {}
                    _ => drop(start.get_or_insert(at)),
                }
            }
            None
        })
    }
}
