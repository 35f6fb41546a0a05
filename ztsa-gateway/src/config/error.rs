//! What is wrong with a configuration, where, and what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Says what is wrong with a configuration: file, line, key, cause and remedy.
#[derive(Debug)]
pub struct ConfigError {
    file: PathBuf,
    line: Option<usize>,
    fault: Fault,
}

/// Names one way for a configuration to be wrong.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file cannot be read.
    Unreadable(String),
    /// It is not TOML, or a value has the wrong type or is out of bounds.
    Value(String),
    /// A key that nothing reads.
    UnknownKey { key: String, nearest: Option<String>, known: Vec<String> },
    /// A key that must be there.
    Missing { key: &'static str, example: &'static str },
    /// Two things of one name.
    Duplicate { what: &'static str, name: String, first: String },
    /// A combination that cannot be meant, with the remedy.
    Rule { reason: String, remedy: &'static str },
    /// A table where there may be several.
    Single { header: String, array: &'static str, name: Option<String> },
}

/// The tables of which there may be several.
pub(super) const ARRAYS: [&str; 11] = [
    "issuer",
    "workload",
    "app",
    "signals.transmitter",
    "signals.ssf",
    "signals.receiver",
    "posture.file",
    "posture.process",
    "posture.ca",
    "posture.certificate",
    "posture.edr",
];

impl ConfigError {
    /// The file that the mistake is in.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The line of the mistake, counted from 1, where there is one.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// What to type or change next.
    pub fn hint(&self) -> String {
        match &self.fault {
            Fault::Unreadable(_) => "Check the path and that this user may read the file.".to_owned(),
            Fault::Value(_) => "docs/reference/configuration.md lists every key with its type and bounds.".to_owned(),
            Fault::UnknownKey { nearest: Some(nearest), .. } => format!("Did you mean `{nearest}`?"),
            Fault::UnknownKey { known, .. } if known.is_empty() => "Remove it: nothing may stand here.".to_owned(),
            Fault::UnknownKey { known, .. } => format!("Known here: {}.", known.join(", ")),
            Fault::Missing { example, .. } => format!("Add, for example: {example}"),
            Fault::Duplicate { .. } => "Rename or remove one of them.".to_owned(),
            Fault::Rule { remedy, .. } => (*remedy).to_owned(),
            Fault::Single { array, name: Some(name), .. } => {
                format!("Write `[[{array}]]`, and `name = \"{name}\"` in it.")
            }
            Fault::Single { array, name: None, .. } => format!("Write `[[{array}]]`, once for each."),
        }
    }

    pub(super) fn unreadable(path: &Path, cause: &std::io::Error) -> ConfigError {
        ConfigError::at(path, None, Fault::Unreadable(cause.to_string()))
    }

    pub(super) fn at(path: &Path, line: Option<usize>, fault: Fault) -> ConfigError {
        ConfigError { file: path.to_owned(), line, fault }
    }

    /// Turns what the TOML reader says into a place and a cause.
    pub(super) fn toml(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
        let line = error.span().map(|span| line_of(text, span.start));
        let message = error.message();
        let fault = if let Some((key, known)) = unknown_field(message) {
            Fault::UnknownKey { nearest: nearest(&key, &known), key, known }
        } else {
            let key = line.and_then(|line| key_on(text, line));
            let message = first_sentence(message);
            if let Some(single) = key.as_deref().and_then(|key| single(key, &message)) {
                return ConfigError::at(path, line, single);
            }
            Fault::Value(match key {
                Some(key) if !message.contains(&format!("`{key}`")) => format!("`{key}`: {message}"),
                _ => message,
            })
        };
        ConfigError::at(path, line, fault)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        match &self.fault {
            Fault::Unreadable(cause) => write!(f, "cannot be read: {cause}"),
            Fault::Value(message) => f.write_str(message),
            Fault::UnknownKey { key, .. } => write!(f, "unknown key `{key}`"),
            Fault::Missing { key, .. } => write!(f, "`{key}` is missing"),
            Fault::Duplicate { what, name, first } => write!(f, "{what} `{name}` is already in {first}"),
            Fault::Rule { reason, .. } => f.write_str(reason),
            Fault::Single { header, array, .. } => {
                write!(f, "`{header}` is one table, but there may be several of `{array}`")
            }
        }?;
        write!(f, ". {}", self.hint())
    }
}

impl std::error::Error for ConfigError {}

/// The line, counted from 1, that a byte offset is on.
pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The key that a line sets, or the header of the table that it begins, with its brackets.
fn key_on(text: &str, line: usize) -> Option<String> {
    let line = text.lines().nth(line.checked_sub(1)?)?.trim();
    if line.starts_with('[') {
        let end = line.rfind(']')?;
        return line.get(..=end).map(str::to_owned);
    }
    let (key, _) = line.split_once('=')?;
    let key = key.trim().trim_matches(['"', '\'']);
    (!key.is_empty() && !key.starts_with('#')).then(|| key.to_owned())
}

/// Recognises `[app]` and `[posture.file.agent]`, which are meant as `[[app]]` and `[[posture.file]]`.
fn single(header: &str, message: &str) -> Option<Fault> {
    if !message.starts_with("invalid type: map, expected a sequence") {
        return None;
    }
    let key = header.strip_prefix('[')?.strip_suffix(']')?.trim();
    let rest = |array: &&str| key.strip_prefix(array).filter(|rest| rest.is_empty() || rest.starts_with('.'));
    let (array, rest) = ARRAYS.iter().find_map(|array| Some((*array, rest(array)?)))?;
    let name = rest.strip_prefix('.').map(|name| name.trim_matches(['"', '\'']).to_owned());
    Some(Fault::Single { header: header.to_owned(), array, name })
}

fn first_sentence(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Reads serde's "unknown field `x`, expected one of `a`, `b`".
fn unknown_field(message: &str) -> Option<(String, Vec<String>)> {
    let rest = message.strip_prefix("unknown field ")?;
    let mut quoted = rest.split('`').skip(1).step_by(2).map(str::to_owned);
    let key = quoted.next()?;
    Some((key, quoted.collect()))
}

fn nearest(key: &str, known: &[String]) -> Option<String> {
    known
        .iter()
        .map(|candidate| (distance(key, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(key.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate.clone())
}

/// The number of edits between two words, where two letters that changed places count once.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let at = |row: &[usize], column: usize| row.get(column).copied().unwrap_or(usize::MAX / 2);
    let (mut above, mut row): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    let mut before = None;
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let changed = at(&row, j) + usize::from(x != *y);
            let mut least = changed.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped = before == Some(*y) && j.checked_sub(1).is_some_and(|left| b.get(left) == Some(&x));
            if let (true, Some(left)) = (swapped, j.checked_sub(1)) {
                least = least.min(at(&above, left) + 1);
            }
            next.push(least);
        }
        above = std::mem::replace(&mut row, next);
        before = Some(x);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, line_of, nearest};

    #[test]
    fn distance_counts_edits() {
        for (a, b, edits) in
            [("", "", 0), ("", "abc", 3), ("issuer", "isuer", 1), ("kitten", "sitting", 3), ("tls", "tsl", 1)]
        {
            assert_eq!(distance(a, b), edits, "{a} {b}");
            assert_eq!(distance(b, a), edits, "{b} {a}");
        }
    }

    #[test]
    fn only_a_near_key_is_suggested() {
        let known = ["listen".to_owned(), "issuer".to_owned()];
        assert_eq!(nearest("lisen", &known).as_deref(), Some("listen"));
        assert_eq!(nearest("colour", &known), None);
    }

    #[test]
    fn lines_count_from_one() {
        assert_eq!(line_of("a\nb\nc", 0), 1);
        assert_eq!(line_of("a\nb\nc", 2), 2);
        assert_eq!(line_of("a\nb\nc", 99), 3);
    }
}
